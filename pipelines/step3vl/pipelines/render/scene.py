"""Icons on a background without overlap, each with its exact box."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as PILImage
from PIL import ImageFilter

from step3vl.data.geometry import Box, Size
from step3vl.pipelines.render.style import COLOURS, Colour, luminance
from step3vl.pipelines.sources.icons import Icons

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels
_TRIES = 40  # random positions tried for one icon before the scene is given up


class Wanted(NamedTuple):
    """An icon to place: its colour by name, its longer side in pixels, and the window it must lie in, if any."""

    icon: str
    colour: str
    side: int
    window: Window | None = None


class Placed(NamedTuple):
    icon: str
    colour: str
    box: Box  # pixels


def free_spot(size: Size, window: Window, taken: Sequence[Window], gap: int, rng: random.Random) -> Window | None:
    """A random place for `size` in `window`, at least `gap` pixels from all that is taken; None if none turns up."""
    width, height = size
    if width > window[2] - window[0] or height > window[3] - window[1]:
        return None
    for _ in range(_TRIES):
        x, y = rng.randint(window[0], window[2] - width), rng.randint(window[1], window[3] - height)
        spot = (x, y, x + width, y + height)
        if not any(
            x - gap < other[2] and other[0] < spot[2] + gap and y - gap < other[3] and other[1] < spot[3] + gap
            for other in taken
        ):
            return spot
    return None


def draw_scene(
    background: PILImage.Image, wanted: Sequence[Wanted], icons: Icons, rng: random.Random
) -> list[Placed] | None:
    """Draw icons on the background, in place and in order. None when they do not all fit."""
    size = background.size
    gap = max(2, min(size) // 40)
    taken: list[Window] = []
    placed = []
    for want in wanted:
        stencil = icons.stencil(want.icon, want.side)
        spot = free_spot(stencil.size, want.window or (0, 0, *size), taken, gap, rng)
        if spot is None:
            return None
        taken.append(spot)
        _stamp(background, stencil, spot, COLOURS[want.colour])
        placed.append(Placed(want.icon, want.colour, Box(*spot, "pixels", size)))
    return placed


def _stamp(picture: PILImage.Image, stencil: PILImage.Image, spot: Window, colour: Colour) -> None:
    """Paint a colour through the stencil over a soft halo, so that the icon stands out on any photograph.

    The halo lies outside the icon's box and is no part of it.
    """
    grow = max(1, max(stencil.size) // 14)
    margin = 2 * grow
    halo = PILImage.new("L", (stencil.width + 2 * margin, stencil.height + 2 * margin))
    halo.paste(stencil, (margin, margin))
    halo = halo.filter(ImageFilter.BoxBlur(grow)).point(lambda value: min(255, 3 * value))
    shade = (20, 20, 20) if luminance(colour) > 0.6 else (255, 255, 255)
    picture.paste(shade, (spot[0] - margin, spot[1] - margin), halo)
    picture.paste(colour, spot[:2], stencil)
