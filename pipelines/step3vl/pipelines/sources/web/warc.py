"""Web archives (WARC): the responses of a file one by one, and a response at its offset.

Crawlers compress each record as a gzip member of its own, so that a record can be read alone. The members are walked
here, and their contents parsed by fastwarc: damage in one member then costs that member and no more, where fastwarc's
own walk ends at the first damaged or empty one, silently at the latter.
"""

import mmap
import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from fastwarc.warc import ArchiveIterator, WarcRecordType
from xxhash import xxh3_64_hexdigest

_MAX_RECORD = 64 << 20  # bytes of a record, decompressed; a larger one is passed over
_MAX_HEADER = 1 << 20  # bytes of a record's own header
_READ = 64 << 10  # compressed bytes that are decompressed at once
_GZIP = b"\x1f\x8b\x08"
_LENGTH = re.compile(rb"\r?\ncontent-length:\s*(\d{1,18})\s*\r?\n", re.IGNORECASE)
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_NEXT_RECORD = re.compile(rb"WARC/1\.\d\r?\n")


class WarcError(ValueError):
    """A file or a record that is no WARC, or damaged."""


class WarcSlice(NamedTuple):
    """Where a record lies in its file, and its decompressed bytes.

    Attributes:
        offset: First byte in the file.
        size: Bytes in the file.
        data: Empty where `damage` says why the record cannot be read.
        xxh3: Of the bytes in the file, as `Pointer` has it.
        damage: `damaged`, `truncated` or `too_large`.
    """

    offset: int
    size: int
    data: bytes
    xxh3: str
    damage: str = ""


class WebResponse(NamedTuple):
    """What a server answered.

    Attributes:
        url: Of the request.
        status: HTTP status; 200 for a `resource` record.
        headers: By lower-case name; repeated ones are joined by commas.
        body: Without transfer and content encodings, cut at the limit it was read with.
    """

    url: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def mime(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset that the server states."""
        match = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        return match[1] if match else None


def is_warc(path: Path) -> bool:
    """Whether a file is a WARC, by its content."""
    with path.open("rb") as file:
        start = file.read(_READ)
    if start.startswith(_GZIP):
        start = _first_bytes(start)
    return start.startswith(b"WARC/")


def walk_records(path: Path) -> Iterator[WarcSlice]:
    """The records of a WARC in their order, each decompressed alone; after damage the walk continues at the next one.

    Args:
        path: A WARC, plain or with a gzip member for each record.

    Raises:
        WarcError: It is no WARC, or compressed as a whole, so that no record can be read alone.
    """
    if not is_warc(path):
        raise WarcError("the file is no WARC, or none compressed by gzip")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield from _walk_members(data) if data[:3] == _GZIP else _walk_plain(data)


def parse_response(record: bytes, limit: int) -> WebResponse | None:
    """The response of a record; None if it has none, such as requests, revisits and metadata.

    Args:
        record: The decompressed bytes.
        limit: Bytes of the body that are decoded; a longer body is cut after one byte more.

    Raises:
        WarcError: The record or its HTTP header is damaged.
    """
    kinds = WarcRecordType.response | WarcRecordType.resource
    try:
        for parsed in ArchiveIterator(BytesIO(record), record_types=kinds, auto_decode="all", stream_detect=False):
            url = (parsed.headers.get("WARC-Target-URI") or "").strip().strip("<>")
            if parsed.record_type == WarcRecordType.resource:
                headers = {"content-type": parsed.headers.get("Content-Type") or ""}
                return WebResponse(url, 200, headers, parsed.reader.read(limit + 1))
            if parsed.http_headers is None:
                return None  # a response of another protocol, such as DNS
            headers = {}
            for name, value in parsed.http_headers.to_tuples():
                name = name.strip().lower()
                headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
            return WebResponse(url, parsed.http_headers.status_code or 0, headers, parsed.reader.read(limit + 1))
    except (OSError, ValueError) as error:
        raise WarcError(f"the record cannot be read: {error}") from None
    return None


def unpack_record(stored: bytes) -> bytes:
    """The decompressed bytes of a record as it lies in its file.

    Raises:
        WarcError: It is damaged, or larger than 64 MiB.
    """
    if not stored.startswith(_GZIP):
        return stored
    member = zlib.decompressobj(wbits=31)
    try:
        data = member.decompress(stored, _MAX_RECORD + 1)
    except zlib.error as error:
        raise WarcError(f"the record cannot be decompressed: {error}") from None
    if len(data) > _MAX_RECORD:
        raise WarcError(f"the record has more than {_MAX_RECORD} bytes")
    return data


def _walk_members(data: mmap.mmap) -> Iterator[WarcSlice]:
    start = 0
    while start < len(data):
        content, stop, damage = _read_member(data, start)
        if damage:
            stop = _next_member(data, start + 1 if damage == "damaged" else stop)
        elif content and not _is_single(content):
            raise WarcError("the WARC is compressed as a whole; compress each record as a gzip member of its own")
        if content or damage:
            yield _slice(data, start, stop, content, damage)
        start = stop


def _slice(data: mmap.mmap, start: int, stop: int, content: bytes, damage: str) -> WarcSlice:
    if damage:
        return WarcSlice(start, stop - start, b"", "", damage)
    return WarcSlice(start, stop - start, content, xxh3_64_hexdigest(data[start:stop]))


def _read_member(data: mmap.mmap, start: int) -> tuple[bytes, int, str]:
    """The content of a gzip member, where it ends, and what is wrong with it."""
    member, total, position = zlib.decompressobj(wbits=31), 0, start
    parts: list[bytes] = []
    while not member.eof:
        chunk = data[position : position + _READ]
        if not chunk:
            return b"".join(parts), position, "truncated"
        position += len(chunk)
        try:
            part = member.decompress(chunk, _MAX_RECORD - total + 1)
        except zlib.error:
            return b"", position, "damaged"
        parts.append(part)
        total += len(part)
        if total > _MAX_RECORD:
            return b"", position - len(member.unconsumed_tail), "too_large"
    return b"".join(parts), position - len(member.unused_data), ""


def _next_member(data: mmap.mmap, start: int) -> int:
    """Where the next gzip member begins that holds a record; the end of the file without one."""
    while (start := data.find(_GZIP, start)) >= 0:
        if _first_bytes(data[start : start + _READ]).startswith(b"WARC/"):
            return start
        start += 1
    return len(data)


def _first_bytes(compressed: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(compressed, 64)
    except zlib.error:
        return b""


def _is_single(record: bytes) -> bool:
    """Whether nothing but line ends follows a record."""
    end = _end_of_record(record, 0)
    return end is None or not record[end : end + 64].strip()


def _end_of_record(data: bytes | mmap.mmap, start: int) -> int | None:
    """Where the content of a record ends, by its header; None where it has none."""
    header = data[start : start + _MAX_HEADER] if len(data) - start > _MAX_HEADER else data[start:]
    end = _END_OF_HEADER.search(header)
    length = _LENGTH.search(header, 0, end.end()) if end else None
    return start + end.end() + int(length[1]) if end and length else None


def _walk_plain(data: mmap.mmap) -> Iterator[WarcSlice]:
    start = 0
    while start < len(data):
        end = _end_of_record(data, start) if data[start : start + 5] == b"WARC/" else None
        if end is None or end > len(data):
            following = _NEXT_RECORD.search(data, start + 1)
            stop = following.start() if following else len(data)
            yield _slice(data, start, stop, b"", "damaged" if end is None or following else "truncated")
        else:
            large = end - start > _MAX_RECORD
            yield _slice(data, start, end, b"" if large else data[start:end], "too_large" if large else "")
            stop = end
            while data[stop : stop + 1] in (b"\r", b"\n"):
                stop += 1
        start = stop
