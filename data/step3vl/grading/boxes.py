"""Points and boxes in 0..1000: whether a point lies in a box, and how much boxes overlap."""

from collections.abc import Sequence

import numpy as np

from step3vl.data.sample import BoxTruth, Point, PointsTruth, PointTruth
from step3vl.data.sample.answers import parse_labelled_boxes, parse_points
from step3vl.grading.text import normalise
from step3vl.grading.verdicts import UNPARSABLE, Grade, exact

MAX_MATCHED = 256
"""Answered points or boxes that are matched, or as many as the truth has where these are more: the assignment takes
time in the cube of their number. More of them still count as made up."""
MIN_IOU = 0.5
"""The overlap from which a box counts as found."""

Corners = tuple[float, float, float, float]


def grade_point(truth: PointTruth, answer: str) -> Grade:
    """Grade the first point of an answer: it must lie in one of the boxes, their borders included."""
    points = parse_points(answer)
    if not points:
        return UNPARSABLE
    return exact(any(in_box(box, points[0]) for box in truth.boxes))


def grade_points(truth: PointsTruth, answer: str) -> Grade:
    """Grade all points of an answer: one in each box, and none besides.

    The value is the number of boxes that have a point of their own over the larger number of boxes or points.
    """
    points = parse_points(answer)
    if not points:
        return UNPARSABLE
    matched = points[: max(MAX_MATCHED, len(truth.boxes))]
    inside = np.array([[in_box(box, point) for point in matched] for box in truth.boxes])
    value = float(_best_assignment(inside).sum()) / max(len(truth.boxes), len(points))
    return Grade(value, "correct" if value == 1.0 else "wrong")


def grade_boxes(truth: BoxTruth, answer: str) -> Grade:
    """Grade boxes by the one-to-one assignment of greatest IoU; with labels, only boxes labelled alike are matched.

    The value is the sum of matched IoU over the larger number of boxes; "correct" means that every box is found at
    `MIN_IOU` or better, and none is made up.
    """
    answered = parse_labelled_boxes(answer)
    if not answered:
        return UNPARSABLE
    matched = answered[: max(MAX_MATCHED, len(truth.boxes))]
    overlaps = iou(truth.boxes, [(box.x1, box.y1, box.x2, box.y2) for box, _ in matched])
    if truth.labels:
        expected = np.array([normalise(label) for label in truth.labels])
        overlaps *= expected[:, None] == np.array([normalise(label) for _, label in matched])[None, :]
    best = _best_assignment(overlaps)
    value = float(best.sum() / max(len(truth.boxes), len(answered)))
    correct = len(truth.boxes) == len(answered) and bool((best >= MIN_IOU).all())
    return Grade(value, "correct" if correct else "wrong")


def in_box(box: Corners, point: Point) -> bool:
    """Whether a point lies in a box (both in 0..1000), borders included; one without area is widened as in `iou`."""
    x1, y1, x2, y2 = _with_area(box)
    return x1 <= point.x <= x2 and y1 <= point.y <= y2


def iou(truth: Sequence[Corners], answered: Sequence[Corners]) -> np.ndarray:
    """Intersection over union `(N, M)` of each of N true boxes with each of M answered ones.

    A true box without area, which rounding to integers can make of a thin one, could not be met by any answer. It is
    widened by one unit to each side, and so is an answer without area when it is compared with that box.
    """
    rows = []
    for box in truth:
        others = np.array(answered, np.float64)
        if _is_thin(box):
            box, others = _with_area(box), np.array([_with_area(other) for other in answered], np.float64)
        x1, y1, x2, y2 = box
        width = np.minimum(x2, others[:, 2]) - np.maximum(x1, others[:, 0])
        height = np.minimum(y2, others[:, 3]) - np.maximum(y1, others[:, 1])
        shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
        union = (x2 - x1) * (y2 - y1) + areas - shared
        rows.append(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
    return np.array(rows)


def _is_thin(box: Corners) -> bool:
    return box[0] == box[2] or box[1] == box[3]


def _with_area(box: Corners) -> Corners:
    x1, y1, x2, y2 = box
    if x1 == x2:
        x1, x2 = x1 - 1.0, x2 + 1.0
    if y1 == y2:
        y1, y2 = y1 - 1.0, y2 + 1.0
    return x1, y1, x2, y2


def _best_assignment(values: np.ndarray) -> np.ndarray:
    """The values `(min(N, M),)` of the one-to-one assignment of rows to columns with the greatest sum."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and most kinds need none of it

    return values[linear_sum_assignment(values, maximize=True)]
