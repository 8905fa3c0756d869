"""Coordinates by their conventions: every conversion has a way back, and nothing is guessed."""

import math
from itertools import product
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.conventions import (
    BoxFormat,
    GeometryError,
    Order,
    Unit,
    box_of_polygons,
    point_in_pixels,
    polygon_area,
    polygon_in_pixels,
    rotated_rectangle,
)

FORMATS = [BoxFormat(order, unit) for order, unit in product(get_args(Order), get_args(Unit))]
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
fractions = st.floats(-0.5, 1.5, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    size = draw(sizes)
    (x1, x2), (y1, y2) = (sorted(draw(st.lists(fractions, min_size=2, max_size=2))) for _ in range(2))
    return Box(x1, y1, x2 + 0.01, y2 + 0.01, "unit", size).to("pixels")


@given(boxes(), st.sampled_from(FORMATS), sizes)
def test_a_box_comes_back_from_every_convention_and_resize(box: Box, format: BoxFormat, size: tuple[int, int]) -> None:
    again = format.read(format.write(box), box.size)
    scale = 1e-6 * max(box.size)
    assert again.corners()[0].x == pytest.approx(box.x1, abs=scale)
    assert (again.x2, again.y1, again.y2) == pytest.approx((box.x2, box.y1, box.y2), abs=scale)
    back = again.resized(size).resized(box.size)
    assert (back.x1, back.y1, back.x2, back.y2) == pytest.approx((box.x1, box.y1, box.x2, box.y2), abs=scale)


@pytest.mark.parametrize(
    ("order", "unit", "values"),
    [
        ("xywh", "pixels", (20, 10, 60, 30)),
        ("xyxy", "pixels", (20, 10, 80, 40)),
        ("cxcywh", "unit", (0.25, 0.25, 0.3, 0.3)),
        ("xxyy", "unit", (0.1, 0.4, 0.1, 0.4)),
        ("yxyx", "milli", (100, 100, 400, 400)),
        ("yxhw", "percent", (10, 10, 30, 30)),
    ],
)
def test_one_box_in_each_order(order: Order, unit: Unit, values: tuple[float, ...]) -> None:
    box = BoxFormat(order, unit).read(values, (200, 100))
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((20, 10, 80, 40))
    assert (box.space, box.size) == ("pixels", (200, 100))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((1, 2, 3), "not_four_numbers"),
        ((1, 2, math.nan, 4), "not_finite"),
        ((1, 2, math.inf, 4), "not_finite"),
        ((10, 10, 10, 20), "no_area"),
        ((10, 20, 20, 10), "no_area"),
    ],
)
def test_what_is_no_box_is_refused(values: tuple[float, ...], reason: str) -> None:
    with pytest.raises(GeometryError) as error:
        BoxFormat("xyxy", "pixels").read(values, (100, 100))
    assert error.value.reason == reason


@given(sizes, st.lists(st.floats(0, 100), min_size=6, max_size=12).filter(lambda values: len(values) % 2 == 0))
def test_polygons_and_points_scale_alike(size: tuple[int, int], values: list[float]) -> None:
    polygon = polygon_in_pixels(values, "percent", size)
    for index in range(0, len(values), 2):
        point = point_in_pixels(values[index], values[index + 1], "percent", size)
        assert (point.x, point.y) == (polygon[index], polygon[index + 1])
    box = box_of_polygons([polygon], size)
    assert polygon_area(polygon) <= box.area + 1e-6 * max(size) ** 2


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 80), st.floats(1, 80), st.floats(-3.2, 3.2))
def test_a_turned_rectangle_is_opencvs(x: float, y: float, width: float, height: float, radians: float) -> None:
    corners = np.array(rotated_rectangle(x, y, width, height, radians)).reshape(4, 2)
    expected = cv2.boxPoints(((x + width / 2, y + height / 2), (width, height), math.degrees(radians)))
    for corner in corners:
        assert np.abs(expected - corner).sum(axis=1).min() < 1e-2
    assert polygon_area(tuple(corners.ravel())) == pytest.approx(width * height)
