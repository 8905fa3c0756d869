"""Records of JSON and JSON Lines files, plain or compressed, one at a time however long a file is."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from step3vl.data.convert.chunks import CHUNK, Chunk, ReadRecord, RecordBatch
from step3vl.data.convert.json_array import BrokenArrayError, read_array
from step3vl.data.convert.records import CONVERT_STEP, SourceRecord
from step3vl.data.convert.source_files import COMPRESSED, SourceFile, read_blocks
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import is_infrastructure_error

JSON_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in (".json", ".jsonl") for packed in COMPRESSED)
_MAX_LINE = 1 << 28  # bytes of a record, images as data URLs included
_ELEMENTS = 4096  # of a chunk


class Lines(NamedTuple):
    """Complete lines of a file, of which the first has this number."""

    name: str
    number: int
    data: bytes

    def records(self) -> Iterator[ReadRecord]:
        for number, line in enumerate(self.data.split(b"\n"), self.number):
            if number == 1:
                line = line.removeprefix(BOM_UTF8)
            if not line.strip():
                continue
            where = f"{self.name}#{number}"
            try:
                yield SourceRecord(where, parse_json(line))
            except (ValueError, RecursionError) as error:
                yield DeadLetter.from_error(error, step=CONVERT_STEP, source=where)


def parse_json(line: bytes) -> Any:
    """What `json.loads` gives, and raises. Pydantic's parser is faster, and refuses what that one reads besides."""
    try:
        return from_json(line, cache_strings="keys")
    except ValueError:  # also of a lone surrogate, UTF-16, and what is nested deeply
        return json.loads(line)


def read_json(file: SourceFile) -> Iterator[Chunk]:
    """The records of a file that is an array or has one on each line; its beginning says which.

    A malformed record costs no other.
    """
    count = _Count()
    try:
        with file.open() as data:
            start = data.read(1 << 10).removeprefix(BOM_UTF8).lstrip()[:1]
        with file.open() as data:
            yield from _elements(file.name, data, count) if start == b"[" else _lines(file.name, data, count)
    except (BrokenArrayError, OSError) as error:
        if is_infrastructure_error(error):
            raise
        what = "array" if isinstance(error, BrokenArrayError) else "file"
        reason = f"the {what} is broken after {count.records} records, so the rest is lost: {error}"
        source = f"{file.name}#{count.records + 1}"
        yield RecordBatch([DeadLetter(step=CONVERT_STEP, error=type(error).__name__, reason=reason, source=source)])


class _Count:
    """How many records of a file were read."""

    records = 0


def _elements(name: str, file: BinaryIO, count: _Count) -> Iterator[Chunk]:
    """Chunks of the elements of an array, which are parsed to be told apart."""
    counted = _CountingReader(file)
    items: list[ReadRecord] = []
    try:
        for element in read_array(counted):
            count.records += 1
            where = f"{name}#{count.records}"
            if isinstance(element, ValueError):
                items.append(DeadLetter.from_error(element, step=CONVERT_STEP, source=where))
            else:
                items.append(SourceRecord(where, element))
            if counted.bytes >= CHUNK or len(items) == _ELEMENTS:
                yield RecordBatch(items)
                items, counted.bytes = [], 0
    except (BrokenArrayError, OSError):
        if items:
            yield RecordBatch(items)
        raise
    if items:
        yield RecordBatch(items)


class _CountingReader:
    """Counts the bytes that are read of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.bytes = file, 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.bytes += len(data)
        return data


def _lines(name: str, file: BinaryIO, count: _Count) -> Iterator[Chunk]:
    """Chunks of complete lines. What a damaged file ends with is no line."""
    number, rest = 1, b""
    is_long = False  # whether the rest of a line that is too long comes next
    for block in read_blocks(file, CHUNK):
        if is_long:
            _, newline, block = block.partition(b"\n")
            if not newline:
                continue
            number, is_long = number + 1, False
        end = block.rfind(b"\n") + 1
        if end:
            lines, rest = rest + block[:end], block[end:]
            yield Lines(name, number, lines)
            number += lines.count(b"\n")
            count.records = number - 1
        else:
            rest += block
        if len(rest) > _MAX_LINE:
            error = ValueError(f"a line of more than {_MAX_LINE} bytes is not read as a record")
            yield RecordBatch([DeadLetter.from_error(error, step=CONVERT_STEP, source=f"{name}#{number}")])
            rest, is_long = b"", True
    if rest:
        yield Lines(name, number, rest)
