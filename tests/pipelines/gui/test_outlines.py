"""Boxes that follow what is seen, and boxes that were shifted or resized, told apart by pixels."""

import random

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.sample import Box
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.gui.outlines import unclear_sides
from step3vl.pipelines.render.fonts import load_families

Place = tuple[float, float, float, float]
BUTTON, LINK, ICON = (20, 20, 150, 56), (203, 100, 333, 124), (300, 150, 332, 182)
SCREEN = (400, 220)


@pytest.fixture
def screen(context: StepContext) -> PILImage.Image:
    """A button, a link in a sentence, and an icon without a border."""
    font = load_families(context.assets(["assets:fonts/Roboto*.ttf"]))[0].regular.at(20)
    image = PILImage.new("RGB", SCREEN, "white")
    canvas = ImageDraw.Draw(image)
    canvas.rounded_rectangle((BUTTON[0], BUTTON[1], BUTTON[2] - 1, BUTTON[3] - 1), 5, "#dde4f0", "#445")
    canvas.text((34, 27), "Save report", "#113", font)
    canvas.text((20, 100), "This is told in the", "black", font)
    canvas.text((204, 100), "second letter", "#0b57d0", font)
    canvas.text((339, 100), "of it.", "black", font)
    canvas.polygon([(316, 156), (326, 176), (306, 176)], "#a00")
    return image


def moved(place: Place, across: float, down: float) -> Place:
    x1, y1, x2, y2 = place
    x, y = across * (x2 - x1), down * (y2 - y1)
    return x1 + x, y1 + y, x2 + x, y2 + y


@pytest.mark.parametrize("place", [BUTTON, LINK, ICON])
def test_a_right_box_is_clear_also_when_its_corners_are_rounded(screen: PILImage.Image, place: Place) -> None:
    box = Box(*place, "pixels", SCREEN)
    assert unclear_sides(screen, box) == 0
    assert unclear_sides(screen, Box(*box.milli(), "milli", SCREEN)) == 0


def test_a_box_that_is_shifted_cuts_through_what_is_seen(screen: PILImage.Image) -> None:
    rng = random.Random(0)
    shifts = [(rng.uniform(0.2, 0.7) * rng.choice((-1, 1)), rng.uniform(0.2, 0.7)) for _ in range(40)]
    wrong = [
        unclear_sides(screen, Box(*moved(place, *shift), "pixels", SCREEN)) > 0
        for place in (BUTTON, LINK)
        for shift in shifts
        if moved(place, *shift)[0] >= 0
    ]
    assert sum(wrong) > 0.8 * len(wrong)


def test_a_box_with_nothing_in_it_is_unclear_all_around(screen: PILImage.Image) -> None:
    assert unclear_sides(screen, Box(20, 150, 120, 200, "pixels", SCREEN)) == 4
