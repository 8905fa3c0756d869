"""What all readers and writers share: source records, their conversion to samples, and what became of their fields."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, TypeAdapter

from step3vl.data.config import Config
from step3vl.data.convert.fields import Fields, require_used
from step3vl.data.convert.image_loader import PLACEHOLDER, ImageFolder, ImageLoader
from step3vl.data.convert.turns import Trained, check_turns, train_turns
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.processes import map_in_threads
from step3vl.data.sample.parts import Image, ImagePart, Part, TextPart
from step3vl.data.sample.sample import Message, Sample, Source
from step3vl.data.sample.truth import TextTruth, Truth

CONVERT_STEP = "convert"  # the ledger step of reading
EXTRA = "step3vl"  # the key under which a written record keeps what the format has no field for

_REQUESTS = 16  # images of a remote folder that are fetched at a time

_TRUTH: TypeAdapter[Truth] = TypeAdapter(Truth)

# The errors that a record can cause; any other is a bug of ours and stops the run. Of these, `DeadLetter.from_error`
# raises again what the machine caused.
RECORD_ERRORS = (ValueError, OSError, RecursionError, OverflowError)


class RecordDefaults(Config):
    """What records do not say about themselves, as only records written by this project do."""

    domain: str = "converted"
    """Domain of the samples."""

    task: str = "converted"
    """Task of the samples."""

    licence: str = "unknown"
    """Licence of the records."""

    images: str | Path | None = None
    """Folder or URL that paths of images are relative to, and inside; by default that of the records' files."""

    trained: Trained | None = None
    """Which answers are trained where their turns have no weight: `all`, or those after the `last` question. By
    default all, unless reasoning of earlier answers would be stripped by the template; of records of StepFun's
    framework those after the last question, as there."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Names of fields: what a reader knows as `question` may be `problem` in the records."""

    ignore: tuple[str, ...] = ()
    """Fields to leave out though they change the meaning, by their dotted names."""


class SourceRecord(NamedTuple):
    """A record of a file. `where` identifies it by the file and its number or key there."""

    where: str
    value: Any


RecordConverter = Callable[[SourceRecord, RecordDefaults, ImageLoader], Sample]


class RecordCodec(NamedTuple):
    """Encodes a sample and the names of its images as a record, and decodes a record and its images by name."""

    to_record: Callable[[Sample, list[str]], dict[str, Any]]
    to_sample: RecordConverter

    def read_back(self, record: Mapping[str, Any], images: Mapping[str, Image]) -> Sample:
        """The sample of a written record, whose images have these names."""
        return self.to_sample(SourceRecord("", record), RecordDefaults(), ImageLoader(None, images))


def flatten(parts: Sequence[Part]) -> str:
    """The inverse of `RecordImages.interleave`."""
    return "".join(PLACEHOLDER if isinstance(part, ImagePart) else part.text for part in parts)


def build_sample(
    record: Fields,
    defaults: RecordDefaults,
    where: str,
    loader: ImageLoader,
    *,
    format_name: str,
    messages: Sequence[Message] | None = None,
    content: Sequence[Part] | None = None,
    rejected: Message | None = None,
    tools: Sequence[dict[str, Any]] = (),
    truth: Truth | None = None,
    trained: Trained | None = None,
) -> Sample:
    """Build the sample of a record.

    Args:
        record: The record; what it keeps under `step3vl` takes precedence.
        defaults: What the record does not say.
        where: What identifies the record.
        loader: The loader of its images.
        format_name: The format that it is in.
        messages: The turns of a conversation; or else `content`.
        content: The parts of a document; or else `messages`.
        rejected: The answer that was rejected in favour of the last turn.
        tools: Signatures of the functions that a conversation may call.
        truth: What makes the answer verifiable.
        trained: Which answers are trained where neither the record nor the defaults say.

    Raises:
        ValueError: The record is not a valid sample.
    """
    extra = record.get(EXTRA) or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    if not isinstance(extra, dict):
        raise ValueError(f"its field {EXTRA} is {type(extra).__name__}, not an object")
    source = extra.get("source") or {
        "uri": where,
        "licence": defaults.licence,
        "collected_by": f"step3vl/convert.{format_name}",
    }
    if messages is not None and not extra:
        messages = train_turns(messages, "last" if rejected else defaults.trained or trained)
    return Sample.make(
        domain=extra.get("domain", defaults.domain),
        task=extra.get("task", defaults.task),
        source=Source.model_validate(source),
        content=None if content is None else tuple(content),
        messages=None if messages is None else tuple(messages),
        rejected=rejected,
        tools=tuple(tools),
        images=tuple(loader.images),
        truth=_TRUTH.validate_python(extra["truth"]) if extra.get("truth") else truth,
        scores=extra.get("scores"),
    )


def extra_fields(sample: Sample) -> dict[str, Any]:
    """What a written record keeps under `step3vl`: all of a sample but its turns and images."""
    kept = {"domain", "task", "source", "truth", "scores"}
    return sample.model_dump(mode="json", include=kept, exclude_none=True)


def text_truth(answer: Any) -> Truth | None:
    """The truth of a text answer; None where there is no text."""
    return TextTruth(text=answer) if isinstance(answer, str) and answer.strip() else None


def require_turns(sample: Sample) -> tuple[Message, ...]:
    """The turns of a conversation. Raises ValueError for a document."""
    if sample.messages is None:
        raise ValueError("a document has no turns, which this format needs")
    return sample.messages


def require_text(parts: Sequence[Part]) -> str:
    """The text of parts without images. Raises ValueError when there is an image."""
    if not all(isinstance(part, TextPart) for part in parts):
        raise ValueError("an image is where this format has text only")
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def convert_records(
    records: Iterable[SourceRecord | DeadLetter],
    to_sample: RecordConverter,
    defaults: RecordDefaults,
    folder: ImageFolder | None,
    unused: Counter[str],
) -> Iterator[Sample | DeadLetter]:
    """Convert each record to a sample, or to the dead letter that says why it is not one.

    Args:
        records: Records, and dead letters of those that could not be read.
        to_sample: Converts a record. Raises ValueError saying what is wrong with it.
        defaults: What the records do not say.
        folder: What paths of images are relative to; None for a format that names no files.
        unused: Receives the number of samples in which a field was not used, by its dotted name.
    """
    threads = _REQUESTS if folder is not None and folder.is_remote else 1
    convert = partial(_convert, to_sample, defaults, folder)
    for item, left in map_in_threads(convert, records, threads):
        for name in left:  # `Counter.update` takes ten times as long for a name
            unused[name] += 1
        yield item


def _convert(
    to_sample: RecordConverter,
    defaults: RecordDefaults,
    folder: ImageFolder | None,
    record: SourceRecord | DeadLetter,
) -> tuple[Sample | DeadLetter, Iterable[str]]:
    """The sample of a record, or its dead letter, and the fields that were not used."""
    if not isinstance(record, SourceRecord):
        return record, ()
    try:
        fields = Fields(_renamed(record.value, defaults.columns) if defaults.columns else record.value)
        sample = to_sample(SourceRecord(record.where, fields), defaults, ImageLoader(folder))
        if sample.messages is not None and EXTRA not in fields:
            check_turns(sample.messages)
        left = fields.unused()
        if left:
            require_used(left, sample, defaults.ignore)
    except RECORD_ERRORS as error:
        return DeadLetter.from_error(error, step=CONVERT_STEP, source=record.where), ()
    missing = [f"{column} of --columns" for column in defaults.columns.values() if column not in record.value]
    return sample, (*left, *missing)


def _renamed(record: Any, columns: Mapping[str, str]) -> Any:
    """A record with the names that readers know. Raises ValueError where a name is taken by another field."""
    if not isinstance(record, dict):
        return record
    taken = set(columns.values())
    renamed = {name: value for name, value in record.items() if name not in taken}
    for name, column in columns.items():
        if column in record:
            if renamed.get(name) is not None:
                raise ValueError(f"--columns reads {column} as {name}, but the record has a field {name} of its own")
            renamed[name] = record[column]
    return renamed
