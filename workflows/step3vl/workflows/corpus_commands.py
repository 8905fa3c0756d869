"""The work of the corpus commands: open, run, and print what became of every record."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from step3vl.data.dataset import MANIFEST, Dataset, read_dead_letters
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
from step3vl.data.storage import StoreConfig, is_url
from step3vl.workflows.command import make_room
from step3vl.workflows.config import did_you_mean

if TYPE_CHECKING:
    from step3vl.pipelines.describe import DomainDescription


def verify_corpus(url: str, *, images: bool, workers: int | None, store: StoreConfig) -> None:
    """Print what is wrong with a dataset; exit with 1 if anything is."""
    report = verify(url, store, images=images, workers=workers)
    rows = [(problem.file, problem.kind, problem.count, problem.detail) for problem in report.problems]
    if rows:
        columns = ("file", "kind", "count", "first")
        print_sections([TableSection(f"{url}: problems", columns, rows)], Console())
    count = sum(problem.count for problem in report.problems)
    summary = f"{count} problems" if rows else "every byte is what was committed"
    typer.echo(f"{url}: {report.shards} shards, {report.samples:,} samples, {report.size:,} bytes; {summary}")
    if rows:
        raise typer.Exit(1)


def view_corpus(url: str, other: str | None, port: int, store: StoreConfig) -> None:
    """Serve pages that show a dataset, until a signal comes."""
    from step3vl.pipelines.view.viewer import serve

    serve(Dataset.open(url, store), None if other is None else Dataset.open(other, store), port=port)


def measure_label_errors(url: str, samples: int, seed: int, task: str | None, store: StoreConfig) -> None:
    """Check labels, print the error rate of each task, and keep it beside the dataset and in its card."""
    from step3vl.pipelines.label_check import check_labels

    dataset = Dataset.open(url, store)
    report = check_labels(dataset, samples, seed, task)
    print_sections([section for section in label_tables(report) if section.rows], Console())
    if url.startswith(("http://", "https://")):
        typer.echo(f"{url} can only be read: the result is not kept beside it", err=True)
    elif task is None:
        report.save(dataset.files)
        write_card(dataset, url, read_dead_letters(url, store), store)


def diff_corpora(before: str, after: str, *, workers: int | None, store: StoreConfig) -> None:
    """Print what changed between two datasets; exit with 1 if anything did."""
    difference = compare(Dataset.open(before, store), Dataset.open(after, store), workers)
    if difference.is_empty:
        typer.echo("no difference")
        return
    head = ("task", "kept", "added", "removed", "changed", "to held-out", "to train")
    sections = [
        TableSection("Samples", head, difference.tasks),
        TableSection("Configuration and code", ("field: A -> B",), [(line,) for line in difference.provenance]),
        TableSection("Some of the samples", ("id, task, source",), [(line,) for line in difference.examples]),
    ]
    print_sections([section for section in sections if section.rows], Console())
    raise typer.Exit(1)


def merge_corpora(
    paths: Sequence[str], name: str | None, shards: int | None, *, workers: int | None, store: StoreConfig, force: bool
) -> None:
    """Merge datasets into the last of ``paths``, and print the ledger."""
    if len(paths) < 3:
        raise UserError("merge needs two datasets at least, and after them the new one")
    *sources, out = paths
    datasets = [Dataset.open(path, store) for path in sources]
    _make_room_for_dataset(out, force, sources)
    _print_written(merge(datasets, out, dataset_name(name, Path(out)), shards, store=store, workers=workers))


def split_corpus(
    url: str,
    out: str,
    heldout: float,
    name: str | None,
    shards: int | None,
    *,
    workers: int | None,
    store: StoreConfig,
    force: bool,
) -> None:
    """Split a dataset by another fraction, and print the ledger."""
    dataset = Dataset.open(url, store)
    _make_room_for_dataset(out, force, [url])
    _print_written(split(dataset, out, dataset_name(name, Path(out)), heldout, shards, store=store, workers=workers))


def _make_room_for_dataset(out: str, force: bool, sources: Sequence[str]) -> None:
    """As ``make_room`` in a local folder. Nothing is renamed at a URL, where an earlier dataset is refused."""
    if is_url(out):
        refuse_force_at_url(out, force)
        return
    make_room(Path(out), (Path(out) / MANIFEST).exists(), force, sources)


def refuse_force_at_url(out: str, force: bool) -> None:
    """Raises UserError for ``--force`` where nothing is renamed."""
    if force:
        raise UserError(f"--force renames an earlier dataset, which {out} cannot be; give another URL")


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


def dataset_name(name: str | None, out: Path) -> str:
    """The name, or one made from the folder's."""
    return name or re.sub(r"[^a-z0-9_-]+", "-", out.resolve().name.lower()).strip("-") or "corpus"
