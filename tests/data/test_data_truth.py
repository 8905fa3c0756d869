"""Truths: what counts as right, wrong and unparsable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.truth import (
    BoxTruth,
    CountTruth,
    NumberTruth,
    OptionTruth,
    PointTruth,
    TextTruth,
    TranscriptTruth,
    last_number,
)

CORNERS = ("top left", "top right", "bottom left", "bottom right")


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (TextTruth(text="K7"), " k7. ", "correct"),
        (TextTruth(text="K7"), "K8", "wrong"),
        (TextTruth(text="K7"), "  ", "unparsable"),
        (NumberTruth(value=0.75), "so it is 3/4", "correct"),
        (NumberTruth(value=1024), "1,024 in all", "correct"),
        (NumberTruth(value=-3), "x = −3", "correct"),
        (NumberTruth(value=2.5, tolerance=0.1), "about 2.45", "correct"),
        (NumberTruth(value=7), "10-3=7", "correct"),
        (NumberTruth(value=3), "between 2-3", "correct"),
        (NumberTruth(value=4), "four", "unparsable"),
        (CountTruth(count=3), "I see 2, no, 3", "correct"),
        (CountTruth(count=3), "3.5", "wrong"),
        (OptionTruth(option="top left", options=CORNERS), "The Top Left corner.", "correct"),
        (OptionTruth(option="top left", options=CORNERS), "top left or top right", "unparsable"),
        (OptionTruth(option="left", options=("left", "top left")), "top left", "wrong"),
        (OptionTruth(option="red", options=("red", "blue")), "bored", "unparsable"),
        (PointTruth(boxes=((100, 100, 200, 200),)), '{"point_2d": [150, 199]}', "correct"),
        (PointTruth(boxes=((100, 100, 200, 200),)), 'here: [{"point_2d": [150, 201]}]', "wrong"),
        (PointTruth(boxes=((100, 100, 200, 200),)), "150, 150", "unparsable"),
        (PointTruth(boxes=((100, 100, 200, 200),)), '{"point_2d": [150]}', "unparsable"),
        (PointTruth(boxes=((100, 100, 200, 200),)), '{"point_2d": [true, 150]}', "unparsable"),
        (BoxTruth(boxes=((0, 0, 100, 100),)), '{"bbox_2d": [0, 0, 100, 51]}', "correct"),
        (BoxTruth(boxes=((0, 0, 100, 100),)), '{"bbox_2d": [0, 0, 100, 49]}', "wrong"),
        (BoxTruth(boxes=((0, 0, 100, 100),)), "{" * 3000, "unparsable"),
    ],
)
def test_verdict(truth: TextTruth, answer: str, verdict: str) -> None:
    assert truth.score(answer).verdict == verdict


def test_transcript_is_worth_its_share_of_right_characters() -> None:
    truth = TranscriptTruth(text="abcdefghij")
    assert truth.score("abcdefghij").value == 1.0
    assert truth.score("abcdefghix").value == pytest.approx(0.9)
    assert truth.score("abcdefghix").verdict == "wrong"


def test_boxes_are_matched_by_the_best_assignment_not_in_order() -> None:
    truth = BoxTruth(boxes=((0, 0, 100, 100), (500, 500, 600, 600)))
    answer = '[{"bbox_2d": [500, 500, 600, 600]}, {"bbox_2d": [0, 0, 100, 100]}]'
    assert truth.score(answer) == (1.0, "correct")


def test_made_up_box_costs_value_and_verdict() -> None:
    truth = BoxTruth(boxes=((0, 0, 100, 100),))
    score = truth.score('[{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [5, 5, 9, 9]}]')
    assert score == (0.5, "wrong")


@given(st.integers(-(10**6), 10**6))
def test_number_is_read_back_from_a_sentence(value: int) -> None:
    assert last_number(f"12 apples, then {value:,} pears") == value


@given(st.lists(st.tuples(*[st.integers(0, 1000)] * 4), min_size=1, max_size=5), st.data())
def test_exact_boxes_score_one_in_any_order(corners: list[tuple[int, ...]], data: st.DataObject) -> None:
    boxes = tuple((min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners)
    shuffled = data.draw(st.permutations(boxes))
    answer = json.dumps([{"bbox_2d": box} for box in shuffled])
    assert BoxTruth(boxes=boxes).score(answer).value == pytest.approx(1.0)


@given(st.text(max_size=200))
def test_no_answer_makes_a_scorer_fail(answer: str) -> None:
    truths = [
        TextTruth(text="a"),
        TranscriptTruth(text="a"),
        NumberTruth(value=1),
        OptionTruth(option="a", options=("a", "b")),
        PointTruth(boxes=((0, 0, 1, 1),)),
        BoxTruth(boxes=((0, 0, 1, 1),)),
    ]
    for truth in truths:
        assert 0.0 <= truth.score(answer).value <= 1.0
