"""Slices of files, and merging of neighbouring ones into fewer, larger reads."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from xxhash import xxh3_64_hexdigest

_GAP = 64 << 10  # a request costs as much as reading more bytes than this
_LARGEST = 16 << 20  # bytes that are read at once, so that several reads share the bandwidth


class Slice(Protocol):
    """Bytes of a file, as `FileSlice` and `Pointer` describe them."""

    @property
    def path(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def xxh3(self) -> str | None: ...


class FileSlice(NamedTuple):
    """`size` bytes of a file from byte `offset` on, and their XXH3 (64 bits) as 16 hexadecimal digits, if known."""

    path: str
    offset: int
    size: int
    xxh3: str | None = None


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` of a file of `file_size` bytes whose content is identified by `version`."""

    path: str
    start: int
    stop: int
    file_size: int
    version: str

    def blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """Start and end of the blocks of `size` bytes that cover the range; the last of a file may be shorter."""
        for first in range(self.start - self.start % size, min(self.stop, self.file_size), size):
            yield first, min(first + size, self.file_size)


class MergedSlices(NamedTuple):
    """Bytes `start` to `stop` of a file, and the positions of the slices that lie within them."""

    path: str
    start: int
    stop: int
    members: list[int]


def merge_slices(slices: Sequence[Slice], gap: int = _GAP, largest: int = _LARGEST) -> list[MergedSlices]:
    """Merge slices of one file that are close to each other, whatever their order; empty ones are left out.

    Args:
        slices: The slices; they may overlap.
        gap: Bytes between two slices that are read in vain rather than by two reads.
        largest: Bytes of a merged read. A larger slice is read by itself.

    Returns:
        The reads, by path and start.
    """
    order = sorted(range(len(slices)), key=lambda number: (slices[number].path, slices[number].offset))
    merged: list[MergedSlices] = []
    for number in order:
        part = slices[number]
        if not part.size:
            continue
        stop = part.offset + part.size
        last = merged[-1] if merged else None
        if last and last.path == part.path and part.offset <= last.stop + gap and stop - last.start <= largest:
            last.members.append(number)
            merged[-1] = last._replace(stop=max(last.stop, stop))
        else:
            merged.append(MergedSlices(part.path, part.offset, stop, [number]))
    return merged


def fault_of(part: Slice, data: bytes) -> str | None:
    """What is wrong with the bytes that were read for a slice; None when nothing is."""
    if len(data) != part.size:
        return f"it ends before byte {part.offset + part.size}: it was truncated"
    if part.xxh3 is not None and xxh3_64_hexdigest(data) != part.xxh3:
        return f"its {part.size} bytes from byte {part.offset} on are not those that were written"
    return None
