"""Icons on a background without overlap, each with its exact box."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as PILImage
from PIL import ImageFilter

from step3vl.data.sample import Box, Size
from step3vl.pipelines.render.style import COLOURS, Colour, luminance
from step3vl.pipelines.sources.icons import IconSet

PixelBox = tuple[int, int, int, int]  # x1, y1, x2, y2
_TRIES = 40  # random positions tried for one icon before the scene is abandoned


class IconRequest(NamedTuple):
    """An icon to place: its colour by name, its longer side in pixels, and the area it must lie in, if any."""

    icon: str
    colour: str
    side: int
    area: PixelBox | None = None


class PlacedIcon(NamedTuple):
    """An icon in a scene, with its exact box in pixels."""

    icon: str
    colour: str
    box: Box


def free_spot(size: Size, area: PixelBox, taken: Sequence[PixelBox], gap: int, rng: random.Random) -> PixelBox | None:
    """A random box of `size` in `area`, at least `gap` pixels from every taken box; None if no try succeeds."""
    width, height = size
    if width > area[2] - area[0] or height > area[3] - area[1]:
        return None
    for _ in range(_TRIES):
        x, y = rng.randint(area[0], area[2] - width), rng.randint(area[1], area[3] - height)
        spot = (x, y, x + width, y + height)
        if not any(
            x - gap < other[2] and other[0] < spot[2] + gap and y - gap < other[3] and other[1] < spot[3] + gap
            for other in taken
        ):
            return spot
    return None


def render_scene(
    background: PILImage.Image, requests: Sequence[IconRequest], icons: IconSet, rng: random.Random
) -> list[PlacedIcon] | None:
    """Render icons on the background, in place and in order, without overlap.

    Args:
        background: Changed in place.
        requests: The icons to place.
        icons: Where the requested icons are.
        rng: Chooses positions.

    Returns:
        The icons with their boxes, or None when they do not all fit.
    """
    size = background.size
    gap = max(2, min(size) // 40)
    taken: list[PixelBox] = []
    placed = []
    for request in requests:
        stencil = icons.stencil(request.icon, request.side)
        spot = free_spot(stencil.size, request.area or (0, 0, *size), taken, gap, rng)
        if spot is None:
            return None
        taken.append(spot)
        _stamp(background, stencil, spot, COLOURS[request.colour])
        placed.append(PlacedIcon(request.icon, request.colour, Box(*spot, "pixels", size)))
    return placed


def _stamp(image: PILImage.Image, stencil: PILImage.Image, spot: PixelBox, colour: Colour) -> None:
    """Paint a colour through the stencil over a soft halo, so that the icon stands out on any photograph.

    The halo lies outside the icon's box and is no part of it.
    """
    grow = max(1, max(stencil.size) // 14)
    margin = 2 * grow
    halo = PILImage.new("L", (stencil.width + 2 * margin, stencil.height + 2 * margin))
    halo.paste(stencil, (margin, margin))
    halo = halo.filter(ImageFilter.BoxBlur(grow)).point(lambda value: min(255, 3 * value))
    shade = (20, 20, 20) if luminance(colour) > 0.6 else (255, 255, 255)
    image.paste(shade, (spot[0] - margin, spot[1] - margin), halo)
    image.paste(colour, spot[:2], stencil)
