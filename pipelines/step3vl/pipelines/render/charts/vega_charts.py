"""The families of charts as Vega-Lite specifications of tables: bars, lines, areas, pies, heat maps."""

import random
from dataclasses import replace
from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartBuilder, ChartFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import readable_step
from step3vl.pipelines.render.charts.vega_parts import (
    Channel,
    Chart,
    Reading,
    Spec,
    colour_scale,
    json_number,
    key,
    labels_axis,
    long_rows,
    make_mark,
    make_spec,
    snap_values,
    value_axis,
    value_key,
)
from step3vl.pipelines.render.colours import contrast
from step3vl.pipelines.sources.tables.tables import Table


def _chart(
    table: Table,
    style: ChartStyle,
    field: str,
    step: float,
    body: Spec,
    *marks: tuple[str, Channel],
    series: bool = False,
    labelled: bool = False,
    title: str = "",
) -> Chart:
    """A chart whose data is a row for each value of a table.

    Args:
        table: With the values as the chart shows them.
        style: How it looks.
        field: Of the values.
        step: Every value is a multiple of it.
        body: Marks and encodings.
        marks: Vega's types of the marks that show the values, each with the channel that does.
        series: Whether rows name their series, and the chart shows these names.
        labelled: Whether every value stands beside its mark.
        title: The table's when empty.
    """
    title = title or table.title
    spec = make_spec(title, style, long_rows(table, key(table.label), field, "series" if series else ""), body)
    readings = tuple(Reading(mark, channel, field, table.measure) for mark, channel in marks)
    texts = (title, *table.labels, *(table.series if series else ()))
    return Chart(spec, readings, {field: step}, texts, labelled, table)


def _bars(horizontal: bool, labelled: bool) -> ChartBuilder[Chart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
        step = 10.0**-table.decimals
        if not labelled:
            table, step = snap_values(table, style, style.width if horizontal else style.height)
        field = value_key(table)
        category, value = ("y", "x") if horizontal else ("x", "y")
        bar = make_mark("bar", style, **({"cornerRadiusEnd": style.corner} if style.corner else {}))
        encoding = {
            category: {**labels_axis(table, style, horizontal, rng), "scale": {"paddingInner": style.gap}},
            value: value_axis(table.measure, field),
        }
        marks: list[tuple[str, Channel]] = [("rect", "bar_x" if horizontal else "bar_y")]
        body: Spec = {"mark": bar, "encoding": encoding}
        if labelled:
            place = {"align": "left", "dx": 4} if horizontal else {"baseline": "bottom", "dy": -3}
            text = {
                "mark": {"type": "text", **place, "fontSize": style.label_size, "color": style.ink},
                "encoding": {"text": {"field": field, "type": "quantitative"}},
            }
            body = {"encoding": encoding, "layer": [{"mark": bar}, text]}
            marks.append(("text", "text"))
        return _chart(table, style, field, step, body, *marks, labelled=labelled)

    return build


def _lollipop(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.height)
    field = value_key(table)
    body = {
        "encoding": {"x": labels_axis(table, style, False, rng), "y": value_axis(table.measure, field)},
        "layer": [
            {"mark": make_mark("rule", style)},
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": rng.choice((80, 120, 160)),
                    "opacity": 1,
                    "color": style.palette[1],
                }
            },
        ],
    }
    return _chart(table, style, field, step, body, ("symbol", "y"))


def _dots(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.width)
    field = value_key(table)
    shape = rng.choice(("circle", "square", "diamond"))
    encoding = {"y": labels_axis(table, style, True, rng), "x": value_axis(table.measure, field)}
    body = {
        "mark": {
            "type": "point",
            "filled": True,
            "shape": shape,
            "size": rng.choice((70, 110)),
            "opacity": 1,
            "color": style.palette[0],
        },
        "encoding": encoding,
    }
    return _chart(table, style, field, step, body, ("symbol", "x"))


def _lines(mark: str, series: bool, **options: Any) -> ChartBuilder[Chart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
        table, step = snap_values(table, style, style.height)
        field = value_key(table)
        encoding: Spec = {"x": labels_axis(table, style, False, rng), "y": value_axis(table.measure, field)}
        more = dict(options)
        if mark == "area" and not series:
            more["opacity"] = rng.choice((0.5, 0.7, 1))
        if series:
            encoding["color"] = colour_scale(style, len(table.series))
            if mark == "area":
                encoding["y"]["stack"] = None
        shape = {"type": mark, **more} if series else make_mark(mark, style, **more)
        if series and mark == "line":
            shape["strokeWidth"] = style.line_width
        return _chart(table, style, field, step, {"mark": shape, "encoding": encoding}, (mark, "y"), series=series)

    return build


def _grouped(horizontal: bool) -> ChartBuilder[Chart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
        table, step = snap_values(table, style, style.width if horizontal else style.height)
        field = value_key(table)
        category, value = ("y", "x") if horizontal else ("x", "y")
        encoding = {
            category: labels_axis(table, style, horizontal, rng),
            f"{category}Offset": {"field": "series", "sort": None},
            value: value_axis(table.measure, field),
            "color": colour_scale(style, len(table.series)),
        }
        channel: Channel = "bar_x" if horizontal else "bar_y"
        return _chart(table, style, field, step, {"mark": "bar", "encoding": encoding}, ("rect", channel), series=True)

    return build


def _stacked(horizontal: bool, mark: str = "bar") -> ChartBuilder[Chart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
        table, step = snap_values(table, style, style.width if horizontal else style.height, stacked=True)
        if min(map(min, table.values)) <= 0:
            raise Dropped("empty_part")
        field = value_key(table)
        category, value = ("y", "x") if horizontal else ("x", "y")
        encoding = {
            category: labels_axis(table, style, horizontal, rng),
            value: value_axis(table.measure, field),
            "color": colour_scale(style, len(table.series)),
        }
        channel: Channel = "width" if horizontal else "height"
        shape = "rect" if mark == "bar" else "area"
        return _chart(table, style, field, step, {"mark": mark, "encoding": encoding}, (shape, channel), series=True)

    return build


def _normalized(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    step = readable_step(100, style.height * style.scale, 0)
    percent = []
    for row in table.values:
        total = sum(row)
        shares = [round(100 * value / total / step) * step for value in row]
        shares[-1] = 100 - sum(shares[:-1])
        if min(shares) < step:
            raise Dropped("empty_part")
        percent.append(tuple(float(share) for share in shares))
    measure = "Share (%)" if table.measure.isascii() else "%"
    table = replace(table, measure=measure, values=tuple(percent), decimals=0)
    field = "share"
    encoding = {
        "x": labels_axis(table, style, False, rng),
        "y": value_axis(table.measure, field, stack="normalize"),
        "color": colour_scale(style, len(table.series)),
    }
    return _chart(table, style, field, step, {"mark": "bar", "encoding": encoding}, ("rect", "height"), series=True)


def _heatmap(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    field = value_key(table)
    values = [value for row in table.values for value in row]
    low, high = min(values), max(values)
    if low == high:
        raise Dropped("values_equal")
    middle = json_number(round((low + high) / 2, table.decimals))
    pale, dark = (style.ramp[0], style.ramp[-1])
    encoding = {
        "x": labels_axis(table, style, False, rng),
        "y": {"field": "series", "type": "nominal", "sort": None, "title": None},
    }
    body = {
        "encoding": encoding,
        "layer": [
            {
                "mark": "rect",
                "encoding": {
                    "color": {
                        "field": field,
                        "type": "quantitative",
                        "title": table.measure,
                        "scale": {"range": list(style.ramp)},
                        "legend": None,
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": style.label_size},
                "encoding": {
                    "text": {"field": field, "type": "quantitative"},
                    "color": {
                        "condition": {"test": f"datum['{field}'] < {middle}", "value": "#000000"},
                        "value": "#ffffff",
                    },
                },
            },
        ],
    }
    assert contrast(pale, "#000000") > contrast(dark, "#000000")
    step, title = 10.0**-table.decimals, table.full_title()
    return _chart(table, style, field, step, body, ("text", "text"), series=True, labelled=True, title=title)


def _pie(hole: bool, legend: bool) -> ChartBuilder[Chart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
        field, label = value_key(table), key(table.label)
        radius = style.height // 2 - style.label_size * 2
        total = sum(row[0] for row in table.values)
        if min(row[0] for row in table.values) < total * 0.02:
            raise Dropped("empty_part")
        arc: Spec = {"type": "arc", "outerRadius": radius, "stroke": style.background}
        if hole:
            arc["innerRadius"] = round(radius * rng.choice((0.4, 0.5, 0.6)))
        colour: Spec = {
            "field": label,
            "type": "nominal",
            "sort": None,
            "title": None if legend else table.label,
            "scale": {"range": list(style.palette[: len(table.labels)])},
        }
        text: Spec = {"type": "text", "radius": radius + style.label_size + 6, "fontSize": style.label_size}
        if legend:
            layers = [
                {"mark": arc},
                {
                    "mark": {**text, "color": style.ink},
                    "encoding": {"color": {"value": style.ink}, "text": {"field": field, "type": "quantitative"}},
                },
            ]
        else:
            colour["legend"] = None
            legible = [shade for shade in style.palette if contrast(shade, "#000000") > 5]
            if len(legible) < len(table.labels):
                raise Dropped("too_few_colours")
            colour["scale"]["range"] = legible[: len(table.labels)]
            text["radius"] = radius + max(style.font.width(name, style.label_size) for name in table.labels) / 2 + 8
            inside = {
                "type": "text",
                "radius": round(radius * (0.8 if hole else 0.65)),
                "fontSize": style.label_size,
                "fontWeight": "bold",
            }
            layers = [
                {"mark": arc},
                {"mark": text, "encoding": {"color": {"value": style.ink}, "text": {"field": label}}},
                {
                    "mark": inside,
                    "encoding": {"color": {"value": "#000000"}, "text": {"field": field, "type": "quantitative"}},
                },
            ]
        body = {
            "encoding": {"theta": {**value_axis(table.measure, field), "stack": True}, "color": colour},
            "layer": layers,
        }
        step, title = 10.0**-table.decimals, table.full_title()
        return _chart(table, style, field, step, body, ("arc", "angle"), ("text", "text"), labelled=True, title=title)

    return build


def _dumbbell(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.width)
    field = value_key(table)
    body = {
        "encoding": {"y": labels_axis(table, style, True, rng), "x": value_axis(table.measure, field)},
        "layer": [
            {
                "mark": {"type": "line", "color": style.axis, "strokeWidth": style.line_width},
                "encoding": {"detail": {"field": key(table.label)}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {"color": colour_scale(style, len(table.series))},
            },
        ],
    }
    return _chart(table, style, field, step, body, ("symbol", "x"), series=True)


def _small_multiples(table: Table, style: ChartStyle, rng: random.Random) -> Chart:
    table, step = snap_values(table, style, style.height)
    field, label = value_key(table), key(table.label)
    mark = make_mark(rng.choice(("bar", "area")), style)
    encoding = {
        "column": {
            "field": "series",
            "type": "nominal",
            "sort": None,
            "title": None,
            "header": {"labelColor": style.ink, "labelFontSize": style.label_size},
        },
        "x": {"field": label, "type": "ordinal", "sort": None, "title": table.label, "axis": {"labelAngle": -90}},
        "y": value_axis(table.measure, field),
    }
    wide = max(60, style.width // len(table.series))
    body = {"width": wide, "height": style.height, "mark": mark, "encoding": encoding}
    shape: tuple[str, Channel] = ("rect", "bar_y") if mark["type"] == "bar" else ("area", "y")
    return _chart(table, style, field, step, body, shape, series=True)


TABLE_CHARTS: dict[str, ChartFamily[Chart]] = {
    "bar": ChartFamily(_bars(False, False), "groups", (1, 1)),
    "bar_labelled": ChartFamily(_bars(False, True), "groups", (1, 1)),
    "bar_horizontal": ChartFamily(_bars(True, False), "groups", (1, 1)),
    "bar_horizontal_labelled": ChartFamily(_bars(True, True), "groups", (1, 1)),
    "bar_signed": ChartFamily(_bars(False, False), "signed", (1, 1)),
    "bar_over_time": ChartFamily(_bars(False, False), "time", (1, 1)),
    "bar_grouped": ChartFamily(_grouped(False), "groups", (2, 4)),
    "bar_grouped_horizontal": ChartFamily(_grouped(True), "groups", (2, 3)),
    "bar_stacked": ChartFamily(_stacked(False), "parts", (2, 5)),
    "bar_stacked_horizontal": ChartFamily(_stacked(True), "parts", (2, 4)),
    "bar_normalized": ChartFamily(_normalized, "parts", (2, 4)),
    "lollipop": ChartFamily(_lollipop, "groups", (1, 1)),
    "dots": ChartFamily(_dots, "groups", (1, 1)),
    "dumbbell": ChartFamily(_dumbbell, "groups", (2, 2)),
    "line": ChartFamily(_lines("line", False), "time", (1, 1)),
    "line_points": ChartFamily(_lines("line", False, point=True), "time", (1, 1)),
    "line_step": ChartFamily(_lines("line", False, interpolate="step-after"), "time", (1, 1)),
    "line_series": ChartFamily(_lines("line", True), "time", (2, 4)),
    "line_series_points": ChartFamily(_lines("line", True, point=True), "time", (2, 4)),
    "area": ChartFamily(_lines("area", False), "time", (1, 1)),
    "area_stacked": ChartFamily(_stacked(False, "area"), "time", (2, 4)),
    "heatmap": ChartFamily(_heatmap, "groups", (3, 6)),
    "pie": ChartFamily(_pie(False, True), "parts", (1, 1)),
    "donut": ChartFamily(_pie(True, True), "parts", (1, 1)),
    "pie_direct": ChartFamily(_pie(False, False), "parts", (1, 1)),
    "small_multiples": ChartFamily(_small_multiples, "time", (2, 3)),
}
