"""TFRecord files of `tf.train.Example`, and the protocol buffers in them, without TensorFlow.

A record is its length (8 bytes), a checksum of that, the data, and a checksum of those: CRC-32C, rotated and shifted
(tensorflow/core/lib/io/record_writer.h). Fields of protocol buffers are read by number; what is not asked for is
skipped.
"""

import gzip
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from crc32c import crc32c

_MAX_RECORD = 512 * 2**20  # bytes: an episode of AndroidControl has tens of screenshots
_MASK = 0xA282EAD8

Value = int | bytes


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a file, compressed by gzip or not.

    Raises:
        ValueError: The file is no TFRecord file, or damaged.
    """
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("rb"))
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            file = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=file)))
        else:
            file.seek(0)
        number = 0
        try:
            while header := file.read(12):
                yield _record(file, header, number)
                number += 1
        except (OSError, EOFError) as error:
            raise ValueError(f"record {number} cannot be read: {error}") from None


def _record(file: BinaryIO, header: bytes, number: int) -> bytes:
    if len(header) < 12:
        raise ValueError(f"the file ends within record {number}")
    length, checksum = struct.unpack("<QI", header)
    if _masked(header[:8]) != checksum or length > _MAX_RECORD:
        raise ValueError(f"record {number} has no valid length: the file is no TFRecord file, or damaged")
    data = file.read(length + 4)
    if len(data) < length + 4:
        raise ValueError(f"the file ends within record {number}")
    if _masked(data[:length]) != struct.unpack("<I", data[length:])[0]:
        raise ValueError(f"record {number} is damaged: its checksum differs")
    return data[:length]


def _masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + _MASK) & 0xFFFFFFFF


def fields(message: bytes) -> dict[int, list[Value]]:
    """The fields of a message by number: integers, and bytes of texts, messages and packed numbers.

    Raises:
        ValueError: It is no message.
    """
    by_number: dict[int, list[Value]] = {}
    position = 0
    try:
        while position < len(message):
            tag, position = _varint(message, position)
            value: Value
            match tag & 7:
                case 0:
                    value, position = _varint(message, position)
                case 1:
                    value, position = message[position : position + 8], position + 8
                case 2:
                    size, position = _varint(message, position)
                    value, position = message[position : position + size], position + size
                case 5:
                    value, position = message[position : position + 4], position + 4
                case kind:
                    raise ValueError(f"a field of wire type {kind} is none of a protocol buffer of today")
            by_number.setdefault(tag >> 3, []).append(value)
    except IndexError:
        position = len(message) + 1
    if position > len(message):
        raise ValueError("a protocol buffer ends within a field")
    return by_number


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number of a protocol buffer has more than 64 bits")


def signed(value: Value) -> int:
    """An int32 or int64 of a message, which writes negative ones as 64 bits."""
    number = cast(int, value)
    return number - (1 << 64) if number >= 1 << 63 else number


class Example:
    """The features of a `tf.train.Example`, by name.

    Args:
        record: Its bytes.
    """

    def __init__(self, record: bytes) -> None:
        self._features: dict[str, bytes] = {}
        for features in fields(record).get(1, []):
            for entry in fields(cast(bytes, features)).get(1, []):
                pair = fields(cast(bytes, entry))
                self._features[cast(bytes, pair[1][0]).decode()] = cast(bytes, pair[2][0]) if 2 in pair else b""

    def bytes(self, name: str) -> list[bytes]:
        """The byte strings of a feature. Raises KeyError where there is none of this name."""
        return [cast(bytes, value) for value in self._list(name, 1).get(1, [])]

    def text(self, name: str) -> str:
        """The one text of a feature. Raises KeyError or IndexError where there is none."""
        return self.bytes(name)[0].decode()

    def floats(self, name: str) -> list[float]:
        """The numbers of a feature. Raises KeyError where there is none of this name."""
        return [
            number
            for packed in self._list(name, 2).get(1, [])
            for (number,) in struct.iter_unpack("<f", cast(bytes, packed))
        ]

    def integers(self, name: str) -> list[int]:
        """The integers of a feature. Raises KeyError where there is none of this name."""
        numbers: list[int] = []
        for value in self._list(name, 3).get(1, []):
            if isinstance(value, int):
                numbers.append(signed(value))
                continue
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                numbers.append(signed(number))
        return numbers

    def _list(self, name: str, kind: int) -> dict[int, list[Value]]:
        lists = fields(self._features[name])
        return fields(cast(bytes, lists[kind][0])) if kind in lists else {}
