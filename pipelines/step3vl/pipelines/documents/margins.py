"""What stands beside the main body of a page: the numbers of its lines, and notes in the margin."""

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from step3vl.pipelines.documents.lines import Line, same_row

_NUMBER = re.compile(r"\d{1,4}")
_FEWEST = 4  # numbers of lines on a page that has any
_ALIGNED = 1.0  # heights of a line, that their left or their right sides differ at most
_PITCH = 0.3  # of the distance of two lines, that a number may be from where its value says
_FULL, _FULL_SHARE = 0.85, 0.6  # of the body's width: a line that is full, and how many of the numbered ones are
_WIDE = 0.45  # of the width of all text, that a line of the body has at least
_BODY = 0.6  # of the characters of a page, that are in such lines if it has a single column
_SMALL = 0.87  # of the height of a line of the body, that a line of a note has at most
_NARROW = 0.5  # of the body's width, that a note has at most
_GAP = 0.5  # of the height of a line, between the body and what is beside it
_LETTERS = 4  # of a note
_MOST = 0.25  # of the characters of a page, that are in notes


class Body(NamedTuple):
    """The main body of a page of one column, in pixels."""

    x1: float
    x2: float
    y1: float
    y2: float
    height: float
    """Of its lines, on average."""


def body_of(lines: Sequence[Line]) -> Body | None:
    """The main body of a page of horizontal text; None where it does not have one column.

    Args:
        lines: Of the page.
    """
    if not lines:
        return None
    extent = max(line.box.x2 for line in lines) - min(line.box.x1 for line in lines)
    wide = [line for line in lines if line.box.x2 - line.box.x1 >= _WIDE * extent]
    if sum(len(line.text) for line in wide) < _BODY * sum(len(line.text) for line in lines):
        return None
    return Body(
        median(line.box.x1 for line in wide),
        max(line.box.x2 for line in wide),
        min(line.box.y1 for line in wide),
        max(line.box.y2 for line in wide),
        median(line.box.y2 - line.box.y1 for line in wide),
    )


def line_numbers(lines: Sequence[Line], body: Body) -> set[int]:
    """The places of the lines that number the others: digits beside the body, as far apart as their values say.

    A numbered list has such digits, too, so most of the lines that are numbered must be as wide as the body.

    Args:
        lines: Of the page.
        body: The main body.
    """
    digits = [place for place, line in enumerate(lines) if _NUMBER.fullmatch(line.text.strip())]
    for side in ("left", "right"):
        beside = [place for place in digits if _side_of(lines[place], body) == side]
        column = _aligned(sorted(beside, key=lambda place: lines[place].box.centre.y), lines, body)
        if len(column) >= _FEWEST and _counts_lines(column, lines, body):
            return set(column)
    return set()


def _side_of(line: Line, body: Body) -> str:
    """Where a line is: "left" or "right" of the body, or "inside"."""
    gap = _GAP * body.height
    if line.box.x2 <= body.x1 - gap / 2:
        return "left"
    return "right" if line.box.x1 >= body.x2 + gap / 2 else "inside"


def _aligned(places: Sequence[int], lines: Sequence[Line], body: Body) -> list[int]:
    """Those of the numbers whose left or right sides are in one line, whichever are more."""
    best: list[int] = []
    for side in ("x1", "x2"):
        sides = {place: getattr(lines[place].box, side) for place in places}
        if sides:
            usual = median(sides.values())
            near = [place for place, value in sides.items() if abs(value - usual) <= _ALIGNED * body.height]
            best = max(best, near, key=len)
    return best


def _counts_lines(column: Sequence[int], lines: Sequence[Line], body: Body) -> bool:
    """Whether numbers rise with the lines of the body beside them."""
    values = [int(lines[place].text) for place in column]
    heights = [lines[place].box.centre.y for place in column]
    steps = [
        (below - above) / (second - first)
        for (first, second), (above, below) in zip(pairwise(values), pairwise(heights), strict=True)
        if second > first
    ]
    if len(steps) < 0.8 * (len(column) - 1):
        return False
    pitch = median(steps)
    even = sum(abs(step - pitch) <= _PITCH * pitch for step in steps)
    if even < 0.8 * (len(column) - 1):
        return False
    rows = [[line for line in lines if _is_beside(line, lines[place])] for place in column]
    full = sum(any(line.box.x2 - line.box.x1 >= _FULL * (body.x2 - body.x1) for line in row) for row in rows)
    return full >= _FULL_SHARE * len(column)


def _is_beside(line: Line, number: Line) -> bool:
    return line is not number and same_row(line.box, number.box)


def is_note(lines: Sequence[Line], body: Body) -> bool:
    """Whether lines are a note in the margin: small words beside the body.

    Terms before their definitions are as large as these, and are read with them.

    Args:
        lines: Of a block.
        body: The main body.
    """
    if not lines or sum(character.isalpha() for line in lines for character in line.text) < _LETTERS:
        return False
    x1, x2 = min(line.box.x1 for line in lines), max(line.box.x2 for line in lines)
    middle = (min(line.box.y1 for line in lines) + max(line.box.y2 for line in lines)) / 2
    beside = x2 <= body.x1 - _GAP * body.height or x1 >= body.x2 + _GAP * body.height
    small = median(line.box.y2 - line.box.y1 for line in lines) <= _SMALL * body.height
    return beside and small and x2 - x1 <= _NARROW * (body.x2 - body.x1) and body.y1 <= middle <= body.y2


def are_few(notes: Sequence[Sequence[Line]], lines: Sequence[Line]) -> bool:
    """Whether notes are a small part of a page; a larger one is a column of it.

    Args:
        notes: The lines of each.
        lines: Of the page.
    """
    characters = sum(len(line.text) for note in notes for line in note)
    return characters <= _MOST * sum(len(line.text) for line in lines)
