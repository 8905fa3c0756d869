"""What makes an answer verifiable, and the score of an answer: one home for filters, rewards and evaluation.

Every kind of truth has `score(answer)`. An answer that holds nothing of the kind asked for (no number, no box) is
"unparsable", which is not the same as wrong. Values lie in 0..1; "correct" is what an accuracy counts.
"""

import json
import logging
import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator
from rapidfuzz.distance import Levenshtein

from step3vl.data.action import NEEDS, Action
from step3vl.data.config import Config
from step3vl.data.geometry import Box, Point

Verdict = Literal["correct", "wrong", "unparsable"]


def _in_order(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box
    if not (0 <= x1 <= x2 <= 1000 and 0 <= y1 <= y2 <= 1000):
        raise ValueError(f"box {list(box)} is not x1, y1, x2, y2 in 0..1000, top left first")
    return box


MilliBox = Annotated[tuple[int, int, int, int], AfterValidator(_in_order)]

_SIGN = r"(?:(?<![\w)])[-+−])?"  # a minus between two numbers is no sign
_NUMBER = re.compile(rf"{_SIGN}(?:(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)")
_FRACTION = re.compile(rf"({_SIGN}[0-9]+)\s*/\s*([0-9]+)")
_OPENING = re.compile(r"[\[{]")
_UNIT_SQUARE = (1000, 1000)
_MATH_SECONDS = 5


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


def _objects(value: object) -> Iterator[dict[str, object]]:
    """The objects of a JSON value that is one, or a list of them."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _coordinates(answer: str, key: str, length: int) -> Iterator[tuple[dict[str, object], tuple[float, ...]]]:
    """The objects of an answer that carry `length` numbers under `key`, and the numbers."""
    for item in (item for value in _json_values(answer) for item in _objects(value)):
        numbers = item.get(key)
        if (
            isinstance(numbers, list)
            and len(numbers) == length
            and all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e9 for n in numbers)
        ):
            yield item, tuple(float(number) for number in numbers)


def parse_points(answer: str) -> list[Point]:
    """Every `{"point_2d": [x, y]}` of an answer, in 0..1000."""
    return [Point(x, y, "milli", _UNIT_SQUARE) for _, (x, y) in _coordinates(answer, "point_2d", 2)]


def parse_labelled_boxes(answer: str) -> list[tuple[Box, str]]:
    """Every `{"bbox_2d": [x1, y1, x2, y2], "label": …}` of an answer, in 0..1000; corners in any order are sorted.

    The label is "" where the answer gives none.
    """
    found = []
    for item, (x1, y1, x2, y2) in _coordinates(answer, "bbox_2d", 4):
        label = item.get("label")
        box = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), "milli", _UNIT_SQUARE)
        found.append((box, label if isinstance(label, str) else ""))
    return found


def parse_boxes(answer: str) -> list[Box]:
    """Every box of an answer, whatever its label."""
    return [box for box, _ in parse_labelled_boxes(answer)]


def parse_action(answer: str) -> Action | None:
    """The last action that an answer spells; None without one."""
    found = (Action.from_value(item) for value in _json_values(answer) for item in _objects(value))
    return next((action for action in reversed(list(found)) if action is not None), None)


def format_point(point: Point) -> str:
    """The answer that carries a point."""
    return json.dumps({"point_2d": list(point.milli())})


def format_boxes(boxes: Sequence[Box], labels: Sequence[str] = ()) -> str:
    """The answer that carries one box, or a list of several; `labels` names each of them, or none."""
    items: list[dict[str, Any]] = [{"bbox_2d": list(box.milli())} for box in boxes]
    for item, label in zip(items, labels, strict=bool(labels)):
        item["label"] = label
    return json.dumps(items[0] if len(items) == 1 else items, ensure_ascii=False)


def _matched(values: np.ndarray) -> np.ndarray:
    """The values [min(n, m)] of the one-to-one assignment of rows to columns with the greatest sum."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and most truths need none of it

    return values[linear_sum_assignment(values, maximize=True)]


def _contains(box: MilliBox, point: Point) -> bool:
    return Box(*box, "milli", _UNIT_SQUARE).contains(point)


class PointTruth(Config):
    """A point anywhere inside one of the boxes (0..1000). The first point of the answer counts."""

    kind: Literal["point"] = "point"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]

    def score(self, answer: str) -> Score:
        points = parse_points(answer)
        if not points:
            return UNPARSABLE
        return _exact(any(_contains(box, points[0]) for box in self.boxes))


class PointsTruth(Config):
    """A point inside each box (0..1000), and none besides.

    The value is the number of boxes that have a point of their own over the larger number of boxes or points.
    """

    kind: Literal["points"] = "points"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]

    def score(self, answer: str) -> Score:
        points = parse_points(answer)
        if not points:
            return UNPARSABLE
        inside = np.array([[_contains(box, point) for point in points] for box in self.boxes])
        value = float(_matched(inside).sum()) / max(inside.shape)
        return Score(value, "correct" if value == 1.0 else "wrong")


class BoxTruth(Config):
    """Boxes (0..1000) matched one to one by the assignment of greatest IoU.

    With `labels`, one for each box, a box matches only one that the answer labels alike. The value is the sum of
    matched IoU over the larger number of boxes; "correct" means that every box is found at IoU 0.5 or better and none
    is made up.
    """

    kind: Literal["boxes"] = "boxes"
    boxes: Annotated[tuple[MilliBox, ...], Field(min_length=1)]
    labels: tuple[str, ...] = Field(default=(), exclude_if=lambda labels: not labels)

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        if self.labels and len(self.labels) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes have {len(self.labels)} labels; give one for each box, or none")
        return self

    def score(self, answer: str) -> Score:
        found = parse_labelled_boxes(answer)
        if not found:
            return UNPARSABLE
        truth = [Box(*box, "milli", _UNIT_SQUARE) for box in self.boxes]
        overlaps = np.array([[one.iou(two) for two, _ in found] for one in truth])
        if self.labels:
            names, said = [normalise(one) for one in self.labels], [normalise(label) for _, label in found]
            overlaps *= np.array([[one == two for two in said] for one in names])
        matched = _matched(overlaps)
        value = float(matched.sum() / max(len(truth), len(found)))
        right = len(truth) == len(found) and bool((matched >= 0.5).all())
        return Score(value, "correct" if right else "wrong")


class ActionTruth(Config):
    """One GUI action: the last that the answer spells must do the same.

    Points must lie in `boxes`, those of the element that is meant (for a slide: where it begins), and the end of a
    slide in `end_boxes`; what the action says must be equal after `normalise`. A point that the true action has no box
    for is not compared.
    """

    kind: Literal["action"] = "action"
    action: Action
    boxes: tuple[MilliBox, ...] = ()
    end_boxes: tuple[MilliBox, ...] = Field(default=(), exclude_if=lambda boxes: not boxes)

    @model_validator(mode="after")
    def _places_have_boxes(self) -> Self:
        needed = NEEDS[self.action.action]
        if "point_2d" in needed and not self.boxes:
            raise ValueError(f"the truth of a {self.action.action} needs boxes: where its point may lie")
        if "end_point_2d" in needed and not self.end_boxes:
            raise ValueError(f"the truth of a {self.action.action} needs end_boxes: where it may end")
        return self

    def score(self, answer: str) -> Score:
        done = parse_action(answer)
        if done is None:
            return UNPARSABLE
        truth = self.action
        same = done.action == truth.action and done.direction == truth.direction
        same = same and normalise(done.text or "") == normalise(truth.text or "")
        return _exact(same and _hits(done.point_2d, self.boxes) and _hits(done.end_point_2d, self.end_boxes))


def _hits(place: tuple[int, int] | None, boxes: tuple[MilliBox, ...]) -> bool:
    """Whether the place lies in one of the boxes; without boxes there is nothing to hit."""
    if not boxes:
        return True
    return place is not None and any(_contains(box, Point(*place, "milli", _UNIT_SQUARE)) for box in boxes)


class MathTruth(Config):
    """An expression in LaTeX; any answer that math-verify finds equal to it is right, and a boxed one counts first.

    A comparison that takes more than five seconds is wrong; the limit needs signals, so it holds in the main thread
    only. Scoring needs the package math-verify.
    """

    kind: Literal["math"] = "math"
    expression: str

    def score(self, answer: str) -> Score:
        from math_verify import parse, verify

        # It reports every comparison that it gives up; for a scorer that is an answer like any other.
        logging.getLogger("math_verify").setLevel(logging.CRITICAL)
        limit = _MATH_SECONDS if threading.current_thread() is threading.main_thread() else None
        said = parse(answer, parsing_timeout=limit)
        if not said:
            return UNPARSABLE
        truth = parse(f"${self.expression}$", parsing_timeout=limit)
        return _exact(verify(truth, said, timeout_seconds=limit))


_Single = (
    TextTruth | TranscriptTruth | NumberTruth | CountTruth | OptionTruth | PointTruth | PointsTruth | BoxTruth
    | ActionTruth | MathTruth
)  # fmt: skip
SingleTruth = Annotated[_Single, Field(discriminator="kind")]


class AnyTruth(Config):
    """A set of acceptable answers: the best score counts. Unparsable is what none of them can read."""

    kind: Literal["any"] = "any"
    truths: Annotated[tuple[SingleTruth, ...], Field(min_length=1)]

    def score(self, answer: str) -> Score:
        scores = [truth.score(answer) for truth in self.truths]
        return max(scores, key=lambda score: (score.verdict == "correct", score.value, score.verdict == "wrong"))


Truth = Annotated[_Single | AnyTruth, Field(discriminator="kind")]
