"""Places: numbers with their convention, which none is ever guessed of."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.sample import Box
from step3vl.pipelines.grounding.conventions import BoxFormat, GeometryError, Order, Unit
from step3vl.pipelines.gui.sets.records import Place, PlaceOrder, point

ORDERS: tuple[Order, ...] = ("xyxy", "xywh", "cxcywh", "xxyy", "yxyx", "yxhw")
UNITS: tuple[Unit, ...] = ("pixels", "unit", "percent", "milli", "of_999")
sides = st.integers(min_value=50, max_value=4000)
fractions = st.floats(min_value=0.0, max_value=1.0)


@given(sides, sides, fractions, fractions, st.sampled_from(UNITS))
def test_a_point_means_the_same_in_every_order_unit_and_resolution(
    width: int, height: int, x: float, y: float, unit: Unit
) -> None:
    across, down = (width, height) if unit == "pixels" else ({"unit": 1.0, "percent": 100.0}.get(unit, 1000.0),) * 2
    if unit == "of_999":
        across = down = 999
    for order, values in (("xy", (x * across, y * down)), ("yx", (y * down, x * across))):
        place = Place(values=values, order=order, unit=unit, size=(width, height))
        for image in ((width, height), (2 * width, 2 * height)):
            found_point = place.point(image)
            assert math.isclose(found_point.x, x * image[0], abs_tol=1e-6)
            assert math.isclose(found_point.y, y * image[1], abs_tol=1e-6)


@given(sides, sides, st.tuples(*[fractions] * 4), st.sampled_from(ORDERS), st.sampled_from(UNITS))
def test_a_box_returns_from_every_convention(
    width: int, height: int, corners: tuple[float, float, float, float], order: Order, unit: Unit
) -> None:
    (x1, x2), (y1, y2) = sorted(corners[::2]), sorted(corners[1::2])
    box = Box(x1 * width, y1 * height, x2 * width, y2 * height, "pixels", (width, height))
    if min(box.x2 - box.x1, box.y2 - box.y1) < 3.1:
        return
    place = Place(values=BoxFormat(order, unit).write(box), order=order, unit=unit)
    again = place.box((width, height))
    assert again.iou(box) > 0.999
    assert place.point((width, height)) == again.centre


def test_a_place_without_order_or_unit_is_refused() -> None:
    with pytest.raises(ValidationError, match="neither order nor unit"):
        Place.model_validate({"values": (1, 2, 3, 4), "order": "xyxy"})


@pytest.mark.parametrize(
    ("values", "order", "reason"),
    [
        ((0.5, 0.5), "xy", "point_without_box"),
        ((10, 10, 5, 20), "xyxy", "no_area"),
        ((10, 10, 20), "xyxy", "not_four_numbers"),
        ((600, 10, 620, 20), "xyxy", "outside"),
        ((90, 10, 190, 20), "xyxy", "mostly_outside"),
        ((10, 10, 12, 40), "xyxy", "too_small"),
        ((0.1, 0.1, 0.2, 0.2), "xyxy", "too_small"),  # 0..1 read as pixels
        ((math.nan, 1, 2, 3), "xyxy", "not_finite"),
        ((1, 1, 2, 2), "polygon", "not_a_polygon"),
    ],
)
def test_numbers_that_are_no_box_have_a_reason(values: tuple[float, ...], order: PlaceOrder, reason: str) -> None:
    with pytest.raises(GeometryError) as error:
        Place(values=values, order=order, unit="pixels").box((100, 100))
    assert error.value.reason == reason


def test_a_point_outside_of_the_screen_is_refused() -> None:
    with pytest.raises(GeometryError, match="outside"):
        point(1.2, 0.5, "unit").point((100, 100))


def test_a_screenshot_of_another_shape_than_the_set_says_is_refused() -> None:
    with pytest.raises(ValueError, match="its annotations are for 100 x 200"):
        point(5, 5, "pixels", (100, 200)).point((200, 100))
