"""What makes an answer verifiable, and the score of an answer: one home for filters, rewards and evaluation.

Every kind of truth has `score(answer)`. An answer that holds nothing of the kind asked for (no number, no box) is
"unparsable", which is not the same as wrong. Values lie in 0..1; "correct" is what an accuracy counts.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field
from rapidfuzz.distance import Levenshtein
from scipy.optimize import linear_sum_assignment

from step3vl.data.config import Config
from step3vl.data.geometry import Box, Point

Verdict = Literal["correct", "wrong", "unparsable"]
MilliBox = tuple[int, int, int, int]

_SIGN = r"(?:(?<![\w)])[-+−])?"  # a minus between two numbers is no sign
_NUMBER = re.compile(rf"{_SIGN}(?:(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_FRACTION = re.compile(rf"({_SIGN}[0-9]+)\s*/\s*([0-9]+)")
_OPENING = re.compile(r"[\[{]")
_UNIT_SQUARE = (1000, 1000)


class Score(NamedTuple):
    value: float
    verdict: Verdict


def _exact(right: bool) -> Score:
    return Score(1.0, "correct") if right else Score(0.0, "wrong")


UNPARSABLE = Score(0.0, "unparsable")


def normalise(text: str) -> str:
    """NFKC, case folded, runs of white space as one space, no closing full stop."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(".。")


class TextTruth(Config):
    """One exact text, compared after `normalise`."""

    kind: Literal["text"] = "text"
    text: str

    def score(self, answer: str) -> Score:
        if not answer.strip():
            return UNPARSABLE
        return _exact(normalise(answer) == normalise(self.text))


class TranscriptTruth(Config):
    """A longer text: one minus the edit distance over the longer length; "correct" means a perfect copy."""

    kind: Literal["transcript"] = "transcript"
    text: str

    def score(self, answer: str) -> Score:
        if not answer.strip():
            return UNPARSABLE
        value = Levenshtein.normalized_similarity(" ".join(answer.split()), " ".join(self.text.split()))
        return Score(value, "correct" if value == 1.0 else "wrong")


def last_number(text: str) -> float | None:
    """The last number in the text; `3/4` and `1,024` are numbers."""
    fractions = list(_FRACTION.finditer(text))
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    if fractions and fractions[-1].end() >= numbers[-1].end() and int(fractions[-1][2]) != 0:
        return _float(fractions[-1][1]) / int(fractions[-1][2])
    return _float(numbers[-1][0])


def _float(digits: str) -> float:
    return float(digits.replace(",", "").replace("−", "-"))


class NumberTruth(Config):
    """A number; the last one in the answer counts, within an absolute tolerance."""

    kind: Literal["number"] = "number"
    value: float
    tolerance: float = 1e-6

    def score(self, answer: str) -> Score:
        number = last_number(answer)
        if number is None:
            return UNPARSABLE
        return _exact(abs(number - self.value) <= self.tolerance)


class CountTruth(Config):
    """How many there are: the last number of the answer, exactly."""

    kind: Literal["count"] = "count"
    count: int

    def score(self, answer: str) -> Score:
        return NumberTruth(value=self.count, tolerance=0.0).score(answer)


class OptionTruth(Config):
    """One of several options, named by its text; an answer that names none, or more than one, is unparsable."""

    kind: Literal["option"] = "option"
    option: str
    options: tuple[str, ...]

    def score(self, answer: str) -> Score:
        said = normalise(answer)
        named = [option for option in self.options if re.search(rf"(?<!\w){re.escape(normalise(option))}(?!\w)", said)]
        # "top left" also names "left" where both are options: the longest reading is meant.
        named = [one for one in named if not any(one != two and normalise(one) in normalise(two) for two in named)]
        if len(named) != 1:
            return UNPARSABLE
        return _exact(named[0] == self.option)


def _json_values(text: str) -> Iterator[object]:
    """Every JSON object or array that stands in the text, outermost first."""
    decoder = json.JSONDecoder()
    position = 0
    while match := _OPENING.search(text, position):
        try:
            value, position = decoder.raw_decode(text, match.start())
        except (json.JSONDecodeError, RecursionError):
            position = match.start() + 1
        else:
            yield value


def _coordinates(value: object, key: str, length: int) -> Iterator[tuple[float, ...]]:
    if isinstance(value, dict):
        numbers = value.get(key)
        if (
            isinstance(numbers, list)
            and len(numbers) == length
            and all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e9 for n in numbers)
        ):
            yield tuple(float(number) for number in numbers)
    elif isinstance(value, list):
        for item in value:
            yield from _coordinates(item, key, length)


def parse_points(answer: str) -> list[Point]:
    """Every `{"point_2d": [x, y]}` of an answer, in 0..1000."""
    found = (pair for value in _json_values(answer) for pair in _coordinates(value, "point_2d", 2))
    return [Point(x, y, "milli", _UNIT_SQUARE) for x, y in found]


def parse_boxes(answer: str) -> list[Box]:
    """Every `{"bbox_2d": [x1, y1, x2, y2]}` of an answer, in 0..1000; corners in any order are sorted."""
    found = (four for value in _json_values(answer) for four in _coordinates(value, "bbox_2d", 4))
    return [Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), "milli", _UNIT_SQUARE) for x1, y1, x2, y2 in found]


def format_point(point: Point) -> str:
    """The answer that carries a point."""
    return json.dumps({"point_2d": list(point.milli())})


def format_boxes(boxes: list[Box]) -> str:
    """The answer that carries one box, or a list of several."""
    items = [{"bbox_2d": list(box.milli())} for box in boxes]
    return json.dumps(items[0] if len(items) == 1 else items)


class PointTruth(Config):
    """A point anywhere inside one of the boxes (0..1000). The first point of the answer counts."""

    kind: Literal["point"] = "point"
    boxes: tuple[MilliBox, ...]

    def score(self, answer: str) -> Score:
        points = parse_points(answer)
        if not points:
            return UNPARSABLE
        return _exact(any(Box(*box, "milli", _UNIT_SQUARE).contains(points[0]) for box in self.boxes))


class BoxTruth(Config):
    """Boxes (0..1000) matched one to one by the assignment of greatest IoU.

    The value is the sum of matched IoU over the larger number of boxes; "correct" means that every box is found at
    IoU 0.5 or better and none is made up.
    """

    kind: Literal["boxes"] = "boxes"
    boxes: tuple[MilliBox, ...]

    def score(self, answer: str) -> Score:
        found = parse_boxes(answer)
        if not found:
            return UNPARSABLE
        truth = [Box(*box, "milli", _UNIT_SQUARE) for box in self.boxes]
        overlaps = np.array([[one.iou(two) for two in found] for one in truth])
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        matched = overlaps[rows, columns]
        value = float(matched.sum() / max(len(truth), len(found)))
        right = len(truth) == len(found) and bool((matched >= 0.5).all())
        return Score(value, "correct" if right else "wrong")


Truth = Annotated[
    TextTruth | TranscriptTruth | NumberTruth | CountTruth | OptionTruth | PointTruth | BoxTruth,
    Field(discriminator="kind"),
]
