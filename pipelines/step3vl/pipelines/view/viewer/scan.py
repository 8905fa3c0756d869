"""Rows of a table in many Parquet files, looked for from any place on, forwards or backwards, for a limited time.

A row group is in memory at a time, and nothing of a file that is not reached. A page is thus there at once however
large the table is, and a search that takes longer returns what it has and where it stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_CHUNK = 256  # rows that are Python objects at a time


class Missing(LookupError):
    """What an address names is not there."""


class Malformed(ValueError):
    """An address is not one of a page."""


class Place(NamedTuple):
    """A place between rows: before row `row` of file number `part`; also the address of that row."""

    part: int
    row: int

    def __str__(self) -> str:
        return f"{self.part}-{self.row}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`. Raises Malformed."""
        part, _, row = text.partition("-")
        if not (part.isascii() and part.isdigit() and row.isascii() and row.isdigit()):
            raise Malformed(f"{text!r} is not a place: give the number of a file and of a row, such as 3-120")
        return cls(int(part), int(row))


class Row(NamedTuple):
    """A row and its address."""

    place: Place
    values: dict[str, Any]


class Page(NamedTuple):
    """What a search returned.

    Attributes:
        rows: In the order of the table.
        before: Where a search backwards continues; None where nothing is left.
        after: Where a search forwards continues; None where nothing is left.
        looked: Rows that were looked at.
    """

    rows: list[Row]
    before: Place | None
    after: Place | None
    looked: int


class Condition(NamedTuple):
    """Which rows are looked for.

    Attributes:
        columns: That `mask` reads.
        mask: From a table of these columns to a bool for each row.
    """

    columns: Sequence[str]
    mask: Callable[[pa.Table], np.ndarray]


class _Chunk(NamedTuple):
    rows: list[Row]
    looked: int
    end: Place  # where the search has come to


Refine = Callable[[list[Row]], list[Row]]
Open = Callable[[int], AbstractContextManager[pq.ParquetFile]]


class ParquetTable:
    """A table in numbered Parquet files.

    Args:
        open_part: Opens file number n.
        columns: That rows have; those that a file lacks are left out.
    """

    def __init__(self, open_part: Open, columns: Sequence[str]) -> None:
        self._open, self._columns = open_part, columns

    def row(self, place: Place) -> Row:
        """The row at a place. Raises Missing where there is none."""
        with self._open(place.part) as file:
            for group, first, count in _groups(file):
                if first <= place.row < first + count:
                    table = file.read_row_group(group, columns=self._present(file))
                    return Row(place, table.slice(place.row - first, 1).to_pylist()[0])
        raise Missing(f"There is no row {place.row} in file {place.part}")

    def search(
        self,
        parts: Sequence[int],
        start: Place | None,
        limit: int,
        seconds: float,
        *,
        condition: Condition | None = None,
        refine: Refine | None = None,
        backward: bool = False,
    ) -> Page:
        """The next rows that meet a condition.

        Args:
            parts: Numbers of the files to search, ascending.
            start: Rows from there on, or backwards those before it; None for the first or the last ones.
            limit: Of rows.
            seconds: After which the search stops with what it has; of one row group at least.
            condition: Of the rows; None for all.
            refine: Selects among rows that meet the condition.
            backward: Whether the last rows before `start` are looked for.
        """
        deadline = time.monotonic() + seconds
        rows: list[Row] = []
        looked, end = 0, None
        for chunk in self._chunks(parts, start, condition, backward):
            matches = chunk.rows if refine is None else refine(chunk.rows)
            looked += chunk.looked
            if len(rows) + len(matches) >= limit:
                rows += matches[: limit - len(rows)]
                last = rows[-1].place
                end = last if backward else Place(last.part, last.row + 1)
                looked -= abs(chunk.end.row - end.row)
                break
            rows += matches
            if time.monotonic() > deadline:
                end = chunk.end
                break
        before, after = (end, start) if backward else (start, end)
        if parts and before == Place(parts[0], 0):
            before = None
        return Page(rows[::-1] if backward else rows, before, after, looked)

    def _chunks(
        self, parts: Sequence[int], start: Place | None, condition: Condition | None, backward: bool
    ) -> Iterator[_Chunk]:
        """Rows that meet a condition, backwards from the last; after each row group a chunk at least."""
        for part in reversed(parts) if backward else parts:
            if start is not None and (part > start.part if backward else part < start.part):
                continue
            bound = start.row if start is not None and part == start.part else None
            with self._open(part) as file:
                groups = list(_groups(file))
                for group, first, count in reversed(groups) if backward else groups:
                    low = max(first, bound) if bound is not None and not backward else first
                    high = min(first + count, bound) if bound is not None and backward else first + count
                    if low < high:
                        span = range(low - first, high - first)
                        yield from self._group(file, part, group, span, first, condition, backward)

    def _group(
        self,
        file: pq.ParquetFile,
        part: int,
        group: int,
        span: range,
        first: int,
        condition: Condition | None,
        backward: bool,
    ) -> Iterator[_Chunk]:
        if condition is None:
            numbers = np.arange(span.start, span.stop)
        else:
            tested = file.read_row_group(group, columns=list(condition.columns)).slice(span.start, len(span))
            numbers = np.flatnonzero(condition.mask(tested)) + span.start
        end = Place(part, first + (span.start if backward else span.stop))
        if not len(numbers):
            yield _Chunk([], len(span), end)
            return
        table = file.read_row_group(group, columns=self._present(file))
        if backward:
            numbers = numbers[::-1]
        position = span.stop if backward else span.start
        for begin in range(0, len(numbers), _CHUNK):
            some = numbers[begin : begin + _CHUNK]
            places = [Place(part, first + number) for number in some.tolist()]
            rows = [Row(*item) for item in zip(places, table.take(some).to_pylist(), strict=True)]
            is_last = begin + _CHUNK >= len(numbers)
            reached = (span.start if backward else span.stop) if is_last else int(some[-1]) + (not backward)
            yield _Chunk(rows, abs(reached - position), Place(part, first + reached))
            position = reached

    def _present(self, file: pq.ParquetFile) -> list[str]:
        names = set(file.schema_arrow.names)
        return [name for name in self._columns if name in names]


def _groups(file: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """Number, first row and rows of each row group."""
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        yield group, first, count
        first += count
