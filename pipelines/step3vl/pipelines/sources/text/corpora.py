"""Text corpora as they are kept: Parquet, JSON Lines, plain text, web pages, manual pages and gettext catalogues.

A file is read in parts, so that a large one is dealt to many workers, and each part as a stream of documents.
"""

import bz2
import gzip
import json
import lzma
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq
from lxml import etree

from step3vl.pipelines.sources.text.roff import roff_paragraphs
from step3vl.pipelines.sources.web.html import decode_html

Format = Literal["parquet", "jsonl", "markup", "manual", "catalogue", "text"]

_PART = 8 << 20  # bytes of a part of a plain file
_LINE = 16 << 20  # bytes of a line; a longer one is an error
_WHOLE = 32 << 20  # bytes of a file that must be parsed as a whole
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
        CorpusError: The file is no Parquet.
    """
    kind = text_format(name)
    if kind == "parquet":
        yield from (Part(group, group + 1) for group in range(_parquet(path).num_row_groups))
    elif kind in ("jsonl", "text") and not name.endswith(_COMPRESSED):
        size = path.stat().st_size
        yield from (Part(start, min(start + _PART, size)) for start in range(0, size, _PART))
    else:
        yield Part(0, 0)


def read_documents(path: Path, name: str, part: Part, field: str = "text") -> Iterator[list[str]]:
    """The documents of a part of a file, each as its paragraphs.

    Args:
        path: Where it is.
        name: As its source names it.
        part: Of `split_file`.
        field: The column of Parquet, or the key of JSON Lines, that holds the text.

    Raises:
        CorpusError: The file is damaged, or has no such field.
    """
    kind = text_format(name)
    with _damage_named(name):
        if kind == "parquet":
            yield from _read_parquet(path, part, field)
        elif kind == "markup":
            yield _markup_paragraphs(_read_whole(path, name))
        elif kind == "catalogue":
            yield list(_messages(_read_whole(path, name)))
        elif kind == "manual":
            yield list(roff_paragraphs(_decode(_read_whole(path, name)).splitlines()))
        else:
            lines = _lines(path, name, part)
            yield from _read_jsonl(lines, field) if kind == "jsonl" else _read_text(lines)


def read_rows(path: Path, name: str, part: Part) -> Iterator[dict[str, Any] | str]:
    """The rows of a part of a Parquet file, or the lines of one of JSON Lines, as yet unparsed.

    Args:
        path: Where it is.
        name: As its source names it.
        part: Of `split_file`.

    Raises:
        CorpusError: The file is damaged, or of another format.
    """
    kind = text_format(name)
    with _damage_named(name):
        if kind == "parquet":
            for batch in _parquet(path).iter_batches(256, row_groups=range(part.start, part.stop)):
                yield from batch.to_pylist()
        elif kind == "jsonl":
            yield from (_decode(line) for line in _lines(path, name, part) if line.strip())
        else:
            raise CorpusError(f"{name} has no rows; give Parquet or JSON Lines")


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
    for batch in file.iter_batches(256, row_groups=range(part.start, part.stop), columns=[field]):
        for text in batch.column(0).to_pylist():
            if text:
                yield str(text).split("\n")


def _read_jsonl(lines: Iterator[bytes], field: str) -> Iterator[list[str]]:
    for line in lines:
        if line.strip():
            row = json.loads(line)
            if field not in row:
                raise CorpusError(f"there is no field {field!r} in a line")
            if row[field]:
                yield str(row[field]).split("\n")


def _read_text(lines: Iterator[bytes]) -> Iterator[list[str]]:
    """Paragraphs of a plain text: blank lines part them, and lines broken to a width are joined again."""
    document: list[str] = []
    block: list[str] = []
    for line in lines:
        text = _decode(line).strip()
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


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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
