"""How boxes lie and compare: each relation is decided only where it is clear, and None otherwise."""

import math
from collections.abc import Callable
from typing import NamedTuple

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.referring import APART, LARGER, gap

_NEARER = 1.35  # times the distance of the nearer one
_INSIDE = 0.98  # of a box that lies in another one
_NOT_INSIDE = 0.6
_CONTAINS = 1.5  # times the area of the box inside


class Relation(NamedTuple):
    """A relation of some objects.

    Attributes:
        objects: How many it is about.
        decide: True or False of a question for yes or no; else which of the first two; None where it is not clear.
    """

    objects: int
    decide: Callable[..., bool | int | None]


def is_left(first: Box, second: Box) -> bool | None:
    """Whether one box is left of another: by its centre and both of its sides."""
    apart = (second.centre.x - first.centre.x) / first.size[0]
    if abs(apart) < APART:
        return None
    left, right = (first, second) if apart > 0 else (second, first)
    return apart > 0 if left.x1 <= right.x1 and left.x2 <= right.x2 else None


def is_above(first: Box, second: Box) -> bool | None:
    """Whether one box is higher up than another: by its centre and both of its sides."""
    apart = (second.centre.y - first.centre.y) / first.size[1]
    if abs(apart) < APART:
        return None
    upper, lower = (first, second) if apart > 0 else (second, first)
    return apart > 0 if upper.y1 <= lower.y1 and upper.y2 <= lower.y2 else None


def is_inside(first: Box, second: Box) -> bool | None:
    """Whether one box lies inside another, larger one."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    share = max(width, 0.0) * max(height, 0.0) / first.area if first.area else 0.0
    if share >= _INSIDE and second.area >= _CONTAINS * first.area:
        return True
    return False if share <= _NOT_INSIDE else None


def larger(first: Box, second: Box) -> int | None:
    """Which of two boxes is larger."""
    if max(first.area, second.area) < LARGER * min(first.area, second.area):
        return None
    return 0 if first.area > second.area else 1


def nearer(first: Box, second: Box, anchor: Box) -> int | None:
    """Which of two boxes is nearer to a third: by their centres and by the gaps between them."""
    distances = [
        math.dist((each.centre.x, each.centre.y), (anchor.centre.x, anchor.centre.y)) for each in (first, second)
    ]
    gaps = [gap(first, anchor), gap(second, anchor)]
    index = 0 if distances[0] < distances[1] else 1
    if distances[1 - index] < _NEARER * distances[index] or gaps[index] > gaps[1 - index]:
        return None
    return index


RELATIONS: dict[str, Relation] = {
    "is_left": Relation(2, is_left),
    "is_above": Relation(2, is_above),
    "is_inside": Relation(2, is_inside),
    "larger": Relation(2, larger),
    "nearer": Relation(3, nearer),
}
"""By the kind of the question."""
