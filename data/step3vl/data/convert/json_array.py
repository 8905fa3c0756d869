"""The elements of a JSON array, one at a time however long it is; a malformed element does not hide those after it."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

_CHUNK = 1 << 20  # bytes that are read at once; more while an element is longer
_DECODER = json.JSONDecoder()
_NUMBER = frozenset("0123456789.eE+-")
_SPACE = re.compile(r"[ \t\n\r]*")
# A string as a whole, or what opens, closes or separates. Possessive, so that a long string takes linear time.
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)


class Readable(Protocol):
    """What bytes are read of."""

    def read(self, size: int, /) -> bytes: ...


class BrokenArrayError(ValueError):
    """The array ends too early, or is followed by something else than its end."""


def read_array(file: Readable) -> Iterator[Any | ValueError]:
    """Read an array.

    Bytes that are not UTF-8 become unpaired surrogates, which no sample accepts.

    Args:
        file: At the beginning of the array's file; a byte order mark is skipped.

    Yields:
        Each element, or the ValueError that says why it cannot be read.

    Raises:
        BrokenArrayError: Nothing more can be read.
        OSError: The file cannot be read.
    """
    text = _Text(file)
    position = text.skip_space(0)
    if text.peek(position) != "[":
        raise BrokenArrayError("it does not begin with [")
    position = text.skip_space(position + 1)
    if text.peek(position) == "]":
        return
    while True:
        element, stop = _element(text, position)
        yield element
        position = text.skip_space(text.release(stop))
        separator = text.peek(position)
        if separator == "]":
            return
        if separator != ",":
            raise BrokenArrayError(f"after an element is {separator!r}" if separator else "it ends without ]")
        position = text.skip_space(position + 1)


def _element(text: "_Text", start: int) -> tuple[Any | ValueError, int]:
    """The element that begins at `start`, or why it is none; and where it ends."""
    while True:
        error: ValueError | None = None
        try:
            element, stop = _DECODER.raw_decode(text.buffer, start)
            if stop < len(text.buffer) and not (isinstance(element, int | float) and text.buffer[stop] in _NUMBER):
                return element, stop
        except (ValueError, RecursionError) as cause:
            error = ValueError(str(cause)) if isinstance(cause, RecursionError) else cause
            if (end := _end_of_element(text.buffer, start)) is not None:
                return error, end
        if not text.read():  # what was read may be the beginning of a longer number, or of anything
            if error is not None:
                raise BrokenArrayError(f"it ends inside an element: {error}") from None
            return element, stop


def _end_of_element(buffer: str, start: int) -> int | None:
    """Where the element that begins at `start` ends, by its brackets alone; None when it does not."""
    depth = 0
    for match in _STRUCTURE.finditer(buffer, start):
        token = match[0]
        if token in ("[", "{"):
            depth += 1
        elif token in ("]", "}") and depth:
            depth -= 1
        elif token == '"':
            return None  # a string that does not end
        elif not depth and token in (",", "]"):
            return match.start()
    return None


class _Text:
    """The part of a file that is not read yet, as text."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._size = _CHUNK
        self._ended = False
        self.buffer = ""

    def read(self) -> bool:
        """Append more of the file, each time twice as much. Returns whether there was more."""
        if self._ended:
            return False
        data = self._file.read(self._size)
        self._size *= 2
        self._ended = not data
        self.buffer += self._decode(data, final=self._ended)
        return not self._ended

    def release(self, stop: int) -> int:
        """Drop the text before `stop`, once it is long enough to be worth a copy. Returns the new position."""
        self._size = _CHUNK
        if stop < _CHUNK:
            return stop
        self.buffer = self.buffer[stop:]
        return 0

    def peek(self, position: int) -> str:
        """The character at a position; empty at the end of the file."""
        while position >= len(self.buffer) and self.read():
            pass
        return self.buffer[position : position + 1]

    def skip_space(self, position: int) -> int:
        """The position of the next character that is not white space."""
        while True:
            match = _SPACE.match(self.buffer, position)
            stop = match.end() if match else position
            if stop < len(self.buffer) or not self.read():
                return stop
