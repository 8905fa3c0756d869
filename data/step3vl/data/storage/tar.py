"""The bytes of a shard: a plain ustar archive, written with its offsets and hashes in one pass.

The archive is what `tarfile`, `webdataset` and Energon read: KEY.json first, then KEY.0.jpg, KEY.1.png and so on, with
fixed owner, mode and time, so equal samples give equal bytes. The standard library writes one small member in about
60 microseconds; a header packed from a template takes a hundredth of that.
"""

import json
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple
from zlib import adler32

from blake3 import blake3
from xxhash import xxh3_64_intdigest

BLOCK = 512
MAX_MEMBER = 8**11 - 1  # eleven octal digits of ustar's size field
RECORD = 20 * BLOCK  # archives end at a multiple of this, as tar's own do
KEY = re.compile(r"(?!__)[a-z0-9_-][a-z0-9_/-]*")
_BUFFER = 1 << 21  # bytes hashed and written at once; the file system takes large writes at a third of the cost
_NAME = 100
_HEADER = struct.Struct("100s24s12s12s8s356s")
_OWNER = b"0000644\0" + b"0000000\0" * 2  # mode, user, group
_TIME = b"00000000000\0"
_REST = (b"0" + b"\0" * 100 + b"ustar\x0000").ljust(356, b"\0")  # a regular file
_FIXED = sum(_OWNER + _TIME + b" " * 8 + _REST) - 1  # the checksum counts as blanks
_ZEROS = memoryview(bytes(BLOCK))
_pack, _is_key = _HEADER.pack_into, KEY.fullmatch


class TarEntry(NamedTuple):
    """Where a sample is in an archive.

    Attributes:
        offset: Byte of its first header.
        size: Bytes of all its members, headers and padding included.
        xxh3: XXH3 (64 bits) of those bytes.
        json_size: Bytes of the JSON.
        image_offsets: Byte of each encoded image in the archive.
        image_sizes: Bytes of each encoded image.
    """

    offset: int
    size: int
    xxh3: int
    json_size: int
    image_offsets: list[int]
    image_sizes: list[int]


@lru_cache(maxsize=1 << 10)
def _suffix(index: int, extension: str) -> bytes:
    """The end of an image's member name."""
    return f".{index}.{extension}".encode("ascii")


def padded(size: int) -> int:
    """Bytes that a payload occupies in the archive, to the end of its last block."""
    return -(-size // BLOCK) * BLOCK


def archive_size(end: int) -> int:
    """The size of an archive whose samples end at byte `end`: two empty blocks, padded to full records."""
    return -(-(end + 2 * BLOCK) // RECORD) * RECORD


class TarWriter:
    """Writes one archive to an open binary file, with a buffer of 2 MiB or of the largest sample."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = blake3()
        self._view = memoryview(bytearray(_BUFFER))
        self._used = 0
        self._flushed = 0
        self._offsets: list[int] = []

    def add(self, key: str, meta: bytes, images: Sequence[tuple[str, bytes]]) -> TarEntry:
        """Append a sample.

        Args:
            key: Name of its members without extensions, of `a-z 0-9 _ - /` (WebDataset splits names at the first dot).
            meta: Its JSON.
            images: Extension and encoded bytes of each image.

        Returns:
            Where the sample is in the archive.

        Raises:
            ValueError: The key is malformed, or a member exceeds ustar: names of over 100 bytes, members of 8 GiB.
        """
        if not _is_key(key):
            raise ValueError(f"key {key!r} may hold only a-z, 0-9, _, - and /, and not begin with __")
        name = key.encode("ascii")
        parts = [(name + b".json", meta)]
        bound = len(meta) + 2 * BLOCK
        for index, (extension, data) in enumerate(images):
            parts.append((name + _suffix(index, extension), data))
            bound += len(data) + 2 * BLOCK
        if self._used + bound > len(self._view):
            self._flush()
            if bound > len(self._view):
                self._view = memoryview(bytearray(bound))
        view, start = self._view, self._used
        position, base = start, self._flushed
        offsets, sizes = [], []
        for full, data in parts:
            length = len(data)
            if len(full) > _NAME or length > MAX_MEMBER:
                what = f"member {full.decode()} of {length} bytes"
                raise ValueError(f"{what}: ustar holds names of {_NAME} bytes and members of 8 GiB")
            digits = b"%011o\0" % length
            # The low half of an Adler-32 is one more than the sum of so few bytes, at a quarter of the price of sum().
            total = b"%06o\0 " % (_FIXED + (adler32(full + digits) & 0xFFFF))
            _pack(view, position, full, _OWNER, digits, _TIME, total, _REST)
            position += BLOCK
            offsets.append(base + position)
            sizes.append(length)
            end = position + length
            view[position:end] = data
            position = -(-end // BLOCK) * BLOCK
            if end < position:
                view[end:position] = _ZEROS[: position - end]
        self._used = position
        self._offsets.append(base + start)
        checksum = xxh3_64_intdigest(view[start:position])
        return TarEntry(base + start, position - start, checksum, sizes[0], offsets[1:], sizes[1:])

    def _flush(self) -> None:
        full = self._view[: self._used]
        self._hash.update(full)
        while len(full):  # an unbuffered file may write less than asked
            full = full[self._file.write(full) :]
        self._flushed += self._used
        self._used = 0

    def finish(self) -> tuple[str, bytes]:
        """Complete the archive.

        Returns:
            Its BLAKE3, and its offsets as N+1 little-endian u64: of each sample, then of the trailer.
        """
        self._flush()
        index = struct.pack(f"<{len(self._offsets) + 1}Q", *self._offsets, self._flushed)
        end = archive_size(self._flushed) - self._flushed
        self._view[:end] = bytes(end)
        self._used = end
        self._flush()
        return self._hash.hexdigest(), index


def split_sample(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Split one sample's bytes of an archive into its JSON and its encoded images.

    Raises:
        ValueError: The bytes are not complete members with the JSON first.
    """
    members: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        if data[position + 257 : position + 262] != b"ustar":
            raise ValueError(
                f"no tar header at byte {position} of the sample; the shard is damaged or its index is stale"
            )
        size = int(data[position + 124 : position + 135], 8)
        payload = position + BLOCK
        if not members and not data[position : position + _NAME].rstrip(b"\0").endswith(b".json"):
            raise ValueError("a sample must begin with its JSON member")
        if payload + size > end:
            raise ValueError(f"member {data[position : position + _NAME].rstrip(bytes(1))!r} is truncated")
        members.append(data[payload : payload + size])
        position = payload + size + -size % BLOCK
    if not members:
        raise ValueError("a sample must begin with its JSON member")
    return json.loads(members[0]), members[1:]
