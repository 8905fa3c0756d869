"""The values that the marks of a Plotly chart show, read off its page as a person would: by the tick labels."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.plotly_page import PageMark, PageText, PlotlyPage
from step3vl.pipelines.render.charts.plotly_parts import PlotlyChannel, PlotlyChart, PlotlyReading
from step3vl.pipelines.render.figures.figure import AxisScale, fit_axis, parse_number
from step3vl.pipelines.sources.tables.tables import Table

_POWERS = {"k": 1e3, "M": 1e6, "B": 1e9}
_ROUNDING = 0.02  # pixels: Plotly writes paths with two decimals
_CONNECTOR = 2.0  # pixels that the lines between the bars of a waterfall are wide
Shown = tuple[list[float], float | None]


def read_values(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """The values that the marks show, and the pixels of a unit of the axis (None where there is no axis).

    Raises:
        Dropped: They cannot be read.
    """
    return _READERS[reading.channel](reading, page)


def tick_number(text: str) -> float | None:
    """The number that a tick label of Plotly says, such as `1.5k`; or None."""
    number = parse_number(text.rstrip("kMB"))
    return None if number is None else number * _POWERS.get(text[-1], 1.0)


def read_scale(page: PlotlyPage, axis: str) -> AxisScale:
    """The scale of the axis `x` or `y` in pixels of the page, as its tick labels tell it.

    Raises:
        Dropped: They do not.
    """
    place = "xy".index(axis)
    ticks = [
        (text.middle[place], number)
        for text in page.texts
        if f"{axis}tick" in text.classes and (number := tick_number(text.text)) is not None
    ]
    return _fitted(ticks)


def _fitted(ticks: Sequence[tuple[float, float]]) -> AxisScale:
    scale = fit_axis(sorted(ticks))
    if scale is None:
        raise Dropped("axis_not_readable")
    return scale


def check_labels(chart: PlotlyChart, page: PlotlyPage) -> None:
    """Raise Dropped unless the chart names the values as the table does.

    Tick labels along the axis of the labels are those of the table, and in its order, which may go up along y. Where
    slices and tiles say a name and a value, it is the value of that name.
    """
    if chart.table is None:
        return
    if not chart.label_axis:
        _check_names(chart.table, page)
        return
    place = "xy".index(chart.label_axis)
    ticks = sorted(
        (text for text in page.texts if f"{chart.label_axis}tick" in text.classes), key=lambda text: text.box[place]
    )
    names = [text.text for text in ticks]
    labels = list(chart.table.labels)
    if names != labels and (chart.label_axis == "x" or names[::-1] != labels):
        raise Dropped("labels_differ")


def _check_names(table: Table, page: PlotlyPage) -> None:
    values = {label: row[0] for label, row in zip(table.labels, table.values, strict=True)}
    for name, value in pairwise(text.text for text in page.texts if text.role == "value_label"):
        if name in values and parse_number(value) != values[name]:
            raise Dropped("labels_differ")


def _bars(axis: str, length: bool) -> Callable[[PlotlyReading, PlotlyPage], Shown]:
    def read(reading: PlotlyReading, page: PlotlyPage) -> Shown:
        scale = read_scale(page, axis)
        place = "xy".index(axis)
        values = []
        for bar in page.marks_of("bars", "point"):
            start, end = bar.box[place], bar.box[place + 2]
            if length:
                values.append(abs(scale.length(end - start)))
            else:
                values.append(max(scale.value(start), scale.value(end), key=abs))
        return values, abs(1 / scale.slope)

    return read


def _deltas(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Of a waterfall: each bar begins where the one before ends; both reach to the far edge of the line between."""
    scale = read_scale(page, "y")
    beyond = _CONNECTOR / 2 if page.marks_of("bars", "line") else 0.0
    total, values = 0.0, []
    for bar in page.marks_of("bars", "point"):
        ends = scale.value(bar.box[1] + beyond), scale.value(bar.box[3] - beyond)
        end = max(ends, key=lambda value: abs(value - total))
        values.append(end - total)
        total = end
    return values, abs(1 / scale.slope)


def _line_points(page: PlotlyPage, number: int) -> list[list[float]]:
    """The pixels along y of each line at labels that are evenly apart along x.

    Plotly leaves out points between others that are on one line with them.
    """
    lines = []
    for line in page.marks_of("js-line"):
        points = line.points
        first, last = points[0][0], points[-1][0]
        if number < 2 or last <= first:
            raise Dropped("marks_differ_from_data")
        lines.append([_height_at(points, first + (last - first) * i / (number - 1)) for i in range(number)])
    return lines


def _height_at(points: Sequence[tuple[float, float]], x: float) -> float:
    """Where a line is at `x`; on a vertical piece, where it ends."""
    height = points[0][1]
    for (x1, y1), (x2, y2) in pairwise(points):
        if x1 > x + _ROUNDING:
            break
        height = y2 if x2 <= x + _ROUNDING else y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return height


def _lines(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    scale = read_scale(page, "y")
    lines = _line_points(page, len(reading.values[0]))
    return [scale.value(y) for line in lines for y in line], abs(1 / scale.slope)


def _stacked_lines(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Each line stands on the one before."""
    scale = read_scale(page, "y")
    tops = [[scale.value(y) for y in line] for line in _line_points(page, len(reading.values[0]))]
    below = [[0.0] * len(reading.values[0]), *tops]
    return [b - a for line, top in pairwise(below) for a, b in zip(line, top, strict=True)], abs(1 / scale.slope)


def _symbols(page: PlotlyPage) -> list[PageMark]:
    return page.marks_of("scatter", "point")


def _points(axis: str) -> Callable[[PlotlyReading, PlotlyPage], Shown]:
    def read(reading: PlotlyReading, page: PlotlyPage) -> Shown:
        scale = read_scale(page, axis)
        return [scale.value(mark.origin["xy".index(axis)]) for mark in _symbols(page)], abs(1 / scale.slope)

    return read


def _errors(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Low, middle and high of each bar with its symbol."""
    scale = read_scale(page, "y")
    bars, symbols = page.marks_of("yerror"), _symbols(page)
    if len(bars) != len(symbols):
        raise Dropped("marks_differ_from_data")
    values = []
    for bar, symbol in zip(bars, symbols, strict=True):
        values += [scale.value(bar.box[3]), scale.value(symbol.origin[1]), scale.value(bar.box[1])]
    return values, abs(1 / scale.slope)


def _boxes(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Ends of whiskers, edges and median, from below."""
    scale = read_scale(page, "y")
    values = []
    for box in page.marks_of("box"):
        heights = sorted({round(scale.value(y), 9) for _, y in box.points})
        values += _apart(heights, reading.step)
    return values, abs(1 / scale.slope)


def _apart(values: Sequence[float], step: float) -> list[float]:
    """Values without those that differ from the one before by less than a quarter of a step."""
    kept: list[float] = []
    for value in values:
        if not kept or value - kept[-1] > step / 4:
            kept.append(value)
    return kept


def _candles(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Open, high, low and close: the body's edges are on its left side, and rising ones have the colour of the first
    that the data say rises."""
    scale = read_scale(page, "y")
    marks = page.marks_of("box")
    rising = _colours_of_rising(reading, [mark.stroke for mark in marks])
    values = []
    for mark, rises in zip(marks, rising, strict=True):
        left = min(x for x, _ in mark.points)
        edges = [scale.value(y) for x, y in mark.points if x < left + 0.01]
        ends = [scale.value(y) for _, y in mark.points]
        low, high = min(edges), max(edges)
        values += [low if rises else high, max(ends), min(ends), high if rises else low]
    return values, abs(1 / scale.slope)


def _colours_of_rising(reading: PlotlyReading, colours: Sequence[tuple[int, ...]]) -> list[bool]:
    """Which marks have the colour that rising ones have; there are two colours, and the data say what is which."""
    if len(colours) != len(reading.values):
        raise Dropped("marks_differ_from_data")
    rises = [row[0] < row[3] for row in reading.values]
    rising = {colour for colour, up in zip(colours, rises, strict=True) if up}
    falling = {colour for colour, up in zip(colours, rises, strict=True) if not up}
    if len(rising) > 1 or len(falling) > 1 or rising & falling:
        raise Dropped("colours_differ")
    return rises


def _price_bars(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Open, high, low and close of lines with ticks: the open one on the left, the close one on the right."""
    scale = read_scale(page, "y")
    values = []
    for mark in page.marks_of("ohlc"):
        left, right = (side(mark.points, key=lambda point: point[0])[1] for side in (min, max))
        values += [scale.value(left), scale.value(mark.box[1]), scale.value(mark.box[3]), scale.value(right)]
    return values, abs(1 / scale.slope)


def _angles(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    slices = page.marks_of("slice", "surface")
    if len(slices) < 2:
        raise Dropped("marks_differ_from_data")
    x1, y1 = (min(mark.box[place] for mark in slices) for place in (0, 1))
    x2, y2 = (max(mark.box[place] for mark in slices) for place in (2, 3))
    middle, radius = ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1) / 2
    total = sum(reading.values[0])
    return [_angle(mark, middle, radius) / (2 * math.pi) * total for mark in slices], None


def _angle(mark: PageMark, middle: tuple[float, float], radius: float) -> float:
    """The angle of a slice between the ends of its outer edge."""
    edge = [
        math.atan2(y - middle[1], x - middle[0]) for x, y in mark.points if math.dist((x, y), middle) > 0.98 * radius
    ]
    turns = [math.remainder(b - a, 2 * math.pi) for a, b in pairwise(edge)]
    return abs(sum(turns))


def _areas(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Of tiles, the largest first; they are all but the one around them, which has no colour."""
    boxes = [mark.box for mark in page.marks_of("treemap", "surface") if mark.is_opaque]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    return [area / sum(areas) * sum(reading.values[0]) for area in areas], None


def _shares(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Of a funnel, whose widest bar shows the largest value."""
    widths = [mark.box[2] - mark.box[0] for mark in page.marks_of("bars", "point")]
    return [width / max(widths, default=1.0) * max(reading.values[0]) for width in widths], None


def _radii(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """The distances from the middle of a polar chart, along whose horizontal radius the tick labels stand."""
    circles = page.marks_of("radial-grid")
    if not circles:
        raise Dropped("axis_not_readable")
    middle = max(circles, key=lambda circle: circle.box[2] - circle.box[0]).middle
    scale = _fitted(
        [
            (text.middle[0] - middle[0], number)
            for text in page.texts
            if "radial-axis" in text.classes and (number := tick_number(text.text)) is not None
        ]
    )
    points = [point for line in page.marks_of("js-line") for point in line.points]
    return [scale.value(math.dist(middle, point)) for point in points], abs(1 / scale.slope)


def _labels(page: PlotlyPage) -> list[tuple[PageText, float]]:
    return [
        (text, number)
        for text in page.texts
        if text.role == "value_label" and (number := parse_number(text.text)) is not None
    ]


def _written(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    return [number for _, number in _labels(page)], None


def _grid_written(reading: PlotlyReading, page: PlotlyPage) -> Shown:
    """Row by row from above, each from the left."""
    labels = _labels(page)
    rows = sorted(labels, key=lambda label: label[0].middle[1])
    width = len(reading.values[0])
    values = []
    for start in range(0, len(rows), width):
        row = sorted(rows[start : start + width], key=lambda label: label[0].middle[0])
        values += [number for _, number in row]
    return values, None


_READERS: dict[PlotlyChannel, Callable[[PlotlyReading, PlotlyPage], Shown]] = {
    "bar_x": _bars("x", False),
    "bar_y": _bars("y", False),
    "width": _bars("x", True),
    "height": _bars("y", True),
    "delta": _deltas,
    "line_y": _lines,
    "stack_y": _stacked_lines,
    "point_x": _points("x"),
    "point_y": _points("y"),
    "error": _errors,
    "box": _boxes,
    "candle": _candles,
    "ohlc": _price_bars,
    "angle": _angles,
    "area": _areas,
    "share": _shares,
    "radius": _radii,
    "text": _written,
    "grid_text": _grid_written,
}
