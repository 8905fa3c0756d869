import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import (
    Element,
    check_read_back,
    check_texts,
    corners_of,
    fit_axis,
    overlap,
    parse_number,
    text_corners,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("1,200.5", 1200.5),
        ("−3", -3),
        ("-3", -3),
        ("40%", 40),
        ("Q1 2024", None),
        ("06:00", None),
        ("", None),
    ],
)
def test_ticks_say_numbers(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@given(st.floats(-1e3, 1e3), st.floats(0.01, 100), st.integers(2, 9))
def test_an_axis_is_fitted_by_its_ticks(offset: float, slope: float, number: int) -> None:
    scale = fit_axis([(50.0 * i, offset + slope * 50.0 * i) for i in range(number)])
    assert scale is not None
    assert scale.value(33.0) == pytest.approx(offset + slope * 33, abs=1e-6)


@pytest.mark.parametrize(
    "ticks", [[], [(0.0, 1.0)], [(0.0, 1.0), (10.0, 2.0), (20.0, 4.0)], [(0.0, 1.0), (10.0, 1.0)]]
)
def test_ticks_that_are_no_linear_scale_are_refused(ticks: list[tuple[float, float]]) -> None:
    assert fit_axis(ticks) is None


def test_texts_must_be_inside_and_apart() -> None:
    first = Element("title", "a", (10, 10, 50, 20))
    check_texts([first, Element("title", "b", (60, 10, 90, 20))], (100, 30))
    with pytest.raises(Dropped, match="texts_overlap"):
        check_texts([first, Element("title", "b", (40, 12, 90, 22))], (100, 30))
    with pytest.raises(Dropped, match="text_clipped"):
        check_texts([Element("title", "a", (-4, 10, 50, 20))], (100, 30))


def test_turned_texts_side_by_side_do_not_overlap_though_their_boxes_do() -> None:
    labels = [text_corners(x, 0, 60, 10, "right", "top", -45) for x in (0.0, 30.0)]
    assert overlap(*labels) == 0
    assert overlap(labels[0], text_corners(5, 0, 60, 10, "right", "top", -45)) > 1


@given(st.tuples(*[st.integers(0, 50)] * 4))
def test_overlap_of_upright_boxes_is_that_of_intervals(numbers: tuple[int, int, int, int]) -> None:
    x, y, u, v = numbers
    first, second = corners_of((x, y, x + 20, y + 20)), corners_of((u, v, u + 20, v + 20))
    expected = min(max(0, 20 - abs(x - u)), max(0, 20 - abs(y - v)))
    assert overlap(first, second) == pytest.approx(expected)


def test_a_mark_away_from_its_value_is_refused() -> None:
    assert check_read_back([(10.0001, 10.0)], 1.0, 3.0) < 0.01
    with pytest.raises(Dropped, match="mark_differs_from_value"):
        check_read_back([(10.5, 10.0)], 1.0, 3.0)
