"""Composites: exact masks and boxes, and nothing around a cut-out that gives it away."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.sample import Box
from step3vl.pipelines.render.scenes.composite import Look, Request, compose
from step3vl.pipelines.render.style import COLOURS

LOOK = Look(min_visible=0.4, turn=0, shadow=0, shadow_offset=(3, 4), shadow_blur=2, harmony=0, blur=0)


def disc(colour: str, side: int = 50) -> Request:
    alpha = PILImage.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(alpha).ellipse((0, 0, 4 * side - 1, 4 * side - 1), fill=255)
    pixels = PILImage.new("RGBA", (side, side), COLOURS[colour])
    pixels.putalpha(alpha.resize((side, side), PILImage.Resampling.LANCZOS))
    return Request("disc", colour, pixels)


def noise(size: tuple[int, int] = (200, 160)) -> PILImage.Image:
    pixels = np.random.default_rng(0).integers(150, 250, (size[1], size[0], 3), np.uint8)
    return PILImage.fromarray(pixels)


@pytest.mark.parametrize("look", [LOOK, replace(LOOK, turn=20.0, harmony=0.7), replace(LOOK, blur=0.8)])
def test_outside_of_the_cutouts_the_image_is_the_background_to_the_bit(look: Look) -> None:
    background = noise()
    composed = compose(background, [disc("red"), disc("blue"), disc("green")], look, random.Random(3))
    assert composed is not None
    image, placed = composed
    untouched = np.ones((160, 200), bool)
    for item in placed:
        # Two pixels around the mask, where the soft edge is.
        untouched[int(item.box.y1) - 2 : int(item.box.y2) + 2, int(item.box.x1) - 2 : int(item.box.x2) + 2] = False
    assert untouched.any()
    assert (np.asarray(image) == np.asarray(background))[untouched].all()


def test_masks_and_boxes_are_those_of_the_pixels() -> None:
    """By painting: pixels of a colour are read off the image, whatever covers them."""
    plain = PILImage.new("RGB", (260, 200), (240, 240, 240))
    covered = 0
    for seed in range(20):
        colours = ["red", "blue", "green", "black", "purple"]
        composed = compose(plain, [disc(colour, 70) for colour in colours], LOOK, random.Random(seed))
        if composed is None:
            continue
        image, placed = composed
        pixels = np.asarray(image).astype(int)
        for item in placed:
            rows, columns = np.nonzero(np.abs(pixels - COLOURS[item.colour]).max(axis=2) < 8)
            # The tip of a sickle is mixed with what covers it.
            read = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, "pixels", plain.size)
            assert read.iou(item.box) > 0.9
            assert abs(len(rows) - item.mask.sum()) < 0.12 * item.mask.sum()
            assert 0.4 <= item.visible <= 1
            covered += item.visible < 0.95
    assert covered > 5


def test_without_covering_each_is_whole() -> None:
    composed = compose(noise((400, 300)), [disc("red", 40)] * 12, replace(LOOK, min_visible=1.0), random.Random(0))
    assert composed is not None
    assert [item.visible for item in composed[1]] == [1.0] * 12


def test_a_shadow_darkens_and_is_no_part_of_the_box() -> None:
    plain = PILImage.new("RGB", (200, 160), (240, 240, 240))
    with_shadow = compose(plain, [disc("red")], replace(LOOK, shadow=0.5), random.Random(1))
    without = compose(plain, [disc("red")], LOOK, random.Random(1))
    assert with_shadow is not None
    assert without is not None
    assert with_shadow[1][0].box == without[1][0].box
    assert np.asarray(with_shadow[0]).min(axis=2).sum() < np.asarray(without[0]).min(axis=2).sum()
    assert (np.asarray(with_shadow[0]) <= np.asarray(without[0])).all()


def test_what_cannot_be_seen_or_has_no_room_is_not_laid() -> None:
    white = PILImage.new("RGB", (200, 160), (250, 250, 250))
    assert compose(white, [disc("white")], LOOK, random.Random(0)) is None
    assert compose(white, [disc("red", 300)], LOOK, random.Random(0)) is None
    assert compose(white, [disc("red", 60)] * 20, replace(LOOK, min_visible=1.0), random.Random(0)) is None


def test_light_follows_the_place() -> None:
    dark = np.full((160, 200, 3), 200, np.uint8)
    dark[:, :100] = 90
    background = PILImage.fromarray(dark)
    brightness = {}
    for seed in range(30):
        composed = compose(background, [disc("red")], replace(LOOK, harmony=1.0), random.Random(seed))
        if composed:
            image, (item,) = composed
            centre = item.box.centre
            side = "left" if item.box.x2 < 100 else "right" if item.box.x1 > 100 else "both"
            brightness[side] = np.asarray(image)[int(centre.y), int(centre.x)].sum()
    assert brightness["left"] < brightness["right"]
