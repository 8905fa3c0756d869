"""Read questions from JSONL, Parquet, or a dataset of this project.

A row has `messages` in OpenAI's format, as StepFun's PaCoRe client reads them too, or a `prompt`. Images are
`image_url` items of the messages, or a column `images` (or `image`): paths relative to the file, data URLs, bytes, or
`{"bytes": …}` as Hugging Face stores them. Other columns are copied to the answer.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, Part, image, text
from step3vl.inference.client.requests import Request

Row = dict[str, Any]
RESERVED = frozenset({"id", "messages", "prompt", "image", "images", "tools"})
PARQUET_ROWS = 64  # held at a time; each may carry images


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: Its id, unique in the file.
        location: Where it is, for messages.
        fields: Other columns, copied to the answer.
        load: Builds the request, reading its images. Raises UserError when it cannot.
    """

    id: str
    location: str
    fields: Mapping[str, Any]
    load: Callable[[], Request]


def read_questions(url: str, split: Split = "heldout", ids_only: bool = False) -> Iterator[Question]:
    """Iterate over the questions of a `.jsonl` or `.parquet` file, or of a dataset's split.

    A row without an id gets the id `req_N`, N counting from 0.

    Args:
        url: The file or dataset.
        split: The split of a dataset.
        ids_only: Read only the ids of a Parquet file; its questions cannot be loaded then.

    Raises:
        UserError: The file is broken (while iterating).
        OSError: The file is missing (while iterating).
    """
    path = Path(url)
    if path.suffix in (".jsonl", ".ndjson"):
        return _numbered(_lines(path), path.parent)
    if path.suffix == ".parquet":
        return _numbered(_parquet(path, ids_only), path.parent)
    return _samples(Dataset.open(url), split)


def _numbered(rows: Iterator[tuple[str, Row | str]], folder: Path) -> Iterator[Question]:
    """Convert rows with their locations to questions; a row that could not be read is the reason as a string."""
    for number, (location, row) in enumerate(rows):
        if isinstance(row, str):
            yield Question(f"req_{number}", location, {}, partial(_refuse, row))
            continue
        fields = {name: value for name, value in row.items() if name not in RESERVED and _is_json(value)}
        id_ = row.get("id")
        yield Question(f"req_{number}" if id_ is None else str(id_), location, fields, partial(_request, row, folder))


def _lines(path: Path) -> Iterator[tuple[str, Row | str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                    row = value if isinstance(value, dict) else "not a JSON object"
                except (ValueError, RecursionError) as error:
                    row = f"not JSON: {error}"
                yield f"{path}:{number}", row
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None


def _parquet(path: Path, ids_only: bool) -> Iterator[tuple[str, Row | str]]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            columns = [name for name in ("id",) if name in file.schema_arrow.names] if ids_only else None
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield f"{path} row {number}", row
                    number += 1
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise UserError(f"{path}: not a complete Parquet file: {error}") from None


def _samples(dataset: Dataset, split: Split) -> Iterator[Question]:
    columns = ["id", "task", "offset", "size"]
    for batch in dataset.index_batches(columns, split=split, kind="conversation"):
        for row in batch.to_pylist():
            load = partial(_sample_request, dataset, row["shard"], row["offset"], row["size"])
            yield Question(row["id"], f"{dataset.url} sample {row['id']}", {"task": row["task"]}, load)


def _sample_request(dataset: Dataset, shard: int, offset: int, size: int) -> Request:
    return Request.from_sample(dataset.read(shard, offset, size))


def _refuse(reason: str) -> Request:
    raise UserError(reason)


def _request(row: Row, folder: Path) -> Request:
    """Build the request of a row. Raises UserError with what is wrong."""
    row_images = _RowImages(folder)
    sources = row.get("images") if row.get("images") is not None else row.get("image")
    if sources is not None:
        for source in sources if isinstance(sources, list) else [sources]:
            row_images.add(source)
    column_count = len(row_images.images)
    items = _parsed(row.get("messages"))
    if items is None:
        if not isinstance(row.get("prompt"), str):
            raise UserError("no messages and no prompt")
        items = [{"role": "user", "content": row["prompt"]}]
    if not isinstance(items, list) or not items:
        raise UserError("messages: not a list of messages")
    messages = [_message(item, row_images) for item in items]
    if column_count and not row_images.referenced:  # nothing says where they belong: before the first question
        first = next((index for index, message in enumerate(messages) if message.role == "user"), None)
        if first is not None:
            parts = (*(image(index) for index in range(column_count)), *messages[first].content)
            messages[first] = messages[first].model_copy(update={"content": parts})
    tools = _parsed(row.get("tools")) or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise UserError("tools: not a list of objects")
    return Request(messages, row_images.images, tools)


class _RowImages:
    """The images of one row in order; `referenced` says whether a message refers to any."""

    def __init__(self, folder: Path):
        self.images: list[Image] = []
        self.referenced = False
        self._folder = folder
        self._next = 0

    def add(self, source: Any) -> int:
        """Add an image from a path, a data URL, bytes, or an object with one of these; return its index."""
        if isinstance(source, Mapping):
            source = next((source[name] for name in ("bytes", "url", "path", "base64") if source.get(name)), None)
        try:
            self.images.append(Image.from_bytes(self._read(source)))
        except (ValueError, OSError) as error:
            name = source if isinstance(source, str) and len(source) < 200 else f"image {len(self.images)}"
            raise UserError(f"{name}: {error}") from None
        return len(self.images) - 1

    def resolve(self, item: Mapping[str, Any]) -> int:
        """Return the index of a message item's image: the item's source, or the next image of the row's column."""
        self.referenced = True
        source = item.get("image_url", item.get("image"))
        if source is None:
            source = next((item[name] for name in ("url", "path", "base64") if item.get(name)), None)
        if source is not None and not isinstance(source, int):
            return self.add(source)
        index = self._next if source is None else source
        if not 0 <= index < len(self.images):
            raise UserError(f"messages refer to image {index}, the row has {len(self.images)}; counting is from 0")
        self._next = index + 1
        return index

    def _read(self, source: Any) -> bytes:
        if isinstance(source, bytes):
            return source
        if not isinstance(source, str):
            raise ValueError("neither a path, a data URL nor bytes")
        if source.startswith("data:"):
            try:
                return base64.b64decode(source.partition(",")[2], validate=True)
            except binascii.Error as error:
                raise ValueError(f"not base64: {error}") from None
        if source.startswith(("http://", "https://")):
            raise ValueError("images are not fetched; give a file")
        return (self._folder / source.removeprefix("file://")).read_bytes()


def _message(value: Any, row_images: _RowImages) -> Message:
    if not isinstance(value, dict):
        raise UserError("messages: a message is not an object")
    role, content = value.get("role"), value.get("content")
    parts: list[Part] = []
    for item in [content] if isinstance(content, str) else content or []:
        if isinstance(item, str):
            parts.append(text(item))
        elif not isinstance(item, dict) or item.get("type") not in ("text", "image", "image_url"):
            raise UserError("messages: a part of the content is neither text nor image_url")
        elif item["type"] == "text":
            parts.append(text(str(item.get("text", ""))))
        else:
            parts.append(image(row_images.resolve(item)))
    reasoning = value.get("reasoning_content") or value.get("reasoning")
    try:
        fields = {
            "role": "system" if role == "developer" else role,
            "content": parts,
            "reasoning_content": reasoning if role == "assistant" else None,
            "tool_calls": [call["function"] for call in value.get("tool_calls") or ()],
        }
        return Message.model_validate(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"messages: {' '.join(str(error).split())}") from None


def _parsed(value: Any) -> Any:
    """Parse a JSON string; Parquet files often hold messages as such."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UserError(f"messages: not JSON: {error}") from None


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def count_questions(url: str, split: Split = "heldout") -> int:
    """Count the questions.

    Raises:
        UserError: Two have the same id, so that their answers could not be told apart.
    """
    locations: dict[str, str] = {}
    for question in read_questions(url, split, ids_only=True):
        if question.id in locations:
            raise UserError(
                f"{question.location}: the id '{question.id}' is used at {locations[question.id]} already; "
                "ids must be unique"
            )
        locations[question.id] = question.location
    return len(locations)
