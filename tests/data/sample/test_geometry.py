"""Points and boxes under changes of space, resizes and crops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample.geometry import Box, Point

sides = st.integers(1, 4000)

fractions = st.floats(0, 1)


@given(sides, sides, fractions, fractions, st.permutations(["pixels", "unit", "milli"]))
def test_spaces_round_trip(width: int, height: int, x: float, y: float, spaces: list) -> None:
    point = Point(x, y, "unit", (width, height))
    moved = point
    for space in spaces:
        moved = moved.to(space)
    back = moved.to("unit")
    assert (back.x, back.y) == pytest.approx((x, y))


@given(sides, sides, sides, sides, fractions, fractions)
def test_resize_keeps_the_relative_position(w1: int, h1: int, w2: int, h2: int, x: float, y: float) -> None:
    point = Point(x * w1, y * h1, "pixels", (w1, h1)).resized((w2, h2))
    assert (point.x, point.y) == pytest.approx((x * w2, y * h2))
    assert point.size == (w2, h2)


def test_crop_shifts_by_its_corner() -> None:
    box = Box(30, 40, 50, 60, "pixels", (100, 100)).cropped(20, 30, 70, 80)
    assert (box.x1, box.y1, box.x2, box.y2) == (10, 10, 30, 30)
    assert box.milli() == (200, 200, 600, 600)


def test_iou_of_known_boxes() -> None:
    box = Box(0, 0, 10, 10, "pixels", (100, 100))
    assert box.iou(Box(5, 0, 15, 10, "pixels", (100, 100))) == pytest.approx(1 / 3)
    assert box.iou(box.to("milli")) == pytest.approx(1.0)
    assert box.iou(Box(20, 20, 30, 30, "pixels", (100, 100))) == 0.0


def test_corners_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="not in the order"):
        Box(5, 0, 4, 1, "unit", (1, 1))
