"""Several images laid out as one, none of them cropped, with the exact box of each.

A layout is a tree of rows and columns. Images in a row share a height and those in a column a width, so the sizes of
all follow from one side of the whole: the width of every part is a linear function of its height.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Union

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.sample import Box

_NEAR = 3  # pixels from an edge, within which thousandths are exact in images of up to 3,000
_PLAIN = 6.0  # standard deviation of grey levels along a side that is of one colour
_CONTRAST = 48  # grey levels between that colour and the background
_TRIES = 50
_FLAT = 2.0  # grey levels from pixel to pixel on average, below which an edge may be that of two plain colours
_TEXTURE = 9  # grey levels from pixel to pixel, from which no edge can be told
_AROUND = 24  # pixels on both sides that an edge is compared with

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """Parts beside each other."""

    parts: tuple["Layout", ...]


@dataclass(frozen=True)
class Column:
    """Parts above each other."""

    parts: tuple["Layout", ...]


Layout = Union[int, Row, Column]  # noqa: UP007 # a string in `X | Y` is no type at run time
"""A tree whose leaves are the numbers of images."""

LAYOUTS: dict[str, Layout] = {
    "row": Row((0, 1, 2, 3)),
    "column": Column((0, 1, 2, 3)),
    "grid_of_rows": Column((Row((0, 1)), Row((2, 3)))),
    "grid_of_columns": Row((Column((0, 2)), Column((1, 3)))),
    "large_left": Row((0, Column((1, 2, 3)))),
    "large_right": Row((Column((0, 1, 2)), 3)),
    "large_top": Column((0, Row((1, 2, 3)))),
    "large_bottom": Column((Row((0, 1, 2)), 3)),
}
"""Layouts of four images, numbered in reading order (a grid of columns by rows)."""


class Frame(NamedTuple):
    """What is around and between images.

    Attributes:
        margin: Pixels around all of them.
        gap: Pixels between two.
        line: Pixels of a border around each, outside of its box.
        background: Colour of margin and gaps.
        line_colour: Of the borders.
    """

    margin: int
    gap: int
    line: int
    background: Colour
    line_colour: Colour


class _Linear(NamedTuple):
    """A width as a function of a height: `slope * height + offset`."""

    slope: float
    offset: float


def place(layout: Layout, aspects: Sequence[float], frame: Frame, longest: int) -> tuple[tuple[int, int], list[Box]]:
    """Where images come to lie.

    Args:
        layout: Of the images.
        aspects: Width over height of each.
        frame: What is around and between them.
        longest: The longer side of the whole, in pixels.

    Returns:
        The size of the whole, and the box of each image in whole pixels.

    Raises:
        ValueError: Gaps and margins leave an image no pixel.
    """
    inside = longest - 2 * frame.margin
    linear = _width(layout, aspects, frame.gap)
    height = (inside - linear.offset) / linear.slope
    width = float(inside)
    if height > inside:
        height, width = float(inside), linear.slope * inside + linear.offset
    size = round(width) + 2 * frame.margin, round(height) + 2 * frame.margin
    edges: dict[int, tuple[float, float, float, float]] = {}
    _assign(layout, aspects, frame, (float(frame.margin), float(frame.margin), width, height), edges)
    boxes = []
    for number in range(len(aspects)):
        x, y, w, h = edges[number]
        x1, y1, x2, y2 = round(x), round(y), round(x + w), round(y + h)
        if w <= 0 or h <= 0 or x2 <= x1 or y2 <= y1:
            raise ValueError(f"image {number} has no room")
        boxes.append(Box(x1, y1, x2, y2, "pixels", size))
    return size, boxes


def _width(layout: Layout, aspects: Sequence[float], gap: int) -> _Linear:
    """The width of a part by its height."""
    if isinstance(layout, int):
        return _Linear(aspects[layout], 0.0)
    parts = [_width(part, aspects, gap) for part in layout.parts]
    gaps = gap * (len(parts) - 1)
    if isinstance(layout, Row):
        return _Linear(sum(part.slope for part in parts), sum(part.offset for part in parts) + gaps)
    # All parts have one width, and their heights and the gaps add up to the height.
    slope = 1 / sum(1 / part.slope for part in parts)
    return _Linear(slope, slope * (sum(part.offset / part.slope for part in parts) - gaps))


def _assign(
    layout: Layout,
    aspects: Sequence[float],
    frame: Frame,
    area: tuple[float, float, float, float],
    edges: dict[int, tuple[float, float, float, float]],
) -> None:
    """Give each leaf its part of an area (x, y, width, height)."""
    x, y, width, height = area
    if isinstance(layout, int):
        edges[layout] = area
        return
    for part in layout.parts:
        linear = _width(part, aspects, frame.gap)
        if isinstance(layout, Row):
            part_width = linear.slope * height + linear.offset
            _assign(part, aspects, frame, (x, y, part_width, height), edges)
            x += part_width + frame.gap
        else:
            part_height = (width - linear.offset) / linear.slope
            _assign(part, aspects, frame, (x, y, width, part_height), edges)
            y += part_height + frame.gap


def choose_frame(longest: int, rng: random.Random, plain: Sequence[Colour] = ()) -> Frame:
    """A frame at random: none, thin lines, or wide margins, light, dark or coloured.

    Args:
        longest: The longer side of the whole, in pixels.
        rng: Chooses.
        plain: Colours that images end in, such as the white around a cut-out. Gaps of another colour then show where
            each image ends.
    """
    unit = longest / 100
    gap = rng.choice((0, 0, 1, 2, round(rng.uniform(0.5, 3) * unit)))
    margin = rng.choice((0, 0, gap, gap, round(rng.uniform(0.5, 4) * unit)))
    line = rng.choice((0, 0, 0, 1, 2)) if gap >= 4 else 0
    background = _background(rng)
    if plain:
        gap = max(gap, 2)
        for _ in range(_TRIES):
            if all(_distance(background, colour) >= _CONTRAST for colour in plain):
                break
            background = _background(rng)
    dark = sum(background) < 3 * 128
    return Frame(margin, gap, line, background, (235, 235, 235) if dark else (40, 40, 40))


def _background(rng: random.Random) -> Colour:
    if rng.random() < 0.7:
        grey = rng.choice((0, 16, 32, 128, 224, 240, 255, 255, 255))
        return grey, grey, grey
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _distance(first: Colour, second: Colour) -> int:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def plain_border(image: PILImage.Image) -> Colour | None:
    """The colour that an image ends in on at least one side; None where every side has something on it.

    Args:
        image: RGB.
    """
    pixels = np.asarray(image)
    for side in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        if side.std(axis=0).max() < _PLAIN:
            red, green, blue = (int(value) for value in np.median(side, axis=0))
            return red, green, blue
    return None


def compose_mosaic(
    images: Sequence[PILImage.Image], size: tuple[int, int], boxes: Sequence[Box], frame: Frame
) -> PILImage.Image:
    """Paste images into their boxes.

    Args:
        images: RGB.
        size: Of the whole.
        boxes: Where `place` put them.
        frame: What is around and between them.
    """
    canvas = PILImage.new("RGB", size, frame.background)
    pen = ImageDraw.Draw(canvas)
    for image, box in zip(images, boxes, strict=True):
        x1, y1, x2, y2 = (int(edge) for edge in (box.x1, box.y1, box.x2, box.y2))
        if frame.line:
            outer = (x1 - frame.line, y1 - frame.line, x2 + frame.line - 1, y2 + frame.line - 1)
            pen.rectangle(outer, outline=frame.line_colour, width=frame.line)
        canvas.paste(image.resize((x2 - x1, y2 - y1), PILImage.Resampling.LANCZOS), (x1, y1))
    return canvas


def differences(mosaic: PILImage.Image, images: Sequence[PILImage.Image], box: Box) -> list[float]:
    """How much a box of a mosaic differs from each of some images, as the mean over small thumbnails, 0..255.

    Args:
        mosaic: As it was encoded and decoded.
        images: Those that it may show there.
        box: In pixels.
    """
    cut = mosaic.crop((int(box.x1), int(box.y1), int(box.x2), int(box.y2)))
    thumbnail = _thumbnail(cut)
    return [float(np.abs(thumbnail - _thumbnail(image)).mean()) for image in images]


def _thumbnail(image: PILImage.Image) -> np.ndarray:
    return np.asarray(image.resize((24, 24), PILImage.Resampling.BOX), dtype=np.float32)


def edge_contrast(mosaic: PILImage.Image, box: tuple[int, int, int, int]) -> list[float]:
    """How strong the edges of a box are in the pixels: the step across each over those nearby; 1 for no edge at all.

    Args:
        mosaic: The finished image.
        box: In thousandths of it.

    Returns:
        A ratio for each edge that is not one of the whole, and could be seen amid what is around it.
    """
    grey = np.asarray(mosaic.convert("L"), dtype=np.float32)
    x1, y1, x2, y2 = box
    height, width = grey.shape
    rows = slice(y1 * height // 1000 + 2, max(y2 * height // 1000 - 2, y1 * height // 1000 + 3))
    columns = slice(x1 * width // 1000 + 2, max(x2 * width // 1000 - 2, x1 * width // 1000 + 3))
    ratios = []
    for edge, steps in (
        *((edge * width / 1000, np.abs(np.diff(grey[rows], axis=1)).mean(axis=0)) for edge in (x1, x2)),
        *((edge * height / 1000, np.abs(np.diff(grey[:, columns], axis=0)).mean(axis=1)) for edge in (y1, y2)),
    ):
        near, around = _NEAR, _AROUND
        at = round(edge) - 1
        if near + 1 < at < len(steps) - near - 2:
            step = steps[at - near : at + near + 1].max()
            others = np.median(steps[max(at - around, 0) : at + around + 1])
            if step >= _FLAT and others <= _TEXTURE:
                ratios.append(float(step / max(others, 0.5)))
    return ratios
