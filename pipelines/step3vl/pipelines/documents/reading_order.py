"""The order in which the parts of a page are read, from their boxes alone: a recursive XY-cut.

A set of boxes is cut into columns where a gap runs through all of it. Where something spans the columns, the set is
first cut into bands, and neighbouring bands that share their columns stay one section; so a heading over two columns
comes first, and the columns are not read line by line across the gap. Pairs such as a label and its value are no
columns.
"""

from collections.abc import Sequence
from statistics import median

from step3vl.data.sample import Box

_GAP = 0.6  # of a line's height, between two columns at least
_SHRINK = 0.15  # of a line's height, by which boxes may overlap and still be one above the other
_SHARED = 0.25  # of the shorter column, that two columns stand beside each other at least
_ALIGNED = 0.7  # of the items of the shorter column that have a partner in the row
_NARROW = 9.0  # line heights: the width of an item of a table; lines of text are wider
_ROW = 0.5  # of the lower of two items, that their centres differ at most in one row

Span = tuple[float, float]


class _Item:
    """A box with the index it came with, in coordinates in which text runs right and down."""

    __slots__ = ("index", "x", "y")

    def __init__(self, index: int, x: Span, y: Span) -> None:
        self.index, self.x, self.y = index, x, y


def reading_order(boxes: Sequence[Box], line_height: float, *, vertical: bool = False) -> list[int]:
    """The indices of boxes in the order in which they are read.

    Args:
        boxes: Of lines, or of blocks of lines, in the same space.
        line_height: The usual height of a line in that space; for vertical text the width of one.
        vertical: Lines run down and follow each other from right to left, as in traditional Chinese and Japanese.
    """
    if vertical:
        items = [_Item(index, (box.y1, box.y2), (-box.x2, -box.x1)) for index, box in enumerate(boxes)]
    else:
        items = [_Item(index, (box.x1, box.x2), (box.y1, box.y2)) for index, box in enumerate(boxes)]
    return [item.index for item in _ordered(items, max(line_height, 1e-6))]


def _ordered(items: list[_Item], height: float) -> list[_Item]:
    """The items in reading order. Each cut makes smaller sets, so an explicit stack replaces deep recursion."""
    ordered: list[_Item] = []
    stack = [items]
    while stack:
        group = stack.pop()
        if len(group) <= 1:
            ordered += group
            continue
        parts = _columns(group, height)
        if len(parts) == 1:
            parts = _sections(group, height)
        if len(parts) == 1:
            ordered += _rows(group)
        else:
            stack += reversed(parts)
    return ordered


def _columns(items: list[_Item], height: float) -> list[list[_Item]]:
    """The items cut at the gaps that run through all of them, left to right; one part where there are no columns."""
    groups: list[list[_Item]] = []
    end = 0.0
    for item in sorted(items, key=lambda item: item.x):
        if groups and item.x[0] < end + _GAP * height:
            groups[-1].append(item)
            end = max(end, item.x[1])
        else:
            groups.append([item])
            end = item.x[1]
    columns = groups[:1]
    for group in groups[1:]:
        if _are_columns(columns[-1], group, height):
            columns.append(group)
        else:
            columns[-1] = columns[-1] + group
    return columns


def _are_columns(left: list[_Item], right: list[_Item], height: float) -> bool:
    """Whether two groups are read one after the other, not row by row."""
    extents = [(min(item.y[0] for item in group), max(item.y[1] for item in group)) for group in (left, right)]
    shared = min(extents[0][1], extents[1][1]) - max(extents[0][0], extents[1][0])
    if shared < _SHARED * min(bottom - top for top, bottom in extents):
        return False
    fewer, more = sorted((left, right), key=len)
    narrow = min(median(item.x[1] - item.x[0] for item in group) for group in (left, right)) < _NARROW * height
    return not narrow or _aligned(fewer, more) < _ALIGNED


def _aligned(fewer: list[_Item], more: list[_Item]) -> float:
    """The share of items that have a partner in the same row."""
    others = sorted(((item.y[0] + item.y[1]) / 2, item.y[1] - item.y[0]) for item in more)
    start = matches = 0
    for item in sorted(fewer, key=lambda item: item.y[0] + item.y[1]):
        centre, size = (item.y[0] + item.y[1]) / 2, item.y[1] - item.y[0]
        while start < len(others) and others[start][0] < centre - _ROW * size:
            start += 1
        if start < len(others) and abs(others[start][0] - centre) <= _ROW * min(size, others[start][1]):
            matches += 1
    return matches / len(fewer)


def _sections(items: list[_Item], height: float) -> list[list[_Item]]:
    """The items cut into bands, top to bottom; neighbouring bands that have columns in common are one section."""
    shrink = _SHRINK * height
    bands: list[list[_Item]] = []
    end = 0.0
    for item in sorted(items, key=lambda item: item.y):
        margin = min(shrink, (item.y[1] - item.y[0]) / 4)
        if bands and item.y[0] + margin < end:
            bands[-1].append(item)
            end = max(end, item.y[1] - margin)
        else:
            bands.append([item])
            end = item.y[1] - margin
    if len(bands) == 1:
        return bands
    sections = bands[:1]
    covered = _covered(bands[0], height)
    columns = 1  # of the section so far, which are looked for again only where their number may change
    for band in bands[1:]:
        spans = _covered_by(covered + _covered(band, height), height)
        if len(spans) > 1 and len(spans) != columns:
            count = len(_columns(sections[-1] + band, height))
            columns = len(spans) if count > 1 else 1
        if len(spans) > 1 and columns > 1:
            sections[-1].extend(band)
            covered = spans
        else:
            sections.append(band)
            covered, columns = _covered(band, height), 1
    return sections


def _covered(items: list[_Item], height: float) -> list[Span]:
    return _covered_by([item.x for item in items], height)


def _covered_by(spans: list[Span], height: float) -> list[Span]:
    """Spans with those joined that no gap between columns separates."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1] + _GAP * height:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _rows(items: list[_Item]) -> list[_Item]:
    """The items row by row, left to right; for those that no cut separates."""
    rows: list[list[_Item]] = []
    for item in sorted(items, key=lambda item: (item.y[0] + item.y[1], item.x)):
        last = rows[-1][-1] if rows else None
        if last is not None:
            apart = abs((item.y[0] + item.y[1]) - (last.y[0] + last.y[1])) / 2
            if apart <= _ROW * min(item.y[1] - item.y[0], last.y[1] - last.y[0]):
                rows[-1].append(item)
                continue
        rows.append([item])
    return [item for row in rows for item in sorted(row, key=lambda item: item.x)]
