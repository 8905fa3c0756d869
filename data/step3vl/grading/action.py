"""One GUI action."""

from step3vl.data.sample import Action, ActionTruth, Point
from step3vl.data.sample.answers import parse_action
from step3vl.grading.boxes import Corners, in_box
from step3vl.grading.text import normalise
from step3vl.grading.verdicts import UNPARSABLE, Grade, exact


def grade_action(truth: ActionTruth, answer: str) -> Grade:
    """Grade the last action of an answer: it must do the same as the true one.

    Its points must lie in the boxes of the truth; a point that the truth has no box for is not compared. Its text must
    be equal after `normalise`, and the keys of a `hot_key` without regard to spaces.
    """
    action = parse_action(answer)
    if action is None:
        return UNPARSABLE
    same = action.action == truth.action.action and action.direction == truth.action.direction
    same = same and _text_key(action) == _text_key(truth.action)
    return exact(same and _hits(action.point_2d, truth.boxes) and _hits(action.end_point_2d, truth.end_boxes))


def _text_key(action: Action) -> str:
    key = normalise(action.text or "")
    return key.replace(" ", "") if action.action == "hot_key" else key


def _hits(point: tuple[int, int] | None, boxes: tuple[Corners, ...]) -> bool:
    if not boxes:
        return True
    return point is not None and any(in_box(box, Point(*point, "milli", (1000, 1000))) for box in boxes)
