"""Sketches as SVG and as pixels, and the proof that they show what they should: the SVG is read back."""

import io
import math
import re
from dataclasses import dataclass
from functools import cached_property
from xml.etree import ElementTree

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.colours import rgb
from step3vl.pipelines.render.exercises.outlines import render
from step3vl.pipelines.render.exercises.sketch import BLANK, XY, Role, Stroke
from step3vl.pipelines.render.exercises.sketch_layout import Layout, arrow_head
from step3vl.pipelines.render.exercises.sketch_style import SketchStyle
from step3vl.pipelines.render.figures.figure import PixelBox

_ORDER: tuple[Role, ...] = ("grid", "aid", "axis", "body", "line", "curve", "mark")
_WIDTHS: dict[Role, float] = {
    "grid": 0.6, "aid": 0.7, "axis": 0.9, "body": 1.0, "line": 1.0, "curve": 1.4, "mark": 0.8
}  # fmt: skip
_LEAST_INK = 0.02  # of a label's box that must have its colour
_INK_DISTANCE = 0.6  # from the ink's colour, as a share of the way to the background's


def to_svg(layout: Layout, style: SketchStyle) -> str:
    """The figure; every stroke has its name as `id`, and the names of its end points as `data-ends`."""
    width, height = layout.size
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" fill="{style.background}"/>',
        *_paper(layout.size, style),
    ]
    for role in _ORDER:
        lines += [_stroke(stroke, style) for stroke in layout.strokes if stroke.role == role]
    for (x, y), filled, colour in layout.dots:
        ink = style.ink if colour is None else style.colour(colour)
        fill = ink if filled else style.background
        radius = max(2.6, 1.7 * style.line_width)
        lines.append(
            f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:.1f}" fill="{fill}" stroke="{ink}" stroke-width="1.3"/>'
        )
    for label in layout.labels:
        lines += render(label.outline, label.x, label.y, style.ink, label.slant)
    return "\n".join([*lines, "</svg>"])


def _paper(size: tuple[int, int], style: SketchStyle) -> list[str]:
    pitch = style.font_size * 1.3
    across = [round(pitch * (i + 0.5), 1) for i in range(int(size[0] / pitch) + 1)]
    down = [round(pitch * (i + 0.5), 1) for i in range(int(size[1] / pitch) + 1)]
    if style.paper == "dots":
        return [f'<circle cx="{x}" cy="{y}" r="1" fill="{style.faint}"/>' for x in across for y in down]
    lines = []
    if style.paper in ("squares", "lines"):
        lines += [f'<path d="M0 {y}H{size[0]}" stroke="{style.faint}" stroke-width="0.8"/>' for y in down]
    if style.paper == "squares":
        lines += [f'<path d="M{x} 0V{size[1]}" stroke="{style.faint}" stroke-width="0.8"/>' for x in across]
    return lines


def _stroke(stroke: Stroke, style: SketchStyle) -> str:
    colour = style.ink
    if stroke.colour is not None:
        colour = style.colour(stroke.colour)
    elif stroke.role == "curve" and style.accent:
        colour = style.colour(1)
    fill = "none" if stroke.fill is None else style.colour(stroke.fill)
    if stroke.fill == BLANK:
        fill = style.background
    outline = "none" if stroke.role == "grid" and stroke.fill is not None else colour
    opacity = ' fill-opacity="0.3"' if stroke.role == "grid" and stroke.fill != BLANK else ""
    if stroke.role == "grid" and stroke.fill is None:
        opacity = ' stroke-opacity="0.35"'
    dash = ' stroke-dasharray="6 4"' if stroke.dashed else ""
    ends = f' data-ends="{" ".join(stroke.ends)}"' if stroke.ends else ""
    path = "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in stroke.points) + ("Z" if stroke.closed else "")
    width = style.line_width * _WIDTHS[stroke.role]
    svg = (
        f'<path id="{stroke.name}"{ends} d="{path}" fill="{fill}"{opacity} stroke="{outline}" '
        f'stroke-width="{width:.2f}" stroke-linejoin="round" stroke-linecap="round"{dash}/>'
    )
    if stroke.arrow:
        tip, left, right = arrow_head(stroke, width)
        corners = "L".join(f"{x:.2f} {y:.2f}" for x, y in (tip, left, right))
        svg += f'<path d="M{corners}Z" fill="{colour}" stroke="{colour}"/>'
    return svg


def to_pixels(svg: str, layout: Layout, style: SketchStyle) -> PILImage.Image:
    """Render a figure, and see that every label is there.

    Raises:
        Dropped: `label_not_visible`.
    """
    with PILImage.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))) as rendering:
        image = rendering.convert("RGB")
    pixels = np.asarray(image, dtype=int)
    ink = np.array(rgb(style.ink))
    near = _INK_DISTANCE * float(np.abs(ink - np.array(rgb(style.background))).sum())
    for label in layout.labels:
        x1, y1, x2, y2 = (round(value) for value in _outwards(label.box))
        area = pixels[max(y1, 0) : y2, max(x1, 0) : x2]
        if area.size == 0 or (np.abs(area - ink).sum(axis=2) < near).mean() < _LEAST_INK:
            raise Dropped("label_not_visible")
    return image


def _outwards(box: PixelBox) -> PixelBox:
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])


_NUMBERS = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True)
class Reading:
    """What an SVG figure shows, read from its text alone. Lengths are in pixels."""

    svg: str

    @cached_property
    def _paths(self) -> dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
        paths = {}
        for element in ElementTree.fromstring(self.svg).iter("{http://www.w3.org/2000/svg}path"):
            if name := element.get("id"):
                numbers = [float(number) for number in _NUMBERS.findall(element.get("d", ""))]
                paths[name] = tuple(element.get("data-ends", "").split()), np.array(numbers).reshape(-1, 2)
        return paths

    def point(self, name: str) -> XY:
        """Where a point is, by the segments that end there.

        Raises:
            ValueError: No segment does, or they end at different places.
        """
        places = [tuple(points[0 if ends[0] == name else -1]) for ends, points in self._paths.values() if name in ends]
        if not places or any(math.dist(places[0], other) > 0.03 for other in places):
            raise ValueError(f"the point {name} is found at {places}")
        return float(places[0][0]), float(places[0][1])

    def path(self, name: str) -> NDArray[np.float64]:
        """The points of a stroke; y downwards."""
        return self._paths[name][1]

    def names(self, prefix: str) -> list[str]:
        """Strokes whose name begins so, in the order of rendering."""
        return [name for name in self._paths if name.startswith(prefix)]

    def distance(self, first: str, second: str) -> float:
        """Between two points."""
        return math.dist(self.point(first), self.point(second))

    def angle(self, first: str, vertex: str, second: str) -> float:
        """In degrees, at most 180."""
        (x1, y1), (x, y), (x2, y2) = self.point(first), self.point(vertex), self.point(second)
        a, b = math.atan2(y1 - y, x1 - x), math.atan2(y2 - y, x2 - x)
        turn = abs(math.degrees(a - b)) % 360
        return min(turn, 360 - turn)

    def area(self, *names: str) -> float:
        """Of a polygon of points, by the shoelace formula."""
        points = [self.point(name) for name in names]
        pairs = zip(points, (*points[1:], points[0]), strict=True)
        return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2

    def perimeter(self, *names: str) -> float:
        """Of a polygon of points."""
        return sum(self.distance(a, b) for a, b in zip(names, (*names[1:], names[0]), strict=True))

    def centre(self, name: str) -> XY:
        """Of a circle."""
        x, y = self.path(name).mean(axis=0)
        return float(x), float(y)

    def radius(self, name: str) -> float:
        """Of a circle."""
        points = self.path(name)
        return float(np.hypot(*(points - points.mean(axis=0)).T).mean())

    def enclosed(self, name: str) -> float:
        """The area that a closed stroke encloses."""
        x, y = self.path(name).T
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)

    def length(self, name: str) -> float:
        """Of a stroke."""
        return float(np.hypot(*np.diff(self.path(name), axis=0).T).sum())
