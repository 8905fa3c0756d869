"""Text corpora as they are kept: Parquet, JSON Lines, plain text, web pages, manual pages and gettext catalogues.

A file is read in parts, so that a large one is dealt to many workers, and each part as a stream of documents. Damage
costs what follows it, and a line that is no JSON costs itself. Plain text is UTF-8, or in the charset that the
beginning of its file looks like.
"""

import bz2
import gzip
import json
import lzma
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree
from resiliparse.parse.encoding import detect_encoding

from step3vl.pipelines.sources.text.roff import roff_paragraphs
from step3vl.pipelines.sources.web.html import decode_html

ItemT = TypeVar("ItemT")
Format = Literal["parquet", "jsonl", "markup", "manual", "catalogue", "text"]

_PART = 8 << 20  # bytes of a part of a plain file
_LINE = 16 << 20  # bytes of a line; a longer one is an error
_WHOLE = 32 << 20  # bytes of a file that must be parsed as a whole
_HEAD = 4096  # bytes by which it is told that a file has no lines
_START = 64 << 10  # bytes by which the charset of a file is told
_PARAGRAPHS = 200  # of a plain text that are a document
_WRAPPED = 45  # characters of the median line of a text that was broken to a width
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".html": "markup",
    ".htm": "markup", ".xhtml": "markup", ".xml": "markup", ".page": "markup", ".docbook": "markup",
    ".mo": "catalogue",
}  # fmt: skip
_BLOCKS = frozenset({
    "p", "li", "title", "h1", "h2", "h3", "h4", "h5", "h6", "td", "th", "dt", "dd", "para", "simpara", "entry",
    "term", "caption", "blockquote", "figcaption",
})  # fmt: skip
_UNREAD = frozenset({
    "script", "style", "nav", "head", "pre", "code", "screen", "programlisting", "listing",
})  # fmt: skip
_MANUAL = re.compile(r"\.[1-9n]\w*$")
_ENTITY = re.compile(r"&\w+;")  # one that the document defines elsewhere
_PLACEHOLDER = re.compile(r"%[-#0 +]*\d*(?:\.\d+)?[a-zA-Z$]|\{\w*\}|</?\w+|\\[nt]|\$\{|&\w+;|@\w+@")


class CorpusError(ValueError):
    """A file of text that cannot be read as what its name says."""


class Part(NamedTuple):
    """A part of a file: row groups of Parquet, bytes of a plain file; `stop` is 0 for all of a file."""

    start: int
    stop: int


def text_format(name: str) -> Format:
    """What a file's name says it holds; what is not known is plain text."""
    path = PurePosixPath(name)
    if path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    if _MANUAL.search(path.name) and any(folder.startswith("man") for folder in path.parts[:-1]):
        return "manual"
    return _SUFFIXES.get(path.suffix.lower(), "text")


def split_file(path: Path, name: str) -> Iterator[Part]:
    """The parts of a file.

    Args:
        path: Where it is.
        name: As its source names it; the name decides the format.

    Raises:
        CorpusError: The file is no Parquet, or has no lines that can be told apart.
    """
    kind = text_format(name)
    if kind == "parquet":
        yield from (Part(group, group + 1) for group in range(_parquet(path).num_row_groups))
        return
    if kind in ("jsonl", "text"):
        _check_lines(path, name, kind)
    if kind in ("jsonl", "text") and not name.endswith(_COMPRESSED):
        size = path.stat().st_size
        yield from (Part(start, min(start + _PART, size)) for start in range(0, size, _PART))
    else:
        yield Part(0, 0)


def _check_lines(path: Path, name: str, kind: Format) -> None:
    """Raise CorpusError for a file whose lines are no rows or texts."""
    with _damage_named(name), _opened(path, name) as file:
        start = file.read(_HEAD)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError(f"{name} is in UTF-16; convert it to UTF-8")
    if kind == "jsonl" and start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        raise CorpusError(f"{name} is a JSON list; write JSON Lines, an object a line")


def read_documents(path: Path, name: str, part: Part, field: str = "text") -> Iterator[list[str] | CorpusError]:
    """The documents of a part of a file, each as its paragraphs; an error in the place of one that cannot be read.

    Args:
        path: Where it is.
        name: As its source names it.
        part: Of `split_file`.
        field: The column of Parquet, or the key of JSON Lines, that holds the text.

    Raises:
        CorpusError: The file is damaged before its first document, or a table has no such column.
    """
    yield from _until_damage(_documents(path, name, part, field), name)


def _documents(path: Path, name: str, part: Part, field: str) -> Iterator[list[str] | CorpusError]:
    kind, decode = text_format(name), _Decoder(path, name)
    if kind == "parquet":
        yield from _read_parquet(path, part, field)
    elif kind == "markup":
        yield _markup_paragraphs(_read_whole(path, name))
    elif kind == "catalogue":
        yield list(_messages(_read_whole(path, name)))
    elif kind == "manual":
        yield list(roff_paragraphs(decode(_read_whole(path, name)).splitlines()))
    else:
        lines = map(decode, _lines(path, name, part))
        yield from _read_jsonl(lines, field) if kind == "jsonl" else _read_text(lines)


def read_rows(path: Path, name: str, part: Part) -> Iterator[dict[str, Any] | str | CorpusError]:
    """The rows of a part of a Parquet file, or the lines of one of JSON Lines, as yet unparsed.

    Damage after the first row is an error in the place of the rows that follow.

    Args:
        path: Where it is.
        name: As its source names it.
        part: Of `split_file`.

    Raises:
        CorpusError: The file is damaged before its first row, or of another format.
    """
    yield from _until_damage(_rows(path, name, part), name)


def _rows(path: Path, name: str, part: Part) -> Iterator[dict[str, Any] | str]:
    kind = text_format(name)
    if kind == "parquet":
        for batch in _parquet(path).iter_batches(256, row_groups=range(part.start, part.stop)):
            yield from batch.to_pylist()
    elif kind == "jsonl":
        yield from (line for line in map(_Decoder(path, name), _lines(path, name, part)) if line.strip())
    else:
        raise CorpusError(f"{name} has no rows; give Parquet or JSON Lines")


def text_of(row: Mapping[str, Any], field: str) -> str:
    """The text or number in a field of a row; empty where the row says null.

    Raises:
        CorpusError: There is no such field, or no text in it.
    """
    if field not in row:
        raise CorpusError(f"there is no field {field!r}; there are {', '.join(map(str, row))}")
    value = row[field]
    if value is None or value != value:  # NaN, as pandas writes a gap
        return ""
    if not isinstance(value, str | int | float):
        raise CorpusError(f"the field {field!r} is no text but {type(value).__name__}")
    return str(value).encode("utf-8", "replace").decode()  # JSON may have half of a pair of surrogates


def _until_damage(items: Iterator[ItemT], name: str) -> Iterator[ItemT | CorpusError]:
    """Items of a file; damage after the first is the last item, so that what was read before is kept."""
    empty = True
    try:
        with _damage_named(name):
            for item in items:
                empty = False
                yield item
    except CorpusError as error:
        if empty:
            raise
        yield error


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Turn what readers say of a damaged file into a `CorpusError` that names it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a decompressor; the system gives its errors a number
            raise CorpusError(f"{name} is damaged: {error}") from error
        raise
    except (pa.ArrowException, EOFError, lzma.LZMAError, zlib.error, struct.error, etree.LxmlError) as error:
        raise CorpusError(f"{name} is damaged: {error}") from error


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise CorpusError(f"{path.name} is not Parquet: {error}") from error


def _read_parquet(path: Path, part: Part, field: str) -> Iterator[list[str]]:
    file = _parquet(path)
    if field not in file.schema_arrow.names:
        raise CorpusError(f"there is no column {field!r}; there are {', '.join(file.schema_arrow.names)}")
    kind = file.schema_arrow.field(field).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise CorpusError(f"the column {field!r} has no texts but {kind}")
    for batch in file.iter_batches(256, row_groups=range(part.start, part.stop), columns=[field]):
        for text in batch.column(0).to_pylist():
            if text:
                yield text.split("\n")


def _read_jsonl(lines: Iterator[str], field: str) -> Iterator[list[str] | CorpusError]:
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise CorpusError(f"a line is {type(row).__name__}, not an object")
            text = text_of(row, field)
        except (ValueError, RecursionError) as error:
            yield error if isinstance(error, CorpusError) else CorpusError(f"a line is no JSON: {error}")
            continue
        if text:
            yield text.split("\n")


def _read_text(lines: Iterator[str]) -> Iterator[list[str]]:
    """Paragraphs of a plain text: blank lines part them, and lines broken to a width are joined again."""
    document: list[str] = []
    block: list[str] = []
    for line in lines:
        text = line.strip()
        if text and text != "%" and len(block) < _PARAGRAPHS:
            block.append(text)
            continue
        document += _paragraphs(block)
        block = [text] if text and text != "%" else []
        if len(document) >= _PARAGRAPHS:
            yield document
            document = []
    document += _paragraphs(block)
    if document:
        yield document


def _paragraphs(block: list[str]) -> list[str]:
    if len(block) > 1 and sorted(map(len, block))[len(block) // 2] >= _WRAPPED:
        return [" ".join(block)]
    return block


def _lines(path: Path, name: str, part: Part) -> Iterator[bytes]:
    """The lines that begin in a part."""
    with _opened(path, name) as file:
        if part.start:
            file.seek(part.start - 1)
            file.readline(_LINE)  # belongs to the part before
        while not part.stop or file.tell() < part.stop:
            line = file.readline(_LINE)
            if not line:
                return
            if len(line) == _LINE:
                raise CorpusError(f"a line is longer than {_LINE} bytes")
            yield line


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    suffix = PurePosixPath(name).suffix
    if suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield cast(BinaryIO, _Lines(stream))
        return
    opener: Any = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
    with cast(BinaryIO, opener(path, "rb")) as file:
        yield file


class _Lines:
    """Lines of an Arrow stream, which cannot read them itself when it is compressed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = b""

    def readline(self, limit: int) -> bytes:
        end = self._buffer.find(b"\n")
        while end < 0 and len(self._buffer) < limit:
            block = self._stream.read(1 << 16)
            if not block:
                break
            searched = len(self._buffer)
            self._buffer += block
            end = self._buffer.find(b"\n", searched)
        length = min(limit, len(self._buffer) if end < 0 else end + 1)
        line, self._buffer = self._buffer[:length], self._buffer[length:]
        return line

    def read(self, limit: int) -> bytes:
        data = self._buffer + self._stream.read(max(0, limit - len(self._buffer)))
        data, self._buffer = data[:limit], data[limit:]
        return data


def _read_whole(path: Path, name: str) -> bytes:
    with _opened(path, name) as file:
        data = file.read(_WHOLE + 1)
    if len(data) > _WHOLE:
        raise CorpusError(f"{name} has more than {_WHOLE} bytes, and must be parsed as a whole")
    return data


class _Decoder:
    """Bytes of a file as text: as UTF-8, or else in the charset that the beginning of the file looks like."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __call__(self, data: bytes) -> str:
        try:
            return data.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            return data.decode(self._charset, "replace")

    @cached_property
    def _charset(self) -> str:
        with _opened(self._path, self._name) as file:
            charset = detect_encoding(file.read(_START)) or "utf-8"
        return "latin-1" if charset.startswith("utf") else charset  # single lines of another charset, in UTF-8


def _markup_paragraphs(data: bytes) -> list[str]:
    """The texts of the innermost block elements of HTML, DocBook or Mallard, in order."""
    is_html = b"<html" in data[:2000].lower() or b"<!doctype html" in data[:200].lower()
    if is_html:
        text = decode_html(data, None)  # encoded again: the parser refuses a str that declares an encoding
        root = etree.fromstring(text.encode(), etree.HTMLParser(encoding="utf-8", no_network=True))
    else:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, recover=True))
    if root is None:
        return []
    outer: set[etree._Element] = set()  # elements that hold blocks; each is marked once, however deep they nest
    for block in root.iter(*(f"{{*}}{name}" for name in _BLOCKS)):
        parent = block.getparent()
        while parent is not None and parent not in outer:
            outer.add(parent)
            parent = parent.getparent()
    paragraphs: list[str] = []
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if not isinstance(element.tag, str) or (name := etree.QName(element).localname) in _UNREAD:
            continue
        if element in outer:
            waiting += reversed(element)
        elif name in _BLOCKS:
            paragraphs.append(" ".join("".join(element.itertext(etree.Element, etree.Entity)).split()))
    return [paragraph for paragraph in paragraphs if paragraph and not _ENTITY.search(paragraph)]


def _messages(data: bytes) -> Iterator[str]:
    """The translations of a gettext catalogue, without those that are made for programs to fill in."""
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
    if order is None:
        raise CorpusError("the file is no gettext catalogue")
    count, _, table = struct.unpack(f"{order}3I", data[8:20])
    for number in range(1, count):  # the first is the header
        length, offset = struct.unpack_from(f"{order}2I", data, table + 8 * number)
        for message in data[offset : offset + length].decode("utf-8", "replace").split("\x00"):
            text = message.replace("_", "") if message.count("_") == 1 else message
            yield from (line for line in text.split("\n") if line.strip() and not _PLACEHOLDER.search(line))
