"""The work of `corpus build`, `plan`, `cost` and `clean`, which need the extra `pipelines`.

Beam takes a second to import, and a build with nothing to do does without it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console

from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect import TableSection, ledger_table, left_out_table, markdown_table, print_sections
from step3vl.data.storage import StoreConfig, is_url
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.cost import Prices, RecordFolder, Scale, assumptions, cost_tables, measure, parse_count
from step3vl.pipelines.layout import staging_root
from step3vl.pipelines.view import Display, LogLines, ProgressPage, PrometheusPort, TerminalTable, watch_build
from step3vl.workflows.command import resolve_config
from step3vl.workflows.config import load_config, parse_overrides, read_yaml, validate
from step3vl.workflows.corpus_commands import check_names
from step3vl.workflows.records import next_name

_COST_WIDTH = 110  # columns of the terminal, below which figures would be cut


def build_watched(
    config: CorpusConfig,
    out: str | Path,
    *,
    rebuild: Sequence[str] = (),
    retry_failed: bool = False,
    metrics_port: int | None = None,
) -> Dataset:
    """Build a corpus, and show its progress in the terminal, as a page under its root, and as metrics.

    Args:
        config: Of the corpus.
        out: The dataset: a folder, or any fsspec URL.
        rebuild: Entries whose records are worked on again.
        retry_failed: Whether records that failed are tried again.
        metrics_port: Where Prometheus finds the metrics; None for nowhere.

    Raises:
        UserError: The port is in use; and whatever `build_corpus` raises.
    """
    from step3vl.pipelines.corpus import build_corpus

    root = staging_root(config, out)
    displays: list[Display] = [PrometheusPort(metrics_port)] if metrics_port is not None else []
    displays.append(ProgressPage(root, config.store))
    displays.append(TerminalTable(Console(stderr=True)) if sys.stderr.isatty() else LogLines())
    with watch_build(config.name, root, displays, config.store) as watch:
        return build_corpus(config, out, rebuild=rebuild, retry_failed=retry_failed, watch=watch)


def reuse_earlier(earlier: Path, out: Path) -> None:
    """As `step3vl.pipelines.corpus.reuse_earlier`."""
    from step3vl.pipelines import corpus

    corpus.reuse_earlier(earlier, out)


def build_command(
    path: str,
    overrides: list[str],
    out: str,
    *,
    rebuild: tuple[str, ...],
    metrics_port: int | None,
    dry_run: bool,
    force: bool,
) -> None:
    """Build as a stage of its own in a folder, which gets a record; or straight to a URL.

    Args:
        path: The YAML file of the configuration.
        overrides: Fields to change.
        out: The dataset.
        rebuild: Entries whose records are worked on again.
        metrics_port: Where Prometheus finds the metrics.
        dry_run: Whether to print the configuration instead.
        force: Whether another finished dataset is set aside.
    """
    config = resolve_config(path, overrides, CorpusConfig, dry_run)
    if config is not None:
        check_names(rebuild, [entry.name for entry in config.domains], "entry")
        _build(config, out, rebuild=rebuild, metrics_port=metrics_port, force=force)
        manifest = Dataset.open(out, config.store).manifest
        print_sections([ledger_table(manifest.ledger)], Console())
        _print_left_out(manifest.config.get("left_out", {}))


def _build(config: CorpusConfig, out: str, *, rebuild: tuple[str, ...], metrics_port: int | None, force: bool) -> None:
    options = {"rebuild": rebuild, "metrics_port": metrics_port}
    if is_url(out):
        if force:
            raise UserError(
                f"--force renames a finished dataset, which {out} cannot be; give another --out, and "
                f"root={staging_root(config, out)} to reuse what was worked on"
            )
        build_watched(config, out, rebuild=rebuild, metrics_port=metrics_port)
        return
    folder = Path(out)
    if rebuild and not force and (folder / MANIFEST).exists():
        raise UserError(f"{out} is finished; give --force with --rebuild, which keeps it as {next_name(folder)}")
    from step3vl.workflows.kinds import KINDS
    from step3vl.workflows.runner import run_alone

    run_alone("corpus", KINDS, config, folder, force, options)


def curate_command(datasets: Sequence[str], out: str, path: str | None, overrides: Sequence[str]) -> None:
    """Curate datasets, and print what became of every sample.

    Args:
        datasets: Folders or URLs.
        out: The new dataset.
        path: The YAML file of the configuration, if any.
        overrides: Fields to change.
    """
    from step3vl.pipelines.curation.config import CurationConfig
    from step3vl.pipelines.curation.curate import curate

    changes = parse_overrides(overrides)
    tree = read_yaml(path) if path else {}
    config = validate(tree, changes, CurationConfig, path or "the defaults")
    dataset = curate(datasets, out, config)
    print_sections([ledger_table(dataset.manifest.ledger)], Console())


def plan_command(path: str, overrides: list[str] | None, out: str) -> None:
    """Print what a build would do."""
    from step3vl.pipelines.corpus import corpus_plan

    config = load_config(path, parse_overrides(overrides or []), CorpusConfig)
    plan = corpus_plan(config, out)
    rows = [
        (
            segment.entry.name,
            segment.name,
            config.models.engine if segment.kind == "model" else "beam",
            "?" if segment.total is None else segment.total,
            segment.committed,
            "?" if segment.total is None else segment.total - segment.committed,
        )
        for segment in plan.segments
    ]
    columns = ("entry", "steps", "runs in", "fragments", "committed", "to do")
    print_sections([TableSection(f"{config.name} in {out}", columns, rows)], Console())
    if any(segment.total is None for segment in plan.segments):
        typer.echo("?: depends on what the segment before makes")
    _print_left_out(plan.left_out)


def _print_left_out(left_out: Mapping[str, str]) -> None:
    if left_out:
        print_sections([left_out_table(left_out)], Console())


def cost_command(
    dataset: str,
    tokens: str,
    root: str | None,
    *,
    gpus: float,
    gpu_speedup: float,
    prices: Mapping[str, float],
    markdown: bool,
    store: StoreConfig,
) -> None:
    """Print what a corpus of so many tokens costs."""
    from step3vl.pipelines.corpus import corpus_plan

    scale = Scale(parse_count(tokens), gpus, gpu_speedup, Prices(**prices))
    content = Dataset.open(dataset, store).manifest.config
    fields = {name: value for name, value in content.items() if name in CorpusConfig.model_fields}
    config = CorpusConfig.model_validate({**fields, "root": root, "store": store})
    segments = corpus_plan(config, dataset).segments
    folders = [RecordFolder(segment.folder, segment.entry, segment.kind) for segment in segments]
    sections = cost_tables(measure(staging_root(config, dataset), folders, config.store), scale)
    if markdown:
        typer.echo("\n".join(line for section in sections for line in markdown_table(section)))
    else:
        console = Console()
        console.width = max(console.width, _COST_WIDTH)
        print_sections(sections, console)
    for sentence in assumptions(scale):
        typer.echo(f"- {sentence}")


def clean_command(dataset: str, path: str | None, store: StoreConfig) -> None:
    """Remove the fragments of a finished dataset."""
    from step3vl.pipelines.corpus import clean_corpus

    config = load_config(path, {}, CorpusConfig) if path is not None else None
    Dataset.open(dataset, store)  # what is not finished still needs it
    typer.echo(f"{clean_corpus(dataset, config, store)}: removed")
