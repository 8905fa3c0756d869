"""The build: a configuration becomes a committed dataset, in phases that a second run takes up where the first died.

pages    Beam   documents -> staged pages                         (only for `ocr.document_to_text`)
read     Ray    staged pages -> pages with the lines that OCR read     (the same)
samples  Beam   source records -> staged samples, of every domain
count    -      the tokenizer: loaded, or trained on the staged text
shards   Beam   staged samples -> shards; then `dataset.json`, the data card, and the staging folder goes
"""

import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from step3vl.data.card import write_card
from step3vl.data.config import Config
from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import MANIFEST, Counting, Dataset, ShardInfo, code_version, commit
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.data.ledger import DeadLetter, Ledger, Step
from step3vl.data.sample import Sample, TextPart
from step3vl.data.sharding import ShardTarget
from step3vl.data.spill import STEP as SINK
from step3vl.data.tokens import TOKENIZER, fingerprint, load_tokenizer, train_bpe
from step3vl.pipelines.domains.education import EducationEntry, PoseVerifiedProblems
from step3vl.pipelines.domains.grounding import GroundingEntry, GroundScenes
from step3vl.pipelines.domains.maps import GroundMaps, MapsEntry
from step3vl.pipelines.domains.ocr_documents import DocumentsEntry, StagePages, TranscribeDocuments, read_pages
from step3vl.pipelines.domains.ocr_synthetic import ReadDrawnText, SyntheticEntry
from step3vl.pipelines.runner import CollectJson, beam_options, flatten, run_pipeline
from step3vl.pipelines.sink import Sharding, WriteShards
from step3vl.pipelines.staging import (
    Phase,
    StageRows,
    digest,
    digest_files,
    letter_row,
    read_rows,
    sample_row,
    write_rows,
)
from step3vl.pipelines.steps import Outcome

_log = logging.getLogger(__name__)

STAGING = ".staging"
LETTERS = "dead_letters.parquet"

Entry = Annotated[
    DocumentsEntry | SyntheticEntry | GroundingEntry | MapsEntry | EducationEntry, Field(discriminator="domain")
]
_TRANSFORMS: dict[type, Any] = {
    SyntheticEntry: ReadDrawnText,
    GroundingEntry: GroundScenes,
    MapsEntry: GroundMaps,
    EducationEntry: PoseVerifiedProblems,
}


class TrainedTokenizer(Config):
    """A BPE of this many ids (the added tokens included), trained on the corpus' own text."""

    train: int = Field(gt=0)


class TokensConfig(Config):
    """How tokens are counted: `qwen3`, a path to a tokenizer, or one to train; and the sizes of crops."""

    tokenizer: str | TrainedTokenizer = "qwen3"
    image: ImageSpec = ImageSpec()


class CorpusConfig(Config):
    """A corpus.

    shards: of each split: a number, or how large they should be. heldout: the fraction of samples kept out of
    training. workers: Ray actors for OCR. beam_options: Beam's own command-line options, such as
    `--direct_num_workers=2`.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    seed: int = 0
    shards: Annotated[int, Field(gt=0, le=99999)] | ShardTarget = 4
    heldout: float = Field(default=0.05, ge=0, lt=1)
    tokens: TokensConfig = TokensConfig()
    workers: int = Field(default=2, gt=0)
    beam_options: tuple[str, ...] = ()
    domains: tuple[Entry, ...] = Field(min_length=1)

    @field_validator("domains")
    @classmethod
    def _names_differ(cls, domains: tuple[Entry, ...]) -> tuple[Entry, ...]:
        names = [entry.name for entry in domains]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two entries are named {name!r}; give each its own name")
        return domains

    def content(self) -> dict[str, Any]:
        """The configuration without what cannot change the result: workers and runner."""
        return self.model_dump(mode="json", exclude={"workers", "beam_options"})


def build_corpus(config: CorpusConfig, out: Path) -> Dataset:
    """Build the dataset at `out`, or finish a build that died, or open it when it is already built from just this.

    Raises UserError when the configuration names what is not there, and ValueError when the ledger does not balance.
    """
    beam_options(config.beam_options)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the dataset")
    return _Build(config, out).run()


class _Build:
    """One run over the phases. Each phase returns what it committed, whether now or in an earlier run."""

    def __init__(self, config: CorpusConfig, out: Path) -> None:
        self._config = config
        self._out = out
        self._staging = (out / STAGING).resolve()
        self._inputs = digest_files(path for entry in config.domains for path in entry.files())
        self._code = code_version("step3vl.data", "step3vl.pipelines")
        self._fingerprint = digest(config.content(), self._inputs, self._code)

    def run(self) -> Dataset:
        if built := self._built():
            _log.info("%s is already built from this configuration, code and input", self._out)
            return built
        self._clear()
        pages = self._read_pages()
        samples = self._make_samples(pages)
        tokenizer = self._settle_tokenizer(samples["parts"])
        shards = self._write_shards(samples["parts"], tokenizer)
        steps = Ledger.merge(
            Step.model_validate(row) for row in [*pages["accounts"], *samples["accounts"], *shards["accounts"]]
        )
        letters = [*read_rows(pages["letters"]), *read_rows(samples["letters"]), *read_rows(shards["letters"])]
        _check_chain(steps)
        letters.sort(key=lambda letter: (letter["step"], letter["source"], letter["reason"]))
        write_letters(self._out / LETTERS, letters)
        dataset = commit(
            self._out,
            name=self._config.name,
            shards=[ShardInfo.model_validate(row) for row in shards["infos"]],
            ledger=steps.steps,
            counting=Counting(
                tokenizer=tokenizer,
                tokenizer_sha256=fingerprint(load_tokenizer(self._tokenizer_path(tokenizer))),
                image=self._config.tokens.image,
            ),
            config={**self._config.content(), "fingerprint": self._fingerprint},
            code_version=self._code,
        )
        return self._tidy(dataset)

    def _built(self) -> Dataset | None:
        """The dataset, if it was committed from just this. A build that died right after is tidied up."""
        if not (self._out / MANIFEST).is_file():
            return None
        try:
            dataset = Dataset.open(self._out)
        except UserError:  # a damaged manifest: build again
            return None
        if dataset.manifest.config.get("fingerprint") != self._fingerprint:
            return None
        return self._tidy(dataset) if self._staging.exists() else dataset

    def _clear(self) -> None:
        """Take away the shards of another configuration or of an attempt that died, manifest first."""
        ours = (self._out / MANIFEST).is_file() or self._staging.exists()
        if not ours and (self._out / "shards").exists():
            raise UserError(f"{self._out} has a folder `shards` that no build of ours left; give another folder")
        self._staging.mkdir(parents=True, exist_ok=True)  # first, so that the shards stay ours whenever this is killed
        (self._out / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self._out / "shards", ignore_errors=True)

    def _tidy(self, dataset: Dataset) -> Dataset:
        """What follows the commit: the card, and the end of the staging folder."""
        rows = pq.read_table(self._out / LETTERS).to_pylist()
        write_card(dataset, self._out, [DeadLetter.model_validate(row) for row in rows])
        shutil.rmtree(self._staging)
        return dataset

    def _phase(self, name: str, *depends: object) -> Phase:
        return Phase(self._staging, name, digest(self._code, *depends))

    def _read_pages(self) -> dict[str, Any]:
        """Phases pages and read."""
        entries = [entry for entry in self._config.domains if isinstance(entry, DocumentsEntry)]
        if not entries:
            return {"accounts": [], "letters": [], "lines": {}}
        depends = [entry.model_dump(mode="json") for entry in entries], self._config.seed, self._inputs
        pages = self._phase("pages", *depends)
        staged = pages.result or self._stage_pages(entries, pages)
        read = self._phase("read", *depends)
        if read.result is not None:
            return read.result
        _log.info("reading pages with %d OCR workers", self._config.workers)
        read.start()
        accounts, letters, lines = list(staged["accounts"]), list(staged["letters"]), {}
        for entry in entries:
            rows, account, dead = read_pages(entry, list(read_rows(staged["pages"][entry.name])), self._config.workers)
            _check_alive([account], (letter.model_dump() for letter in dead))
            accounts.append(account.model_dump(mode="json"))
            lines[entry.name] = str(read.folder / f"{entry.name}.parquet")
            write_rows(Path(lines[entry.name]), rows)
            letters.append(str(read.folder / f"{entry.name}-letters.parquet"))
            write_rows(Path(letters[-1]), [letter.model_dump(mode="json") for letter in dead])
        return read.commit({"accounts": accounts, "letters": letters, "lines": lines})

    def _stage_pages(self, entries: list[DocumentsEntry], phase: Phase) -> dict[str, Any]:
        _log.info("rendering pages")
        phase.start()
        folder = phase.folder

        def wire(pipeline: beam.Pipeline) -> None:
            outcomes: list[Outcome] = []
            for entry in entries:
                parts, made = pipeline | StagePages(entry, self._config.seed, folder)
                _ = parts | f"{entry.name} parts" >> CollectJson(folder / f"{entry.name}.json")
                outcomes += made
            _finish(outcomes, folder, pipeline)

        run_pipeline("pages", self._config.beam_options, wire)
        staged = {entry.name: _read_list(folder / f"{entry.name}.json") for entry in entries}
        return phase.commit({**_finished(folder), "pages": staged})

    def _make_samples(self, pages: dict[str, Any]) -> dict[str, Any]:
        """Phase samples."""
        depends = [entry.model_dump(mode="json") for entry in self._config.domains], self._config.seed, self._inputs
        phase = self._phase("samples", *depends)
        if phase.result is not None:
            return phase.result
        _log.info("making samples of %s", ", ".join(entry.name for entry in self._config.domains))
        phase.start()
        folder, seed = phase.folder, self._config.seed

        def wire(pipeline: beam.Pipeline) -> None:
            outcomes, parts = [], []
            for entry in self._config.domains:
                if isinstance(entry, DocumentsEntry):
                    made = pipeline | TranscribeDocuments(entry, seed, [pages["lines"][entry.name]])
                else:
                    made = [pipeline | _TRANSFORMS[type(entry)](entry, seed)]
                outcomes += made
                # Staged before anything is shuffled, so no picture's bytes ever travel.
                parts.append(made[-1].kept | f"{entry.name} samples" >> StageRows(folder, entry.name, sample_row))
            _ = flatten(parts, "parts", pipeline) | CollectJson(folder / "parts.json")
            _finish(outcomes, folder, pipeline)

        run_pipeline("samples", self._config.beam_options, wire)
        return phase.commit({**_finished(folder), "parts": _read_list(folder / "parts.json")})

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

    def _write_shards(self, parts: list[str], tokenizer: str) -> dict[str, Any]:
        """Phase shards. It is always run: it is quick, and its output is the dataset itself."""
        phase = self._phase("shards", self._fingerprint)
        _log.info("writing shards")
        phase.start()
        folder, config = phase.folder, self._config
        sharding = Sharding(self._out.resolve(), config.name, config.shards, config.heldout)

        def wire(pipeline: beam.Pipeline) -> None:
            shards = pipeline | WriteShards(
                sorted(parts), sharding, self._tokenizer_path(tokenizer), config.tokens.image
            )
            _ = shards.infos | CollectJson(folder / "infos.json")
            _finish([shards.counted], folder, pipeline, shards.accounts)

        run_pipeline("shards", config.beam_options, wire)
        return {**_finished(folder), "infos": _read_list(folder / "infos.json")}


def _check_chain(ledger: Ledger) -> None:
    """Raises ValueError unless every step balances and what one hands on is what the next one reads."""
    ledger.check()
    accounts = {step.name: step for step in ledger.steps}
    built = sum(step.kept for name, step in accounts.items() if name.endswith(".build"))
    counted = accounts["tokens"].kept if "tokens" in accounts else 0
    handed = [("the builders", built, "tokens"), ("tokens", counted, SINK)]
    for giver, given, taker in handed:
        taken = accounts[taker].read if taker in accounts else 0
        if given != taken:
            raise ValueError(f"{giver} handed on {given} samples but step {taker} read {taken}: records were lost")


def _check_alive(steps: Iterable[Step], letters: Iterator[dict[str, Any]]) -> None:
    """Raises UserError when every record of a step failed: that is a mistake in the configuration, not bad records.

    It comes before the phase is committed, so that the next run tries again.
    """
    for step in steps:
        if step.read and sum(step.dead.values()) == step.read:
            first = next(letter for letter in letters if letter["step"] == step.name)
            raise UserError(
                f"{step.name}: all {step.read} records failed, the first ({first['source']}) with {first['error']}: "
                f"{first['reason']}; correct its entry in the configuration"
            )


def write_letters(path: Path, letters: list[dict[str, Any]]) -> None:
    """Dead letters and drops as a Parquet file that stays beside the dataset."""
    schema = pa.schema([(name, pa.string()) for name in ("step", "error", "reason", "source")])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(letters, schema=schema), sink)
    write_durably(path, sink.getvalue().to_pybytes())


def _finish(outcomes: list[Outcome], folder: Path, pipeline: beam.Pipeline, *more_accounts: Any) -> None:
    """Wire the end that all pipelines share: letters staged, accounts collected."""
    letters = flatten([outcome.letters for outcome in outcomes], "letters", pipeline)
    _ = letters | StageRows(folder, "letters", letter_row) | CollectJson(folder / "letters.json")
    accounts = flatten([*(outcome.accounts for outcome in outcomes), *more_accounts], "accounts", pipeline)
    _ = accounts | beam.Map(lambda step: step.model_dump(mode="json")) | CollectJson(folder / "accounts.json")


def _finished(folder: Path) -> dict[str, Any]:
    """What `_finish` left."""
    accounts = Ledger.merge(Step.model_validate(row) for row in _read_list(folder / "accounts.json"))
    letters = _read_list(folder / "letters.json")
    _check_alive(accounts.steps, read_rows(letters))
    return {"accounts": accounts.to_json(), "letters": letters}


def _read_list(path: Path) -> list[Any]:
    return json.loads(path.read_text())


def _texts(parts: list[str]) -> Iterator[str]:
    """All text of the staged samples."""
    for row in read_rows(parts):
        sample = Sample.from_row(row)
        yield from (part.text for part in sample.parts() if isinstance(part, TextPart))
        yield from (message.reasoning_content for message in sample.messages or () if message.reasoning_content)
