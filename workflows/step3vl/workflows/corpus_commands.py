"""The work of the corpus commands: open, run, and print what became of every record."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.convert import (
    DATASET,
    DatasetConfig,
    RecordDefaults,
    read_dataset,
    read_records,
    to_dataset,
    to_files,
)
from step3vl.data.dataset import MANIFEST, Dataset, Split, read_dead_letters
from step3vl.data.dataset.combine import merge, split
from step3vl.data.errors import UserError
from step3vl.data.inspect import (
    TableSection,
    compare,
    label_tables,
    ledger_table,
    print_sections,
    verify,
    write_card,
)
from step3vl.data.sample import schema_text
from step3vl.workflows.command import make_room
from step3vl.workflows.config import did_you_mean

if TYPE_CHECKING:
    from step3vl.pipelines.describe import DomainDescription

C = TypeVar("C", bound=Config)


def convert_corpus(
    source: str,
    out: Path,
    source_format: str,
    out_format: str,
    *,
    defaults: dict[str, Any],
    split: Split | None,
    dataset: dict[str, Any],
    force: bool = False,
) -> None:
    """Convert, and print the ledger and the first record that failed.

    Args:
        source: A file or folder; of a dataset, any URL.
        out: The new dataset or folder.
        source_format: The name of a format, or ``dataset``.
        out_format: The same.
        defaults: Fields of the samples whose records do not have them.
        split: The split to read from a dataset.
        dataset: Fields of ``DatasetConfig``.
        force: Whether an earlier result at ``out`` is set aside.
    """
    opened: Dataset | None = None
    if source_format == DATASET:
        opened = Dataset.open(source)
        if out_format == DATASET and dataset["heldout"] is None:
            raise UserError(
                "give --heldout, the fraction to hold out by the hash of the id; with the fraction that "
                f"{source} was split by, the split stays the same"
            )
        items = read_dataset(opened, split, defaults["task"])
        origin: dict[str, Any] = {"from": source_format, "fingerprint": opened.fingerprint}
    else:
        if split is not None:
            raise UserError(f"--split chooses from a dataset; {source} is {source_format}: leave it out")
        fields = {key: value for key, value in defaults.items() if value is not None}
        items = read_records(Path(source), source_format, _validate(RecordDefaults, fields))
        origin = {"from": source_format, "about": {key: value for key, value in fields.items() if key != "images"}}
    if out_format == DATASET:
        values = {**dataset, "name": _dataset_name(dataset["name"], out), "heldout": dataset["heldout"] or 0.0}
        config = _validate(DatasetConfig, values)
        make_room(out, (out / MANIFEST).exists(), force, sources=[source])
        converted = to_dataset(items, out, config, origin)
    else:
        make_room(out, out.exists(), force, sources=[source])
        converted = to_files(items, out, out_format)
    print_sections([ledger_table(converted.steps)], Console())
    if converted.first is not None:
        typer.echo(f"first record that failed: {converted.first.source}: {converted.first.reason}", err=True)
    typer.echo(f"{out}: written")


def verify_corpus(url: str, *, images: bool, workers: int) -> None:
    """Print what is wrong with a dataset; exit with 1 if anything is."""
    report = verify(url, images=images, workers=workers)
    rows = [(problem.file, problem.kind, problem.count, problem.detail) for problem in report.problems]
    if rows:
        columns = ("file", "kind", "count", "first")
        print_sections([TableSection(f"{url}: problems", columns, rows)], Console())
    count = sum(problem.count for problem in report.problems)
    summary = f"{count} problems" if rows else "every byte is what was committed"
    typer.echo(f"{url}: {report.shards} shards, {report.samples:,} samples, {report.size:,} bytes; {summary}")
    if rows:
        raise typer.Exit(1)


def measure_label_errors(url: str, samples: int, seed: int, task: str | None) -> None:
    """Check labels, print the error rate of each task, and keep it beside the dataset and in its card."""
    from step3vl.pipelines.label_check import check_labels

    dataset = Dataset.open(url)
    report = check_labels(dataset, samples, seed, task)
    if task is None:
        report.save(dataset.files)
        write_card(dataset, url, read_dead_letters(url, dataset.files.config))
    print_sections([section for section in label_tables(report) if section.rows], Console())


def diff_corpora(before: str, after: str) -> None:
    """Print what changed between two datasets; exit with 1 if anything did."""
    difference = compare(Dataset.open(before), Dataset.open(after))
    if difference.is_empty:
        typer.echo("no difference")
        return
    head = ("task", "kept", "added", "removed", "changed")
    sections = [
        TableSection("Samples", head, difference.tasks),
        TableSection("Configuration and code", ("field: A -> B",), [(line,) for line in difference.provenance]),
        TableSection("Some of the samples", ("id, task, source",), [(line,) for line in difference.examples]),
    ]
    print_sections([section for section in sections if section.rows], Console())
    raise typer.Exit(1)


def merge_corpora(paths: Sequence[str], name: str | None, shards: int | None, force: bool = False) -> None:
    """Merge datasets into the last of ``paths``, and print the ledger."""
    if len(paths) < 3:
        raise UserError("merge needs two datasets at least, and after them the folder of the new one")
    *sources, target = paths
    out = Path(target)
    datasets = [Dataset.open(path) for path in sources]
    make_room(out, (out / MANIFEST).exists(), force, sources)
    _print_written(merge(datasets, out, _dataset_name(name, out), shards))


def split_corpus(
    url: str, out: Path, heldout: float, name: str | None, shards: int | None, force: bool = False
) -> None:
    """Split a dataset by another fraction, and print the ledger."""
    dataset = Dataset.open(url)
    make_room(out, (out / MANIFEST).exists(), force, sources=[url])
    _print_written(split(dataset, out, _dataset_name(name, out), heldout, shards))


def print_schema(*, config: bool) -> None:
    """Print the JSON Schema of a sample, or of the configuration of a corpus."""
    if config:
        from step3vl.pipelines import describe

        typer.echo(describe.schema_text(), nl=False)
    else:
        typer.echo(schema_text(), nl=False)


def print_domains(name: str | None, *, example: bool) -> None:
    """Print the domains, or the fields and an example of one of them."""
    from step3vl.pipelines.describe import describe_domains

    domains = {domain.name: domain for domain in describe_domains()}
    if name is None:
        rows = [(domain.name, domain.summary, _package(domain.module)) for domain in domains.values()]
        print_sections([TableSection("Domains", ("domain", "what it makes", "package"), rows)], Console())
        return
    check_names([name], list(domains), "domain")
    domain = domains[name]
    if not example:
        _print_domain(domain)
    typer.echo(domain.example, nl=False)


def _package(module: str) -> str:
    """Where a domain comes from; of ours it goes without saying."""
    return "" if module.startswith("step3vl.") else module.partition(".")[0]


def _print_domain(domain: "DomainDescription") -> None:
    typer.echo(f"{domain.name}: {domain.summary}\n")
    rows = [(field.name, field.type, field.default or "required", field.description) for field in domain.fields]
    columns = ("field", "type", "default", "meaning")
    print_sections([TableSection("An entry of `domains`", columns, rows)], Console())
    typer.echo("\n# A corpus that builds:")


def check_names(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    """Raises UserError naming the nearest known name."""
    for name in names:
        if name not in known:
            raise UserError(f"no {kind} is called '{name}'{did_you_mean(name, known)}")


def _print_written(dataset: Dataset) -> None:
    print_sections([ledger_table(dataset.manifest.ledger)], Console())
    typer.echo(f"{dataset.url}: written")


def _dataset_name(name: str | None, out: Path) -> str:
    """The name, or one made from the folder's."""
    return name or re.sub(r"[^a-z0-9_-]+", "-", out.resolve().name.lower()).strip("-") or "corpus"


def _validate(config_class: type[C], values: dict[str, Any]) -> C:
    """Raises UserError naming the option that is wrong."""
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--{explain_validation_error(error)}") from None
