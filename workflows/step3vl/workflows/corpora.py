"""What the corpus commands do: open, work, and say in tables what became of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console

from step3vl.data.combine import merge, split
from step3vl.data.convert import About
from step3vl.data.convert.run import DATASET, DatasetConfig, read_dataset, read_records, to_dataset, to_files
from step3vl.data.dataset import Dataset
from step3vl.data.difference import compare
from step3vl.data.errors import UserError
from step3vl.data.manifest import Split
from step3vl.data.sample import explain
from step3vl.data.show import Section, accounts, print_sections
from step3vl.data.verify import verify as look


def convert_corpus(
    source: str,
    out: Path,
    form: str,
    to: str,
    *,
    about: dict[str, Any],
    split: Split | None,
    dataset: dict[str, Any],
) -> None:
    """Convert and print the ledger, with the first record that failed."""
    if form == DATASET:
        opened = Dataset.open(source)
        if to == DATASET and dataset["heldout"] is None:
            raise UserError(
                "say --heldout, the fraction to hold out by the hash of the id; with the fraction that "
                f"{source} was made with, the split stays what it is"
            )
        items = read_dataset(opened, split, about["task"])
        origin: dict[str, Any] = {"from": form, "fingerprint": opened.fingerprint}
    else:
        if split is not None:
            raise UserError(f"--split chooses from a dataset; {source} is {form}: leave it out")
        known = {key: value for key, value in about.items() if value is not None}
        items = read_records(Path(source), form, _checked(About, known))
        origin = {"from": form, "about": {key: value for key, value in known.items() if key != "pictures"}}
    if to == DATASET:
        given = {**dataset, "name": _name(dataset["name"], out), "heldout": dataset["heldout"] or 0.0}
        config = _checked(DatasetConfig, given)
        done = to_dataset(items, out, config, origin)
    else:
        done = to_files(items, out, to)
    print_sections([accounts(done.steps)], Console())
    if done.first is not None:
        typer.echo(f"first record that failed: {done.first.source}: {done.first.reason}", err=True)
    typer.echo(f"{out}: written")


def verify_corpus(url: str, *, pictures: bool, workers: int) -> None:
    """Print what is wrong; exit with 1 when something is."""
    report = look(url, pictures=pictures, workers=workers)
    rows = [(one.file, one.kind, one.count, one.detail) for one in report.problems]
    if rows:
        print_sections([(f"{url}: problems", ("file", "kind", "number", "the first"), list(rows))], Console())
    found = f"{sum(one.count for one in report.problems)} problems" if rows else "every byte is what was committed"
    typer.echo(f"{url}: {report.shards} shards, {report.samples:,} samples, {report.size:,} bytes; {found}")
    if rows:
        raise typer.Exit(1)


def diff_corpora(before: str, after: str) -> None:
    """Print what changed; exit with 1 when something did."""
    difference = compare(Dataset.open(before), Dataset.open(after))
    if difference.same:
        typer.echo("no difference")
        return
    heads = ("task", "kept", "added", "removed", "changed")
    sections: list[Section] = [
        ("Samples", heads, list(difference.tasks)),
        ("What they were made with", ("field: A -> B",), [(line,) for line in difference.made]),
        ("Some of the samples", ("id, task, source",), [(line,) for line in difference.examples]),
    ]
    print_sections([section for section in sections if section[2]], Console())
    raise typer.Exit(1)


def merge_corpora(paths: Sequence[str], name: str | None, shards: int | None) -> None:
    if len(paths) < 3:
        raise UserError("merge needs two datasets at least, and after them the folder of the new one")
    *sources, out = paths
    _written(merge([Dataset.open(path) for path in sources], Path(out), _name(name, Path(out)), shards))


def split_corpus(url: str, out: Path, heldout: float, name: str | None, shards: int | None) -> None:
    _written(split(Dataset.open(url), out, _name(name, out), heldout, shards))


def _written(dataset: Dataset) -> None:
    print_sections([accounts(dataset.manifest.ledger)], Console())
    typer.echo(f"{dataset.url}: written")


def _name(name: str | None, out: Path) -> str:
    """The name asked for, or one from the folder's."""
    return name or re.sub(r"[^a-z0-9_-]+", "-", out.resolve().name.lower()).strip("-") or "corpus"


def _checked(config_class: Any, values: dict[str, Any]) -> Any:
    """Raises UserError naming the option that is wrong."""
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--{explain(error)}") from None
