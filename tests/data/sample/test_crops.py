"""Crop plans: every example of the released processor, and laws for any size."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.sample.crops import ImageError, ImageSpec, plan_crops

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
        ((7, 3), 3, 420),
    ],
)
def test_plan_matches_the_released_processor(size: tuple[int, int], crops: int, tokens: int) -> None:
    plan = plan_crops(*size, RELEASED)
    assert (len(plan.boxes), plan.tokens) == (crops, tokens)


def test_released_sizes_give_169_and_81_tokens() -> None:
    assert (RELEASED.image_tokens, RELEASED.crop_tokens) == (169, 81)


def test_snapping_keeps_the_float_comparison_of_the_released_code() -> None:
    # 1100/500 leaves 0.2000000000000002 in floats, which is more than 0.2; 600/500 leaves less than 0.2.
    spec = ImageSpec(crop_size=500)
    assert plan_crops(1100, 1100, spec).canvas == (1500, 1500)
    assert plan_crops(600, 1100, spec).canvas == (500, 1500)


def test_thin_strip_is_padded_to_a_square() -> None:
    assert plan_crops(200, 31, RELEASED).padded == 200
    assert plan_crops(200, 32, RELEASED).padded is None


@pytest.mark.parametrize(
    ("size", "limits", "message"),
    [
        ((100_000, 40), {}, "needs 3024 crops, more than max_crops=100: cut it or raise max_crops"),
        ((200_000, 40), {}, "vanishes when its long side is shrunk to max_side=3024: cut"),
        ((20_000, 20_000), {}, "20000x20000 pixels is more than max_pixels=67108864: shrink or cut it, or raise"),
        ((9000, 31), {}, "on its black square of 9000x9000, is more than max_pixels"),
        ((1280, 720), {"max_tokens": 669}, "becomes 670 tokens, more than max_tokens=669: shrink or cut it, or raise"),
        ((500, 400), {"max_tokens": 170}, "becomes 171 tokens, more than max_tokens=170"),
        ((0, 5), {}, "has no area"),
    ],
)
def test_exceeded_limit_is_named_in_one_line(size: tuple[int, int], limits: dict[str, int], message: str) -> None:
    with pytest.raises(ImageError, match=message) as refused:
        plan_crops(*size, ImageSpec(**limits))
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, UserError)
    assert "\n" not in str(refused.value)


def test_limits_are_inclusive_and_sizes_positive() -> None:
    exact = ImageSpec(max_crops=6, max_pixels=1280 * 720, max_tokens=670)
    assert plan_crops(1280, 720, exact).tokens == 670
    with pytest.raises(ValueError, match="crop_size"):
        ImageSpec(crop_size=0)


def test_spec_accepts_images_of_a_stricter_one_of_the_same_sizes() -> None:
    assert RELEASED.accepts(ImageSpec(max_crops=50, max_pixels=1000, max_tokens=500))
    assert not ImageSpec(max_crops=50).accepts(RELEASED)
    assert not ImageSpec(max_tokens=500).accepts(RELEASED)
    assert not RELEASED.accepts(TINY)
    assert RELEASED.sizes == ImageSpec(max_crops=1).sizes


def refused(error: ValueError) -> bool:
    return any(name in str(error) for name in ("max_crops", "max_pixels", "vanishes"))


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([RELEASED, TINY]))
def test_any_plan_covers_its_canvas_and_counts_its_tokens(width: int, height: int, spec: ImageSpec) -> None:
    try:
        plan = plan_crops(width, height, spec)
    except ValueError as error:
        assert refused(error)
        return
    assert max(plan.resized) <= spec.max_side
    assert plan.resized[0] * plan.resized[1] <= spec.max_pixels
    assert len(plan.boxes) == len(plan.newlines) <= spec.max_crops
    expected = len(plan.boxes) * (spec.crop_tokens + 2) + sum(plan.newlines) + spec.image_tokens + 2
    assert plan.tokens == expected <= spec.max_tokens
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


def literal_rule(width: int, height: int) -> tuple[tuple[int, int], tuple[int, int], int, list[tuple[int, int]]]:
    """The published rule, literally: size before cutting, canvas, window, and the corners of the crops.

    As published, the canvas is skipped when it equals the image before its long side is limited.
    """
    if min(width, height) < 32 and (width / height > 4 or width / height < 1 / 4):
        width = height = max(width, height)
    original = (width, height)
    if max(width, height) > 3024:
        scale = 3024 / max(width, height)
        width, height = int(width * scale), int(height * scale)
    long, short = max(width, height), min(width, height)
    if long <= 728:
        window = short if long / short > 1.5 else 0
    else:
        window = min(short, 504) if long / short > 4 else 504
    if not window:
        return (width, height), (width, height), 0, []

    def snapped(side: int) -> int:
        ratio = side / window
        if ratio < 1:
            return side
        return window * (int(ratio) + 1 if (ratio - side // window) > 0.2 else int(ratio))

    canvas = (snapped(width), snapped(height))
    if canvas == original:
        canvas = (width, height)

    def corners(side: int) -> list[int]:
        number = 1 if side <= window else math.ceil((side - window) / window + 1)
        starts = [window * index for index in range(number)]
        if len(starts) > 1 and starts[-1] + window > side:
            starts[-1] = side - window
        return starts

    return (width, height), canvas, window, [(x, y) for y in corners(canvas[1]) for x in corners(canvas[0])]


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_any_size_is_cut_as_by_a_literal_implementation_of_the_rule(width: int, height: int) -> None:
    try:
        plan = plan_crops(width, height, RELEASED)
    except ValueError as error:
        assert refused(error)
        return
    corners = [box[:2] for box in plan.boxes]
    assert (plan.resized, plan.canvas, plan.window, corners) == literal_rule(width, height)
