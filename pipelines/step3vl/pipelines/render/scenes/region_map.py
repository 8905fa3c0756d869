"""A map of regions in one of four styles: blank, with names, with numbers and a legend, with colours and a legend."""

import random
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from step3vl.data.sample import Box, Point
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.grounding.masks import Mask, point_in_mask
from step3vl.pipelines.render.scenes.map import LAND, SEA, MapView
from step3vl.pipelines.render.style import COLOURS, Colour, FontFace
from step3vl.pipelines.sources import region_maps
from step3vl.pipelines.sources.countries import Country
from step3vl.pipelines.sources.region_maps import Owners, Region, RegionMap

Style = Literal["blank", "names", "numbers", "colours"]
STYLES: tuple[Style, ...] = ("blank", "names", "numbers", "colours")
_LEGEND_COLOURS = tuple(name for name in COLOURS if name not in ("black", "white", "grey"))
_OTHERS: Colour = (225, 225, 222)  # regions that a legend of colours leaves out
_ON_ITS_OWN = 0.97  # of a label that lies on its region
_MOST = 24  # lines of a legend


class PlacedRegion(NamedTuple):
    """A region on a rendered map.

    Attributes:
        mask: In the window of its box.
        box: Of its mask, in pixels.
        point: Well inside.
        mark: Its number, or the name of its colour, in the legend; empty for a region that is not there.
    """

    mask: Mask
    box: Box
    point: Point
    mark: str


class MapScene(NamedTuple):
    """A rendered map and what is known of it.

    Attributes:
        region_map: As it was rendered.
        image: With its legend.
        placed: The regions that have a name.
        names: Their names in the language.
        style: Of the labels.
        language: Of labels and questions.
    """

    region_map: RegionMap
    image: PILImage.Image
    placed: dict[int, PlacedRegion]
    names: dict[int, str]
    style: Style
    language: Language


def window_of_countries(
    countries: Sequence[Country], view: MapView, names: Mapping[str, Mapping[Language, str]]
) -> RegionMap:
    """The countries in a window of the world map as regions.

    Args:
        countries: Of the world.
        view: The window.
        names: Of the countries by language, by `Country.name`.
    """
    canvas = PILImage.new("I", view.size, region_maps.WATER)
    brush = ImageDraw.Draw(canvas)
    for number, country in enumerate(countries):
        for ring in country.rings:
            brush.polygon([view.pixels(position) for position in ring], fill=number)
    numbers = np.asarray(canvas).astype(np.int16)
    present = [number for number in np.unique(numbers).tolist() if number >= 0]
    owners = np.full(numbers.shape, region_maps.WATER, np.int16)
    for owner, number in enumerate(present):
        owners[numbers == number] = owner
    return RegionMap("World", [Region(names[countries[number].name], {}) for number in present], owners)


def render_regions(
    owners: Owners, names: Mapping[int, str], style: Style, face: FontFace, rng: random.Random
) -> tuple[PILImage.Image, dict[int, PlacedRegion]]:
    """Render a map; a legend is beside it, on its right.

    Args:
        owners: The region of each pixel, as in `region_maps.RegionMap`.
        names: Of the regions that may be labelled, by number; the font has their characters.
        style: Of the labels.
        face: The font of labels and legend.
        rng: Chooses colours and sizes.

    Returns:
        The image, and the regions that have a name.
    """
    size = rng.randint(11, 16)
    windows = {number: window for number, window in _windows(owners).items() if number in names}
    points = {number: _point(owners, number, window) for number, window in windows.items()}
    marks: dict[int, str] = {}
    if style == "numbers":
        fitting = [number for number in windows if _fits("88", owners, number, points[number], face.at(size))]
        rng.shuffle(fitting)
        marks = {number: str(position) for position, number in enumerate(fitting[:_MOST], 1)}
    elif style == "colours":
        most = min(rng.randint(4, len(_LEGEND_COLOURS)), len(windows))
        chosen = rng.sample(list(windows), most)
        marks = dict(zip(chosen, rng.sample(_LEGEND_COLOURS, most), strict=True))
    image = PILImage.fromarray(_painted(owners, marks if style == "colours" else None, rng))
    canvas = ImageDraw.Draw(image)
    for number in windows:
        text = marks.get(number, "") if style == "numbers" else names[number] if style == "names" else ""
        if text and _fits(text, owners, number, points[number], face.at(size)):
            canvas.text(points[number], text, (15, 15, 15), face.at(size), "mm")
    if marks:
        image = _with_legend(image, [(marks[number], names[number]) for number in marks], style, face, size)
    placed = {}
    for number, (rows, columns) in windows.items():
        box = Box(float(columns.start), float(rows.start), float(columns.stop), float(rows.stop), "pixels", image.size)
        point = Point(*points[number], "pixels", image.size)
        placed[number] = PlacedRegion(owners[rows, columns] == number, box, point, marks.get(number, ""))
    return image, placed


def _windows(owners: Owners) -> dict[int, tuple[slice, slice]]:
    """Rows and columns of the box of each region, by its number."""
    boxes = ndimage.find_objects(np.maximum(owners, -1).astype(np.int32) + 1)
    return {number: box for number, box in enumerate(boxes) if box is not None}


def _point(owners: Owners, number: int, window: tuple[slice, slice]) -> tuple[float, float]:
    rows, columns = window
    point = point_in_mask(owners[window] == number, owners.shape[::-1], (columns.start, rows.start))
    return point.x, point.y


def _fits(text: str, owners: Owners, number: int, point: tuple[float, float], font: ImageFont.FreeTypeFont) -> bool:
    """Whether a text around a point lies on a region."""
    left, top, right, bottom = font.getbbox(text, anchor="mm")
    x1, y1 = int(point[0] + left) - 1, int(point[1] + top) - 1
    x2, y2 = int(point[0] + right) + 2, int(point[1] + bottom) + 2
    if x1 < 0 or y1 < 0 or x2 > owners.shape[1] or y2 > owners.shape[0]:
        return False
    return bool((owners[y1:y2, x1:x2] == number).mean() >= _ON_ITS_OWN)


def _painted(owners: Owners, marks: Mapping[int, str] | None, rng: random.Random) -> npt.NDArray[np.uint8]:
    """The regions in their colours, with borders; neighbours differ unless a legend tells the colours."""
    numbers = [int(number) for number in np.unique(owners)]
    palette: Sequence[Colour] = rng.choice(LAND)
    colours: dict[int, Colour] = {region_maps.WATER: rng.choice(SEA), region_maps.LAND: (236, 236, 234)}
    neighbours: dict[int, set[int]] = {number: set() for number in numbers}
    for first, second in region_maps.contacts(owners):
        neighbours[first].add(second)
        neighbours[second].add(first)
    for number in (number for number in numbers if number >= 0):
        if marks is not None:
            colours[number] = COLOURS[marks[number]] if number in marks else _OTHERS
            continue
        taken = {colours[other] for other in neighbours[number] if other in colours}
        colours[number] = rng.choice([colour for colour in palette if colour not in taken] or list(palette))
    table = np.zeros((max(numbers) + 3, 3), np.uint8)
    for number in numbers:
        table[number + 2] = colours[number]
    pixels = table[owners + 2]
    edge = np.zeros(owners.shape, bool)
    edge[:, 1:] |= owners[:, 1:] != owners[:, :-1]
    edge[1:] |= owners[1:] != owners[:-1]
    pixels[edge] = rng.choice(((90, 82, 78), (40, 40, 40), (130, 120, 110)))
    return np.asarray(pixels, np.uint8)


def _with_legend(
    image: PILImage.Image, lines: Sequence[tuple[str, str]], style: Style, face: FontFace, size: int
) -> PILImage.Image:
    """The map with a panel on its right: a number or a patch of colour, and a name, line by line."""
    font = face.at(size)
    step, margin, patch = round(1.6 * size), size, 2 * size
    wide = margin + patch + max(round(font.getlength(name)) for _, name in lines) + margin
    high = max(image.height, 2 * margin + step * len(lines))
    whole = PILImage.new("RGB", (image.width + wide, high), (252, 252, 250))
    whole.paste(image)
    canvas = ImageDraw.Draw(whole)
    for row, (mark, name) in enumerate(lines):
        x, y = image.width + margin, margin + step * row
        if style == "colours":
            canvas.rectangle((x, y, x + size, y + size), COLOURS[mark], (90, 90, 90))
        else:
            canvas.text((x, y), mark, (15, 15, 15), font)
        canvas.text((x + patch, y), name, (15, 15, 15), font)
    return whole
