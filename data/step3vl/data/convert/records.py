"""What all readers and writers share: records of a file, the pictures they name, and how a bad one is told of."""

import base64
import binascii
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ijson
from pydantic import TypeAdapter, ValidationError

from step3vl.data.config import Config
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import (
    Image,
    ImagePart,
    Message,
    Part,
    Pointer,
    Sample,
    Source,
    TextPart,
    explain,
    image,
    text,
)
from step3vl.data.truth import TextTruth, Truth

STEP = "convert"
PLACEHOLDER = "<image>"
EXTRA = "step3vl"  # the key under which a written record keeps what the format has no field for
LARGEST_PICTURE = 1 << 27  # bytes of an encoded picture

_LONGEST_LINE = 1 << 28  # bytes of one record, pictures as data URLs included
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
_THOUGHT = re.compile(r"\A<think>\n?(.*?)\n?</think>\n*(.*)\Z", re.DOTALL)
_TRUTH: TypeAdapter[Truth] = TypeAdapter(Truth)

# Whatever a record can provoke; anything else is a mistake of ours and ends the run.
BAD = (ValueError, OSError, RecursionError, OverflowError)


class About(Config):
    """What the records do not say of themselves, unless they were written by this project."""

    domain: str = "converted"
    task: str = "converted"
    licence: str = "unknown"
    pictures: Path | None = None  # the folder that paths of pictures start from; by default that of the records' file

    def folder(self, source: Path) -> Path:
        """Where paths of pictures start from in the records of `source`."""
        return self.pictures or (source if source.is_dir() else source.parent)


class Record(NamedTuple):
    """A record of a file. `where` names it: the file, and its number or key there."""

    where: str
    value: Any


class Pictures:
    """The pictures of one record, in the order in which it shows them. `known` are named already, without a file."""

    def __init__(self, folder: Path | None, known: Mapping[str, Image] | None = None) -> None:
        self._folder = folder
        self._known = known or {}
        self.images: list[Image] = []

    def show(self, reference: Any) -> ImagePart:
        """The part that shows a picture: a path inside the folder, a data URL, or `{"bytes": …, "path": …}`.

        Raises ValueError or OSError saying which picture it is and what is wrong with it.
        """
        self.images.append(self._load(reference))
        return image(len(self.images) - 1)

    def _load(self, reference: Any) -> Image:
        if isinstance(reference, dict) and isinstance(reference.get("path"), str):
            if reference["path"] in self._known:
                return self._known[reference["path"]]
            if reference.get("bytes") is None:
                reference = reference["path"]
        if isinstance(reference, dict) and isinstance(reference.get("bytes"), bytes):
            return self._probe(reference["bytes"], reference.get("path") or "the picture")
        if not isinstance(reference, str):
            raise ValueError(f"a picture is given as {type(reference).__name__}: give a path, a data URL or bytes")
        if reference in self._known:
            return self._known[reference]
        if match := _DATA_URL.match(reference):
            try:
                data = base64.b64decode(reference[match.end() :], validate=True)
            except binascii.Error as error:
                raise ValueError(f"a data URL is no base64: {error}") from None
            return self._probe(data, "the picture of a data URL")
        if "://" in reference[:12] or reference.startswith("data:"):
            raise ValueError(f"{reference[:80]} is not on this machine: download it and give its path")
        return self._read(reference)

    def _read(self, name: str) -> Image:
        if self._folder is None:
            raise ValueError(f"{name}: this format carries its pictures inside and names no files")
        folder = self._folder.resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise ValueError(f"{name} leads out of the folder of pictures: give paths inside it")
        if not path.is_file():
            raise ValueError(f"{name}: no such picture in the folder of pictures")
        size = path.stat().st_size
        if size > LARGEST_PICTURE:
            raise ValueError(f"{name} has {size} bytes; pictures of more than {LARGEST_PICTURE} are not read")
        return self._probe(path.read_bytes(), name).pointed(Pointer(path=str(path), offset=0, size=size))

    @staticmethod
    def _probe(data: bytes, name: str) -> Image:
        try:
            return Image.from_bytes(data)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def interleave(value: str, shown: Iterator[Any], pictures: Pictures) -> list[Part]:
    """The parts of a text in which each `<image>` shows the next of the record's pictures.

    Raises ValueError when there are more placeholders than pictures.
    """
    parts: list[Part] = []
    for number, piece in enumerate(value.split(PLACEHOLDER)):
        if number:
            try:
                parts.append(pictures.show(next(shown)))
            except StopIteration:
                raise ValueError(
                    f"its texts hold more {PLACEHOLDER} than it has pictures ({len(pictures.images)})"
                ) from None
        if piece:
            parts.append(text(piece))
    return parts


def all_shown(shown: Iterator[Any], pictures: Pictures) -> None:
    """Raises ValueError when a picture is left over that no placeholder shows."""
    if left := sum(1 for _ in shown):
        total = left + len(pictures.images)
        raise ValueError(f"it has {total} pictures, but its texts show {len(pictures.images)} with {PLACEHOLDER}")


def flatten(parts: Sequence[Part]) -> str:
    """The inverse of `interleave`, as far as no text itself holds `<image>`."""
    return "".join(PLACEHOLDER if isinstance(part, ImagePart) else part.text for part in parts)


def split_thought(value: str) -> tuple[str | None, str]:
    """The thought that an answer begins with, in `<think>` and `</think>`, and the rest; None without one."""
    match = _THOUGHT.match(value)
    return (match[1], match[2]) if match else (None, value)


def join_thought(thought: str | None, said: str) -> str:
    """The inverse of `split_thought`, for formats that keep thought and answer in one text."""
    return said if thought is None else f"<think>\n{thought}\n</think>\n{said}"


def field(record: Any, *names: str) -> Any:
    """The first of the fields that the record has; None without one. Raises ValueError when it is no record."""
    if not isinstance(record, dict):
        raise ValueError(f"the record is {type(record).__name__}, not an object")
    return next((record[name] for name in names if record.get(name) is not None), None)


def listed(value: Any, what: str) -> list[Any]:
    """The value as a list: nothing is an empty one, and JSON text is read. Raises ValueError naming what it is."""
    if isinstance(value, str):
        value = json.loads(value)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"its {what} are {type(value).__name__}, not a list")
    return value


def references(value: Any) -> Iterator[Any]:
    """What a record names its pictures by: a list, one reference, or nothing."""
    return iter(value if isinstance(value, list) else [] if value is None else [value])


def assemble(
    record: Mapping[str, Any],
    about: About,
    where: str,
    pictures: Pictures,
    *,
    made_by: str,
    messages: Sequence[Message] | None = None,
    content: Sequence[Part] | None = None,
    tools: Sequence[dict[str, Any]] = (),
    truth: Truth | None = None,
) -> Sample:
    """A sample of what a record says. What it keeps under `step3vl` outweighs `about`."""
    extra = record.get(EXTRA) or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    if not isinstance(extra, dict):
        raise ValueError(f"its field {EXTRA} is {type(extra).__name__}, not an object")
    source = extra.get("source") or {
        "uri": where,
        "licence": about.licence,
        "collected_by": f"step3vl/convert.{made_by}",
    }
    return Sample.make(
        domain=extra.get("domain", about.domain),
        task=extra.get("task", about.task),
        source=Source.model_validate(source),
        content=None if content is None else tuple(content),
        messages=None if messages is None else tuple(messages),
        tools=tuple(tools),
        images=tuple(pictures.images),
        truth=_TRUTH.validate_python(extra["truth"]) if extra.get("truth") else truth,
        scores=extra.get("scores"),
    )


def extra(sample: Sample) -> dict[str, Any]:
    """What a written record keeps under `step3vl`: all of a sample but its turns and pictures."""
    kept = {"domain", "task", "source", "truth", "scores"}
    return sample.model_dump(mode="json", include=kept, exclude_none=True)


def text_truth(answer: Any) -> Truth | None:
    return TextTruth(text=answer) if isinstance(answer, str) and answer.strip() else None


def need_turns(sample: Sample) -> tuple[Message, ...]:
    """The turns of a conversation. Raises ValueError for a document."""
    if sample.messages is None:
        raise ValueError("a document has no turns, which this format needs")
    return sample.messages


def plain_text(parts: Sequence[Part]) -> str:
    """The text of parts that show no picture. Raises ValueError when one does."""
    if not all(isinstance(part, TextPart) for part in parts):
        raise ValueError("a picture stands where this format has text only")
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def letter(error: BaseException, where: str, step: str = STEP) -> DeadLetter:
    reason = explain(error) if isinstance(error, ValidationError) else str(error)
    return DeadLetter(step=step, error=type(error).__name__, reason=reason[:1000], source=where)


def convert(
    records: Iterator[Record | DeadLetter], build: Callable[[Record], Sample]
) -> Iterator[Sample | DeadLetter]:
    """Each record as a sample, or as the dead letter that says why it is none."""
    for record in records:
        if isinstance(record, DeadLetter):
            yield record
            continue
        try:
            yield build(record)
        except BAD as error:
            yield letter(error, record.where)


def files_of(source: Path, *endings: str) -> list[Path]:
    """The file itself, or the files below a folder with these endings, in order. Raises ValueError without one.

    As for other readers of data folders, names that begin with `_` or `.` are not data.
    """
    if source.is_file():
        return [source]
    below = ((path, path.relative_to(source).parts) for path in source.rglob("*") if path.name.endswith(endings))
    found = sorted(path for path, parts in below if path.is_file() and not any(one[0] in "_." for one in parts))
    if not found:
        raise ValueError(f"{source} has no file that ends in {' or '.join(endings)}")
    return found


def read_json(source: Path) -> Iterator[Record | DeadLetter]:
    """The records of JSON and JSON Lines files, one at a time however long a file is.

    A bad line costs one record. A file that holds one array cannot be read on after a mistake in it.
    """
    for path in files_of(source, ".json", ".jsonl"):
        with path.open("rb") as file:
            begins = file.read(1 << 10).removeprefix(BOM_UTF8).lstrip()[:1]
        yield from _read_array(path) if begins == b"[" else _read_lines(path)


def _read_array(path: Path) -> Iterator[Record | DeadLetter]:
    """The elements of an array. Half a surrogate pair, which is no character, is read as a question mark."""
    number = 0
    with path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        try:
            for number, value in enumerate(ijson.items(file, "item", use_float=True), 1):
                yield Record(f"{path.name}#{number}", value)
        except (ijson.JSONError, ValueError, OverflowError) as error:
            reason = f"the array is broken after {number} records, so the rest is lost: {str(error).splitlines()[0]}"
            yield DeadLetter(step=STEP, error="JSONError", reason=reason, source=f"{path.name}#{number + 1}")


def _read_lines(path: Path) -> Iterator[Record | DeadLetter]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            where = f"{path.name}#{number}"
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield letter(ValueError(f"a line of more than {_LONGEST_LINE} bytes is no record"), where)
                continue
            if not line.strip():
                continue
            try:
                yield Record(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield letter(error, where)
