"""What all readers and writers share: source records, texts with placeholders for images, and samples from them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from step3vl.data.config import Config
from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.parts import Image, ImagePart, Part, TextPart, text
from step3vl.data.sample.sample import Message, Sample, Source
from step3vl.data.sample.truth import TextTruth, Truth

CONVERT_STEP = "convert"  # the ledger step of reading
PLACEHOLDER = "<image>"
EXTRA = "step3vl"  # the key under which a written record keeps what the format has no field for

_REASONING = re.compile(r"\A<think>\n?(.*?)\n?</think>\n*(.*)\Z", re.DOTALL)
_TRUTH: TypeAdapter[Truth] = TypeAdapter(Truth)

# The errors that a record can cause; any other is a bug of ours and stops the run. Of these, `DeadLetter.from_error`
# raises again what the machine caused.
RECORD_ERRORS = (ValueError, OSError, RecursionError, OverflowError)


class RecordDefaults(Config):
    """Fields of samples whose records do not have them, as only records written by this project do."""

    domain: str = "converted"
    """Domain of the samples."""

    task: str = "converted"
    """Task of the samples."""

    licence: str = "unknown"
    """Licence of the records."""

    images: Path | None = None
    """Folder that paths of images are relative to; by default that of the records' file."""

    def folder(self, source: Path) -> Path:
        """The folder that paths of images in the records of `source` are relative to."""
        return self.images or (source if source.is_dir() else source.parent)


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


def interleave(value: str, references: Iterator[Any], loader: ImageLoader) -> list[Part]:
    """The parts of a text in which each `<image>` shows the next of the record's images.

    Raises:
        ValueError: There are more placeholders than images.
    """
    parts: list[Part] = []
    for number, fragment in enumerate(value.split(PLACEHOLDER)):
        if number:
            try:
                parts.append(loader.show(next(references)))
            except StopIteration:
                raise ValueError(
                    f"its texts hold more {PLACEHOLDER} than it has images ({len(loader.images)})"
                ) from None
        if fragment:
            parts.append(text(fragment))
    return parts


def check_all_shown(references: Iterator[Any], loader: ImageLoader) -> None:
    """Raises ValueError when an image remains that no placeholder shows."""
    if remaining := sum(1 for _ in references):
        total = remaining + len(loader.images)
        raise ValueError(f"it has {total} images, but its texts show {len(loader.images)} with {PLACEHOLDER}")


def flatten(parts: Sequence[Part]) -> str:
    """The inverse of `interleave`, unless a text itself contains `<image>`."""
    return "".join(PLACEHOLDER if isinstance(part, ImagePart) else part.text for part in parts)


def split_reasoning(value: str) -> tuple[str | None, str]:
    """The reasoning in `<think>` and `</think>` that an answer begins with, and the rest; None without it."""
    match = _REASONING.match(value)
    return (match[1], match[2]) if match else (None, value)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    """The inverse of `split_reasoning`, for formats that keep reasoning and answer in one text."""
    return answer if reasoning is None else f"<think>\n{reasoning}\n</think>\n{answer}"


def field(record: Any, *names: str) -> Any:
    """The first of these fields that a record has, or None. Raises ValueError when it is not an object."""
    if not isinstance(record, dict):
        raise ValueError(f"the record is {type(record).__name__}, not an object")
    return next((record[name] for name in names if record.get(name) is not None), None)


def as_list(value: Any, name: str) -> list[Any]:
    """A value as a list: None is an empty one, and JSON text is parsed. Raises ValueError for other types."""
    if isinstance(value, str):
        value = json.loads(value)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"its {name} are {type(value).__name__}, not a list")
    return value


def image_references(value: Any) -> Iterator[Any]:
    """The references of a record's images, from a list, a single reference, or None."""
    return iter(value if isinstance(value, list) else [] if value is None else [value])


def build_sample(
    record: Mapping[str, Any],
    defaults: RecordDefaults,
    where: str,
    loader: ImageLoader,
    *,
    format_name: str,
    messages: Sequence[Message] | None = None,
    content: Sequence[Part] | None = None,
    tools: Sequence[dict[str, Any]] = (),
    truth: Truth | None = None,
) -> Sample:
    """Build the sample of a record.

    Args:
        record: The record; what it keeps under `step3vl` takes precedence.
        defaults: Fields that the record does not have.
        where: What identifies the record.
        loader: The loader of its images.
        format_name: The format that it is in.
        messages: The turns of a conversation; or else `content`.
        content: The parts of a document; or else `messages`.
        tools: Signatures of the functions that a conversation may call.
        truth: What makes the answer verifiable.

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
    return Sample.make(
        domain=extra.get("domain", defaults.domain),
        task=extra.get("task", defaults.task),
        source=Source.model_validate(source),
        content=None if content is None else tuple(content),
        messages=None if messages is None else tuple(messages),
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
    records: Iterator[SourceRecord | DeadLetter],
    to_sample: RecordConverter,
    defaults: RecordDefaults,
    folder: Path | None,
) -> Iterator[Sample | DeadLetter]:
    """Convert each record to a sample, or to the dead letter that says why it is not one.

    Args:
        records: Records, and dead letters of those that could not be read.
        to_sample: Converts a record. Raises ValueError saying what is wrong with it.
        defaults: Fields that the records do not have.
        folder: Folder that paths of images are relative to; None for a format that names no files.
    """
    for record in records:
        if isinstance(record, DeadLetter):
            yield record
            continue
        try:
            yield to_sample(record, defaults, ImageLoader(folder))
        except RECORD_ERRORS as error:
            yield DeadLetter.from_error(error, step=CONVERT_STEP, source=record.where)
