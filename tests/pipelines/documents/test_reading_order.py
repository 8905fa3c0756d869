"""Reading order from boxes alone."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import Box
from step3vl.pipelines.documents.reading_order import reading_order

HEIGHT = 12.0


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(float(x1), float(y1), float(x2), float(y2), "pixels", (1000, 2000))


def column(x1: float, x2: float, top: float, lines: int, ragged: float = 0.0) -> list[Box]:
    return [box(x1, top + 16 * line, x2 - ragged * (line % 3), top + 16 * line + HEIGHT) for line in range(lines)]


def rows(count: int, *spans: tuple[float, float]) -> list[Box]:
    return [box(x1, 60 + 20 * row, x2, 72 + 20 * row) for row in range(count) for x1, x2 in spans]


TITLE = [box(200, 40, 800, 70)]
FIGURE = [box(100, 240, 900, 480)]
LEFT, MIDDLE, RIGHT = (50, 330), (360, 640), (670, 950)
PAGES = {
    "one column": column(100, 900, 100, 20),
    "two columns below a title": TITLE + column(100, 480, 100, 20, 30) + column(520, 900, 100, 17, 30),
    "three columns": column(*LEFT, 60, 30) + column(*MIDDLE, 60, 12) + column(*RIGHT, 60, 25),
    "columns, a figure over both, and columns again": [
        *column(100, 480, 60, 10),
        *column(520, 900, 60, 10),
        *FIGURE,
        *column(100, 480, 500, 10),
        *column(520, 900, 500, 8),
    ],
    "columns whose paragraphs end at the same height": [
        *column(100, 480, 60, 5),
        *column(100, 480, 160, 5),
        *column(520, 900, 60, 5),
        *column(520, 900, 160, 5),
    ],
    "a column beside its margin notes": column(100, 700, 60, 30) + column(730, 900, 140, 4) + column(730, 900, 340, 3),
    "labels with their values": rows(8, (100, 190), (250, 330)),
    "a table of contents": rows(9, (100, 620), (880, 900)),
    "a date at the right above an address at the left": [box(700, 60, 900, 72), *column(100, 300, 100, 4)],
    "boxes that touch and overlap": [box(100, 60 + 11 * line, 900, 74 + 11 * line) for line in range(12)],
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("seed", range(3))
def test_a_page_is_read_in_its_order_however_its_boxes_come(name: str, seed: int) -> None:
    page = PAGES[name]
    places = list(range(len(page)))
    random.Random(seed).shuffle(places)
    order = reading_order([page[place] for place in places], HEIGHT)
    assert [places[index] for index in order] == list(range(len(page)))


def test_vertical_lines_are_read_from_right_to_left() -> None:
    page = [box(900 - 40 * line, 100, 930 - 40 * line, 900 - 90 * (line % 3)) for line in range(10)]
    assert reading_order(page[::-1], 30, vertical=True) == list(range(9, -1, -1))


def test_two_tiers_of_vertical_lines_are_read_one_after_the_other() -> None:
    tiers = [box(900 - 40 * line, top, 930 - 40 * line, top + 380) for top in (100, 540) for line in range(10)]
    order = reading_order(tiers[::-1], 30, vertical=True)
    assert [len(tiers) - 1 - place for place in order] == list(range(20))


spans = st.tuples(st.integers(0, 900), st.integers(1, 100))


@given(st.lists(st.tuples(spans, spans), max_size=40), st.booleans())
def test_every_box_is_read_once(intervals: list[tuple[tuple[int, int], tuple[int, int]]], vertical: bool) -> None:
    boxes = [box(x, y, x + width, y + height) for (x, width), (y, height) in intervals]
    assert sorted(reading_order(boxes, HEIGHT, vertical=vertical)) == list(range(len(boxes)))


def test_a_long_page_is_ordered_in_linear_time() -> None:
    def seconds(lines: int) -> float:
        page = [*TITLE, *column(100, 480, 100, lines, 30), *column(520, 900, 100, lines, 30)]
        start = time.process_time()
        reading_order(page, HEIGHT)
        return time.process_time() - start

    seconds(100)
    assert seconds(4000) < 32 * max(seconds(500), 0.002)
