"""Rows on the disk of this machine, in parts that can each be sorted in memory, however many rows there are."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from step3vl.data.storage.files import write_all

ID = np.dtype([("high", "<u8"), ("low", "<u8")])
"""The 32 hexadecimal digits of an id as two numbers, which sort like the digits."""

PART = 1 << 18
"""Rows of a part on average."""

_BUFFER = 1 << 25  # bytes of rows held in memory, once


def ids_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Ids as rows of `ID`.

    Args:
        column: Strings of 32 hexadecimal digits.

    Raises:
        ValueError: A string is something else.
    """
    data = bytes.fromhex("".join(column.to_pylist()))
    if len(data) != 16 * len(column):
        raise ValueError("an id has not 32 digits")
    return ids_from(data)


def ids_from(data: bytes) -> NDArray[Any]:
    """Ids of 16 bytes each as rows of `ID`."""
    return np.frombuffer(data, [("high", ">u8"), ("low", ">u8")]).astype(ID)


def without_repeats(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the rows, sorted by id, are the first of their id."""
    first = np.ones(len(rows), bool)
    first[1:] = (rows["high"][1:] != rows["high"][:-1]) | (rows["low"][1:] != rows["low"][:-1])
    return first


class Partitions:
    """Distributes rows of a fixed type to parts by a number, by way of a scratch folder.

    Use it in a `with` block, after which the folder is gone. In memory are 32 MiB of rows, until they are read again.
    The folder is below TMPDIR, and needs the space of all rows.

    Args:
        dtype: Type of a row.
        count: Number of parts.
    """

    def __init__(self, dtype: np.dtype[Any], count: int) -> None:
        self.count = count
        self._dtype = dtype
        self._capacity = max(_BUFFER // dtype.itemsize, 1)
        self._rows, self._numbers = self._buffers(self._capacity)
        self._held = 0

    def _buffers(self, rows: int) -> tuple[NDArray[Any], NDArray[np.uint32]]:
        """Room for rows and their parts; the system gives memory as they are filled."""
        return np.empty(rows, self._dtype), np.empty(rows, np.uint32)

    @classmethod
    def for_rows(cls, dtype: np.dtype[Any], rows: int) -> Self:
        """As many parts as it takes for about `PART` rows in each.

        Args:
            dtype: Type of a row.
            rows: Number of all rows, or about as many.
        """
        return cls(dtype, max(1, -(-rows // PART)))

    def __enter__(self) -> Self:
        self._scratch = TemporaryDirectory(prefix="step3vl-")
        self.folder = Path(self._scratch.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scratch.cleanup()

    def add(self, rows: NDArray[Any], numbers: NDArray[Any]) -> None:
        """Add rows.

        Args:
            rows: Of the type, [n].
            numbers: What decides the part, [n]: a part has the rows whose numbers have one remainder by `count`.
        """
        if not len(self._rows):  # parts were read
            self._rows, self._numbers = self._buffers(self._capacity)
        places = (numbers % self.count).astype(np.uint32)
        start = 0
        while start < len(rows):
            stop = min(start + self._capacity - self._held, len(rows))
            held = self._held + stop - start
            self._rows[self._held : held], self._numbers[self._held : held] = rows[start:stop], places[start:stop]
            self._held, start = held, stop
            if held == self._capacity:
                self._flush()

    def _flush(self) -> None:
        numbers = self._numbers[: self._held]
        order = np.argsort(numbers, kind="stable")
        counts = np.bincount(numbers, minlength=self.count)
        ends = np.cumsum(counts)
        for number in np.flatnonzero(counts).tolist():
            part = self._rows[order[ends[number] - counts[number] : ends[number]]]
            with self._path(number).open("ab", buffering=0) as file:
                write_all(file, part.tobytes())
        self._held = 0

    def _path(self, number: int) -> Path:
        return self.folder / str(number)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The rows of each part, in the order in which they were added; parts without rows are left out."""
        self._flush()
        self._rows, self._numbers = self._buffers(0)
        for number in range(self.count):
            path = self._path(number)
            if path.is_file():
                yield np.fromfile(path, self._dtype)
