"""A shard as it stands, whatever state it is in: its members in order, and where it is no archive.

Readers go by the index; this goes by the bytes, and past damage it goes on at the next header that is one.
"""

import tarfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

from step3vl.data.tar import BLOCK, RECORD, padded

_PIECE = 1 << 23


class Member(NamedTuple):
    """A member as its header has it: where the header begins, and where its payload lies."""

    name: str
    regular: bool
    offset: int
    payload: int
    size: int

    @property
    def stop(self) -> int:
        """Where the next header begins."""
        return self.payload + padded(self.size)


class Gap(NamedTuple):
    """Bytes that belong to no member. `cut`: the archive ends too early; otherwise something in it is wrong."""

    offset: int
    cut: bool
    reason: str


class End(NamedTuple):
    """Where the empty blocks begin that end an archive."""

    offset: int


class Window:
    """A file read once from front to back, in pieces, and hashed as it goes by.

    `read(start, stop)` gives bytes of the file. It holds what was not released, and a piece more.
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

    def release(self, before: int) -> None:
        """Forget all before this byte, reading on to it where it was not read yet."""
        while True:
            dropped = min(before - self._start, len(self._data))
            if dropped > 0:
                del self._data[:dropped]
                self._start += dropped
            if self._start >= min(before, self.size) or not self._advance():
                return

    def _advance(self) -> bool:
        end = self._start + len(self._data)
        piece = self._read(end, min(end + _PIECE, self.size))
        self._hash.update(piece)
        self._data += piece
        return bool(piece)

    def hexdigest(self) -> str:
        """BLAKE3 of the whole file, the rest of which is read for it."""
        self.release(self.size)
        return self._hash.hexdigest()


def walk(window: Window) -> Iterator[Member | Gap | End]:
    """The members of an archive in order, its end, and the gaps.

    The bytes of members can be had until the caller releases them, or asks for what follows a gap or the end.
    """
    position = 0
    while True:
        block = window.get(position, position + BLOCK)
        member = _member(block, position)
        if len(block) < BLOCK:
            yield Gap(position, True, "the archive ends without its two empty blocks")
            return
        if member is None and not any(block):
            yield End(position)
            yield from _after_end(window, position)
            return
        if member is None:
            yield Gap(position, False, f"no tar header at byte {position}")
            position = _next_header(window, position + BLOCK)
        elif member.payload + member.size > window.size:
            yield Gap(position, True, f"member {member.name} of {member.size} bytes ends after the file")
            return
        else:
            yield member
            position = member.stop


def _member(block: bytes, offset: int) -> Member | None:
    """What a block says as a header; None when it is none."""
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    if found.size < 0:
        return None
    return Member(found.name, found.type == tarfile.REGTYPE, offset, offset + BLOCK, found.size)


def _next_header(window: Window, start: int) -> int:
    """Where the next header is, or the end of the file."""
    for position in range(start, window.size - BLOCK + 1, BLOCK):
        window.release(position)
        block = window.get(position, position + BLOCK)
        if block[257:262] == b"ustar" and _member(block, position):
            return position
    return window.size


def _after_end(window: Window, position: int) -> Iterator[Gap]:
    """What is wrong behind the first empty block."""
    if window.size - position < 2 * BLOCK or window.size % RECORD:
        yield Gap(position, True, f"the archive's end, at byte {position}, is cut short")
    while position < window.size:
        window.release(position)
        if any(window.get(position, position + RECORD)):
            yield Gap(position, False, f"something stands behind the archive's end, after byte {position}")
            return
        position += RECORD
