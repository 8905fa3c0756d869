"""A window of the world map."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.sample import Point, Size
from step3vl.pipelines.render.style import Colour
from step3vl.pipelines.sources.countries import Country, Position

SEA: tuple[Colour, ...] = ((190, 220, 240), (225, 236, 245), (164, 203, 226), (240, 244, 248))
LAND: tuple[tuple[Colour, ...], ...] = (
    ((244, 226, 184), (220, 232, 190), (238, 205, 190), (226, 214, 236), (247, 240, 205)),
    ((233, 222, 201), (214, 222, 200), (226, 206, 186), (206, 214, 212), (241, 232, 214)),
    ((199, 221, 178), (247, 208, 160), (246, 179, 167), (203, 187, 222), (250, 240, 170)),
)
_BORDER: Colour = (110, 100, 95)


class MapView(NamedTuple):
    """A window of the map: its north-west corner and the pixels of a degree.

    The projection is equirectangular, with a degree of longitude shortened to its length at the window's middle.
    """

    west: float
    north: float
    x_scale: float
    y_scale: float
    size: Size

    def pixels(self, position: Position) -> tuple[float, float]:
        return (position[0] - self.west) * self.x_scale, (self.north - position[1]) * self.y_scale

    def point(self, position: Position) -> Point:
        return Point(*self.pixels(position), "pixels", self.size)


def choose_view(country: Country, size: Size, zoom: tuple[float, float], rng: random.Random) -> MapView:
    """A random window that contains the whole country.

    Args:
        country: Whose largest ring the window contains.
        size: Of the image in pixels.
        zoom: Lowest and highest share of the image's width or height that the country takes.
        rng: Chooses the share and the position.
    """
    west, south, east, north = country.bounds
    middle = (south + north) / 2
    shorten = max(0.2, math.cos(math.radians(middle)))
    share = rng.uniform(*zoom)
    # Pixels per degree of latitude, such that the tighter side of the country takes its share of the image.
    scale = share * min(size[0] / max((east - west) * shorten, 1e-6), size[1] / max(north - south, 1e-6))
    width, height = size[0] / (scale * shorten), size[1] / scale
    left = east - width + rng.uniform(0.05, 0.95) * (width - (east - west))
    top = north + rng.uniform(0.05, 0.95) * (height - (north - south))
    return MapView(left, min(top, 90.0), scale * shorten, scale, size)


def in_the_world(view: MapView) -> MapView:
    """A window that reaches beyond the world, moved into it, and made smaller about its middle where it is larger."""
    width, height = view.size[0] / view.x_scale, view.size[1] / view.y_scale
    larger = max(width / 360, height / 180, 1.0)
    west, north = view.west + width * (1 - 1 / larger) / 2, view.north - height * (1 - 1 / larger) / 2
    width, height = width / larger, height / larger
    west, north = min(max(west, -180.0), 180.0 - width), max(min(north, 90.0), height - 90.0)
    return MapView(west, north, view.x_scale * larger, view.y_scale * larger, view.size)


def render_map(countries: Sequence[Country], view: MapView, rng: random.Random) -> PILImage.Image:
    """All countries in the window, rendered at twice the size and scaled down for smooth borders."""
    factor = 2
    width, height = view.size
    image = PILImage.new("RGB", (width * factor, height * factor), rng.choice(SEA))
    canvas = ImageDraw.Draw(image)
    palette = rng.choice(LAND)
    for country in countries:
        colour = rng.choice(palette)
        for ring in country.rings:
            corners = [view.pixels(position) for position in ring]
            if not _in_view(corners, view.size):
                continue
            canvas.polygon([(x * factor, y * factor) for x, y in corners], fill=colour, outline=_BORDER, width=factor)
    return image.resize(view.size, PILImage.Resampling.LANCZOS)


def _in_view(corners: Sequence[tuple[float, float]], size: Size) -> bool:
    xs, ys = zip(*corners, strict=True)
    return max(xs) >= 0 and min(xs) <= size[0] and max(ys) >= 0 and min(ys) <= size[1]
