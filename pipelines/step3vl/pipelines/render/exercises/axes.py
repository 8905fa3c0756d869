"""Coordinate axes, grids and scales of sketches."""

import math
from dataclasses import dataclass

from step3vl.pipelines.render.exercises.sketch import XY, Sketch
from step3vl.pipelines.render.exercises.sketch_svg import Reading


@dataclass(frozen=True)
class Plane:
    """A coordinate plane in a sketch.

    Attributes:
        x: Least and greatest.
        y: Least and greatest.
        step: Of ticks and grid, in x and in y.
        every: Which ticks have a number.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    step: tuple[float, float] = (1, 1)
    every: tuple[int, int] = (1, 1)


def number_text(value: float) -> str:
    """A tick as it is written."""
    text = f"{value:.10g}"
    return text.replace("-", "−")


def render_plane(
    sketch: Sketch, plane: Plane, names: tuple[str, str] = ("x", "y"), grid: bool = True, numbers: bool = True
) -> None:
    """Axes through the origin with arrows, ticks and numbers, for plots of functions."""
    (x1, x2), (y1, y2) = plane.x, plane.y
    sx, sy = plane.step
    over_x, over_y = 0.06 * (x2 - x1), 0.06 * (y2 - y1)
    if grid:
        for i in _range(x1, x2, sx):
            sketch.line(f"grid-x{i}", [(i * sx, y1), (i * sx, y2)], "grid")
        for i in _range(y1, y2, sy):
            sketch.line(f"grid-y{i}", [(x1, i * sy), (x2, i * sy)], "grid")
    axis_y, axis_x = min(max(0.0, y1), y2), min(max(0.0, x1), x2)
    sketch.line("x-axis", [(x1 - over_x / 3, axis_y), (x2 + over_x, axis_y)], "axis", arrow=True)
    sketch.line("y-axis", [(axis_x, y1 - over_y / 3), (axis_x, y2 + over_y)], "axis", arrow=True)
    sketch.text(names[0], (x2 + over_x, axis_y), (0.45, 0), align="left", upright=len(names[0]) > 1, over=True)
    sketch.text(names[1], (axis_x, y2 + over_y), (0, -0.75), upright=len(names[1]) > 1, over=True)
    if not numbers:
        return
    for i in _range(x1, x2, sx):
        if (i or axis_x) and i % plane.every[0] == 0:
            sketch.line(f"tick-x{i}", [(i * sx, axis_y), (i * sx, axis_y - 0.012 * (y2 - y1))], "axis")
            if i or axis_x != 0:
                sketch.text(number_text(i * sx), (i * sx, axis_y), (0, 0.85), size=0.72, over=True)
    for i in _range(y1, y2, sy):
        if i % plane.every[1] == 0:
            sketch.line(f"tick-y{i}", [(axis_x, i * sy), (axis_x - 0.012 * (x2 - x1), i * sy)], "axis")
            if i or axis_y != 0:
                sketch.text(number_text(i * sy), (axis_x, i * sy), (-0.4, 0.0), size=0.72, align="right", over=True)
    if axis_x == 0 and axis_y == 0 and x1 < 0 and y1 < 0:
        sketch.text("O", (0, 0), (-0.6, 0.8), size=0.75, over=True, upright=False)


def _range(low: float, high: float, step: float) -> range:
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


@dataclass(frozen=True)
class PlaneReading:
    """A rendered plane's scale, read from its ticks or its grid, which turns pixels into coordinates again."""

    reading: Reading
    plane: Plane

    def _axis(self, symbol: str, index: int) -> tuple[float, float]:
        step = self.plane.step[index]
        marks = [
            (int(name[len(f"tick-{symbol}") :]) * step, float(self.reading.path(name)[0][index]))
            for name in self.reading.names(f"tick-{symbol}") or []
        ]
        if len(marks) < 2:
            raise ValueError(f"the {symbol} axis has no ticks to read")
        (v1, p1), (v2, p2) = min(marks), max(marks)
        slope = (v2 - v1) / (p2 - p1)
        return v1 - slope * p1, slope

    def coordinates(self, pixel: XY) -> XY:
        """The coordinates of a pixel."""
        (ox, sx), (oy, sy) = self._axis("x", 0), self._axis("y", 1)
        return ox + sx * pixel[0], oy + sy * pixel[1]

    def point(self, name: str) -> XY:
        """The coordinates of a named point."""
        return self.coordinates(self.reading.point(name))

    def path(self, name: str) -> list[XY]:
        """The coordinates of a stroke's points."""
        (ox, sx), (oy, sy) = self._axis("x", 0), self._axis("y", 1)
        return [(ox + sx * float(x), oy + sy * float(y)) for x, y in self.reading.path(name)]
