"""Complete conversions: records to a committed dataset, and a dataset or records to another format."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field
from tokenizers import Tokenizer

from step3vl.data.config import Config
from step3vl.data.convert.answers import count_answers
from step3vl.data.convert.formats import FORMATS
from step3vl.data.convert.records import CONVERT_STEP, RECORD_ERRORS, RecordDefaults, convert_records
from step3vl.data.convert.source_files import require_source
from step3vl.data.convert.writers import SampleWriter
from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.dead_letters import DEAD_LETTERS, DeadLetterWriter
from step3vl.data.dataset.ledger import AnswerTokens, DeadLetter, LedgerStep
from step3vl.data.dataset.manifest import Counting, Split
from step3vl.data.dataset.provenance import code_version
from step3vl.data.dataset.sharding import split_of
from step3vl.data.dataset.sorter import SampleSorter, duplicate_rank
from step3vl.data.dataset.writer import commit, refuse_existing_dataset
from step3vl.data.errors import UserError, infrastructure_errors
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import Sample, TokenCount
from step3vl.data.storage.files import require_local, write_durably
from step3vl.data.tokens.encoding import encode_sample
from step3vl.data.tokens.vocabulary import fingerprint, load_tokenizer, save_tokenizer

LEDGER_FOLDER = "_account"  # beside what was written; readers of data folders skip such names
LEDGER = "ledger.json"
LEDGER_VERSION = 2  # version 1 was the list of steps alone, with `dead` in place of `failed`; fields may be added
COUNT_STEP = "tokens"
WRITE_STEP = "write"
DATASET = "dataset"

SampleStream = Iterator[Sample | DeadLetter]


class DatasetConfig(Config):
    """The dataset that records are converted to."""

    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    """Name of the dataset."""

    tokenizer: str = "qwen3"
    """The tokenizer that counts tokens; a file or folder is copied into the dataset."""

    image: ImageSpec = ImageSpec()
    """Sizes and limits of images."""

    shards: int = Field(default=16, ge=1, le=99_999)
    """Shards of each split. Memory is bounded by one shard's rows."""

    heldout: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the samples that is held out."""


class ConversionResult(NamedTuple):
    """The ledger of a conversion, and its first dead letter."""

    steps: tuple[LedgerStep, ...]
    first: DeadLetter | None


def read_records(
    source: Path,
    format_name: str,
    defaults: RecordDefaults,
    *,
    limit: int | None = None,
    unused: Counter[str] | None = None,
) -> SampleStream:
    """Read the records of a file or folder.

    Args:
        source: The file or folder.
        format_name: A key of `FORMATS`.
        defaults: What the records do not say.
        limit: Read only so many records.
        unused: Receives the number of samples in which a field was not used, by its dotted name.

    Returns:
        Samples and dead letters in the order of the records.

    Raises:
        UserError: There is nothing to read.
    """
    require_source(source)
    kind = FORMATS[format_name]
    folder = defaults.folder(source) if kind.names_files else None
    try:
        records = islice(kind.records(source), limit)
        yield from convert_records(records, kind.to_sample, defaults, folder, Counter() if unused is None else unused)
    except ValueError as error:
        raise UserError(f"{error}; give a file or folder in the format {format_name}") from None


def read_dataset(dataset: Dataset, split: Split | None = None, task: str | None = None) -> SampleStream:
    """Read the samples of a dataset in the order of its shards; damaged ones become dead letters.

    Args:
        dataset: The dataset.
        split: Only this split.
        task: Only tasks that match this shell pattern.
    """
    for batch in dataset.index_batches(["id", "offset", "size"], split=split, task=task):
        for row in batch.to_pylist():
            try:
                yield dataset.read(row["shard"], row["offset"], row["size"])
            except DamagedSample as error:
                yield DeadLetter.from_error(error, step=CONVERT_STEP, source=row["id"])


def to_dataset(
    samples: SampleStream,
    out: Path,
    config: DatasetConfig,
    origin: dict[str, Any],
    *,
    unused: Mapping[str, int] | None = None,
    max_failed: float = 1.0,
) -> ConversionResult:
    """Commit samples as a dataset.

    Args:
        samples: Samples and dead letters.
        out: Folder of the dataset.
        config: The dataset to make.
        origin: What the samples were converted from, for the dataset's recorded configuration.
        unused: What `read_records` counts of fields that were not used, for the ledger.
        max_failed: The largest fraction of the records that may fail.

    Raises:
        UserError: `out` holds a dataset, no record could be converted, or too many failed.
        InfrastructureError: The machine caused an error, such as a full disk.
    """
    refuse_existing_dataset(out)
    with infrastructure_errors(f"converting to {out}"):
        out.mkdir(parents=True, exist_ok=True)
        tokenizer = load_tokenizer(config.tokenizer)
        dead_letters = DeadLetterWriter(out / DEAD_LETTERS)
        with SampleSorter(config.shards) as sorter:
            counted, answers = _sort(samples, sorter, dead_letters, tokenizer, config)
            steps = _finish(dead_letters, COUNT_STEP, counted, unused, max_failed)
            shards, written = sorter.write(out, config.name)
        if answers.total:
            steps = steps[0], steps[1].model_copy(update={"answers": answers})
        name = save_tokenizer(config.tokenizer, tokenizer, out)
        recorded = config.model_dump(mode="json", exclude={"tokenizer", "image"})
        commit(
            out,
            name=config.name,
            shards=shards,
            ledger=[*steps, written],
            counting=Counting(tokenizer=name, tokenizer_sha256=fingerprint(tokenizer), image=config.image),
            config={"convert": {**recorded, **origin}},
            code_version=code_version("step3vl.data"),
        )
    return ConversionResult((*steps, written), dead_letters.first)


def _sort(
    samples: SampleStream,
    sorter: SampleSorter,
    dead_letters: DeadLetterWriter,
    tokenizer: Tokenizer,
    config: DatasetConfig,
) -> tuple[int, AnswerTokens]:
    """Count the tokens of samples and add them to the sorter. Returns their number and the tokens of their answers."""
    counted = total = trained = 0
    for sample in _readable(samples, dead_letters):
        try:
            encoded = encode_sample(sample, tokenizer, config.image)
            images = tuple(sorter.stage(image) for image in sample.images)
        except RECORD_ERRORS as error:
            dead_letters.add(DeadLetter.from_error(error, step=COUNT_STEP, source=sample.source.uri))
            continue
        counted += 1
        answers = count_answers(sample, encoded, tokenizer)
        total, trained = total + answers.total, trained + answers.trained
        tokens = TokenCount(text=len(encoded.input_ids) - encoded.image_tokens, image=encoded.image_tokens)
        row = sample.model_copy(update={"tokens": tokens, "images": images}).to_row()
        sorter.add(sample.id, split_of(sample.id, config.heldout), duplicate_rank(row), row)
    return counted, AnswerTokens(total=total, trained=trained)


def to_files(
    samples: SampleStream,
    out: Path,
    format_name: str,
    *,
    unused: Mapping[str, int] | None = None,
    max_failed: float = 1.0,
) -> ConversionResult:
    """Write samples into a new folder, with the ledger and the dead letters; the folder appears when it is complete.

    Args:
        samples: Samples and dead letters.
        out: The new folder.
        format_name: A key of `FORMATS`.
        unused: What `read_records` counts of fields that were not used, for the ledger.
        max_failed: The largest fraction of the records that may fail.

    Raises:
        UserError: `out` exists, the format is only read, no sample could be written, or too many failed.
        InfrastructureError: The machine caused an error, such as a full disk.
    """
    require_local(out)
    write = FORMATS[format_name].write
    if write is None:
        raise UserError(f"{format_name} is only read; write another format, such as openai")
    if out.exists():
        raise UserError(f"{out} exists already; give a new folder")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    account = temporary / LEDGER_FOLDER
    try:
        with infrastructure_errors(f"converting to {out}"):
            account.mkdir(parents=True)
            dead_letters = DeadLetterWriter(account / DEAD_LETTERS)
            kept = _write(samples, write(temporary), dead_letters)
            steps = _finish(dead_letters, WRITE_STEP, kept, unused, max_failed)
            ledger = {"version": LEDGER_VERSION, "steps": [step.model_dump() for step in steps]}
            write_durably(account / LEDGER, json.dumps(ledger, indent=1).encode())
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # it was moved unless something failed
    return ConversionResult(steps, dead_letters.first)


def _write(samples: SampleStream, writer: SampleWriter, dead_letters: DeadLetterWriter) -> int:
    """Write samples. Returns how many were written."""
    kept = 0
    for sample in _readable(samples, dead_letters):
        try:
            writer.add(sample)
        except RECORD_ERRORS as error:
            dead_letters.add(DeadLetter.from_error(error, step=WRITE_STEP, source=sample.id))
        else:
            kept += 1
    writer.close()
    return kept


def _readable(samples: SampleStream, dead_letters: DeadLetterWriter) -> Iterator[Sample]:
    """The samples of a stream, whose dead letters are written."""
    for sample in samples:
        if isinstance(sample, DeadLetter):
            dead_letters.add(sample)
        else:
            yield sample


def _finish(
    dead_letters: DeadLetterWriter, step: str, kept: int, unused: Mapping[str, int] | None, max_failed: float
) -> tuple[LedgerStep, LedgerStep]:
    """Complete the dead letters; the counts of reading, and of a step that kept so many of what was read.

    Raises:
        UserError: Nothing was kept, or too much failed.
    """
    dead_letters.close()
    last = dead_letters.ledger_step(step, kept)
    first = dead_letters.ledger_step(CONVERT_STEP, last.read)
    dead = dead_letters.first
    example = f"; the first, {dead.source}: {dead.reason}" if dead else ""
    if not kept:
        raise UserError(f"no record could be converted{example}; check that the format is the right one")
    failed = first.read - kept
    if failed > max_failed * first.read:
        raise UserError(
            f"{failed:,} of {first.read:,} records ({failed / first.read:.2%}) failed, more than the {max_failed:.2%} "
            f"of --max-dead{example}"
        )
    return first.model_copy(update={"unused": dict(sorted((unused or {}).items()))}), last
