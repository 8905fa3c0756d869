"""Python code for matplotlib, run in this process, and the proof that an image shows what its code says.

The label itself is run, with the private name of its font. Afterwards the artists are read back through the tick
labels, and the colours of bars and slices are looked up in the pixels.
"""

import ast
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.plot_parts import Plot, PlotReading
from step3vl.pipelines.render.charts.sandbox import check_code, run_script
from step3vl.pipelines.render.figures.figure import (
    AxisScale,
    Element,
    Figure,
    PixelBox,
    Spot,
    box_of,
    check_colours,
    check_read_back,
    check_texts,
    corners_of,
    encode_png,
    fit_axis,
    overlap,
    parse_number,
    turned,
)
from step3vl.pipelines.render.fonts import FontFamily

_MODULES = ("matplotlib.pyplot", "numpy")


class PlotRenderer:
    """Runs plotting code with the fonts of a corpus.

    Args:
        families: Every font that the code may name.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        matplotlib = require("matplotlib", "pipelines")
        matplotlib.use("Agg")
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a family of a single weight is fine
        from matplotlib import font_manager, pyplot

        self._pyplot = pyplot
        self._families = {family.name: family for family in families}
        manager = font_manager.fontManager
        names = {family.private for family in families}
        manager.ttflist = [font for font in manager.ttflist if font.name not in names]  # of another renderer
        for family in families:
            for face in dict.fromkeys((family.regular, family.bold)):
                manager.addfont(str(face.path))
                manager.ttflist[-1] = replace(manager.ttflist[-1], name=family.private)

    def run(self, code: str) -> Any:
        """The figure that a script makes.

        Args:
            code: The script; its `plt.show()` does nothing.
        """
        self._pyplot.close("all")
        self._pyplot.rcdefaults()
        self._pyplot.rcParams["text.hinting"] = "none"
        self._pyplot.rcParams["text.hinting_factor"] = 1
        run_script(self._private(check_code(code, _MODULES)), _MODULES)
        figure = self._pyplot.gcf()
        figure.canvas.draw()
        return figure

    def _private(self, tree: ast.Module) -> ast.Module:
        """The script with the private name of its font, which no other font of the machine or of matplotlib has."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "font.family":
                        assert isinstance(value, ast.Constant)
                        value.value = self._families[str(value.value)].private
        return tree

    def figure(self, plot: Plot) -> Figure:
        """Render a plot and prove that the image shows it.

        Raises:
            Dropped: The image does not show what the code says, or not well.
        """
        figure = self.run(plot.code)
        try:
            return self._checked(plot, figure)
        finally:
            self._pyplot.close("all")

    def _checked(self, plot: Plot, figure: Any) -> Figure:
        pixels = _pixels(figure)
        texts = list(_texts(figure, pixels.height))
        (private,) = self._pyplot.rcParams["font.family"]
        family = next(family for family in self._families.values() if family.private == private)
        if not family.covers("".join(element.text for element in texts)):
            raise Dropped("glyph_missing")
        check_texts(texts, pixels.size)
        _check_legends(figure, texts, pixels.height)
        if set(plot.texts) - {element.text for element in texts}:
            raise Dropped("text_not_shown")
        check_colours(_spots(figure, pixels.height), texts, pixels)
        error, resolution = 0.0, math.inf
        for reading in plot.readings:
            values_read, unit = _shown(reading, figure)
            values = [value for column in reading.values for value in column]
            if len(values_read) != len(values):
                raise Dropped("marks_differ_from_data")
            pairs = list(zip(values_read, values, strict=True))
            error = max(error, check_read_back(pairs, reading.step, unit))
            if unit is not None and not plot.labelled:
                resolution = min(resolution, unit * reading.step)
        marks = _marks(figure, pixels.height)
        return Figure(
            encode_png(pixels),
            pixels.size,
            (*texts, *marks),
            round(error, 6),
            None if math.isinf(resolution) else resolution,
        )


def _pixels(figure: Any) -> PILImage.Image:
    size = figure.canvas.get_width_height()
    return PILImage.frombytes("RGBA", size, bytes(figure.canvas.buffer_rgba())).convert("RGB")


def _roles(figure: Any) -> dict[int, str]:
    roles: dict[int, str] = {}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            roles[id(axis.label)] = "axis_title"
            low, high = sorted(axis.get_view_interval())
            pad = 1e-9 * (high - low)
            for tick in axis.get_major_ticks():
                inside = low - pad <= tick.get_loc() <= high + pad
                roles[id(tick.label1)] = "tick_label" if inside else "hidden"
                roles[id(tick.label2)] = "hidden"
    for legend in figure.legends:
        roles.update((id(text), "legend_label") for text in legend.get_texts())
    return roles


def _texts(figure: Any, height: int) -> Iterator[Element]:
    """Every text that is seen. A turned text's corners are those of its box turned around the middle."""
    from matplotlib.text import Text

    roles = _roles(figure)
    renderer = figure.canvas.get_renderer()
    for text in figure.findobj(Text):
        role = roles.get(id(text)) or ("title" if _is_title(text) else "value_label")
        if not text.get_text() or not text.get_visible() or role == "hidden":
            continue
        box = _flipped(text.get_window_extent(renderer), height)
        degrees = text.get_rotation() % 360
        if degrees % 90 == 0:
            yield Element(role, text.get_text(), box)
            continue
        angle = math.radians(degrees)
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        # w cos + h sin = width of the box, w sin + h cos = its height
        determinant = cos * cos - sin * sin
        w, h = box[2] - box[0], box[3] - box[1]
        if abs(determinant) > 0.1:
            wide, high = (w * cos - h * sin) / determinant, (h * cos - w * sin) / determinant
        else:
            high = text.get_fontsize() * figure.dpi / 72
            wide = (w - high * sin) / cos
        around_middle = corners_of((-wide / 2, -high / 2, wide / 2, high / 2))
        corners = turned(around_middle, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, -degrees)
        yield Element(role, text.get_text(), box_of(corners), corners)


def _is_title(text: Any) -> bool:
    axes = text.axes
    return axes is not None and any(
        text.get_text() == axes.get_title(loc=place) for place in ("left", "center", "right")
    )


def _check_legends(figure: Any, texts: Sequence[Element], height: int) -> None:
    """Raise Dropped if a legend lies over the text of something else."""
    for legend in figure.legends:
        corners = corners_of(_flipped(legend.get_window_extent(), height))
        for text in texts:
            if text.role != "legend_label" and overlap(text.corners or corners_of(text.box), corners) > 0:
                raise Dropped("legend_over_text")


def _containers(figure: Any) -> list[list[Any]]:
    """The bars of each call, in order."""
    from matplotlib.container import BarContainer

    return [list(c.patches) for axes in figure.axes for c in axes.containers if isinstance(c, BarContainer)]


def _wedges(figure: Any) -> list[Any]:
    from matplotlib.patches import Wedge

    return [patch for axes in figure.axes for patch in axes.patches if isinstance(patch, Wedge)]


def _marks(figure: Any, height: int) -> Iterator[Element]:
    from matplotlib.collections import PathCollection

    for bars in _containers(figure):
        for bar in bars:
            yield Element("mark", bar.get_label().lstrip("_"), _flipped(bar.get_window_extent(), height))
    for wedge in _wedges(figure):
        yield Element("mark", wedge.get_label().lstrip("_"), _flipped(wedge.get_window_extent(), height))
    for axes in figure.axes:
        for collection in axes.collections:
            if isinstance(collection, PathCollection):
                for x, y in axes.transData.transform(collection.get_offsets()):
                    yield Element("mark", "", (x - 3, height - y - 3, x + 3, height - y + 3))


def _flipped(extent: Any, height: int) -> PixelBox:
    return extent.x0, height - extent.y1, extent.x1, height - extent.y0


def _spots(figure: Any, height: int) -> Iterator[Spot]:
    """The middle of each bar and slice that is not too thin."""
    for bars in _containers(figure):
        for bar in bars:
            box = bar.get_window_extent()
            if min(box.width, box.height) >= 5:
                yield (box.x0 + box.x1) / 2, height - (box.y0 + box.y1) / 2, _colour(bar)
    for wedge in _wedges(figure):
        angle = math.radians((wedge.theta1 + wedge.theta2) / 2)
        radius = wedge.r - (wedge.width or wedge.r) / 2
        middle = (wedge.center[0] + radius * math.cos(angle), wedge.center[1] + radius * math.sin(angle))
        x, y = wedge.axes.transData.transform(middle)
        yield x, height - y, _colour(wedge)


def _colour(patch: Any) -> list[int]:
    return [round(255 * value) for value in patch.get_facecolor()[:3]]


def _scale(axes: Any, name: str) -> AxisScale:
    """The scale of an axis as its tick labels tell it, in display pixels."""
    axis = axes.yaxis if name == "y" else axes.xaxis
    low, high = sorted(axis.get_view_interval())
    ticks = []
    for tick in axis.get_major_ticks():
        number = parse_number(tick.label1.get_text())
        if number is None or not low <= tick.get_loc() <= high:
            continue
        point = (0, tick.get_loc()) if name == "y" else (tick.get_loc(), 0)
        ticks.append((float(axes.transData.transform(point)["xy".index(name)]), number))
    return _fitted(ticks)


def _fitted(ticks: list[tuple[float, float]]) -> AxisScale:
    scale = fit_axis(sorted(ticks))
    if scale is None:
        raise Dropped("axis_not_readable")
    return scale


def _shown(reading: PlotReading, figure: Any) -> tuple[list[float], float | None]:
    """The values that the artists show, and the pixels of a unit of the axis (None where there is no axis)."""
    axes, channel = figure.axes[0], reading.channel
    if channel == "text":
        return [number for text in axes.texts if (number := parse_number(text.get_text())) is not None], None
    if channel == "angle":
        total = sum(reading.values[0])
        return [(wedge.theta2 - wedge.theta1) / 360 * total for wedge in _wedges(figure)], None
    if channel == "radius":
        return _radii(axes)
    name = "x" if channel in ("bar_x", "width", "point_x") else "y"
    scale = _scale(axes, name)
    if channel in ("point_x", "point_y"):
        places = [point for c in axes.collections for point in axes.transData.transform(c.get_offsets())]
        return [scale.value(point["xy".index(name)]) for point in places], abs(1 / scale.slope)
    if channel in ("line_y", "stem"):
        lines = [line for line in axes.lines if channel == "line_y" or line.get_marker() not in ("None", "", None)]
        places = [point for line in lines[: len(reading.values)] for point in _path(axes, line)]
        return [scale.value(y) for _, y in places], abs(1 / scale.slope)
    values_read = []
    for bars in _containers(figure):
        for bar in bars:
            box = bar.get_window_extent()
            start, end = (box.x0, box.x1) if name == "x" else (box.y0, box.y1)
            if channel in ("width", "height"):
                values_read.append(abs(scale.length(end - start)))
            else:
                values_read.append(max(scale.value(start), scale.value(end), key=abs))
    return values_read, abs(1 / scale.slope)


def _path(axes: Any, line: Any) -> Any:
    return axes.transData.transform(line.get_xydata())


def _radii(axes: Any) -> tuple[list[float], float | None]:
    """The values of lines on polar axes, by their distance from the middle."""
    middle = axes.transData.transform((0, 0))
    ticks = []
    for tick in axes.yaxis.get_major_ticks():
        number = parse_number(tick.label1.get_text())
        if number is not None:
            ticks.append((math.dist(middle, axes.transData.transform((0, tick.get_loc()))), number))
    scale = _fitted(ticks)
    values_read = [scale.value(math.dist(middle, point)) for line in axes.lines for point in _path(axes, line)]
    return values_read, abs(1 / scale.slope)
