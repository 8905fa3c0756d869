"""How annotation files write coordinates, by name: nothing here guesses what four numbers mean.

Published sets use at least six orders and four units. `BoxFormat` says which, reads numbers as a typed `Box` in pixels
and writes a box as those numbers again, so that every conversion has a way back.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from step3vl.data.sample import Box, Point, Size

Order = Literal["xyxy", "xywh", "cxcywh", "xxyy", "yxyx", "yxhw"]
"""`xyxy` is left, top, right, bottom; `xxyy` left, right, top, bottom (OpenImages); `yxyx` and `yxhw` begin with the
top (AITW); `cxcywh` begins with the centre (YOLO)."""
Unit = Literal["pixels", "unit", "percent", "milli", "of_999"]
"""Of an image's sides: pixels, 0..1, 0..100 (PixMo), 0..1000, 0..999 (UGround)."""
Polygon = tuple[float, ...]
"""x and y of each corner in turn, as COCO writes them."""

_EXTENT: dict[str, float] = {"unit": 1.0, "percent": 100.0, "milli": 1000.0, "of_999": 999.0}
MIN_SIDE = 3.0
"""Pixels of the shorter side of a box; less cannot be told from a slip of the mouse."""
_MIN_INSIDE = 0.5  # of a box that lies in the image; its parts outside are cut off
MISREAD = ("no_area", "outside", "mostly_outside")
"""Why a box is refused that is read by another convention than it was written by."""
_REFUSED = 0.5  # of an image's boxes that are refused so: its convention is another one
_REFUSED_FROM = 4  # boxes
_SAME_SHAPE = 0.01  # by which the proportions of the annotated and of the actual image may differ


class GeometryError(ValueError):
    """Coordinates that are none.

    Args:
        reason: A short word to count by.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def require_convention(refused: int, total: int, what: str, size: Size, order: str, unit: str) -> None:
    """Raise ValueError where most boxes of an image are none, as they are when another convention is meant.

    Args:
        refused: Boxes that are refused for what `MISREAD` lists.
        total: All boxes of the image.
        what: Of the image, in the message.
        size: Of the image.
        order: Of the convention.
        unit: Of the convention.
    """
    if total >= _REFUSED_FROM and refused > _REFUSED * total:
        raise ValueError(
            f"{refused} of {total} boxes are none or lie outside of the {what} of {size[0]} x {size[1]}: are they "
            f"{order} in {unit}?"
        )


class BoxFormat(NamedTuple):
    """What four numbers mean."""

    order: Order
    unit: Unit

    def read(self, values: Sequence[float], size: Size) -> Box:
        """The box of four numbers, in pixels; it may reach out of the image.

        Args:
            values: Four numbers.
            size: Width and height of the image in pixels.

        Raises:
            GeometryError: `not_four_numbers`, `not_finite`, or `no_area` for sides that are not positive.
        """
        if len(values) != 4:
            raise GeometryError("not_four_numbers")
        if not all(math.isfinite(value) for value in values):
            raise GeometryError("not_finite")
        a, b, c, d = values
        match self.order:
            case "xyxy":
                x1, y1, x2, y2 = a, b, c, d
            case "xywh":
                x1, y1, x2, y2 = a, b, a + c, b + d
            case "cxcywh":
                x1, y1, x2, y2 = a - c / 2, b - d / 2, a + c / 2, b + d / 2
            case "xxyy":
                x1, y1, x2, y2 = a, c, b, d
            case "yxyx":
                x1, y1, x2, y2 = b, a, d, c
            case "yxhw":
                x1, y1, x2, y2 = b, a, b + d, a + c
        if x2 <= x1 or y2 <= y1:
            raise GeometryError("no_area")
        x_scale, y_scale = _scales(self.unit, size)
        return Box(x1 * x_scale, y1 * y_scale, x2 * x_scale, y2 * y_scale, "pixels", size)

    def write(self, box: Box) -> tuple[float, float, float, float]:
        """The four numbers of a box, unrounded; `read` makes the box of them again."""
        pixels = box.to("pixels")
        x_scale, y_scale = _scales(self.unit, box.size)
        x1, y1, x2, y2 = pixels.x1 / x_scale, pixels.y1 / y_scale, pixels.x2 / x_scale, pixels.y2 / y_scale
        match self.order:
            case "xyxy":
                return x1, y1, x2, y2
            case "xywh":
                return x1, y1, x2 - x1, y2 - y1
            case "cxcywh":
                return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
            case "xxyy":
                return x1, x2, y1, y2
            case "yxyx":
                return y1, x1, y2, x2
            case "yxhw":
                return y1, x1, y2 - y1, x2 - x1


def _scales(unit: Unit, size: Size) -> tuple[float, float]:
    """Pixels of one unit across and down."""
    if unit == "pixels":
        return 1.0, 1.0
    return size[0] / _EXTENT[unit], size[1] / _EXTENT[unit]


def point_in_pixels(x: float, y: float, unit: Unit, size: Size) -> Point:
    """A point in pixels. Raises GeometryError for numbers that are not finite (`not_finite`)."""
    if not (math.isfinite(x) and math.isfinite(y)):
        raise GeometryError("not_finite")
    x_scale, y_scale = _scales(unit, size)
    return Point(x * x_scale, y * y_scale, "pixels", size)


def inside(box: Box, size: Size) -> Box:
    """The part of a box in pixels that lies in its image.

    Raises:
        GeometryError: `outside` for a box that lies outside of it, `mostly_outside` for one that does by more than
            half, `too_small` for one with a side of less than three pixels.
    """
    x1, y1, x2, y2 = max(box.x1, 0.0), max(box.y1, 0.0), min(box.x2, size[0]), min(box.y2, size[1])
    if x2 <= x1 or y2 <= y1:
        raise GeometryError("outside")
    cut = Box(x1, y1, x2, y2, "pixels", size)
    if cut.area < _MIN_INSIDE * box.area:
        raise GeometryError("mostly_outside")
    if min(x2 - x1, y2 - y1) < MIN_SIDE:
        raise GeometryError("too_small")
    return cut


def check_size(annotated: Size, actual: Size) -> None:
    """Raises ValueError for an image that is not just the annotated one in another resolution."""
    if min(annotated) <= 0:
        raise ValueError(f"the annotated size {annotated[0]} x {annotated[1]} is none")
    ratio = (actual[0] / annotated[0]) / (actual[1] / annotated[1])
    if abs(ratio - 1) > _SAME_SHAPE and abs(actual[0] - actual[1] * annotated[0] / annotated[1]) > 1.5:
        raise ValueError(
            f"the image has {actual[0]} x {actual[1]} pixels, its annotations are for {annotated[0]} x {annotated[1]}"
        )


def polygon_in_pixels(values: Sequence[float], unit: Unit, size: Size) -> Polygon:
    """A polygon in pixels.

    Raises:
        GeometryError: `not_a_polygon` for fewer than three corners or an odd number of values, or `not_finite`.
    """
    if len(values) < 6 or len(values) % 2:
        raise GeometryError("not_a_polygon")
    if not all(math.isfinite(value) for value in values):
        raise GeometryError("not_finite")
    x_scale, y_scale = _scales(unit, size)
    return tuple(value * (y_scale if index % 2 else x_scale) for index, value in enumerate(values))


def polygon_area(polygon: Polygon) -> float:
    """The area that a polygon encloses, by the shoelace formula; that of one which crosses itself is too small."""
    xs, ys = polygon[::2], polygon[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def box_of_polygons(polygons: Sequence[Polygon], size: Size) -> Box:
    """The smallest box that holds some polygons, in pixels."""
    xs = [value for polygon in polygons for value in polygon[::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    return Box(min(xs), min(ys), max(xs), max(ys), "pixels", size)


def rotated_rectangle(x: float, y: float, width: float, height: float, radians: float) -> Polygon:
    """The corners of a rectangle turned about its centre (MSRA-TD500).

    Args:
        x: Left side before it is turned.
        y: Top side before it is turned.
        width: Before it is turned.
        height: Before it is turned.
        radians: The angle; with y pointing down, a positive one turns clockwise as seen.
    """
    middle_x, middle_y = x + width / 2, y + height / 2
    cos, sin = math.cos(radians), math.sin(radians)
    corners = ((-width, -height), (width, -height), (width, height), (-width, height))
    turned: list[float] = []
    for across, down in corners:
        turned += [middle_x + (across * cos - down * sin) / 2, middle_y + (across * sin + down * cos) / 2]
    return tuple(turned)
