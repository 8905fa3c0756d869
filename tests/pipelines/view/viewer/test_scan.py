"""Searching a table in Parquet files: every row once, in both directions, whatever the limits."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.view.viewer.scan import Condition, Malformed, Missing, Page, ParquetTable, Place, Row


def table_of(parts: list[list[int]], group: int = 3) -> ParquetTable:
    """A table with a column of numbers, in row groups of 3."""
    files = []
    for numbers in parts:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"number": pa.array(numbers, pa.int64())}), sink, row_group_size=group)
        files.append(sink.getvalue())

    @contextmanager
    def open_part(part: int) -> Iterator[pq.ParquetFile]:
        yield pq.ParquetFile(pa.BufferReader(files[part]))

    return ParquetTable(open_part, ["number", "absent"])


def numbers(page: Page) -> list[int]:
    return [row.values["number"] for row in page.rows]


EVEN = Condition(["number"], lambda table: table["number"].to_numpy() % 2 == 0)
PARTS = st.lists(st.lists(st.integers(0, 99), max_size=11), min_size=1, max_size=4)


@settings(max_examples=60)
@given(PARTS, st.integers(1, 7), st.booleans(), st.booleans(), st.booleans())
def test_pages_have_every_row_once_in_order(parts, limit, backward, filtered, refined):
    table = table_of(parts)
    condition = EVEN if filtered else None
    refine = (lambda rows: [row for row in rows if row.values["number"] % 3 == 0]) if refined else None
    expected = [
        number for part in parts for number in part if not (filtered and number % 2) and not (refined and number % 3)
    ]
    start, collected, looked = None, [], 0
    for _ in range(200):
        page = table.search(range(len(parts)), start, limit, 60, condition=condition, refine=refine, backward=backward)
        collected = numbers(page) + collected if backward else collected + numbers(page)
        looked += page.looked
        start = page.before if backward else page.after
        if start is None:
            break
    assert start is None
    assert collected == expected
    assert looked >= sum(map(len, parts))


@settings(max_examples=40)
@given(PARTS, st.integers(1, 7), st.booleans())
def test_the_page_before_the_next_one_is_the_same(parts, limit, filtered):
    table, condition = table_of(parts), EVEN if filtered else None
    first = table.search(range(len(parts)), None, limit, 60, condition=condition)
    if first.after is None:
        return
    second = table.search(range(len(parts)), first.after, limit, 60, condition=condition)
    back = table.search(range(len(parts)), second.before, limit, 60, condition=condition, backward=True)
    assert numbers(back) == numbers(first)


def test_a_search_that_runs_out_of_time_continues_where_it_stopped():
    table = table_of([[1] * 9, [1] * 8 + [2]])
    page = table.search(range(2), None, 5, seconds=-1, condition=EVEN)
    assert page == Page([], None, Place(0, 3), 3)
    stops = 0
    while page.after is not None:
        page = table.search(range(2), page.after, 5, seconds=-1, condition=EVEN)
        stops += 1
        if page.rows:
            break
    assert numbers(page) == [2]
    assert page.rows[0].place == Place(1, 8)
    assert stops == 5


def test_a_row_is_read_by_its_place():
    table = table_of([[1, 2, 3, 4], [5]])
    assert table.row(Place(0, 3)) == Row(Place(0, 3), {"number": 4})
    with pytest.raises(Missing, match="no row 4 in file 0"):
        table.row(Place(0, 4))


def test_parts_that_are_not_searched_are_not_opened():
    table = table_of([[1], [2], [3]])
    assert numbers(table.search([0, 2], None, 9, 60)) == [1, 3]


@pytest.mark.parametrize("text", ["", "3", "a-1", "1-", "-1-2", "1-2-3", "²-1"])
def test_a_malformed_place_is_a_mistake_in_the_address(text):
    with pytest.raises(Malformed, match="is not a place"):
        Place.parse(text)
    assert Place.parse(str(Place(3, 120))) == Place(3, 120)


def test_a_mask_is_applied_to_the_rows_after_the_start():
    table = table_of([[0, 1, 2, 3, 4, 5]])
    assert numbers(table.search([0], Place(0, 1), 9, 60, condition=EVEN)) == [2, 4]
    assert numbers(table.search([0], Place(0, 4), 9, 60, condition=EVEN, backward=True)) == [0, 2]
    assert np.array_equal(EVEN.mask(pa.table({"number": [1, 2]})), [False, True])
