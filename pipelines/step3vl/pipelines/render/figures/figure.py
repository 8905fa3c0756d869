"""What a rendered figure shows and where: its elements with boxes, and the checks that all figures pass."""

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped

Corners = tuple[tuple[float, float], ...]
PixelBox = tuple[float, float, float, float]
Spot = tuple[float, float, Sequence[int]]  # x, y and the red, green and blue that belong there

_READ_BACK = 0.02  # of a step of the values, that a mark may stand away from its value
_TEXT_OVERLAP = 1.0  # pixels that the boxes of two texts may share, which have some space around the glyphs
_COLOUR_DISTANCE = 40  # of a pixel in the middle of a mark, summed over the channels


@dataclass(frozen=True)
class Element:
    """Something that the image shows.

    Attributes:
        role: `title`, `axis_title`, `tick_label`, `legend_label`, `value_label`, `mark`, `node`, `edge_label`, ...
        text: What it says, or for a mark what it stands for.
        box: x1, y1, x2, y2 in pixels of the image.
        corners: Of a text that is turned; empty for others.
    """

    role: str
    text: str
    box: PixelBox
    corners: Corners = ()


@dataclass(frozen=True)
class Figure:
    """An image with what it shows.

    Attributes:
        png: The encoded image.
        size: Width and height in pixels.
        elements: In no particular order.
        read_back: The largest distance of a mark from the value in the code, in steps of the values; None where no
            axis or label says values.
        resolution: Pixels of a step of the values; None likewise.
    """

    png: bytes
    size: tuple[int, int]
    elements: tuple[Element, ...]
    read_back: float | None = None
    resolution: float | None = None


def read_png(png: bytes) -> PILImage.Image:
    """The pixels of an encoded image, without an alpha channel."""
    with PILImage.open(io.BytesIO(png)) as image:
        return image.convert("RGB")


def encode_png(image: PILImage.Image) -> bytes:
    """Encode pixels; the same ones give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def text_corners(x: float, y: float, width: float, size: float, align: str, baseline: str, degrees: float) -> Corners:
    """The corners of a text in pixels.

    Args:
        x: Of the anchor.
        y: Of the anchor.
        width: Of the text.
        size: Of the font.
        align: `left`, `center` or `right`.
        baseline: `top`, `middle`, `bottom` or `alphabetic`; others count as `alphabetic`.
        degrees: How far it is turned, clockwise.
    """
    left = {"left": 0.0, "center": -width / 2, "right": -width}.get(align, 0.0)
    ascent, descent = 0.74 * size, 0.2 * size  # of Latin text without accents, which is what should not touch
    top = {"top": 0.05 * size, "middle": -(ascent + descent) / 2, "bottom": -(ascent + descent)}.get(baseline, -ascent)
    return turned(corners_of((left, top, left + width, top + ascent + descent)), x, y, degrees)


def turned(corners: Corners, x: float, y: float, degrees: float) -> Corners:
    """Corners relative to a point, turned around it clockwise, in the pixels of the image."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return tuple((x + u * cos - v * sin, y + u * sin + v * cos) for u, v in corners)


def box_of(corners: Corners) -> PixelBox:
    """The smallest upright box around corners."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def corners_of(box: PixelBox) -> Corners:
    """The corners of an upright box."""
    x1, y1, x2, y2 = box
    return (x1, y1), (x2, y1), (x2, y2), (x1, y2)


def scaled(box: PixelBox, scale: float) -> PixelBox:
    """A box in the pixels of an image that is `scale` times as large."""
    return box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale


def is_inside(box: PixelBox, size: tuple[int, int]) -> bool:
    """Whether a box is inside an image, by half a pixel's tolerance."""
    x1, y1, x2, y2 = box
    return x1 >= -0.5 and y1 >= -0.5 and x2 <= size[0] + 0.5 and y2 <= size[1] + 0.5


def overlap(first: Corners, second: Corners) -> float:
    """How deep two convex polygons reach into each other, in pixels, by the separating axis theorem; or 0."""
    depth = math.inf
    for polygon in (first, second):
        for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
            length = math.hypot(x2 - x1, y2 - y1)
            if length < 1e-9:
                continue
            u, v = (y1 - y2) / length, (x2 - x1) / length
            spans = [[x * u + y * v for x, y in other] for other in (first, second)]
            depth = min(depth, min(max(spans[0]), max(spans[1])) - max(min(spans[0]), min(spans[1])))
            if depth <= 0:
                return 0.0
    return depth


def check_texts(elements: Iterable[Element], size: tuple[int, int]) -> None:
    """Raise Dropped unless every text is inside the image and none lies over another."""
    texts = [element for element in elements if element.text and element.role not in ("mark", "node", "edge", "plot")]
    if not all(is_inside(element.box, size) for element in texts):
        raise Dropped("text_clipped")
    texts.sort(key=lambda element: element.box[0])
    for first, second in combinations(texts, 2):
        if first.box[2] <= second.box[0] or first.box[3] <= second.box[1] or second.box[3] <= first.box[1]:
            continue
        if overlap(first.corners or corners_of(first.box), second.corners or corners_of(second.box)) > _TEXT_OVERLAP:
            raise Dropped("texts_overlap")


def check_colours(spots: Iterable[Spot], texts: Sequence[Element], image: PILImage.Image) -> None:
    """Raise Dropped unless every spot has its colour, where no text lies over it."""
    for x, y, colour in spots:
        if any(t.box[0] <= x <= t.box[2] and t.box[1] <= y <= t.box[3] for t in texts):
            continue
        pixel = image.getpixel((min(int(x), image.width - 1), min(int(y), image.height - 1)))
        assert isinstance(pixel, tuple)
        if sum(abs(a - b) for a, b in zip(pixel, colour, strict=True)) > _COLOUR_DISTANCE:
            raise Dropped("mark_not_visible")


_NUMBER = re.compile(r"[−-]?\d[\d,]*(?:\.\d+)?")


def parse_number(text: str) -> float | None:
    """The number that a tick says, or None where it says something else."""
    match = _NUMBER.fullmatch(text.removesuffix("%").strip())
    return float(match[0].replace("−", "-").replace(",", "")) if match else None


@dataclass(frozen=True)
class AxisScale:
    """A linear scale as its tick labels tell it: value = offset + slope * pixel."""

    offset: float
    slope: float

    def value(self, pixel: float) -> float:
        """What a mark at this pixel stands for."""
        return self.offset + self.slope * pixel

    def length(self, pixels: float) -> float:
        """What a mark of this length stands for."""
        return self.slope * pixels


def fit_axis(ticks: Sequence[tuple[float, float]]) -> AxisScale | None:
    """The linear scale of (pixel, value) pairs, or None where they are fewer than two or not on a line."""
    if len(ticks) < 2:
        return None
    (p1, v1), (p2, v2) = min(ticks), max(ticks)
    if p2 - p1 < 1:
        return None
    slope = (v2 - v1) / (p2 - p1)
    scale = AxisScale(v1 - slope * p1, slope)
    span = abs(v2 - v1)
    if span == 0 or any(abs(scale.value(pixel) - value) > 1e-3 * span for pixel, value in ticks):
        return None
    return scale


def check_read_back(pairs: Sequence[tuple[float, float]], step: float, pixels: float | None) -> float:
    """Compare the values that marks show with those of the code.

    Args:
        pairs: (value from the mark's place and the ticks, value in the code).
        step: Every value is a multiple of it.
        pixels: Pixels of a unit of the values; None where labels state them.

    Returns:
        The largest difference in steps.

    Raises:
        Dropped: A mark is not where its value is.
    """
    if not pairs:
        raise Dropped("no_marks_to_read")
    error = max(abs(reading - value) for reading, value in pairs) / step
    allowed = _READ_BACK if pixels is None else max(_READ_BACK, 0.26 / (pixels * step))
    if error > allowed:
        raise Dropped("mark_differs_from_value")
    return error
