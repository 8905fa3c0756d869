"""The demo's tasks give the grades that version 0.1.0 gave, for answers as a small model writes them.

The verdicts are what its `truth.score` returned. They hold the figures of the demo.
"""

import pytest

from step3vl.data.sample import CountTruth, OptionTruth, PointTruth, Truth
from step3vl.grading import grade_answer

COUNT = CountTruth(count=3)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
RED = OptionTruth(option="red", options=COLOURS)
CORNERS = ("top left", "top right", "bottom left", "bottom right")
GRID = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
CORNER = OptionTruth(option="top left", options=CORNERS)
CELL = OptionTruth(option="left", options=GRID)
POINT = PointTruth(boxes=((100, 100, 600, 700),))


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (COUNT, "3", "correct"),
        (COUNT, " 3\n", "correct"),
        (COUNT, "3.", "correct"),
        (COUNT, "There are 3 stars.", "correct"),
        (COUNT, "2 3", "correct"),
        (COUNT, "2,3", "correct"),
        (COUNT, "3 3", "correct"),
        (COUNT, "**3**", "correct"),
        (COUNT, "I see 2, no, 3", "correct"),
        (COUNT, "3 red and 2 blue", "wrong"),
        (COUNT, "33", "wrong"),
        (COUNT, "-3", "wrong"),
        (COUNT, "3-", "correct"),
        (COUNT, "4", "wrong"),
        (COUNT, "3 1", "wrong"),
        (COUNT, "red", "unparsable"),
        (COUNT, "There are", "unparsable"),
        (COUNT, "", "unparsable"),
        (RED, "red", "correct"),
        (RED, "Red.", "correct"),
        (RED, "red red", "correct"),
        (RED, "red star", "correct"),
        (RED, "is red in the", "correct"),
        (RED, "blue", "wrong"),
        (RED, "red blue", "unparsable"),
        (RED, "reddish", "unparsable"),
        (RED, "re", "unparsable"),
        (RED, "", "unparsable"),
        (CORNER, "top left", "correct"),
        (CORNER, "Top left corner", "correct"),
        (CORNER, "top  left\n", "correct"),
        (CORNER, "top left left", "correct"),
        (CORNER, "top right", "wrong"),
        (CORNER, "top left.bottom right", "unparsable"),
        (CORNER, "left", "unparsable"),
        (CORNER, "top", "unparsable"),
        (CORNER, "top leftright", "unparsable"),
        (CELL, "left", "correct"),
        (CELL, "left left", "correct"),
        (CELL, "top left", "wrong"),
        (CELL, "top and left", "unparsable"),
        (CELL, "centre", "wrong"),
        (POINT, '{"point_2d": [100, 700]}', "correct"),
        (POINT, '{"point_2d":[350,350]}', "correct"),
        (POINT, '{"point_2d": [350, 350]} {"point_2d": [0, 0]}', "correct"),
        (POINT, '[{"point_2d": [350, 350]}]', "correct"),
        (POINT, '{"point_2d": [99, 700]}', "wrong"),
        (POINT, '{"point_2d": [350, 1350]}', "wrong"),
        (POINT, '{"point_2d": [350, 350]', "unparsable"),
        (POINT, '{"point_2d": [350, 350}', "unparsable"),
        (POINT, '{"point_2d": [350]}', "unparsable"),
        (POINT, '{"point_2d: [350, 350]}', "unparsable"),
        (POINT, '{"bbox_2d": [350, 350, 400, 400]}', "unparsable"),
        (POINT, "[350, 350]", "unparsable"),
        (POINT, "3", "unparsable"),
    ],
)
def test_verdict_is_the_earlier_one(truth: Truth, answer: str, verdict: str) -> None:
    assert grade_answer(truth, answer).verdict == verdict
