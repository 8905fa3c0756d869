"""GUI actions."""

import pytest

from step3vl.data.sample import Action, ActionTruth
from step3vl.grading import grade_answer

LEFT, RIGHT = (0, 0, 100, 100), (900, 0, 1000, 100)
CLICK = ActionTruth(action=Action(action="click", point_2d=(50, 50)), boxes=(LEFT,))
SLIDE = ActionTruth(
    action=Action(action="slide", point_2d=(50, 50), end_point_2d=(950, 50)), boxes=(LEFT,), end_boxes=(RIGHT,)
)
TYPE = ActionTruth(action=Action(action="type", text="New York"))
KEYS = ActionTruth(action=Action(action="hot_key", text="ctrl+c"))
SCROLL = ActionTruth(action=Action(action="scroll", direction="down"))


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (CLICK, 'I press it. {"action": "click", "point_2d": [50, 60]}', "correct"),
        (CLICK, '{"action": "click", "point_2d": [50.4, 60.0]}', "correct"),
        (CLICK, '{"answer": {"action": "click", "point_2d": [50, 60]}}', "correct"),
        (CLICK, '{"action": "wait"} no: {"action": "click", "point_2d": [50, 60]}', "correct"),
        (CLICK, '{"action": "click", "point_2d": [101, 60]}', "wrong"),
        (CLICK, '{"action": "double_click", "point_2d": [50, 60]}', "wrong"),
        (CLICK, '{"action": "click"}', "unparsable"),
        (CLICK, '{"action": "click", "point_2d": [50, 1200]}', "unparsable"),
        (CLICK, '{"point_2d": [50, 60]}', "unparsable"),
        (TYPE, '{"action": "type", "text": "new york"}', "correct"),
        (TYPE, '{"action": "type", "text": "York"}', "wrong"),
        (KEYS, '{"action": "hot_key", "text": "Ctrl + C"}', "correct"),
        (KEYS, '{"action": "hot_key", "text": "ctrl+v"}', "wrong"),
        (SCROLL, '{"action": "scroll", "direction": "down"}', "correct"),
        (SCROLL, '{"action": "scroll", "direction": "up"}', "wrong"),
        (ActionTruth(action=Action(action="wait")), '{"action": "wait"}', "correct"),
        (SLIDE, '{"action": "slide", "point_2d": [5, 5], "end_point_2d": [950, 5]}', "correct"),
        (SLIDE, '{"action": "slide", "point_2d": [5, 5], "end_point_2d": [5, 5]}', "wrong"),
    ],
)
def test_verdict(truth: ActionTruth, answer: str, verdict: str) -> None:
    assert grade_answer(truth, answer).verdict == verdict
