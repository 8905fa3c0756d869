"""The bytes of a shard: a plain ustar archive, written with its offsets and hash in one pass.

The standard library writes one small member in about 60 microseconds; a header from a template takes a tenth of that.
The archive is what `tarfile`, `webdataset` and Energon read: KEY.json first, then KEY.0.jpg, KEY.1.png and so on, with
fixed owner, mode and time, so equal samples give equal bytes.
"""

import hashlib
import json
import re
import struct
from typing import Any, BinaryIO, NamedTuple

BLOCK = 512
_RECORD = 20 * BLOCK  # archives end at a multiple of this, as tar's own do
_LARGEST = 8**11 - 1  # eleven octal digits of ustar's size field
_KEY = re.compile(r"[a-z0-9_-][a-z0-9_/-]*")
_TEMPLATE = bytearray(BLOCK)
_TEMPLATE[100:108] = b"0000644\0"
_TEMPLATE[108:116] = _TEMPLATE[116:124] = b"0000000\0"
_TEMPLATE[136:148] = b"00000000000\0"  # modified at 0
_TEMPLATE[148:156] = b" " * 8  # the checksum counts as blanks
_TEMPLATE[156:157] = b"0"
_TEMPLATE[257:265] = b"ustar\x0000"
_TEMPLATE_SUM = sum(_TEMPLATE)


class Member(NamedTuple):
    """Where a member's payload lies in the archive."""

    name: str
    offset: int
    size: int


class Entry(NamedTuple):
    """Where a sample lies: its first header, all its bytes, and its members (the JSON first)."""

    offset: int
    size: int
    members: tuple[Member, ...]


def _header(name: str, size: int) -> bytes:
    encoded = name.encode("ascii")
    if len(encoded) > 100:
        raise ValueError(f"member name {name!r} is longer than the 100 bytes of ustar")
    if size > _LARGEST:
        raise ValueError(f"member {name!r} of {size} bytes is larger than the 8 GiB of ustar")
    digits = b"%011o\0" % size
    block = bytearray(_TEMPLATE)
    block[: len(encoded)] = encoded
    block[124:136] = digits
    block[148:156] = b"%06o\0 " % (_TEMPLATE_SUM + sum(encoded) + sum(digits))
    return bytes(block)


class TarWriter:
    """Writes one archive to an open binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._position = 0
        self._offsets: list[int] = []

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._position += len(data)

    def _member(self, name: str, data: bytes) -> Member:
        self._write(_header(name, len(data)))
        member = Member(name, self._position, len(data))
        self._write(data)
        self._write(b"\0" * (-len(data) % BLOCK))
        return member

    def add(self, key: str, meta: bytes, pictures: list[tuple[str, bytes]]) -> Entry:
        """Append a sample: its JSON, then each picture as (extension, bytes).

        Raises ValueError for a key with anything but `a-z 0-9 _ - /`: WebDataset splits names at the first dot.
        """
        if not _KEY.fullmatch(key) or key.startswith("__"):
            raise ValueError(f"key {key!r} may hold only a-z, 0-9, _, - and /, and not begin with __")
        start = self._position
        self._offsets.append(start)
        members = [self._member(f"{key}.json", meta)]
        members += [
            self._member(f"{key}.{index}.{extension}", data) for index, (extension, data) in enumerate(pictures)
        ]
        return Entry(start, self._position - start, tuple(members))

    def finish(self) -> tuple[str, bytes]:
        """Close the archive. Returns its SHA-256 and its index: N+1 little-endian u64, the last the trailer's."""
        index = struct.pack(f"<{len(self._offsets) + 1}Q", *self._offsets, self._position)
        self._write(b"\0" * (2 * BLOCK))
        self._write(b"\0" * (-self._position % _RECORD))
        return self._hash.hexdigest(), index


def split_sample(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON and the pictures of one sample's bytes, as they stand in an archive.

    Raises ValueError when the bytes are not whole members with the JSON first.
    """
    members: list[tuple[str, bytes]] = []
    position = 0
    while position < len(data):
        header = data[position : position + BLOCK]
        if len(header) < BLOCK or header[257:262] != b"ustar":
            raise ValueError(
                f"no tar header at byte {position} of the sample; the shard is damaged or its index is stale"
            )
        name = header[:100].rstrip(b"\0").decode("ascii")
        size = int(header[124:135], 8)
        payload = data[position + BLOCK : position + BLOCK + size]
        if len(payload) != size:
            raise ValueError(f"member {name} is cut short")
        members.append((name, payload))
        position += BLOCK + size + (-size % BLOCK)
    if not members or not members[0][0].endswith(".json"):
        raise ValueError("a sample must begin with its JSON member")
    return json.loads(members[0][1]), [payload for _, payload in members[1:]]
