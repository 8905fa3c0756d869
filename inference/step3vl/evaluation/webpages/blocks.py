"""Blocks of text on two pages: matched by their texts, and compared by size, text, position and colour.

Neighbouring blocks are joined where that makes the pages match better, because the same text may be one element on one
page and several on the other. `measure` runs in a worker process, because it takes time in the fourth power of blocks.
"""

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from step3vl.evaluation.documents.matching import assign
from step3vl.evaluation.webpages.colours import colour_similarity

_MIN_SIMILARITY = 0.5
_MIN_GAIN = 0.05
_BONUS = 0.1
MAX_BLOCKS = 150
"""Blocks of a page that are compared; later ones count as unmatched only in so far as they are left out."""
_MAX_TEXT = 1000


class Block(NamedTuple):
    """A text as it is laid out; x, y, width and height in shares of the page, the colour in 0..255."""

    text: str
    x: float
    y: float
    width: float
    height: float
    colour: tuple[float, float, float]

    @property
    def area(self) -> float:
        """In shares of the page."""
        return self.width * self.height

    def joined(self, other: "Block") -> "Block":
        """Both as one block, with the mean of their colours."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right, bottom = (
            max(self.x + self.width, other.x + other.width),
            max(self.y + self.height, other.y + other.height),
        )
        red, green, blue = ((first + second) // 2 for first, second in zip(self.colour, other.colour, strict=True))
        return Block(f"{self.text} {other.text}", x, y, right - x, bottom - y, (red, green, blue))


def measure(predicted: Sequence[Any], reference: Sequence[Any]) -> dict[str, float]:
    """The four parts of the score, each in 0..1: `size`, `text`, `position` and `colour`.

    Args:
        predicted: The blocks of the predicted page, as rows of `Block`.
        reference: Those of the design.
    """
    pages = [
        _unique(
            [Block(text[:_MAX_TEXT], x, y, width, height, tuple(colour)) for text, x, y, width, height, colour in rows]
        )
        for rows in (predicted, reference)
    ]
    first, second = _join(pages[0], pages[1])
    matches = [
        (first[row], second[column])
        for row, column in assign(_with_context(_costs(first, second)))
        if _similarity(first[row].text, second[column].text) >= _MIN_SIMILARITY
    ]
    if not matches:
        return dict.fromkeys(("size", "text", "position", "colour"), 0.0)
    total = sum(block.area for block in (*first, *second))
    count = len(matches)
    return {
        "size": sum(block.area + other.area for block, other in matches) / total if total else 1.0,
        "text": sum(_similarity(block.text, other.text) for block, other in matches) / count,
        "position": sum(1 - _distance(block, other) for block, other in matches) / count,
        "colour": sum(colour_similarity(block.colour, other.colour) for block, other in matches) / count,
    }


def _unique(blocks: Sequence[Block]) -> list[Block]:
    """Blocks at the same place as one."""
    places: dict[tuple[float, ...], Block] = {}
    for block in blocks[:MAX_BLOCKS]:
        place = block[1:5]
        places[place] = places[place].joined(block) if place in places else block
    return list(places.values())


def _distance(block: Block, other: Block) -> float:
    across = abs(block.x + block.width / 2 - other.x - other.width / 2)
    down = abs(block.y + block.height / 2 - other.y - other.height / 2)
    return min(max(across, down), 1.0)


@cache
def _similarity(text: str, other: str) -> float:
    return SequenceMatcher(None, text, other).ratio()


def _costs(first: Sequence[Block], second: Sequence[Block]) -> np.ndarray:
    rows = [[-_similarity(block.text, other.text) for other in second] for block in first]
    return np.array(rows, np.float64).reshape(len(first), len(second))


def _with_context(costs: np.ndarray) -> np.ndarray:
    """Costs that are lower where the neighbours match as well."""
    adjusted = costs.copy()
    for row, column in np.argwhere(costs < -_MIN_SIMILARITY):
        nearby = costs[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].flatten().tolist()
        nearby.remove(costs[row, column])
        adjusted[row, column] += _BONUS * sum(sorted(nearby)[:2])
    return adjusted


def _join(first: list[Block], second: list[Block]) -> tuple[list[Block], list[Block]]:
    """Both pages with neighbours joined, in turns, until no more joining helps."""
    changed = True
    while changed:
        joined_first = _join_neighbours(first, second)
        joined_second = _join_neighbours(second, joined_first)
        changed = len(joined_first) < len(first) or len(joined_second) < len(second)
        first, second = joined_first, joined_second
    return first, second


def _join_neighbours(blocks: list[Block], others: Sequence[Block]) -> list[Block]:
    before = _matched_costs(blocks, others)
    gains = []
    for index in range(len(blocks) - 1):
        joined = [*blocks[:index], blocks[index].joined(blocks[index + 1]), *blocks[index + 2 :]]
        gain = _gain(before, _matched_costs(joined, others))
        if gain > _MIN_GAIN:
            gains.append((gain, index))
    taken: set[int] = set()
    chosen = []
    for _, index in sorted(gains, key=lambda pair: pair[0], reverse=True):
        if not {index, index + 1} & taken:
            taken |= {index, index + 1}
            chosen.append(index)
    result = list(blocks)
    for index in sorted(chosen, reverse=True):
        result[index : index + 2] = [result[index].joined(result[index + 1])]
    return result


def _matched_costs(blocks: Sequence[Block], others: Sequence[Block]) -> list[float]:
    costs = _costs(blocks, others)
    return [float(costs[pair]) for pair in assign(costs)]


def _gain(before: Sequence[float], after: Sequence[float]) -> float:
    """How much lower the costs are on average that differ; 0 where the lowest of them is no lower."""
    only_before = list((Counter(before) - Counter(after)).elements())
    only_after = list((Counter(after) - Counter(before)).elements())
    means = [sum(costs) / len(costs) if costs else 0.0 for costs in (only_before, only_after)]
    gain = means[0] - means[1]
    if gain > 0 and only_before and only_after and min(only_before) <= min(only_after):
        return 0.0
    return gain
