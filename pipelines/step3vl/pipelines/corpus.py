"""The build: a configuration becomes a committed dataset, in steps that a second run resumes where the first stopped.

prepare   Beam   inputs -> staged rows for a model        (domains with a model step)
annotate  Ray    staged rows -> rows with what the model made of them       (the same)
samples   Beam   inputs or annotated rows -> staged samples, of every domain
tokens    -      the tokenizer: loaded, or trained on the staged text
shards    Beam   staged samples -> shards; then `dataset.json`, the data card, and the staging folder is removed
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from step3vl.data.dataset import (
    DEAD_LETTERS,
    MANIFEST,
    Counting,
    Dataset,
    DeadLetter,
    ImagePartWriter,
    Ledger,
    ShardInfo,
    code_version,
    commit,
    read_dead_letters,
    require_samples,
    write_dead_letters,
)
from step3vl.data.errors import AGAIN, UserError, infrastructure_errors
from step3vl.data.inspect import write_card
from step3vl.data.sample import TextPart
from step3vl.data.storage import require_local
from step3vl.data.tokens import TOKENIZER, fingerprint, load_tokenizer, train_bpe
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.accounts import check_failures, check_ledger, collect_accounts, read_accounts, read_list
from step3vl.pipelines.core.beam import CollectJson, StepOutputs, beam_options, run_pipeline
from step3vl.pipelines.core.domain import ApplySteps, Domain, DomainEntry, ModelStep
from step3vl.pipelines.core.ray import annotate
from step3vl.pipelines.core.sink import Sharding, WriteShards
from step3vl.pipelines.core.staging import (
    STAGING_VERSION,
    ReadRecords,
    StagedStep,
    StageRows,
    StepResult,
    digest,
    dump_model,
    dump_sample,
    load_sample,
    read_rows,
    write_rows,
)
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.provenance import changes, compare, provenance, versions

__all__ = ["CorpusConfig", "build_corpus", "changes", "versions"]

_log = logging.getLogger(__name__)

STAGING = ".staging"
_Models = list[tuple[DomainEntry, ModelStep]]


def build_corpus(config: CorpusConfig, out: Path) -> Dataset:
    """Build the dataset at `out`, resume a build that was interrupted, or open it when it is finished.

    Args:
        config: Of the corpus.
        out: The dataset's folder.

    Raises:
        UserError: The configuration names what does not exist, `out` holds another finished dataset, or no sample is
            left.
        InfrastructureError: The machine caused an error, also after retries; the next build resumes.
        ValueError: The ledger does not balance.
    """
    require_local(out)
    beam_options(config.beam_options)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the dataset")
    with infrastructure_errors(f"building {out}"):
        build = _Build(config, out)
        dataset = build.run()
    build.tidy(dataset)
    return dataset


class _Build:
    """A run over the steps. Each returns what it committed, whether now or in an earlier run."""

    def __init__(self, config: CorpusConfig, out: Path) -> None:
        self._config = config
        self._out = out
        self._staging = (out / STAGING).resolve()
        self._provenance = provenance(config)

    def run(self) -> Dataset:
        if (self._out / MANIFEST).is_file():
            return self._open_finished()
        self._start()
        annotated = self._annotate()
        samples = self._make_samples(annotated)
        kept = sum(step.kept for step in samples.accounts if step.name in samples.producers)
        require_samples(self._config.name, kept, (*annotated.accounts, *samples.accounts))
        parts = sorted(part for paths in samples.parts.values() for part in paths)
        tokenizer = self._settle_tokenizer(parts)
        infos, shards = self._write_shards(parts, tokenizer)
        results = (annotated, samples, shards)
        ledger = Ledger.merge(step for result in results for step in result.accounts)
        check_ledger(ledger, samples.producers)
        dead_letters = read_rows(
            (part for result in results for part in result.dead_letters), DeadLetter.model_validate_json
        )
        # In an order that no runner changes.
        ordered = sorted(dead_letters, key=lambda record: (record.step, record.source, record.error, record.reason))
        write_dead_letters(self._out / DEAD_LETTERS, ordered)
        return commit(
            self._out,
            name=self._config.name,
            shards=infos,
            ledger=ledger.steps,
            counting=Counting(
                tokenizer=tokenizer,
                tokenizer_sha256=fingerprint(load_tokenizer(self._tokenizer_path(tokenizer))),
                image=self._config.tokens.image,
            ),
            config=self._provenance.record(),
            code_version=code_version("step3vl.data", "step3vl.pipelines"),
        )

    def _open_finished(self) -> Dataset:
        """The finished dataset, which nothing replaces."""
        differences = compare(self._provenance, self._out)
        if differences:
            raise UserError(
                f"{self._out} holds a finished dataset, which differs in {'; '.join(differences)}; "
                "give another folder, or --force to set it aside and build again"
            )
        _log.info("%s is already built from this configuration and input", self._out)
        return Dataset.open(self._out)

    def _start(self) -> None:
        """Remove the shards of an attempt that did not commit."""
        if not self._staging.exists() and (self._out / "shards").exists():
            raise UserError(f"{self._out} has a folder `shards` that no build of ours left; give another folder")
        self._staging.mkdir(parents=True, exist_ok=True)  # first, so that the shards stay ours whenever this is killed
        shutil.rmtree(self._out / "shards", ignore_errors=True)

    def tidy(self, dataset: Dataset) -> None:
        """Do what follows the commit, unless it is done: write the card, and remove the staging folder."""
        if self._staging.exists():
            with infrastructure_errors(f"{self._out} is committed; writing its card", AGAIN):
                write_card(dataset, self._out, read_dead_letters(self._out / DEAD_LETTERS))
                shutil.rmtree(self._staging)

    def _staged(
        self, name: str, steps: Iterable[tuple[DomainEntry, Domain | ModelStep]], *versions: object
    ) -> StagedStep:
        """A step of these entries, named by all that its result depends on."""
        depends = {
            entry.name: (entry.model_dump(mode="json"), self._provenance.inputs[entry.name], step.version)
            for entry, step in steps
        }
        return StagedStep(self._staging, name, digest(STAGING_VERSION, self._config.seed, depends, versions))

    def _annotate(self) -> StepResult:
        """Steps prepare and annotate: the annotated rows of every entry with a model step."""
        models = [
            (entry, model_step)
            for entry in self._config.domains
            if (model_step := DOMAINS[entry.domain].model_step) is not None
        ]
        if not models:
            return StepResult()
        step = self._staged("annotate", models)
        if (committed := step.result) is not None:
            return committed
        prepared = self._prepare(models)
        step.start()
        accounts, dead_letters = list(prepared.accounts), list(prepared.dead_letters)
        parts: dict[str, tuple[str, ...]] = {}
        for entry, model in models:
            _log.info("%s: running the model with %d workers", entry.name, self._config.workers)
            rows = list(read_rows(prepared.parts[entry.name], model.row.model_validate_json))
            result = annotate(
                f"{entry.name}.{model.name}", rows, model.annotator, model.row, model.annotated, self._config.workers
            )
            check_failures([result.account], iter(result.dead_letters))
            accounts.append(result.account)
            paths = step.folder / f"{entry.name}.parquet", step.folder / f"{entry.name}-dead-letters.parquet"
            write_rows(paths[0], map(dump_model, result.rows))
            write_rows(paths[1], map(dump_model, result.dead_letters))
            parts[entry.name] = (str(paths[0]),)
            dead_letters.append(str(paths[1]))
        return step.commit(
            StepResult(accounts=tuple(accounts), dead_letters=tuple(dead_letters), parts=parts, files=prepared.files)
        )

    def _prepare(self, models: _Models) -> StepResult:
        """Step prepare: the rows that models read."""
        step = self._staged("prepare", models)
        if (committed := step.result) is not None:
            return committed
        _log.info("preparing %s", ", ".join(entry.name for entry, _ in models))
        step.start()

        def wire(pipeline: beam.Pipeline) -> None:
            outputs: list[StepOutputs] = []
            for entry, model in models:
                outputs += pipeline | ApplySteps(entry, self._config.seed, model.prepare)
                _stage(outputs[-1], entry, model.dump, step.folder)
            collect_accounts(outputs, step.folder, pipeline)

        run_pipeline("prepare", self._config.beam_options, wire)
        parts = _read_parts([entry for entry, _ in models], step.folder)
        return step.commit(read_accounts(step.folder).model_copy(update={"parts": parts}))

    def _make_samples(self, annotated: StepResult) -> StepResult:
        """Step samples."""
        config = self._config
        domains = [(entry, DOMAINS[entry.domain]) for entry in config.domains]
        models = {entry.name: domain.model_step.version for entry, domain in domains if domain.model_step}
        step = self._staged("samples", domains, models)
        if (committed := step.result) is not None:
            return committed
        _log.info("making samples of %s", ", ".join(entry.name for entry in config.domains))
        step.start()
        producers: list[str] = []

        def wire(pipeline: beam.Pipeline) -> None:
            outputs: list[StepOutputs] = []
            for entry, domain in domains:
                begin: Any = pipeline
                if domain.model_step is not None:
                    load = domain.model_step.annotated.model_validate_json
                    begin |= f"{entry.name} rows" >> ReadRecords(annotated.parts[entry.name], load)
                outputs += begin | ApplySteps(entry, config.seed, domain.build)
                producers.append(outputs[-1].name)
                # Before anything is shuffled, so no image's bytes ever travel.
                _stage(outputs[-1], entry, dump_sample, step.folder)
            collect_accounts(outputs, step.folder, pipeline)

        run_pipeline("samples", config.beam_options, wire)
        update = {
            "parts": _read_parts(config.domains, step.folder),
            "producers": tuple(producers),
            "files": annotated.files,
        }
        return step.commit(read_accounts(step.folder).model_copy(update=update))

    def _settle_tokenizer(self, parts: list[str]) -> str:
        """The name of the tokenizer as the manifest gives it; a trained one is written into the dataset."""
        choice = self._config.tokens.tokenizer
        if isinstance(choice, str):
            return choice if choice == "qwen3" else str(Path(choice).resolve())
        _log.info("training a tokenizer of %d ids", choice.train)
        path = self._out / TOKENIZER
        path.parent.mkdir(exist_ok=True)
        train_bpe(_texts(parts), choice.train).save(str(path))
        return TOKENIZER

    def _tokenizer_path(self, name: str) -> str:
        return str((self._out / name).resolve()) if name == TOKENIZER else name

    def _write_shards(self, parts: list[str], tokenizer: str) -> tuple[list[ShardInfo], StepResult]:
        """Step shards. It always runs: it is quick, and its output is the dataset itself."""
        config = self._config
        step = StagedStep(self._staging, "shards", digest(self._provenance.record()))
        _log.info("writing shards")
        step.start()
        sharding = Sharding(self._out.resolve(), config.name, config.shards, config.heldout)

        def wire(pipeline: beam.Pipeline) -> None:
            write = WriteShards(parts, sharding, self._tokenizer_path(tokenizer), config.tokens.image)
            shards = pipeline | write
            _ = shards.infos | CollectJson(step.folder / "infos.json")
            collect_accounts([shards.counted], step.folder, pipeline, shards.accounts)

        run_pipeline("shards", config.beam_options, wire)
        infos = [ShardInfo.model_validate(info) for info in read_list(step.folder / "infos.json")]
        return infos, read_accounts(step.folder)


def _parts_file(entry: DomainEntry, folder: Path) -> Path:
    return folder / f"parts-{entry.name}.json"


def _stage(
    output: StepOutputs[Any], entry: DomainEntry, dump: Callable[[Any, ImagePartWriter], str], folder: Path
) -> None:
    """Stage what an entry's step keeps in `folder`, where `_read_parts` finds it."""
    parts = output.kept | f"{entry.name} staged" >> StageRows(folder, entry.name, dump)
    _ = parts | f"{entry.name} parts" >> CollectJson(_parts_file(entry, folder))


def _read_parts(entries: Iterable[DomainEntry], folder: Path) -> dict[str, tuple[str, ...]]:
    """The parts of each entry that `_stage` left."""
    return {entry.name: tuple(read_list(_parts_file(entry, folder))) for entry in entries}


def _texts(parts: Iterable[str]) -> Iterator[str]:
    """All text of the staged samples."""
    for sample in read_rows(parts, load_sample):
        yield from (part.text for part in sample.parts() if isinstance(part, TextPart))
        yield from (message.reasoning_content for message in sample.messages or () if message.reasoning_content)
