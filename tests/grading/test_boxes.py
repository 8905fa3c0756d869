"""Points and boxes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import Box, BoxTruth, PointsTruth, PointTruth, Truth
from step3vl.grading import grade_answer
from step3vl.grading.boxes import iou

LEFT, RIGHT = (0, 0, 100, 100), (900, 0, 1000, 100)
SQUARE = (100, 100, 200, 200)
THIN, DOT = (100, 100, 100, 500), (300, 300, 300, 300)
corners = st.tuples(*[st.integers(0, 999)] * 4).map(
    lambda values: (min(values[0], values[2]), min(values[1], values[3]), max(values[0], values[2]) + 1,
                    max(values[1], values[3]) + 1)
)  # fmt: skip


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [150, 199]}', "correct"),
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [200, 200]}', "correct"),
        (PointTruth(boxes=(SQUARE,)), 'here: [{"point_2d": [150, 201]}]', "wrong"),
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [150.4, 199.6]}', "correct"),
        (PointTruth(boxes=(SQUARE,)), '{"answer": {"point_2d": [150, 150]}}', "correct"),
        (PointTruth(boxes=(LEFT, SQUARE)), '{"point_2d": [150, 150]}', "correct"),
        (PointTruth(boxes=(SQUARE,)), '[{"point_2d": [1, 1]}, {"point_2d": [150, 150]}]', "wrong"),
        (PointTruth(boxes=(SQUARE,)), "150, 150", "unparsable"),
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [150]}', "unparsable"),
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [true, 150]}', "unparsable"),
        (PointTruth(boxes=(SQUARE,)), '{"point_2d": [NaN, 1e999]}', "unparsable"),
        (PointTruth(boxes=(SQUARE,)), f'{{"point_2d": [{"9" * 5000}, 1]}}', "unparsable"),
        (PointTruth(boxes=(DOT,)), '{"point_2d": [300, 300]}', "correct"),
        (PointTruth(boxes=(DOT,)), '{"point_2d": [300.4, 299.6]}', "correct"),
        (PointTruth(boxes=(DOT,)), '{"point_2d": [302, 300]}', "wrong"),
        (PointsTruth(boxes=(LEFT, RIGHT)), '[{"point_2d": [950, 5]}, {"point_2d": [5, 5]}]', "correct"),
        (PointsTruth(boxes=(LEFT, RIGHT)), '[{"point_2d": [1, 5]}, {"point_2d": [5, 5]}]', "wrong"),
        (PointsTruth(boxes=(LEFT, RIGHT)), "left and right", "unparsable"),
        (BoxTruth(boxes=(LEFT,)), '{"bbox_2d": [0, 0, 100, 51]}', "correct"),
        (BoxTruth(boxes=(LEFT,)), '{"bbox_2d": [100, 51, 0, 0]}', "correct"),
        (BoxTruth(boxes=(LEFT,)), '{"bbox_2d": [0, 0, 100, 49]}', "wrong"),
        (BoxTruth(boxes=(LEFT,)), '{"bbox_2d": [0, 0, 0, 0]}', "wrong"),
        (BoxTruth(boxes=(LEFT,)), "{" * 3000, "unparsable"),
        (BoxTruth(boxes=(LEFT,), labels=("Cat",)), '{"bbox_2d": [0, 0, 100, 100], "label": "cat"}', "correct"),
        (BoxTruth(boxes=(LEFT,), labels=("cat",)), '{"bbox_2d": [0, 0, 100, 100], "label": "dog"}', "wrong"),
        (BoxTruth(boxes=(LEFT,), labels=("cat",)), '{"bbox_2d": [0, 0, 100, 100]}', "wrong"),
        (BoxTruth(boxes=(THIN,)), '{"bbox_2d": [100, 100, 100, 500]}', "correct"),
        (BoxTruth(boxes=(THIN,)), '{"bbox_2d": [100, 100, 101, 500]}', "correct"),
        (BoxTruth(boxes=(THIN,)), '{"bbox_2d": [90, 100, 110, 500]}', "wrong"),
        (BoxTruth(boxes=(DOT,)), '{"bbox_2d": [300, 300, 300, 300]}', "correct"),
    ],
)
def test_verdict(truth: Truth, answer: str, verdict: str) -> None:
    assert grade_answer(truth, answer).verdict == verdict


def test_points_are_worth_the_share_of_boxes_that_have_one() -> None:
    truth = PointsTruth(boxes=(LEFT, RIGHT))
    assert grade_answer(truth, '{"point_2d": [5, 5]}').value == 0.5
    three = '[{"point_2d": [5, 5]}, {"point_2d": [950, 5]}, {"point_2d": [500, 500]}]'
    assert grade_answer(truth, three) == (pytest.approx(2 / 3), "wrong")


def test_boxes_are_matched_by_the_best_assignment_not_in_order() -> None:
    truth = BoxTruth(boxes=((0, 0, 100, 100), (500, 500, 600, 600)))
    answer = '[{"bbox_2d": [500, 500, 600, 600]}, {"bbox_2d": [0, 0, 100, 100]}]'
    assert grade_answer(truth, answer) == (1.0, "correct")


def test_made_up_box_costs_value_and_verdict() -> None:
    answer = '[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [5, 5, 9, 9]}]'
    assert grade_answer(BoxTruth(boxes=(LEFT,)), answer) == (0.5, "wrong")


def test_boxes_beyond_those_that_are_matched_count_as_made_up() -> None:
    answer = json.dumps([{"bbox_2d": LEFT}] * 2000)
    assert grade_answer(BoxTruth(boxes=(LEFT,)), answer) == (pytest.approx(1 / 2000), "wrong")
    points = json.dumps([{"point_2d": [5, 5]}] * 2000)
    assert grade_answer(PointsTruth(boxes=(LEFT,)), points) == (pytest.approx(1 / 2000), "wrong")


@given(st.lists(corners, min_size=1, max_size=5), st.data())
def test_exact_boxes_are_worth_1_in_any_order(boxes: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    answer = json.dumps([{"bbox_2d": box} for box in data.draw(st.permutations(boxes))])
    assert grade_answer(BoxTruth(boxes=tuple(boxes)), answer).value == pytest.approx(1.0)


@given(st.lists(corners, min_size=1, max_size=4), st.lists(corners, min_size=1, max_size=4))
def test_overlaps_are_those_of_single_boxes(
    truth: list[tuple[int, int, int, int]], answered: list[tuple[int, int, int, int]]
) -> None:
    boxes = [[Box(*corners, "milli", (1000, 1000)) for corners in group] for group in (truth, answered)]
    expected = np.array([[first.iou(second) for second in boxes[1]] for first in boxes[0]])
    assert (iou(truth, answered) == expected).all()
