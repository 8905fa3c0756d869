"""Questions from files: JSONL, Parquet, or a dataset of this project.

A row has `messages` in OpenAI's shape, as StepFun's PaCoRe client reads them too, or a `prompt`. Pictures stand in the
messages as `image_url`, or in a column `images` (or `image`): paths from the file's folder, data URLs, bytes, or
`{"bytes": …}` as Hugging Face stores them. Other columns go with the answer.
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
from step3vl.inference.jobs import Request

Row = dict[str, Any]
OWN = frozenset({"id", "messages", "prompt", "image", "images", "tools"})
ROWS = 64  # Parquet rows that are held at once; each may carry pictures


@dataclass(frozen=True)
class Question:
    """One row. `load` makes the request of it, and raises UserError when it cannot; pictures are read only then."""

    id: str
    place: str
    fields: Mapping[str, Any]
    load: Callable[[], Request]


def read_questions(url: str, split: Split = "heldout", ids_only: bool = False) -> Iterator[Question]:
    """The questions of a `.jsonl` or `.parquet` file, or of a dataset's split.

    A row without an id is called `req_N`, N counting from 0. `ids_only` reads no more of a Parquet file than the ids;
    its questions cannot be loaded then. While they are read, raises UserError for a broken file and OSError for a
    missing one.
    """
    path = Path(url)
    if path.suffix in (".jsonl", ".ndjson"):
        return _numbered(_lines(path), path.parent)
    if path.suffix == ".parquet":
        return _numbered(_parquet(path, ids_only), path.parent)
    return _samples(Dataset.open(url), split)


def _numbered(rows: Iterator[tuple[str, Row | str]], folder: Path) -> Iterator[Question]:
    """Questions of rows with their places; a row that could not be read is the reason."""
    for number, (place, row) in enumerate(rows):
        if isinstance(row, str):
            yield Question(f"req_{number}", place, {}, partial(_refuse, row))
            continue
        fields = {name: value for name, value in row.items() if name not in OWN and _is_json(value)}
        given = row.get("id")
        yield Question(f"req_{number}" if given is None else str(given), place, fields, partial(_request, row, folder))


def _lines(path: Path) -> Iterator[tuple[str, Row | str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    found = row if isinstance(row, dict) else "not a JSON object"
                except (ValueError, RecursionError) as error:
                    found = f"not JSON: {error}"
                yield f"{path}:{number}", found
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}") from None


def _parquet(path: Path, ids_only: bool) -> Iterator[tuple[str, Row | str]]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            columns = [name for name in ("id",) if name in file.schema_arrow.names] if ids_only else None
            for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield f"{path} row {number}", row
                    number += 1
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise UserError(f"{path}: not a whole Parquet file: {error}") from None


def _samples(dataset: Dataset, split: Split) -> Iterator[Question]:
    columns = ["id", "task", "offset", "size"]
    for batch in dataset.index_batches(columns, split=split, kind="conversation"):
        for row in batch.to_pylist():
            load = partial(_sample_request, dataset, row["shard"], row["offset"], row["size"])
            yield Question(row["id"], f"{dataset.url} sample {row['id']}", {"task": row["task"]}, load)


def _sample_request(dataset: Dataset, shard: int, offset: int, size: int) -> Request:
    sample = dataset.read(shard, offset, size)
    return Request(sample.prompt(), sample.images, sample.tools)


def _refuse(reason: str) -> Request:
    raise UserError(reason)


def _request(row: Row, folder: Path) -> Request:
    """Raises UserError with what is wrong."""
    pictures = _Pictures(folder)
    listed = row.get("images") if row.get("images") is not None else row.get("image")
    if listed is not None:
        for source in listed if isinstance(listed, list) else [listed]:
            pictures.add(source)
    given = len(pictures.images)
    turns = _parsed(row.get("messages"))
    if turns is None:
        if not isinstance(row.get("prompt"), str):
            raise UserError("no messages and no prompt")
        turns = [{"role": "user", "content": row["prompt"]}]
    if not isinstance(turns, list) or not turns:
        raise UserError("messages: not a list of messages")
    messages = [_message(turn, pictures) for turn in turns]
    if given and not pictures.shown:  # nothing says where they belong: before the first question
        first = next((index for index, message in enumerate(messages) if message.role == "user"), None)
        if first is not None:
            parts = (*(image(index) for index in range(given)), *messages[first].content)
            messages[first] = messages[first].model_copy(update={"content": parts})
    tools = _parsed(row.get("tools")) or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise UserError("tools: not a list of objects")
    return Request(messages, pictures.images, tools)


class _Pictures:
    """The pictures of one row, in the order in which they come."""

    def __init__(self, folder: Path):
        self.images: list[Image] = []
        self.shown = False
        self._folder = folder
        self._next = 0

    def add(self, source: Any) -> int:
        """The index of a picture given as a path, a data URL, bytes, or an object that has one of these."""
        if isinstance(source, Mapping):
            source = next((source[name] for name in ("bytes", "url", "path", "base64") if source.get(name)), None)
        try:
            self.images.append(Image.from_bytes(self._read(source)))
        except (ValueError, OSError) as error:
            name = source if isinstance(source, str) and len(source) < 200 else f"picture {len(self.images)}"
            raise UserError(f"{name}: {error}") from None
        return len(self.images) - 1

    def place(self, item: Mapping[str, Any]) -> int:
        """The index of the picture that an item of a message shows: its own, or the next of the row's."""
        self.shown = True
        source = item.get("image_url", item.get("image"))
        if source is None:
            source = next((item[name] for name in ("url", "path", "base64") if item.get(name)), None)
        if source is not None and not isinstance(source, int):
            return self.add(source)
        index = self._next if source is None else source
        if not 0 <= index < len(self.images):
            raise UserError(f"messages show picture {index}, the row has {len(self.images)}; counting is from 0")
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
            raise ValueError("pictures are not fetched; give a file")
        return (self._folder / source.removeprefix("file://")).read_bytes()


def _message(turn: Any, pictures: _Pictures) -> Message:
    if not isinstance(turn, dict):
        raise UserError("messages: one is not an object")
    role, content = turn.get("role"), turn.get("content")
    parts: list[Part] = []
    for item in [content] if isinstance(content, str) else content or []:
        if isinstance(item, str):
            parts.append(text(item))
        elif not isinstance(item, dict) or item.get("type") not in ("text", "image", "image_url"):
            raise UserError("messages: a part of the content is neither text nor image_url")
        elif item["type"] == "text":
            parts.append(text(str(item.get("text", ""))))
        else:
            parts.append(image(pictures.place(item)))
    thought = turn.get("reasoning_content") or turn.get("reasoning")
    try:
        fields = {
            "role": "system" if role == "developer" else role,
            "content": parts,
            "reasoning_content": thought if role == "assistant" else None,
            "tool_calls": [call["function"] for call in turn.get("tool_calls") or ()],
        }
        return Message.model_validate(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"messages: {' '.join(str(error).split())}") from None


def _parsed(value: Any) -> Any:
    """Parquet often holds messages as JSON text."""
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
    """How many questions there are. Raises UserError when two have the same id, which no answer could tell apart."""
    places: dict[str, str] = {}
    for question in read_questions(url, split, ids_only=True):
        if question.id in places:
            raise UserError(
                f"{question.place}: the id '{question.id}' stands at {places[question.id]} already; give each its own"
            )
        places[question.id] = question.place
    return len(places)
