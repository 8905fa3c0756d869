"""Answers that carry coordinates and actions: what is written is read back, and nothing hides it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.sample.action import NEEDS, Action
from step3vl.data.sample.answers import (
    format_boxes,
    format_point,
    json_objects,
    last_object,
    parse_action,
    parse_boxes,
    parse_labelled_boxes,
    parse_points,
)
from step3vl.data.sample.geometry import Box, Point

milli = st.integers(0, 1000)


def box(*corners: float) -> Box:
    return Box(*corners, "milli", (1000, 1000))


def point(x: float, y: float) -> Point:
    return Point(x, y, "milli", (1000, 1000))


@given(milli, milli)
def test_point_is_read_back(x: int, y: int) -> None:
    assert parse_points(format_point(point(x, y))) == [point(x, y)]


def test_labelled_boxes_are_read_back() -> None:
    boxes = [box(0, 0, 10, 20), box(5, 5, 9, 9)]
    assert parse_labelled_boxes(format_boxes(boxes, ["猫", "dog"])) == [(boxes[0], "猫"), (boxes[1], "dog")]
    assert parse_labelled_boxes(format_boxes(boxes[:1])) == [(boxes[0], "")]
    assert parse_boxes(format_boxes(boxes)) == boxes


def test_labels_are_one_for_each_box() -> None:
    with pytest.raises(ValueError, match="zip"):
        format_boxes([box(0, 0, 1, 1)], ["a", "b"])


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ('{"point_2d": [1, 2]}', [(1, 2)]),
        ('[{"point_2d": [1, 2]}, {"point_2d": [3.5, 4]}]', [(1, 2), (3.5, 4)]),
        ('Here: {"point_2d": [1, 2]} and there: {"point_2d": [3, 4]}.', [(1, 2), (3, 4)]),
        ('{"answer": {"point_2d": [1, 2]}}', [(1, 2)]),
        ('{"points": [{"point_2d": [1, 2]}, [{"point_2d": [3, 4]}]]}', [(1, 2), (3, 4)]),
        ('{"point_2d": [1, 2], "more": {"score": 0.5}}', [(1, 2)]),
        ('{"label": "a } or { b", "point_2d": [1, 2]}', [(1, 2)]),
        ('the set {a, b} has {"point_2d": [1, 2]}', [(1, 2)]),
        ('the set {a, b has {"point_2d": [1, 2]}', [(1, 2)]),
        ('{broken: {"point_2d": [1, 2]}}', [(1, 2)]),
        ('a 5" screen {"point_2d": [1, 2]}', [(1, 2)]),
        ('{5" wide}\n{"point_2d": [1, 2]}', [(1, 2)]),
        ('```json\n{\n  "point_2d": [\n    1,\n    2\n  ]\n}\n```', [(1, 2)]),
        ('{"point_2d": [1]}', []),
        ('{"point_2d": [1, "2"]}', []),
        ('{"point_2d": [true, 2]}', []),
        ('{"point_2d": [NaN, 2]}', []),
        ('{"point_2d": [1e999, 2]}', []),
        ('{"point_2d": [1, 2]', []),
        ('{"point_2d": "[1, 2]"}', []),
        ("[1, 2]", []),
        (f'{{"point_2d": [{"9" * 5000}, 2]}} {{"point_2d": [1, 2]}}', [(1, 2)]),
    ],
)
def test_points_of_an_answer(answer: str, points: list[tuple[float, float]]) -> None:
    assert parse_points(answer) == [point(*coordinates) for coordinates in points]


def test_corners_in_any_order_are_sorted() -> None:
    assert parse_boxes('{"bbox_2d": [10, 20, 0, 5]}') == [box(0, 5, 10, 20)]


@pytest.mark.parametrize("kind", NEEDS)
def test_every_action_is_read_back_and_needs_its_fields(kind: str) -> None:
    values = {"point_2d": (1, 2), "end_point_2d": (3, 4), "text": "so \u201cit\u201d is", "direction": "down"}
    action = Action.model_validate({"action": kind, **{name: values[name] for name in NEEDS[kind]}})
    assert parse_action(f"First I look. {action.to_text()}") == action
    for name in NEEDS[kind]:
        with pytest.raises(ValidationError, match=f"the action {kind} needs {name}"):
            Action.model_validate({"action": kind, **{other: values[other] for other in NEEDS[kind] - {name}}})
    with pytest.raises(ValidationError, match=f"the action {kind} has no"):
        Action.model_validate({"action": kind, **values})


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ('{"action": "click", "point_2d": [512.4, 39.6]}', Action(action="click", point_2d=(512, 40))),
        ('{"answer": {"action": "wait"}}', Action(action="wait")),
        ('{"action": "wait"} {"action": "click", "point_2d": [1, 2]}', Action(action="click", point_2d=(1, 2))),
        ('{"action": "wait"} {"action": "click"}', Action(action="wait")),
        ('{"action": "click", "point_2d": [1, 1001]}', None),
        ('{"action": "fly"}', None),
        ('{"action": ["click"]}', None),
        ("wait", None),
    ],
)
def test_last_action_of_an_answer(answer: str, action: Action | None) -> None:
    assert parse_action(answer) == action


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), json_values, min_size=1), st.text(alphabet="ab .,:\n[]"))
def test_json_object_in_prose_is_found(value: dict, prose: str) -> None:
    value = {"a long key": 1, **value}
    assert next(json_objects(f"{prose}{json.dumps(value)}{prose}")) == value


def test_the_last_object_of_a_judgement_counts() -> None:
    assert last_object('{"score": 1}? No: {"result": {"score": 0}} {"note": 2}', "score") == {"score": 0}
    assert last_object('{"verdict": "yes", "details": {"score": 1}}', "verdict") == {
        "verdict": "yes",
        "details": {"score": 1},
    }
    assert last_object("none", "score") == last_object('{"score": 1', "score") == {}
    assert last_object("{" * 1_000_000, "score") == {}


@given(st.text(alphabet='{}[]":,\\ \n019aé'))
def test_no_text_makes_reading_fail(text: str) -> None:
    for parse in (parse_points, parse_labelled_boxes, parse_action):
        parse(text)
