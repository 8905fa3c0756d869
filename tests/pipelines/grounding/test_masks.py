"""Masks: exact boxes, a point on the object, and rectangles that never leave it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.grounding.masks import box_of_mask, mask_of_polygons, point_in_mask, spots_of_mask

SIZE = (400, 300)


def ring() -> np.ndarray:
    ys, xs = np.mgrid[0:120, 0:160]
    distance = np.hypot(xs - 80, ys - 60)
    return (distance < 55) & (distance > 30)


def test_a_ring_has_its_point_on_the_ring() -> None:
    mask = ring()
    point = point_in_mask(mask, SIZE, (100, 50))
    assert mask[int(point.y) - 50, int(point.x) - 100]
    box = box_of_mask(mask, SIZE, (100, 50))
    assert box is not None
    assert not mask[int(box.centre.y) - 50, int(box.centre.x) - 100]  # where the box's centre is, there is none of it


def test_spots_lie_on_the_mask_and_cover_most_of_it() -> None:
    mask = ring()
    covered = np.zeros_like(mask)
    for x1, y1, x2, y2 in spots_of_mask(mask, SIZE, (100, 50)):
        left, right = (round(x * SIZE[0] / 1000) - 100 for x in (x1, x2))
        top, bottom = (round(y * SIZE[1] / 1000) - 50 for y in (y1, y2))
        covered[top:bottom, left:right] = True
    assert (covered & ~mask).sum() <= 0.02 * mask.sum()
    assert covered.sum() >= 0.75 * mask.sum()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_point_of_any_mask_is_in_a_spot(seed: int, width: int, height: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    mask[0, 0] = True
    x, y = point_in_mask(mask, SIZE, (7, 9)).milli()
    spots = spots_of_mask(mask, SIZE, (7, 9))
    assert any(x1 - 1 <= x <= x2 + 1 and y1 - 1 <= y <= y2 + 1 for x1, y1, x2, y2 in spots)


def test_polygons_are_rendered_in_their_window_and_clipped_to_the_image() -> None:
    mask, origin = mask_of_polygons([(-10.0, -10.0, 20.0, -10.0, 20.0, 30.0, -10.0, 30.0)], SIZE)
    assert origin == (0, 0)
    assert mask.shape == (30, 20)
    assert mask.mean() > 0.95
    outside, _ = mask_of_polygons([(500.0, 10.0, 520.0, 10.0, 520.0, 30.0)], SIZE)
    assert not outside.any()
    with pytest.raises(ValueError, match="empty"):
        spots_of_mask(outside, SIZE)


def test_rounding_errors_of_distances_choose_no_point(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.ones((40, 90), bool)  # the points along its middle are equally far from the border
    transform, noise = cv2.distanceTransform, np.random.default_rng(0)
    expected = point_in_mask(mask, (90, 40))
    for _ in range(5):
        monkeypatch.setattr(
            cv2, "distanceTransform", lambda *a: transform(*a) * (1 + noise.uniform(-1e-6, 1e-6, (42, 92)))
        )
        assert point_in_mask(mask, (90, 40)) == expected
