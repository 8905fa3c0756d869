"""The work of `step3vl corpus convert`: read, write, and print what became of every record and of its fields."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from step3vl.data.config import Config, explain_validation_error
from step3vl.data.convert import (
    DATASET,
    FORMATS,
    DatasetConfig,
    RecordDefaults,
    SampleSource,
    check_failed,
    detect_format,
    read_dataset,
    read_records,
    to_dataset,
    to_files,
)
from step3vl.data.convert.answers import spans_of
from step3vl.data.dataset import MANIFEST, Dataset, DeadLetter, LedgerStep, Split
from step3vl.data.errors import UserError
from step3vl.data.inspect import TableSection, ledger_table, losses_table, print_sections
from step3vl.data.sample import Sample
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig, is_url
from step3vl.data.tokens import load_tokenizer
from step3vl.workflows.command import make_room
from step3vl.workflows.corpus_commands import dataset_name, refuse_force_at_url

C = TypeVar("C", bound=Config)

AUTO = "auto"
_PREVIEWED = 1000  # records that `--dry-run` reads where there is no limit
_LONGEST = 2000  # characters of a text that `--dry-run` prints


class Records(NamedTuple):
    """What is converted, and what the result says of it."""

    items: SampleSource
    origin: dict[str, Any]


def convert_corpus(
    source: str,
    out: str | None,
    source_format: str,
    out_format: str,
    *,
    defaults: dict[str, Any],
    split: Split | None,
    dataset: dict[str, Any],
    limit: int | None = None,
    max_failed: float = 1.0,
    dry_run: bool = False,
    store: StoreConfig = DEFAULT_STORE,
    workers: int | None = None,
    force: bool = False,
) -> None:
    """Convert, and print the ledger, the fields that were not used, and the first record that failed.

    Args:
        source: A file, a folder, a pattern or a URL.
        out: The new dataset or folder, or its URL; not needed by a dry run.
        source_format: The name of a format, ``dataset``, or ``auto``.
        out_format: The name of a format, or ``dataset``.
        defaults: Fields of ``RecordDefaults``; None where an option is not given.
        split: The split to read from a dataset.
        dataset: Fields of ``DatasetConfig``.
        limit: Convert only so many records.
        max_failed: The largest fraction of the records that may fail.
        dry_run: Write nothing, and print a sample with what of it is trained.
        store: How remote stores are used.
        workers: Number of processes; by default, one for each core.
        force: Whether an earlier result at ``out`` is set aside.

    Raises:
        UserError: An option does not fit, or nothing could be converted.
    """
    if source_format == AUTO:
        source_format = _detect(source, store)
        typer.echo(f"{source}: read as {source_format}")
    records = _open(source, source_format, defaults, split, limit, store)
    if dry_run:
        _preview(records, limit or _PREVIEWED, dataset["tokenizer"], max_failed)
        return
    if out is None:
        raise UserError("give OUT, the new folder, or --dry-run")
    if out_format == DATASET:
        if source_format == DATASET and dataset["heldout"] is None:
            raise UserError(
                "give --heldout, the fraction to hold out by the hash of the id; with the fraction that "
                f"{source} was split by, the split stays the same"
            )
        values = {**dataset, "name": dataset_name(dataset["name"], Path(out)), "heldout": dataset["heldout"] or 0.0}
        config = _validate(DatasetConfig, values)
        _make_room(out, MANIFEST, force, source)
        converted = to_dataset(
            records.items, out, config, records.origin, max_failed=max_failed, store=store, workers=workers
        )
    else:
        _make_room(out, "", force, source)
        converted = to_files(records.items, out, out_format, max_failed=max_failed, store=store, workers=workers)
    _print_ledger(converted.steps, converted.first)
    typer.echo(f"{out}: written")


def _make_room(out: str, name: str, force: bool, source: str) -> None:
    """As ``make_room``, where a finished result has a file of this name; an earlier one at a URL is never renamed."""
    if is_url(out):
        refuse_force_at_url(out, force)
    else:
        make_room(Path(out), (Path(out) / name).exists(), force, sources=[source])


def _detect(source: str, store: StoreConfig) -> str:
    suffixes = tuple(suffix for kind in FORMATS.values() for suffix in kind.suffixes)
    is_folder = not source.endswith(suffixes)  # where there may be a dataset; some stores refuse to say what is absent
    return DATASET if is_folder and Store(source, store).exists(MANIFEST) else detect_format(source, store)


def _open(
    source: str,
    source_format: str,
    defaults: dict[str, Any],
    split: Split | None,
    limit: int | None,
    store: StoreConfig,
) -> Records:
    if source_format == DATASET:
        opened = Dataset.open(source, store)
        samples = read_dataset(opened, split, defaults["task"], limit)
        return Records(samples, {"from": source_format, "fingerprint": opened.fingerprint})
    if split is not None:
        raise UserError(f"--split chooses from a dataset; {source} is {source_format}: leave it out")
    fields = {key: value for key, value in defaults.items() if value not in (None, (), {})}
    options = _validate(RecordDefaults, fields)
    items = read_records(source, source_format, options, limit=limit, store=store)
    about = {key: value for key, value in fields.items() if key != "images"}
    return Records(items, {"from": source_format, "about": about})


def _preview(records: Records, limit: int, tokenizer_name: str, max_failed: float) -> None:
    """Read some records, and print the first sample with what of it is trained. Raises as the conversion would."""
    example: Sample | None = None
    first: DeadLetter | None = None
    failed: Counter[str] = Counter()
    kept = 0
    for item in islice(records.items, limit):
        if isinstance(item, DeadLetter):
            first = first or item
            failed[item.error] += 1
        else:
            example = example or item
            kept += 1
    if example is not None:
        print_sections([_sample_table(example, tokenizer_name)], Console())
    read = kept + failed.total()
    _print_ledger(
        (LedgerStep(name="convert", read=read, kept=kept, failed=failed, unused=records.items.unused),), first
    )
    typer.echo("dry run: nothing was written")
    check_failed(read, kept, first, max_failed)


def _sample_table(sample: Sample, tokenizer_name: str) -> TableSection:
    spans = spans_of(sample, load_tokenizer(tokenizer_name), DatasetConfig(name="preview").image)
    rows = [(f"{span.weight:g}", repr(_shorten(span.text))[1:-1]) for span in spans]
    title = f"{sample.source.uri}: {sample.kind} {sample.task}, as the model sees it; what weighs 0 is not trained"
    return TableSection(title, ("weight", "text"), rows)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"


def _print_ledger(steps: tuple[LedgerStep, ...], first: DeadLetter | None) -> None:
    sections = [ledger_table(steps), losses_table(steps)]
    print_sections([section for section in sections if section.rows], Console())
    if first is not None:
        typer.echo(f"first record that failed: {first.source}: {first.reason}", err=True)


def _validate(config_class: type[C], values: dict[str, Any]) -> C:
    """Raises UserError naming the option that is wrong."""
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--{explain_validation_error(error)}") from None


def parse_columns(values: list[str]) -> dict[str, str]:
    """The columns of `question=problem,answer=solution`. Raises UserError when an entry is no such pair."""
    columns: dict[str, str] = {}
    for entry in (entry.strip() for value in values for entry in value.split(",")):
        name, separator, column = entry.partition("=")
        if not (name and separator and column):
            raise UserError(f"--columns {entry}: give pairs such as question=problem, the reader's name first")
        columns[name] = column
    return columns


def parse_share(value: str | None) -> float:
    """The fraction that `1%` or `0.01` is, and 1 without one. Raises UserError for anything else."""
    if value is None:
        return 1.0
    number, percent = value.removesuffix("%"), value.endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(f"--max-dead {value}: give a share of the records, such as 1% or 0.01")
    return share
