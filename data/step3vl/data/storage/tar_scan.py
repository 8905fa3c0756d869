"""Scanning of a shard in any condition: its members in order, and where it is not a valid archive.

Readers go by the index; this goes by the bytes, and continues past damage at the next valid header.
"""

import tarfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from step3vl.data.storage.tar import BLOCK, RECORD, padded

_READ_SIZE = 1 << 23


class TarMember(NamedTuple):
    """A member according to its header.

    Attributes:
        name: Its name.
        regular: Whether it is a regular file.
        offset: Byte of the header.
        payload: First byte of the content.
        size: Bytes of the content.
    """

    name: str
    regular: bool
    offset: int
    payload: int
    size: int

    @property
    def stop(self) -> int:
        """Byte of the next header."""
        return self.payload + padded(self.size)


class TarGap(NamedTuple):
    """Bytes that belong to no member. `truncated`: the archive ends too early; otherwise its bytes are invalid."""

    offset: int
    truncated: bool
    reason: str


class TarEnd(NamedTuple):
    """Byte of the empty blocks that end an archive."""

    offset: int


class HashingReader:
    """Reads a file once from front to back, and hashes it on the way. Memory: what was not released, and 8 MiB.

    Args:
        read: Returns bytes `start` to `stop` of the file.
        size: Bytes of the file.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.size = size
        self._read = read
        self._hash = blake3()
        self._start, self._data = 0, bytearray()

    def get(self, start: int, stop: int) -> bytes:
        """Bytes that were not released; fewer where the file ends."""
        while self._start + len(self._data) < min(stop, self.size) and self._advance():
            pass
        return bytes(memoryview(self._data)[max(start - self._start, 0) : max(stop - self._start, 0)])

    def release(self, position: int) -> None:
        """Drop all bytes before `position`, reading up to it where necessary."""
        while True:
            dropped = min(position - self._start, len(self._data))
            if dropped > 0:
                del self._data[:dropped]
                self._start += dropped
            if self._start >= min(position, self.size) or not self._advance():
                return

    def _advance(self) -> bool:
        end = self._start + len(self._data)
        data = self._read(end, min(end + _READ_SIZE, self.size))
        self._hash.update(data)
        self._data += data
        return bool(data)

    def hexdigest(self) -> str:
        """BLAKE3 of the file, after reading the rest of it."""
        self.release(self.size)
        return self._hash.hexdigest()


def scan_tar(reader: HashingReader) -> Iterator[TarMember | TarGap | TarEnd]:
    """Yield the members of an archive in order, its end, and the gaps.

    The bytes of members are available until the caller releases them, or continues past a gap or the end.
    """
    position = 0
    while True:
        block = reader.get(position, position + BLOCK)
        member = _member(block, position)
        if len(block) < BLOCK:
            yield TarGap(position, True, "the archive ends without its two empty blocks")
            return
        if member is None and not any(block):
            yield TarEnd(position)
            yield from _after_end(reader, position)
            return
        if member is None:
            yield TarGap(position, False, f"no tar header at byte {position}")
            position = _next_header(reader, position + BLOCK)
        elif member.payload + member.size > reader.size:
            yield TarGap(position, True, f"member {member.name} of {member.size} bytes ends after the file")
            return
        else:
            yield member
            position = member.stop


def _member(block: bytes, offset: int) -> TarMember | None:
    """The member that a block is the header of; None when it is not a header."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    if header.size < 0:
        return None
    return TarMember(header.name, header.type == tarfile.REGTYPE, offset, offset + BLOCK, header.size)


def _next_header(reader: HashingReader, start: int) -> int:
    """Byte of the next header, or the end of the file."""
    for position in range(start, reader.size - BLOCK + 1, BLOCK):
        reader.release(position)
        block = reader.get(position, position + BLOCK)
        if block[257:262] == b"ustar" and _member(block, position):
            return position
    return reader.size


def _after_end(reader: HashingReader, position: int) -> Iterator[TarGap]:
    """What is wrong after the first empty block."""
    if reader.size - position < 2 * BLOCK or reader.size % RECORD:
        yield TarGap(position, True, f"the archive's end, at byte {position}, is truncated")
    while position < reader.size:
        reader.release(position)
        if any(reader.get(position, position + RECORD)):
            yield TarGap(position, False, f"there is data after the archive's end, after byte {position}")
            return
        position += RECORD
