"""The families of charts of ranges, prices, distributions and points as Python code for Plotly."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Literal

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartFamily, PointsFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import columns_of, coordinates, readable_step
from step3vl.pipelines.render.charts.plot_parts import number_list, quoted, text_list
from step3vl.pipelines.render.charts.plotly_charts import PLOT_SHARE, snap, table_chart
from step3vl.pipelines.render.charts.plotly_parts import PlotlyChart, PlotlyReading, PlotlyScript, call
from step3vl.pipelines.sources.tables.tables import Points, Table, format_number


def _put_columns(script: PlotlyScript, table: Table, *names: str) -> None:
    """Define the labels and each column of a table by a name."""
    columns = zip(names, columns_of(table), strict=True)
    script.put_data(f"labels = {text_list(table.labels)}", *(f"{n} = {number_list(c)}" for n, c in columns))


def _error_bars(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style, zero=False)
    low, middle, high = columns_of(table)
    if any(not a < b < c for a, b, c in zip(low, middle, high, strict=True)):
        raise Dropped("empty_range")
    script = PlotlyScript(style, table.title, rng)
    script.put_data(
        f"labels = {text_list(table.labels)}",
        f"mean = {number_list(middle)}",
        f"above = {number_list(round(c - b, 6) for b, c in zip(middle, high, strict=True))}",
        f"below = {number_list(round(b - a, 6) for a, b in zip(low, middle, strict=True))}",
    )
    script.put_trace(
        "Scatter",
        "x=labels",
        "y=mean",
        f'mode="{rng.choice(("markers", "markers", "lines+markers"))}"',
        call("error_y=dict", 'type="data"', "array=above", "arrayminus=below", rng.choice(("", "thickness=1.5"))),
        f"marker_size={rng.choice((7, 9))}",
        script.coloured("marker_color", 0),
    )
    label_axis = script.table_axes(table, rng)
    return table_chart(script, table, "error", step, label_axis, values=table.values)


def _band(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style, zero=False)
    if any(not a < b < c for a, b, c in table.values):
        raise Dropped("empty_range")
    script = PlotlyScript(style, table.title, rng)
    _put_columns(script, table, "low", "mean", "high")
    script.put_trace("Scatter", "x=labels", "y=low", 'mode="lines"', "line_width=1", script.coloured("line_color", 0))
    script.put_trace(
        "Scatter", "x=labels", "y=high", 'mode="lines"', "line_width=1", 'fill="tonexty"',
        script.coloured("line_color", 0),
    )  # fmt: skip
    script.put_trace(
        "Scatter", "x=labels", "y=mean", 'mode="lines"', f"line_width={max(2, style.line_width):g}",
        script.coloured("line_color", 1),
    )  # fmt: skip
    script.put_layout("showlegend=False")
    label_axis = script.table_axes(table, rng)
    low, middle, high = columns_of(table)
    return table_chart(script, table, "line_y", step, label_axis, values=(low, high, middle))


def _box(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style, zero=False)
    if any(not a < b < c < d < e for a, b, c, d, e in table.values):
        raise Dropped("empty_range")
    script = PlotlyScript(style, table.title, rng)
    _put_columns(script, table, "low", "q1", "median", "q3", "high")
    script.put_trace(
        "Box",
        "x=labels",
        "lowerfence=low",
        "q1=q1",
        "median=median",
        "q3=q3",
        "upperfence=high",
        script.coloured("marker_color", 0),
        rng.choice(("", "whiskerwidth=0.3")),
    )
    label_axis = script.table_axes(table, rng)
    return table_chart(script, table, "box", step, label_axis, values=table.values)


def _prices(kind: Literal["Candlestick", "Ohlc"]) -> Callable[[Table, ChartStyle, random.Random], PlotlyChart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
        table, step = snap(table, style, zero=False)
        if any(row[0] == row[3] for row in table.values):
            raise Dropped("empty_range")
        script = PlotlyScript(style, table.title, rng)
        _put_columns(script, table, "open_", "high", "low", "close")
        rise, fall = rng.choice((("", ""), ("#26a69a", "#ef5350"), ("#2ca02c", "#d62728"), ("#d62728", "#2ca02c")))
        colours = (f'increasing_line_color="{rise}"', f'decreasing_line_color="{fall}"') if rise else ()
        script.put_trace(kind, "x=labels", "open=open_", "high=high", "low=low", "close=close", *colours)
        label_axis = script.table_axes(table, rng)
        script.put_layout("xaxis_rangeslider_visible=False")
        return table_chart(
            script, table, "candle" if kind == "Candlestick" else "ohlc", step, label_axis, values=table.values
        )

    return build


_APART = 11  # pixels between the middles of two points


def _snap_points(
    points: Points, style: ChartStyle, apart: float
) -> tuple[list[tuple[float, float, str, float]], list[float]]:
    """Points that can be read off the axes and told apart, and the steps of both quantities."""
    sides = (style.width * PLOT_SHARE, style.height * PLOT_SHARE)
    spans = [max(values) - min(values) for values in coordinates(points)]
    if min(spans) == 0:
        raise Dropped("values_equal")
    steps = [readable_step(1.2 * span, side * style.scale, 3) for span, side in zip(spans, sides, strict=True)]
    rows: list[tuple[float, float, str, float]] = []
    for x, y, group, size in points.rows:
        u, v = (round(round(value / step) * step, 6) for value, step in zip((x, y), steps, strict=True))
        distances = (math.hypot((u - a) / spans[0] * sides[0], (v - b) / spans[1] * sides[1]) for a, b, *_ in rows)
        if min(distances, default=math.inf) >= apart:
            rows.append((u, v, group, size))
    if len(rows) < 4:
        raise Dropped("too_few_points")
    return rows, steps


def _places(pairs: Sequence[tuple[float, float]], steps: Sequence[float]) -> tuple[PlotlyReading, ...]:
    xs, ys = zip(*pairs, strict=True)
    return PlotlyReading("point_x", (xs,), steps[0]), PlotlyReading("point_y", (ys,), steps[1])


def _scatter(points: Points, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    rows, steps = _snap_points(points, style, _APART)
    groups: dict[str, list[tuple[float, float]]] = {}
    for x, y, group, _ in rows:
        groups.setdefault(group, []).append((x, y))
    several = len(groups) > 1
    script = PlotlyScript(style, points.title, rng)
    signs = rng.choice((("circle",) * 4, ("circle", "square", "diamond", "cross")))
    size = rng.choice((7, 9))
    for number, (name, pairs) in enumerate(groups.items()):
        suffix = str(number + 1) if several else ""
        script.put_data(
            f"x{suffix} = {number_list(x for x, _ in pairs)}", f"y{suffix} = {number_list(y for _, y in pairs)}"
        )
        script.put_trace(
            "Scatter",
            f"x=x{suffix}",
            f"y=y{suffix}",
            'mode="markers"',
            f"name={quoted(name)}" if several else "",
            f"marker_size={size}",
            f'marker_symbol="{signs[number]}"' if signs[number] != "circle" else "",
            script.coloured("marker_color", number),
        )
    script.number_axes(points.x, points.y)
    if several:
        script.legend(list(groups))
    return PlotlyChart(
        script.text(),
        _places([pair for pairs in groups.values() for pair in pairs], steps),
        (points.title, *(groups if several else ())),
        False,
        script.template,
    )


_BUBBLE = 22  # pixels that the largest one's radius has


def _bubbles(points: Points, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    """Bubbles whose size is written above them, so that they are few and far apart."""
    rows, steps = _snap_points(points, style, 2 * _BUBBLE + style.label_size + 4)
    title = f"{points.title} ({points.size})" if "(" not in points.size else f"{points.title}, {points.size}"
    script = PlotlyScript(style, title, rng)
    sizes = [row[3] for row in rows]
    script.put_data(
        f"x = {number_list(row[0] for row in rows)}",
        f"y = {number_list(row[1] for row in rows)}",
        f"size = {number_list(sizes)}",
    )
    reference = format_number(round(2 * max(sizes) / (2 * _BUBBLE) ** 2, 6))
    script.put_trace(
        "Scatter",
        "x=x",
        "y=y",
        'mode="markers+text"',
        "text=size",
        'textposition="top center"',
        call("marker=dict", "size=size", 'sizemode="area"', f"sizeref={reference}", script.coloured("color", 0)),
    )
    script.number_axes(points.x, points.y)
    return PlotlyChart(
        script.text(),
        (*_places([row[:2] for row in rows], steps), PlotlyReading("text", (tuple(sizes),), 1e-6)),
        (title,),
        False,
        script.template,
    )


PLOTLY_POINTS: dict[str, PointsFamily[PlotlyChart]] = {
    "scatter": PointsFamily(_scatter, (1, 1), (8, 24)),
    "scatter_groups": PointsFamily(_scatter, (2, 3), (9, 24)),
    "bubble": PointsFamily(_bubbles, (1, 1), (8, 16)),
}

PLOTLY_RANGES: dict[str, ChartFamily[PlotlyChart]] = {
    "error_bars": ChartFamily(_error_bars, "ranges", (1, 1)),
    "band": ChartFamily(_band, "ranges", (1, 1)),
    "box": ChartFamily(_box, "quartiles", (1, 1)),
    "candlestick": ChartFamily(_prices("Candlestick"), "prices", (1, 1)),
    "ohlc": ChartFamily(_prices("Ohlc"), "prices", (1, 1)),
}
