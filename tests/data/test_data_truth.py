"""Truths: what counts as right, wrong and unparsable."""

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from step3vl.data.action import NEEDS, Action
from step3vl.data.geometry import Box
from step3vl.data.truth import (
    ActionTruth,
    AnyTruth,
    BoxTruth,
    CountTruth,
    MathTruth,
    NumberTruth,
    OptionTruth,
    PointsTruth,
    PointTruth,
    TextTruth,
    TranscriptTruth,
    Truth,
    format_boxes,
    last_number,
    parse_action,
    parse_labelled_boxes,
)

LEFT, RIGHT = (0, 0, 100, 100), (900, 0, 1000, 100)
CLICK = ActionTruth(action=Action(action="click", point_2d=(50, 50)), boxes=(LEFT,))
SLIDE = ActionTruth(
    action=Action(action="slide", point_2d=(50, 50), end_point_2d=(950, 50)), boxes=(LEFT,), end_boxes=(RIGHT,)
)
TYPE = ActionTruth(action=Action(action="type", text="New York"))
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
        (PointsTruth(boxes=(LEFT, RIGHT)), '[{"point_2d": [950, 5]}, {"point_2d": [5, 5]}]', "correct"),
        (PointsTruth(boxes=(LEFT, RIGHT)), '[{"point_2d": [1, 5]}, {"point_2d": [5, 5]}]', "wrong"),
        (PointsTruth(boxes=(LEFT, RIGHT)), "left and right", "unparsable"),
        (BoxTruth(boxes=(LEFT,), labels=("Cat",)), '{"bbox_2d": [0, 0, 100, 100], "label": "cat"}', "correct"),
        (BoxTruth(boxes=(LEFT,), labels=("cat",)), '{"bbox_2d": [0, 0, 100, 100], "label": "dog"}', "wrong"),
        (BoxTruth(boxes=(LEFT,), labels=("cat",)), '{"bbox_2d": [0, 0, 100, 100]}', "wrong"),
        (CLICK, 'I press it. {"action": "click", "point_2d": [50, 60]}', "correct"),
        (CLICK, '{"action": "click", "point_2d": [101, 60]}', "wrong"),
        (CLICK, '{"action": "double_click", "point_2d": [50, 60]}', "wrong"),
        (CLICK, '{"action": "click"}', "unparsable"),
        (CLICK, '{"point_2d": [50, 60]}', "unparsable"),
        (
            ActionTruth(action=Action(action="type", text="New York")),
            '{"action": "type", "text": "new york"}',
            "correct",
        ),
        (TYPE, '{"action": "type", "text": "York"}', "wrong"),
        (ActionTruth(action=Action(action="wait")), '{"action": "wait"}', "correct"),
        (SLIDE, '{"action": "slide", "point_2d": [5, 5], "end_point_2d": [950, 5]}', "correct"),
        (SLIDE, '{"action": "slide", "point_2d": [5, 5], "end_point_2d": [5, 5]}', "wrong"),
        (MathTruth(expression="x^2+2x+1"), r"so it is \boxed{(x+1)^2}", "correct"),
        (MathTruth(expression=r"\frac{1}{2}"), "the answer is 0.5", "correct"),
        (MathTruth(expression=r"\frac{1}{2}"), "$2/3$", "wrong"),
        (MathTruth(expression="2"), "nothing of the kind", "unparsable"),
        (AnyTruth(truths=(TextTruth(text="lorry"), TextTruth(text="truck"))), "Truck", "correct"),
        (AnyTruth(truths=(TextTruth(text="lorry"), TextTruth(text="truck"))), "car", "wrong"),
        (AnyTruth(truths=(TextTruth(text="two"), CountTruth(count=2))), "There are 2", "correct"),
        (AnyTruth(truths=(CountTruth(count=2), NumberTruth(value=3))), "none", "unparsable"),
    ],
)
def test_verdict(truth: Truth, answer: str, verdict: str) -> None:
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


@given(st.lists(st.tuples(*[st.integers(0, 999)] * 4), min_size=1, max_size=5), st.data())
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
        PointsTruth(boxes=((0, 0, 1, 1),)),
        BoxTruth(boxes=((0, 0, 1, 1),), labels=("a",)),
        CLICK,
        AnyTruth(truths=(TextTruth(text="a"), NumberTruth(value=1))),
    ]
    for truth in truths:
        assert 0.0 <= truth.score(answer).value <= 1.0


@given(st.integers(-999, 999), st.integers(1, 99))
def test_an_expression_equals_itself_written_in_another_way(numerator: int, denominator: int) -> None:
    truth = MathTruth(expression=rf"\frac{{{numerator}}}{{{denominator}}}")
    assert truth.score(rf"\boxed{{\frac{{{2 * numerator}}}{{{2 * denominator}}}}}").verdict == "correct"
    assert truth.score(rf"\boxed{{\frac{{{numerator}}}{{{denominator}}}+1}}").verdict == "wrong"


def test_an_expression_is_scored_outside_the_main_thread() -> None:
    verdicts: list[str] = []
    thread = threading.Thread(target=lambda: verdicts.append(MathTruth(expression="2").score("$1+1$").verdict))
    thread.start()
    thread.join()
    assert verdicts == ["correct"]


@pytest.mark.parametrize("kind", NEEDS)
def test_every_action_is_read_back_and_needs_what_it_says(kind: str) -> None:
    values = {"point_2d": (1, 2), "end_point_2d": (3, 4), "text": "so \u201cit\u201d is", "direction": "down"}
    action = Action.model_validate({"action": kind, **{name: values[name] for name in NEEDS[kind]}})
    assert parse_action(f"First I look. {action.to_text()}") == action
    for name in NEEDS[kind]:
        with pytest.raises(ValidationError, match=f"the action {kind} needs {name}"):
            Action.model_validate({"action": kind, **{other: values[other] for other in NEEDS[kind] - {name}}})
    with pytest.raises(ValidationError, match=f"the action {kind} has no"):
        Action.model_validate({"action": kind, **values})


def test_labelled_boxes_are_read_back() -> None:
    boxes = [Box(0, 0, 10, 20, "milli", (1000, 1000)), Box(5, 5, 9, 9, "milli", (1000, 1000))]
    assert parse_labelled_boxes(format_boxes(boxes, ["猫", "dog"])) == [(boxes[0], "猫"), (boxes[1], "dog")]
    assert parse_labelled_boxes(format_boxes(boxes[:1])) == [(boxes[0], "")]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "boxes", "boxes": [[0, 0, 1, 1]], "labels": ["a", "b"]}, "1 boxes have 2 labels"),
        ({"kind": "boxes", "boxes": []}, "at least 1"),
        ({"kind": "boxes", "boxes": [[9, 0, 1, 1]]}, "top left first"),
        ({"kind": "point", "boxes": [[0, 0, 1, 1001]]}, "0..1000"),
        ({"kind": "action", "action": {"action": "click", "point_2d": [1, 1]}}, "needs boxes"),
        ({"kind": "action", "action": {"action": "click", "point_2d": [1, 1001]}}, "1000"),
        ({"kind": "any", "truths": []}, "at least 1"),
        ({"kind": "guess"}, "guess"),
    ],
)
def test_truths_that_nothing_could_meet_are_refused(fields: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TypeAdapter(Truth).validate_python(fields)
