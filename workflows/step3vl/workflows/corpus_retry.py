"""The work of `corpus retry`: failed records of a build or a curation tried again, beside the finished dataset."""

from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console

from step3vl.data.config import Config
from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect import ledger_table, print_sections
from step3vl.data.storage import Store, StoreConfig, is_url
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.layout import STAGING, staging_root
from step3vl.workflows.config import load_config, validate
from step3vl.workflows.corpus_build import build_watched, reuse_earlier
from step3vl.workflows.records import set_aside

ConfigT = TypeVar("ConfigT", bound=Config)
_STAGE = "stage.yaml"  # what a build in a folder was asked for


def retry_command(dataset: str, path: str | None, out: str | None, store: StoreConfig, *, failed: bool) -> None:
    """Try failed records again, and print the ledger of the new dataset.

    Args:
        dataset: That was built or curated; a build that ended for its failures has not finished it.
        path: The YAML file of the configuration, if any.
        out: The new dataset; None for `dataset`, whose finished one is renamed.
        store: How remote stores are used.
        failed: Whether it was said what is tried again.

    Raises:
        UserError: It is not known what the dataset was made of, or it differs from that now.
    """
    if not failed:
        raise UserError("say what is tried again: `--failed` takes the records that failed")
    if out is not None and out.rstrip("/") == dataset.rstrip("/"):
        out = None
    if not Store(dataset, store).exists(MANIFEST):
        _retry_build(dataset, _build_config(dataset, path, {}), out, finished=False)
        return
    opened = Dataset.open(dataset, store)
    recorded = opened.manifest.config
    kind = "curate" if "curate" in recorded else "domains" if "domains" in recorded else ""
    if not kind:
        raise UserError(f"{dataset} was neither built nor curated; what converts it again is `corpus convert`")
    steps = [step for step in opened.manifest.ledger if step.name.startswith("curate.") or kind == "domains"]
    count = sum(sum(step.failed.values()) for step in steps)
    if not count:
        typer.echo(f"{dataset}: no record failed; nothing is to be tried again")
        return
    typer.echo(f"{dataset}: {count:,} failed records are tried again", err=True)
    if out is None and is_url(dataset):
        raise UserError(f"{dataset} is finished and cannot be renamed; give --out, a URL for the new dataset")
    if kind == "curate":
        _retry_curation(opened, path, out, store)
    else:
        _retry_build(dataset, _build_config(dataset, path, recorded), out, finished=True)


def _build_config(dataset: str, path: str | None, recorded: dict[str, Any]) -> CorpusConfig:
    """The configuration of a build: a file, what the folder has of the last build in it, or what the manifest has."""
    stage = Path(dataset) / _STAGE
    if path is None and not is_url(dataset) and stage.is_file():
        path = str(stage)
    if path is not None:
        return load_config(path, {}, CorpusConfig)
    if not recorded:
        raise UserError(f"{dataset} is no finished dataset; give --config, the configuration that it was built from")
    return _from_record(recorded, CorpusConfig, f"{dataset}/{MANIFEST}")


def _from_record(recorded: dict[str, Any], model: type[ConfigT], place: str) -> ConfigT:
    fields = {name: value for name, value in recorded.items() if name in model.model_fields}
    return validate(fields, {}, model, place)


def _retry_build(dataset: str, config: CorpusConfig, out: str | None, *, finished: bool) -> None:
    from step3vl.pipelines.provenance import changes
    from step3vl.workflows.kinds import KINDS
    from step3vl.workflows.runner import run_alone

    if finished and (differences := changes(config, dataset)):
        raise UserError(
            f"{dataset} is to be built otherwise ({'; '.join(differences)}), and not only its failed records: "
            "`corpus build --force` does that"
        )
    if out is not None or is_url(dataset):
        config = config.model_copy(update={"root": staging_root(config, dataset)})
    target = out or dataset
    if is_url(target):
        build_watched(config, target, retry_failed=True)
    else:
        run_alone("corpus", KINDS, config, Path(target), finished and out is None, {"retry_failed": True})
    _print_ledger(target, config.store)


def _retry_curation(dataset: Dataset, path: str | None, out: str | None, store: StoreConfig) -> None:
    from step3vl.pipelines.curation.curate import curate
    from step3vl.pipelines.curation.evidence import read_report

    recorded = dataset.manifest.config["curate"]
    config = _from_record(
        {name: value for name, value in recorded.items() if name != "against"},
        CurationConfig,
        f"{dataset.url}/{MANIFEST}",
    )
    report = read_report(dataset)
    free = load_config(path, {}, CurationConfig) if path is not None else CurationConfig(store=store)
    config = config.model_copy(
        update={
            "against": tuple(report.get("against", ())),
            "root": free.root,
            "store": free.store,
            "beam_options": free.beam_options,
            "failure_budget": free.failure_budget if path is not None else config.failure_budget,
        }
    )
    target = out or dataset.url
    if out is not None:
        config = config.model_copy(update={"root": config.root or f"{dataset.url}/{STAGING}"})
    else:
        kept = set_aside(Path(dataset.url))
        typer.echo(f"the finished dataset is kept as {kept}", err=True)
        reuse_earlier(kept, Path(dataset.url))
    curate(report["datasets"], target, config, retry_failed=True)
    _print_ledger(target, config.store)


def _print_ledger(target: str, store: StoreConfig) -> None:
    print_sections([ledger_table(Dataset.open(target, store).manifest.ledger)], Console())
