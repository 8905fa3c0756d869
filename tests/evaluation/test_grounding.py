"""Points of responses, and whether they lie in their targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.evaluation.benchmarks.osworld_g import BENCHMARK as OSWORLD_G
from step3vl.evaluation.grounding import in_box, in_polygon, read_point, unit_box
from step3vl.evaluation.item import Item, Scored


@pytest.mark.parametrize(
    ("response", "point"),
    [
        ('{"point_2d": [220, 185]}', (220, 185)),
        ('```json\n{"point": [1, 2]}\n```', (1, 2)),
        ('{"coordinate": [10.5, 20]}', (10.5, 20)),
        ('{"bbox_2d": [0, 0, 100, 50]}', (50, 25)),
        ("[220, 185]", (220, 185)),
        (r"The point is \boxed{(3, 4)}", (3, 4)),
        ('{"point_2d": [1, 2]} or {"point_2d": [3, 4]}', (1, 2)),
        ("[1, 2, 3, 4]", None),  # four numbers without a name have no meaning
        ("at x=5 and y=7", None),
        ('{"point_2d": [1, 2, 3]}', None),
        ('{"point_2d": ["a", true]}', None),
        ("", None),
    ],
)
def test_only_typed_coordinates_are_read(response: str, point: tuple[float, float] | None) -> None:
    parsed, _ = read_point(response)
    assert (None if parsed is None else (parsed.x, parsed.y)) == point


def test_boxes_are_read_in_the_order_of_their_file() -> None:
    assert unit_box([100, 50, 200, 100], "corners", (1000, 500)) == [0.1, 0.1, 0.2, 0.2]
    assert unit_box([100, 50, 200, 100], "corner and size", (1000, 500)) == [0.1, 0.1, 0.3, 0.3]


def test_a_box_near_the_top_left_corner_keeps_its_convention() -> None:
    # Where width > x and height > y, a common script takes corners for a corner and a size.
    box = unit_box([10, 10, 300, 300], "corners", (1000, 1000))
    assert not in_box((0.305, 0.305), box)


def test_borders_belong_to_a_box() -> None:
    assert in_box((0.1, 0.2), [0.1, 0.1, 0.2, 0.2])
    assert not in_box((0.0999, 0.15), [0.1, 0.1, 0.2, 0.2])


def test_a_polygon_is_crossed_by_a_ray() -> None:
    notch = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
    assert in_polygon((1, 1), notch)
    assert not in_polygon((2, 3), notch)
    assert not in_polygon((5, 1), notch)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_rectangle_as_a_polygon_is_a_box(x: float, y: float) -> None:
    corners = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
    on_border = x in (0.25, 0.75) or y in (0.25, 0.75)
    assert on_border or in_polygon((x, y), corners) == in_box((x, y), [0.25, 0.25, 0.75, 0.75])


@given(st.text(max_size=60))
def test_reading_a_point_never_raises(text: str) -> None:
    read_point(text)
    read_point(f'{{"point_2d": {text}}}')


def test_refusals_are_a_number_of_their_own() -> None:
    target = Item("a", (), None, fields={"kind": "bbox", "box": [0, 0, 0.5, 0.5]})
    missing = Item("b", (), None, fields={"kind": "refusal"})
    replies = [(target, '{"point_2d": [100, 100]}'), (target, "nowhere"), (missing, '{"point_2d": null}')]
    metrics = OSWORLD_G.summarise([Scored(item, OSWORLD_G.score(item, reply)) for item, reply in replies])
    assert metrics.value == 50
    assert metrics.values["refusal"] == 100
    assert metrics.values["with refusals"] == pytest.approx(200 / 3)
    assert metrics.counts["unparsable"] == 1
    assert OSWORLD_G.score(missing, '{"point_2d": [-1, -1]}').verdict == "correct"
    assert OSWORLD_G.score(missing, '{"point_2d": [5, 5]}').verdict == "wrong"
    assert OSWORLD_G.score(target, '{"point_2d": null}').verdict == "wrong"
    assert OSWORLD_G.score(missing, "no idea").verdict == "unparsable"
