"""The families of charts of ranges, prices and points as Vega-Lite specifications."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartFamily, PointsFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import coordinates, readable_step, value_span
from step3vl.pipelines.render.charts.vega_parts import (
    Chart,
    Reading,
    Spec,
    colour_scale,
    json_number,
    key,
    labels_axis,
    make_spec,
    snap_values,
    value_axis,
)
from step3vl.pipelines.sources.tables.tables import Points, Table


def _wide(table: Table, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The table as rows of all values of a label."""
    return [
        {key(table.label): name, **{field: json_number(value) for field, value in zip(fields, row, strict=True)}}
        for name, row in zip(table.labels, table.values, strict=True)
    ]


_RANGE_FIELDS = ("low", "mean", "high")


def _error_bars(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.height)
    if any(not row[0] < row[1] < row[2] for row in table.values):
        raise Dropped("empty_range")
    span = {"type": "rule", "color": style.palette[0], "strokeWidth": style.line_width}
    middle = {"type": "point", "filled": True, "color": style.palette[0], "size": 90, "opacity": 1}
    return _range_chart(table, style, step, span, middle, "symbol", rng)


def _band(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.height)
    span = {"type": "area", "color": style.palette[0], "opacity": 0.35}
    middle = {"type": "line", "color": style.palette[0], "strokeWidth": style.line_width}
    return _range_chart(table, style, step, span, middle, "line", rng)


def _range_chart(
    table: Table, style: ChartStyle, step: float, span: Spec, middle: Spec, middle_mark: str, rng: random.Random
) -> Chart:
    """A chart of spans from low to high with what marks their middles; `middle_mark` is Vega's type of the latter."""
    body = {
        "encoding": {"x": labels_axis(table, style, False, rng)},
        "layer": [
            {"mark": span, "encoding": {"y": value_axis(table.measure, "low"), "y2": {"field": "high"}}},
            {"mark": middle, "encoding": {"y": value_axis(table.measure, "mean")}},
        ],
    }
    spec = make_spec(table.title, style, _wide(table, _RANGE_FIELDS), body)
    readings = (
        Reading(span["type"], "y", "low", table.measure),
        Reading(span["type"], "y2", "high", "high"),
        Reading(middle_mark, "y", "mean", table.measure),
    )
    steps = dict.fromkeys(_RANGE_FIELDS, step)
    return Chart(spec, readings, steps, (table.title, *table.labels), False, table)


_PRICE_FIELDS = ("open", "high", "low", "close")


def _candles(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    span = value_span(table, zero=False)
    step = readable_step(1.2 * span, style.height * style.scale, table.decimals, least=2.5)
    table = table.rounded(step)
    if any(row[0] == row[3] for row in table.values):
        raise Dropped("empty_range")
    rise, fall = rng.choice((("#26a69a", "#ef5350"), ("#2ca02c", "#d62728"), ("#d62728", "#2ca02c")))
    colour = {"condition": {"test": "datum.open < datum.close", "value": rise}, "value": fall}
    scale = {"zero": False}
    body = {
        "encoding": {"x": labels_axis(table, style, False, rng), "color": colour},
        "layer": [
            {
                "mark": "rule",
                "encoding": {"y": value_axis(table.measure, "low", scale=scale), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "bar", "size": rng.choice((8, 12, 16))},
                "encoding": {"y": value_axis(table.measure, "open"), "y2": {"field": "close"}},
            },
        ],
    }
    spec = make_spec(table.title, style, _wide(table, _PRICE_FIELDS), body)
    readings = (
        Reading("rule", "y", "low", table.measure),
        Reading("rule", "y2", "high", "high"),
        Reading("rect", "y", "open", table.measure, rise),
        Reading("rect", "y2", "close", "close", rise),
    )
    steps = dict.fromkeys(_PRICE_FIELDS, step)
    return Chart(spec, readings, steps, (table.title, *table.labels), False, table)


_APART = 9  # pixels between the middles of two points


def _snap_points(points: Points, style: ChartStyle) -> tuple[list[tuple[float, float, str, float]], float, float]:
    steps, spans = [], []
    for values, pixels in zip(coordinates(points), (style.width, style.height), strict=True):
        span = max(0.0, *values) - min(0.0, *values)
        if span == 0:
            raise Dropped("values_equal")
        spans.append(span)
        steps.append(readable_step(1.2 * span, pixels * style.scale, 3))
    rows: list[tuple[float, float, str, float]] = []
    for x, y, group, size in points.rows:
        u, v = round(round(x / steps[0]) * steps[0], 6), round(round(y / steps[1]) * steps[1], 6)
        apart = (
            math.hypot((u - a) / spans[0] * style.width, (v - b) / spans[1] * style.height) for a, b, _, _ in rows
        )
        if min(apart, default=math.inf) >= _APART:
            rows.append((u, v, group, size))
    if len(rows) < 4:
        raise Dropped("too_few_points")
    return rows, steps[0], steps[1]


def _size_step(rows: Sequence[tuple[float, float, str, float]]) -> float:
    """A step of which the sizes are 1 to 4 times, so that the legend says them all."""
    return readable_step(max(row[3] for row in rows), 4, 1, least=1)


def _scatter(groups: bool, sizes: bool) -> Callable[[Points, ChartStyle, random.Random], Chart]:
    def build(points: Points, style: ChartStyle, rng: random.Random) -> Chart:
        rows, x_step, y_step = _snap_points(points, style)
        if sizes:
            step = _size_step(rows)
            rows = [(u, v, group, max(1, round(size / step)) * step) for u, v, group, size in rows]
        x, y = key(points.x), key(points.y)
        if x == y:
            raise Dropped("names_equal")
        values: list[dict[str, Any]] = []
        for u, v, group, size in rows:
            row: dict[str, Any] = {x: json_number(u), y: json_number(v)}
            values.append(
                {**row, **({"series": group} if groups else {}), **({"size": json_number(size)} if sizes else {})}
            )
        mark: Spec = {"type": "point", "filled": True, "opacity": rng.choice((0.7, 0.85, 1))}
        if not sizes:
            mark["size"] = rng.choice((40, 60, 90))
        encoding: Spec = {"x": value_axis(points.x, x), "y": value_axis(points.y, y)}
        names = tuple(dict.fromkeys(row[2] for row in rows)) if groups else ()
        if groups and len(names) < 2:
            raise Dropped("too_few_groups")
        if groups:
            encoding["color"] = colour_scale(style, len(names))
        else:
            mark["color"] = style.palette[0]
        if sizes:
            legend_values = sorted({row["size"] for row in values})
            if len(legend_values) < 2:
                raise Dropped("values_equal")
            encoding["size"] = {
                "field": "size",
                "type": "ordinal",
                "sort": legend_values,
                "title": points.size,
                "scale": {"range": [60 * (i + 1) ** 2 for i in range(len(legend_values))]},
            }
        spec = make_spec(points.title, style, values, {"mark": mark, "encoding": encoding})
        readings = (Reading("symbol", "x", x, points.x), Reading("symbol", "y", y, points.y))
        return Chart(spec, readings, {x: x_step, y: y_step}, (points.title, *names), False)

    return build


POINT_CHARTS: dict[str, PointsFamily[Chart]] = {
    "scatter": PointsFamily(_scatter(False, False), (1, 1), (8, 24)),
    "scatter_groups": PointsFamily(_scatter(True, False), (2, 3), (9, 24)),
    "bubble": PointsFamily(_scatter(False, True), (1, 1), (6, 12)),
}

RANGE_CHARTS: dict[str, ChartFamily[Chart]] = {
    "error_bars": ChartFamily(_error_bars, "ranges", (1, 1)),
    "band": ChartFamily(_band, "ranges", (1, 1)),
    "candlestick": ChartFamily(_candles, "prices", (1, 1)),
}
