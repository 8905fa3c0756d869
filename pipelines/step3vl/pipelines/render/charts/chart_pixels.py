"""A second reading of Plotly charts: sizes and places of coloured shapes in the pixels beside the values of the code.

The code is run for its traces alone; no browser is asked, and no axis is read. Whatever the axes are, bars are as long
as their values say, slices and tiles as large, and the points of a line lie where its lowest and highest point tell
that they must. So one value that is wrong beside the others of its chart is found; all of them wrong by one factor,
which the tick labels would tell, is not.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage
from scipy import ndimage

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.render.charts.sandbox import check_code, run_script
from step3vl.pipelines.render.colours import rgb

_MODULES = ("plotly.graph_objects",)
_NEAR = 36  # of 255, that each channel of a pixel may be from a colour; JPEG blurs
_LEAST_AREA = 8  # pixels of a shape; less is noise
_SIMILAR = 0.3  # of the median width of bars, that one may be wider or narrower
_PIXELS = 3.0  # that a shape may be too long or a point too far
_SHARE = 0.012  # of a whole, that a slice may be too large
_SHORT = 6.0  # pixels; shorter bars may be lost
_EDGES = 1.5  # pixels of a bar that look like what is beside it
_GAP = 3  # pixels on either side of a gap in a line
_PIECE = 0.25  # of the largest piece of a solid line, that another one has at least
_SYMBOL = 0.4  # of the square of its size, that a symbol fills at least
_MORE_INK = ("fill", "stackgroup", "error_y", "error_x")  # arguments that make ink which is no point of a line
_DISTINCT = 60  # of 255, that a channel of two colours differs by at least for their shapes to be told apart


class Shape(NamedTuple):
    """Pixels of a colour that are connected, with what is inside them."""

    box: tuple[int, int, int, int]
    area: int

    def length(self, axis: int) -> int:
        return self.box[axis + 2] - self.box[axis]

    def middle(self, axis: int) -> float:
        return (self.box[axis] + self.box[axis + 2]) / 2


def check_pixels(code: str, image: PILImage.Image) -> str | None:
    """Compare a chart with the values of its code.

    Args:
        code: Python code for Plotly that ends with `fig.show()`.
        image: The chart, in RGB.

    Returns:
        What is wrong, or None.

    Raises:
        Unchecked: The shapes of this chart are not told apart.
        ValueError: The code does more than make a figure.
    """
    tree = check_code(code, _MODULES)
    tree.body.pop()  # fig.show()
    figure = run_script(tree, _MODULES)["fig"].to_plotly_json()
    return _CHECKS.get(_kind(figure["data"]), _unchecked)(_Chart(figure, image))


class _Chart:
    """The traces of a figure, and the pixels of its image."""

    def __init__(self, figure: dict[str, Any], image: PILImage.Image) -> None:
        self.traces: list[dict[str, Any]] = list(figure["data"])
        self.layout: dict[str, Any] = figure["layout"]
        self.scale = image.width / self.layout["width"]
        self._pixels = np.asarray(image.convert("RGB"), np.int16)
        template = self.layout.get("template", {}).get("layout", {})
        self.colours: Sequence[str] = template.get("colorway", ())

    def mask(self, colour: str) -> np.ndarray:
        if not colour.startswith("#") or len(colour) != 7:
            raise Unchecked("unknown_colour")
        distances: np.ndarray = np.abs(self._pixels - np.array(rgb(colour), np.int16)).max(axis=2)
        return distances <= _NEAR

    def shapes(self, colour: str) -> list[Shape]:
        numbers = _numbered(self.mask(colour))
        shapes = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), start=1):
            area = int(ndimage.binary_fill_holes(numbers[rows, columns] == number).sum())
            if area >= _LEAST_AREA:
                shapes.append(Shape((columns.start, rows.start, columns.stop, rows.stop), area))
        return shapes

    def colours_of(self, number: int, count: int) -> list[str]:
        """The colours of the marks of a trace.

        Raises:
            Unchecked: They are unknown.
        """
        trace = self.traces[number]
        marker = trace.get("marker", {})
        explicit = marker.get("colors", marker.get("color", trace.get("line", {}).get("color")))
        if explicit is None:
            by_mark = trace["type"] in ("pie", "treemap")
            needed = count if by_mark else number + 1
            if needed > len(self.colours):
                raise Unchecked("unknown_colour")
            return list(self.colours[:count]) if by_mark else [self.colours[number]] * count
        return [explicit] * count if isinstance(explicit, str) else list(explicit)


def _numbered(mask: np.ndarray) -> np.ndarray:
    """The number of its shape for each pixel of a mask."""
    numbers: np.ndarray = ndimage.label(mask, np.ones((3, 3)))[0]
    return numbers


def _require_distinct(colours: Sequence[str]) -> None:
    """Raise Unchecked unless the colours of different shapes are."""
    values = np.array([rgb(colour) for colour in colours if colour.startswith("#") and len(colour) == 7])
    if len(values) < len(colours):
        raise Unchecked("unknown_colour")
    distances = np.abs(values[:, None] - values[None]).max(2)
    if (distances[~np.eye(len(values), dtype=bool)] < _DISTINCT).any():
        raise Unchecked("colours_alike")


def _kind(traces: Sequence[dict[str, Any]]) -> str:
    kinds = {trace["type"] for trace in traces}
    return kinds.pop() if len(kinds) == 1 else ""


def _unchecked(chart: _Chart) -> str | None:
    raise Unchecked("kind_without_shapes")


def _bars(chart: _Chart) -> str | None:
    """Bars are as long as their values, all on one scale."""
    along = 0 if chart.traces[0].get("orientation") == "h" else 1
    columns = [[float(value) for value in trace["xy"[along]]] for trace in chart.traces]
    if chart.layout.get("barnorm"):
        totals = [sum(row) for row in zip(*columns, strict=True)]
        columns = [[value / total for value, total in zip(column, totals, strict=True)] for column in columns]
    is_reversed = along == 0 and chart.layout.get("yaxis", {}).get("autorange") != "reversed"
    lengths: list[int] = []
    for number, column in enumerate(columns):
        bars = _separate(chart, chart.colours_of(number, len(column)), 1 - along)
        lengths += [bar.length(along) for bar in (bars[::-1] if is_reversed else bars)]
    return _proportional(lengths, [abs(value) for column in columns for value in column])


def _separate(chart: _Chart, colours: Sequence[str], across: int) -> list[Shape]:
    """As many shapes as colours are named, in their order along an axis, without those of another width.

    Raises:
        Unchecked: There are not as many.
    """
    shapes = [shape for colour in dict.fromkeys(colours) for shape in chart.shapes(colour)]
    if not shapes:
        raise Unchecked("shapes_not_separate")
    usual = float(np.median([shape.length(across) for shape in shapes]))
    bars = [shape for shape in shapes if abs(shape.length(across) - usual) <= _SIMILAR * usual]
    if len(bars) != len(colours):
        raise Unchecked("shapes_not_separate")
    return sorted(bars, key=lambda bar: bar.middle(across))


def _proportional(lengths: Sequence[int], values: Sequence[float]) -> str | None:
    pairs = [(length, value) for length, value in zip(lengths, values, strict=True) if value > 0]
    unit = float(np.median([(length + _EDGES) / value for length, value in pairs]))
    if unit * min(value for _, value in pairs) < _SHORT:
        raise Unchecked("short_bars")
    wrong = any(abs(length + _EDGES - unit * value) > _PIXELS + 0.01 * unit * value for length, value in pairs)
    return "bars_differ" if wrong else None


def _funnel(chart: _Chart) -> str | None:
    values = [float(value) for value in chart.traces[0]["x"]]
    shapes = [each for colour in set(chart.colours_of(0, len(values))) for each in chart.shapes(colour)]
    usual = float(np.median([each.length(1) for each in shapes])) if shapes else 0.0
    bars = [each for each in shapes if abs(each.length(1) - usual) <= _SIMILAR * usual]
    if len(bars) != len(values):
        raise Unchecked("shapes_not_separate")
    return _proportional([bar.length(0) for bar in sorted(bars, key=lambda bar: bar.middle(1))], values)


def _slices(chart: _Chart) -> str | None:
    """Slices are as large as their values, each in its colour."""
    trace = chart.traces[0]
    values = [float(value) for value in trace["values"]]
    colours = chart.colours_of(0, len(values))
    if trace.get("sort", True):
        raise Unchecked("unknown_colour")
    _require_distinct(colours)
    areas = [max((shape.area for shape in chart.shapes(colour)), default=0) for colour in colours]
    return _same_shares(areas, values)


def _tiles(chart: _Chart) -> str | None:
    """Tiles are as large as their values; Plotly colours them in an order of its own."""
    values = [float(value) for value in chart.traces[0]["values"]]
    colours = chart.colours_of(0, len(values))
    _require_distinct(colours)
    areas = [max((each.length(0) * each.length(1) for each in chart.shapes(colour)), default=0) for colour in colours]
    return _same_shares(sorted(areas), sorted(values))


def _same_shares(areas: Sequence[int], values: Sequence[float]) -> str | None:
    if min(areas) < _LEAST_AREA:
        raise Unchecked("shapes_not_separate")
    shares = [area / sum(areas) - value / sum(values) for area, value in zip(areas, values, strict=True)]
    return "areas_differ" if max(map(abs, shares)) > _SHARE else None


def _points(chart: _Chart) -> str | None:
    """There is ink of the line where each point must be, by its outermost points.

    Raises:
        Unchecked: Other ink is near: of other lines, a filled area, error bars or texts.
    """
    trace = chart.traces[0]
    marker, line, mode = trace.get("marker", {}), trace.get("line", {}), trace.get("mode", "lines")
    size = marker.get("size", 6)
    if len(chart.traces) > 1 or any(trace.get(name) for name in _MORE_INK) or "text" in mode:
        raise Unchecked("other_ink")
    if not isinstance(size, int | float):
        raise Unchecked("other_ink")
    mask = _ink(chart.mask(chart.colours_of(0, 1)[0]), line, None if "lines" in mode else size * chart.scale)
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if not len(rows):
        raise Unchecked("shapes_not_separate")
    # How far the middle of an outermost point is from the end of its ink.
    along = (size if "markers" in mode else line.get("width", 2)) * chart.scale / 2
    across = along if "markers" in mode else 0.0
    up = -1.0 if chart.layout.get("yaxis", {}).get("autorange") == "reversed" else 1.0
    xs, ys = _numbers(trace["x"]), [up * value for value in _numbers(trace["y"])]
    at_x = _place(xs, columns[0] + across, columns[-1] + 1 - across)
    at_y = _place(ys, rows[-1] + 1 - along, rows[0] + along)
    near = ndimage.binary_dilation(mask, iterations=round(_PIXELS))
    agrees = all(_is_set(near, at_x(x), at_y(y)) for x, y in zip(xs, ys, strict=True))
    return None if agrees else "points_differ"


def _ink(mask: np.ndarray, line: dict[str, Any], symbol: float | None) -> np.ndarray:
    """Of the pixels of a colour, those of a line, or of symbols of a size in pixels; the others are of letters."""
    # JPEG breaks thin lines.
    numbers = _numbered(mask if symbol else ndimage.binary_dilation(mask, iterations=_GAP)) * mask
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    is_solid = line.get("dash", "solid") == "solid"
    least = _SYMBOL * symbol**2 if symbol else _PIECE * sizes.max() if is_solid else _LEAST_AREA
    ink: np.ndarray = mask & (sizes >= least)[numbers]
    return ink


def _place(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Where a value is along an axis, in pixels, by where the least and the greatest one are."""
    low, high = min(values), max(values)
    if low == high or abs(end - start) < 8 * _PIXELS:
        raise Unchecked("points_too_near")
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _is_set(mask: np.ndarray, x: float, y: float) -> bool:
    row, column = math.floor(y), math.floor(x)
    return 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])


def _numbers(values: Sequence[Any]) -> list[float]:
    """Values along an axis; names stand in their order, one beside the other."""
    return [float(place if isinstance(value, str) else value) for place, value in enumerate(values)]


_CHECKS: dict[str, Callable[[_Chart], str | None]] = {
    "bar": _bars,
    "funnel": _funnel,
    "pie": _slices,
    "treemap": _tiles,
    "scatter": _points,
}
