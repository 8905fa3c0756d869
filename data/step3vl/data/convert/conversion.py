"""Complete conversions: samples to a committed dataset, or to a folder of another format, by any number of processes.

What a part of the source becomes does not depend on the process, and results are taken in the order of the parts. So
the result is the same with any number of workers.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import Field
from tokenizers import Tokenizer

from step3vl.data.config import Config
from step3vl.data.convert.answers import count_untrained
from step3vl.data.convert.formats import FORMATS
from step3vl.data.convert.record_source import ReadSample, SampleSource
from step3vl.data.convert.records import CONVERT_STEP, RECORD_ERRORS
from step3vl.data.dataset.dead_letters import DEAD_LETTERS, DeadLetterWriter
from step3vl.data.dataset.index import ShardRow
from step3vl.data.dataset.ledger import AnswerTokens, DeadLetter, LedgerStep
from step3vl.data.dataset.manifest import Counting
from step3vl.data.dataset.provenance import code_version
from step3vl.data.dataset.sharding import split_of
from step3vl.data.dataset.sorter import RunWriter, SampleSorter, SortedRun
from step3vl.data.dataset.writer import commit, refuse_dataset_in
from step3vl.data.errors import UserError, infrastructure_errors
from step3vl.data.processes import map_in_processes, map_in_threads, workers_for
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import Sample, TokenCount
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig
from step3vl.data.tokens.encoding import count_sample
from step3vl.data.tokens.vocabulary import TOKENIZER, fingerprint, load_tokenizer

LEDGER_FOLDER = "_account"  # beside what was written; readers of data folders skip such names
LEDGER = "ledger.json"
LEDGER_VERSION = 2  # version 1 was the list of steps alone, with `dead` in place of `failed`; fields may be added
COUNT_STEP = "tokens"
WRITE_STEP = "write"
DATASET = "dataset"
_REQUESTS = 16  # files of a remote folder that are written at a time

R = TypeVar("R", bound="_Part")


class DatasetConfig(Config):
    """The dataset that records are converted to."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    """Name of the dataset."""

    tokenizer: str = "qwen3"
    """The tokenizer that counts tokens; a file or folder, also at a URL, is copied into the dataset."""

    image: ImageSpec = ImageSpec()
    """Sizes and limits of images."""

    shards: int = Field(default=16, ge=1, le=99_999)
    """Shards of each split."""

    heldout: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the samples that is held out."""


class ConversionResult(NamedTuple):
    """The ledger of a conversion, and its first dead letter."""

    steps: tuple[LedgerStep, ...]
    first: DeadLetter | None


class _Part(Protocol):
    """What became of a part of the source."""

    @property
    def dead_letters(self) -> list[DeadLetter]: ...
    @property
    def unused(self) -> Counter[str]: ...


def to_dataset(
    source: SampleSource,
    out: Path | str,
    config: DatasetConfig,
    origin: dict[str, Any],
    *,
    max_failed: float = 1.0,
    store: StoreConfig = DEFAULT_STORE,
    workers: int | None = 1,
) -> ConversionResult:
    """Commit samples as a dataset.

    Memory: a part of the source and 64 MiB of samples for each worker, and about 100 bytes for each sample of the
    shard that it writes. Below TMPDIR is the space of all samples, and of the images that are not local files already.

    Args:
        source: The samples.
        out: Folder or URL of the dataset.
        config: The dataset to make.
        origin: What the samples were converted from, for the dataset's recorded configuration.
        max_failed: The largest fraction of the records that may fail.
        store: How a remote store is used.
        workers: Number of processes; None is one for each core, see `workers_for`.

    Raises:
        UserError: `out` holds a dataset, no record could be converted, or too many failed.
        InfrastructureError: The machine caused an error, such as a full disk.
    """
    files, workers = Store(str(out), store), workers_for((out, *source.urls), workers)
    refuse_dataset_in(files)
    counted = parts = 0
    answers = AnswerTokens(total=0, trained=0)
    with infrastructure_errors(f"converting to {out}"), SampleSorter(config.shards) as sorter:
        sort = _Sort(source.convert, sorter.folder, config, store)
        with (
            DeadLetterWriter(files.absolute(DEAD_LETTERS), store) as dead_letters,
            closing(_parts(sort, source, workers, dead_letters)) as sorted_parts,  # before the sorter's folder is gone
        ):
            for part in sorted_parts:
                sorter.add_runs(part.runs)
                counted, answers, parts = counted + part.counted, answers + part.answers, parts + 1
        steps = _account(dead_letters, COUNT_STEP, counted, source, max_failed)
        if answers.total:
            steps = steps[0], steps[1].model_copy(update={"answers": answers})
        shards, written = sorter.write(str(out), config.name, store=store, workers=workers if parts > 1 else 1)
        tokenizer = sort.tokenizer
        if config.tokenizer != "qwen3":
            files.put(TOKENIZER, tokenizer.to_str(pretty=True).encode())
        name = config.tokenizer if config.tokenizer == "qwen3" else TOKENIZER
        recorded = config.model_dump(mode="json", exclude={"tokenizer", "image"})
        commit(
            str(out),
            name=config.name,
            shards=shards,
            ledger=[*steps, written],
            counting=Counting(tokenizer=name, tokenizer_sha256=fingerprint(tokenizer), image=config.image),
            config={"convert": {**recorded, **origin}},
            code_version=code_version("step3vl.data"),
            store=store,
        )
    return ConversionResult((*steps, written), dead_letters.first)


def _parts(
    function: Callable[[Any], R], source: SampleSource, workers: int, dead_letters: DeadLetterWriter
) -> Generator[R, None, None]:
    """What becomes of each part, in order, whose dead letters are written; a source of one part needs one process."""
    first = list(islice(source.parts, 2))
    for part in map_in_processes(function, chain(first, source.parts), workers if len(first) > 1 else 1):
        source.unused.update(part.unused)
        for dead_letter in part.dead_letters:
            dead_letters.add(dead_letter)
        yield part


class _Sorted(NamedTuple):
    """A part of which so many samples were counted, with the tokens of their answers, and written in runs."""

    counted: int
    answers: AnswerTokens
    runs: list[SortedRun]
    dead_letters: list[DeadLetter]
    unused: Counter[str]


class _Sort:
    """Counts the tokens of the samples of a part and writes them in runs. It can be pickled before it is used."""

    def __init__(
        self, convert: Callable[..., Iterator[ReadSample]], folder: Path, config: DatasetConfig, store: StoreConfig
    ) -> None:
        self._convert, self._folder, self._config, self._store = convert, folder, config, store

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._config.tokenizer, self._store)

    @cached_property
    def _writer(self) -> RunWriter:
        return RunWriter(self._folder, self._config.shards)

    def __call__(self, part: Any) -> _Sorted:
        counted = trained = untrained = 0
        dead_letters: list[DeadLetter] = []
        unused: Counter[str] = Counter()
        for item in self._convert(part, unused):
            if not isinstance(item, Sample):
                dead_letters.append(item)
                continue
            try:
                tokens, left = self._add(item)
            except RECORD_ERRORS as error:
                dead_letters.append(DeadLetter.from_error(error, step=COUNT_STEP, source=item.source.uri))
                continue
            counted += 1
            trained, untrained = trained + tokens, untrained + left
        answers = AnswerTokens(total=trained + untrained, trained=trained)
        return _Sorted(counted, answers, self._writer.finish(), dead_letters, unused)

    def _add(self, sample: Sample) -> tuple[int, int]:
        """Write a sample in a run. Returns the tokens of its answers that are trained, and of those that are not."""
        counted = count_sample(sample, self.tokenizer, self._config.image)
        if sample.images:
            sample = sample.model_copy(update={"images": tuple(map(self._writer.stage, sample.images))})
        tokens = TokenCount(text=counted.text, image=counted.image)
        self._writer.add(split_of(sample.id, self._config.heldout), ShardRow.of(sample, tokens=tokens))
        return 0 if sample.messages is None else counted.trained, count_untrained(sample, self.tokenizer)


def to_files(
    source: SampleSource,
    out: Path | str,
    format_name: str,
    *,
    max_failed: float = 1.0,
    store: StoreConfig = DEFAULT_STORE,
    workers: int | None = 1,
) -> ConversionResult:
    """Write samples into a new folder, with the ledger and the dead letters.

    A local folder appears when it is complete. At a URL the ledger, `_account/ledger.json`, is written last, and what
    was written before an error stays.

    Args:
        source: The samples.
        out: Folder or URL.
        format_name: A key of `FORMATS`.
        max_failed: The largest fraction of the records that may fail.
        store: How a remote store is used.
        workers: Number of processes; None is one for each core, see `workers_for`.

    Raises:
        UserError: `out` exists, the format is only read, no sample could be written, or too many failed.
        InfrastructureError: The machine caused an error, such as a full disk.
    """
    writer = FORMATS[format_name].writer
    if writer is None:
        raise UserError(f"{format_name} is only read; write another format, such as openai")
    kept, workers = 0, workers_for((out, *source.urls), workers)
    with infrastructure_errors(f"converting to {out}"), _new_folder(Store(str(out), store)) as files:
        account = files.absolute(f"{LEDGER_FOLDER}/{DEAD_LETTERS}")
        encode = _Encode(source.convert, format_name, files)
        with (
            DeadLetterWriter(account, store) as dead_letters,
            writer.open(files) as write,
            closing(_parts(encode, source, workers, dead_letters)) as encoded_parts,
        ):
            for part in encoded_parts:
                for record in part.records:
                    write(record)
                kept += len(part.records)
            steps = _account(dead_letters, WRITE_STEP, kept, source, max_failed)
        ledger = {"version": LEDGER_VERSION, "steps": [step.model_dump() for step in steps]}
        files.put(f"{LEDGER_FOLDER}/{LEDGER}", json.dumps(ledger, indent=1).encode())
    return ConversionResult(steps, dead_letters.first)


@contextmanager
def _new_folder(out: Store) -> Iterator[Store]:
    """Where the files of a new folder are written; after an error those of a local one are removed.

    Raises:
        UserError: The folder exists, or there are files below the URL.
    """
    if not out.local:
        if next(out.entries(""), None) is not None:
            raise UserError(f"{out.url} holds files already; give another URL, or remove them first")
        yield out
        return
    folder = Path(out.path(""))
    if folder.exists():
        raise UserError(f"{out.url} exists already; give a new folder")
    draft = Store(str(folder.with_name(f".{folder.name}.tmp")), out.config)
    draft.remove_folder("")
    try:
        Path(draft.path("")).mkdir(parents=True)
        yield draft
        Path(draft.path("")).replace(folder)
    finally:
        draft.remove_folder("")  # it was moved unless something failed


class _Encoded(NamedTuple):
    """The records of a part."""

    records: list[Any]
    dead_letters: list[DeadLetter]
    unused: Counter[str]


class _Encode:
    """Encodes the samples of a part as records of a format. It can be pickled."""

    def __init__(self, convert: Callable[..., Iterator[ReadSample]], format_name: str, files: Store) -> None:
        self._convert, self._format, self._files = convert, format_name, files

    def __call__(self, part: Any) -> _Encoded:
        encoded = _Encoded([], [], Counter())
        samples = self._convert(part, encoded.unused)
        for item in map_in_threads(self._encode, samples, 1 if self._files.local else _REQUESTS):
            (encoded.dead_letters if isinstance(item, DeadLetter) else encoded.records).append(item)
        return encoded

    def _encode(self, item: ReadSample) -> Any:
        """The record of a sample, or the dead letter that says why there is none."""
        writer = FORMATS[self._format].writer
        assert writer is not None
        if isinstance(item, DeadLetter):
            return item
        try:
            return writer.encode(item, self._files)
        except RECORD_ERRORS as error:
            return DeadLetter.from_error(error, step=WRITE_STEP, source=item.id)


def _account(
    dead_letters: DeadLetterWriter, step: str, kept: int, source: SampleSource, max_failed: float
) -> tuple[LedgerStep, LedgerStep]:
    """The counts of reading, and of a step that kept so many of what was read.

    Raises:
        UserError: Nothing was kept, or too much failed.
    """
    last = dead_letters.ledger_step(step, kept)
    first = dead_letters.ledger_step(CONVERT_STEP, last.read)
    check_failed(first.read, kept, dead_letters.first, max_failed)
    return first.model_copy(update={"unused": dict(sorted(source.unused.items()))}), last


def check_failed(read: int, kept: int, first: DeadLetter | None, max_failed: float) -> None:
    """Refuse a conversion of which too little is left.

    Args:
        read: Records.
        kept: Those that became samples.
        first: The first that failed.
        max_failed: The largest fraction that may fail.

    Raises:
        UserError: Nothing was kept, or too much failed.
    """
    example = f"; the first, {first.source}: {first.reason}" if first else ""
    if not kept:
        raise UserError(f"no record could be converted{example}; check that the format is the right one")
    failed = read - kept
    if failed > max_failed * read:
        raise UserError(
            f"{failed:,} of {read:,} records ({failed / read:.2%}) failed, more than the {max_failed:.2%} "
            f"of --max-dead{example}"
        )
