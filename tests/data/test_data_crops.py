"""Crop plans: every example of the released processor, and laws that hold for any size."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.crops import ImageSpec, plan_crops

RELEASED = ImageSpec()
TINY = ImageSpec(image_size=96, crop_size=72, patch_size=8, max_side=384)


@pytest.mark.parametrize(
    ("size", "crops", "tokens"),
    [
        ((500, 400), 0, 171),
        ((728, 728), 0, 171),
        ((729, 729), 4, 504),
        ((728, 486), 0, 171),
        ((728, 485), 2, 337),
        ((300, 100), 3, 420),
        ((100, 300), 3, 422),
        ((1280, 720), 6, 670),
        ((720, 1280), 6, 671),
        ((1920, 1080), 8, 836),
        ((2560, 1440), 15, 1418),
        ((3024, 3024), 36, 3164),
        ((4032, 3024), 30, 2665),
        ((1000, 400), 2, 337),
        ((6000, 400), 15, 1416),
        ((200, 31), 0, 171),
        ((3024, 32), 95, 8056),
        ((32, 3024), 95, 8150),
    ],
)
def test_plan_matches_the_released_processor(size: tuple[int, int], crops: int, tokens: int) -> None:
    plan = plan_crops(*size, RELEASED)
    assert (len(plan.boxes), plan.tokens) == (crops, tokens)


def test_released_grids_give_169_and_81_tokens() -> None:
    assert (RELEASED.image_tokens, RELEASED.crop_tokens) == (169, 81)


def test_snapping_keeps_the_float_comparison_of_the_released_code() -> None:
    # 1100/500 leaves 0.2000000000000002 in floats, which is more than 0.2; 600/500 leaves less than 0.2.
    spec = ImageSpec(crop_size=500)
    assert plan_crops(1100, 1100, spec).canvas == (1500, 1500)
    assert plan_crops(600, 1100, spec).canvas == (500, 1500)


def test_thin_strip_is_padded_to_a_square() -> None:
    assert plan_crops(200, 31, RELEASED).padded == 200
    assert plan_crops(200, 32, RELEASED).padded is None


def test_elongated_picture_is_refused_instead_of_exploding() -> None:
    with pytest.raises(ValueError, match="needs 3024 crops, more than max_crops=100"):
        plan_crops(100_000, 40, RELEASED)


def test_picture_that_vanishes_is_refused() -> None:
    with pytest.raises(ValueError, match="vanishes"):
        plan_crops(200_000, 40, RELEASED)


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([RELEASED, TINY]))
def test_any_plan_covers_its_canvas_and_counts_its_tokens(width: int, height: int, spec: ImageSpec) -> None:
    try:
        plan = plan_crops(width, height, spec)
    except ValueError as refused:
        assert "max_crops" in str(refused) or "vanishes" in str(refused)
        return
    assert max(plan.resized) <= spec.max_side
    assert len(plan.boxes) == len(plan.newlines) <= spec.max_crops
    expected = len(plan.boxes) * (spec.crop_tokens + 2) + sum(plan.newlines) + spec.image_tokens + 2
    assert plan.tokens == expected
    if not plan.boxes:
        return
    columns = sorted({box[0] for box in plan.boxes})
    rows = sorted({box[1] for box in plan.boxes})
    assert len(columns) * len(rows) == len(plan.boxes)
    assert sum(plan.newlines) == len(rows) - 1
    for starts, side in ((columns, plan.canvas[0]), (rows, plan.canvas[1])):
        assert starts[0] == 0
        assert starts[-1] + plan.window >= side, "the last crop reaches the edge"
        assert all(after - before <= plan.window for before, after in pairwise(starts)), "no gap"
    assert all(x2 - x1 == y2 - y1 == plan.window for x1, y1, x2, y2 in plan.boxes)
