"""The families of charts of tables as Python code for Plotly: bars, lines, areas, pies, heat maps and their kin."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartBuilder, ChartFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import columns_of, readable_step, value_span
from step3vl.pipelines.render.charts.plot_parts import number_list, quoted, text_list
from step3vl.pipelines.render.charts.plotly_parts import (
    PlotlyChannel,
    PlotlyChart,
    PlotlyReading,
    PlotlyScript,
    call,
)
from step3vl.pipelines.render.colours import contrast
from step3vl.pipelines.sources.tables.tables import Table

PLOT_SHARE = 0.85  # of the style's width and height that the axes take, about
_LEAST_SHARE = 0.03  # of a total that a part takes whose label is to be read


def snap(
    table: Table, style: ChartStyle, horizontal: bool = False, stacked: bool = False, zero: bool = True
) -> tuple[Table, float]:
    """The table with values that can be read off an axis, and the step of its values.

    Args:
        table: The values.
        style: Of the chart.
        horizontal: Whether values go along x.
        stacked: Whether those of a row are stacked.
        zero: Whether the axis shows zero, too.
    """
    span = value_span(table, stacked, zero)
    if span <= 0:
        raise Dropped("values_equal")
    pixels = (style.width if horizontal else style.height) * style.scale * PLOT_SHARE
    step = readable_step(1.1 * span, pixels, table.decimals)
    return table.rounded(step), step


def table_chart(
    script: PlotlyScript,
    table: Table,
    channel: PlotlyChannel,
    step: float,
    label_axis: Literal["x", "y", ""],
    *,
    series: bool = False,
    labelled: bool = False,
    values: Sequence[tuple[float, ...]] = (),
    texts: Sequence[str] = (),
) -> PlotlyChart:
    """A chart of a table.

    Args:
        script: Its code.
        table: With the values as the chart shows them.
        channel: What of the marks shows them.
        step: Every value is a multiple of it.
        label_axis: The axis of the labels.
        series: Whether it shows the names of the series.
        labelled: Whether every value stands beside its mark.
        values: Those of each trace; the columns of the table when empty.
        texts: All that it must show; title, labels and series when empty.
    """
    columns = tuple(values) or tuple(columns_of(table))
    readings = [PlotlyReading(channel, columns, step)]
    if labelled and channel not in ("text", "grid_text"):
        readings.append(PlotlyReading("text", columns, step))
    expected = tuple(texts) or (table.title, *table.labels, *(table.series if series else ()))
    return PlotlyChart(script.text(), tuple(readings), expected, labelled, script.template, label_axis, table)


def exact_step(table: Table) -> float:
    """The step of values that stand beside their marks."""
    return 10.0**-table.decimals


def _bar(horizontal: bool, labelled: bool) -> ChartBuilder[PlotlyChart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
        step = exact_step(table)
        if not labelled:
            table, step = snap(table, style, horizontal)
        script = PlotlyScript(style, table.title, rng)
        script.put_values(table)
        several = not script.template and rng.random() < 0.3 and len(table.labels) <= len(style.palette)
        colour = f"marker_color={script.palette(len(table.labels))}" if several else script.coloured("marker_color", 0)
        axes = ("x=values", "y=labels", 'orientation="h"') if horizontal else ("x=labels", "y=values")
        texts = ("text=values", 'textposition="outside"') if labelled else ()
        corner = f"marker_cornerradius={style.corner}" if style.corner else ""
        script.put_trace("Bar", *axes, *texts, colour, corner)
        script.put_layout(f"bargap={style.gap}")
        label_axis = script.table_axes(table, rng, horizontal)
        if horizontal and rng.random() < 0.6:
            script.put_look('fig.update_yaxes(autorange="reversed")')
        return table_chart(script, table, "bar_x" if horizontal else "bar_y", step, label_axis, labelled=labelled)

    return build


def _bars(horizontal: bool, stacked: bool) -> ChartBuilder[PlotlyChart]:
    """Of several series: side by side, or on top of each other."""
    channel: PlotlyChannel
    if stacked:
        channel = "width" if horizontal else "height"
    else:
        channel = "bar_x" if horizontal else "bar_y"

    def build(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
        table, step = snap(table, style, horizontal, stacked)
        if stacked and min(map(min, table.values)) <= 0:
            raise Dropped("empty_part")
        script = PlotlyScript(style, table.title, rng)
        _put_bars(script, table, horizontal, rng)
        script.put_layout(f'barmode="{"stack" if stacked else "group"}"', f"bargap={style.gap}")
        label_axis = script.table_axes(table, rng, horizontal)
        script.legend(table.series)
        return table_chart(script, table, channel, step, label_axis, series=True)

    return build


def _put_bars(script: PlotlyScript, table: Table, horizontal: bool, rng: random.Random) -> None:
    """The bars of several series: by a loop or one by one."""
    direction = 'orientation="h"' if horizontal else ""
    if rng.random() < 0.5:
        script.put_series(table)
        axes = ("x=values", "y=labels") if horizontal else ("x=labels", "y=values")
        script.put_traces("Bar", *axes, "name=name", direction, "marker_color={colour}")
        return
    script.put_data(f"labels = {text_list(table.labels)}")
    for number, (name, column) in enumerate(zip(table.series, columns_of(table), strict=True)):
        values = number_list(column)
        axes = (f"x={values}", "y=labels") if horizontal else ("x=labels", f"y={values}")
        script.put_trace("Bar", *axes, f"name={quoted(name)}", direction, script.coloured("marker_color", number))


def _normalized(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    step = readable_step(100, style.height * style.scale * PLOT_SHARE, 0)
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
    script = PlotlyScript(style, table.title, rng)
    _put_bars(script, table, False, rng)
    script.put_layout('barmode="stack"', 'barnorm="percent"', f"bargap={style.gap}")
    label_axis = script.table_axes(table, rng)
    script.legend(table.series)
    return table_chart(script, table, "height", step, label_axis, series=True)


def _line(markers: bool, step_wise: bool, zero: bool) -> ChartBuilder[PlotlyChart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
        table, step = snap(table, style, zero=zero)
        script = PlotlyScript(style, table.title, rng)
        shape = 'line_shape="hv"' if step_wise else ""
        mode = f'mode="{"lines+markers" if markers else "lines"}"'
        width = f"line_width={style.line_width:g}"
        columns = columns_of(table)
        if len(columns) == 1:
            script.put_values(table)
            script.put_trace("Scatter", "x=labels", "y=values", mode, shape, width, script.coloured("line_color", 0))
        elif rng.random() < 0.4:
            script.put_series(table)
            script.put_traces(
                "Scatter", "x=labels", "y=values", "name=name", mode, shape, width, "line_color={colour}"
            )
        else:
            script.put_data(f"labels = {text_list(table.labels)}")
            dashes = rng.choice((("solid",) * 6, ("solid", "dash", "dot", "dashdot", "longdash", "solid")))
            for number, (name, column) in enumerate(zip(table.series, columns, strict=True)):
                dash = f'line_dash="{dashes[number]}"' if dashes[number] != "solid" else ""
                script.put_trace(
                    "Scatter", "x=labels", f"y={number_list(column)}", f"name={quoted(name)}", mode, shape, width,
                    dash, script.coloured("line_color", number),
                )  # fmt: skip
        if zero:
            script.put_look('fig.update_yaxes(rangemode="tozero")')
        label_axis = script.table_axes(table, rng)
        if len(columns) > 1:
            script.legend(table.series)
        return table_chart(script, table, "line_y", step, label_axis, series=len(columns) > 1)

    return build


def _area(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style)
    script = PlotlyScript(style, table.title, rng)
    script.put_values(table)
    width = f"line_width={style.line_width:g}"
    script.put_trace(
        "Scatter", "x=labels", "y=values", 'mode="lines"', 'fill="tozeroy"', width, script.coloured("line_color", 0)
    )
    label_axis = script.table_axes(table, rng)
    return table_chart(script, table, "line_y", step, label_axis)


def _area_stacked(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style, stacked=True)
    if min(map(min, table.values)) <= 0:
        raise Dropped("empty_part")
    script = PlotlyScript(style, table.title, rng)
    script.put_series(table)
    script.put_traces(
        "Scatter", "x=labels", "y=values", "name=name", 'mode="lines"', 'stackgroup="one"', "line_color={colour}"
    )
    label_axis = script.table_axes(table, rng)
    script.legend(table.series)
    return table_chart(script, table, "stack_y", step, label_axis, series=True)


def _dots(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    table, step = snap(table, style, horizontal=True)
    script = PlotlyScript(style, table.title, rng)
    columns = columns_of(table)
    size = rng.choice((9, 11, 13))
    if any(abs(a - b) / value_span(table) * style.width < size for row in table.values for a, b in pairwise(row)):
        raise Dropped("marks_overlap")
    script.put_series(table) if len(columns) > 1 else script.put_values(table)
    look = [f"marker_size={size}"]
    if (symbol := rng.choice(("circle", "circle", "square", "diamond"))) != "circle":
        look.append(f'marker_symbol="{symbol}"')
    if len(columns) > 1:
        script.put_traces(
            "Scatter", "x=values", "y=labels", 'mode="markers"', "name=name", *look, "marker_color={colour}"
        )
    else:
        colour = script.coloured("marker_color", 0)
        script.put_trace("Scatter", "x=values", "y=labels", 'mode="markers"', *look, colour)
    label_axis = script.table_axes(table, rng, horizontal=True)
    if len(columns) > 1:
        script.legend(table.series)
    return table_chart(script, table, "point_x", step, label_axis, series=len(columns) > 1)


def _pie(hole: bool, legend: bool) -> ChartBuilder[PlotlyChart]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
        (values,) = columns_of(table)
        _check_parts(values, style)
        title = table.full_title()
        script = PlotlyScript(style, title, rng)
        script.put_values(table)
        legible = [shade for shade in style.palette if contrast(shade, "#000000") > 5]
        colours = legible if len(legible) >= len(values) else list(style.palette)
        script.put_trace(
            "Pie",
            "labels=labels",
            "values=values",
            f"hole={rng.choice((0.35, 0.45, 0.55))}" if hole else "",
            f'textinfo="{"value" if legend else "label+value"}"',
            f'textposition="{"inside" if legend and rng.random() < 0.5 else "outside"}"',
            "sort=False",
            rng.choice(("", 'direction="clockwise"')),
            "" if script.template else f"marker_colors={text_list(colours[: len(values)])}",
        )
        if legend:
            script.legend(table.labels)
        else:
            script.put_layout("showlegend=False")
        return table_chart(script, table, "angle", exact_step(table), "", labelled=True, texts=(title, *table.labels))

    return build


def _check_parts(values: Sequence[float], style: ChartStyle) -> None:
    """Raise Dropped if a part is too small to be labelled, or there are more than colours."""
    if min(values) < sum(values) * _LEAST_SHARE or len(values) > len(style.palette):
        raise Dropped("empty_part")


def _treemap(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    (values,) = columns_of(table)
    _check_parts(values, style)
    title = table.full_title()
    script = PlotlyScript(style, title, rng)
    script.put_values(table)
    colours = "" if script.template else f"marker_colors={script.palette(len(values))}"
    script.put_trace(
        "Treemap",
        "labels=labels",
        'parents=[""] * len(labels)',
        "values=values",
        'textinfo="label+value"',
        rng.choice(("", 'textposition="middle center"')),
        "pathbar_visible=False",
        "tiling_pad=0",
        rng.choice(("marker_line_width=1", "marker_line_width=2")),
        colours,
    )
    sizes = [tuple(sorted(values, reverse=True))]
    texts = (title, *table.labels)
    return table_chart(script, table, "area", exact_step(table), "", labelled=True, values=sizes, texts=texts)


def _funnel(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    rows = sorted(zip(table.labels, table.values, strict=True), key=lambda row: -row[1][0])
    labels, values = zip(*rows, strict=True)
    table = replace(table, labels=labels, values=values)
    _check_parts([row[0] for row in values], style)
    title = table.full_title()
    script = PlotlyScript(style, title, rng)
    script.put_values(table)
    script.put_trace("Funnel", "y=labels", "x=values", 'textinfo="value"', script.coloured("marker_color", 0))
    if any(label[:1].isdigit() for label in table.labels):
        script.put_look('fig.update_yaxes(type="category")')
    return table_chart(script, table, "share", exact_step(table), "y", labelled=True, texts=(title, *table.labels))


def _waterfall(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    (values,) = columns_of(table)
    if 0 in values:
        raise Dropped("empty_part")
    script = PlotlyScript(style, table.title, rng)
    script.put_values(table)
    rise, fall = rng.choice((("#2ca02c", "#d62728"), ("#3D9970", "#FF4136"), ("#1f77b4", "#ff7f0e")))
    script.put_trace(
        "Waterfall",
        "x=labels",
        "y=values",
        "text=values",
        'textposition="outside"',
        f'increasing_marker_color="{rise}"',
        f'decreasing_marker_color="{fall}"',
        rng.choice(("", "connector_visible=False", 'connector_line_color="#888888"')),
    )
    label_axis = script.table_axes(table, rng)
    return table_chart(script, table, "delta", exact_step(table), label_axis, labelled=True)


_SCALES = ("Viridis", "Blues", "YlOrRd", "Greens", "Magma", "Cividis", "Plasma", "Teal", "PuBu")


def _heatmap(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    values = [value for row in table.values for value in row]
    if min(values) == max(values):
        raise Dropped("values_equal")
    title = table.full_title()
    script = PlotlyScript(style, title, rng)
    rows = [f"    {number_list(row)}," for row in table.values]
    script.put_data(
        f"rows = {text_list(table.labels)}", f"columns = {text_list(table.series)}", "values = [", *rows, "]"
    )
    scale = text_list(style.ramp) if rng.random() < 0.4 else f'"{rng.choice(_SCALES)}"'
    script.put_trace(
        "Heatmap",
        "z=values",
        "x=columns",
        "y=rows",
        'texttemplate="%{z}"',
        f"colorscale={scale}",
        "showscale=False" if rng.random() < 0.6 else "",
        f"xgap={gap}, ygap={gap}" if (gap := rng.choice((0, 0, 1, 2))) else "",
    )
    script.put_look('fig.update_yaxes(autorange="reversed")')
    for axis, names in (("x", table.series), ("y", table.labels)):
        if any(name[:1].isdigit() for name in names):
            script.put_look(f'fig.update_{axis}axes(type="category")')
    texts = (title, *table.labels, *table.series)
    return table_chart(
        script, table, "grid_text", exact_step(table), "y", values=table.values, labelled=True, texts=texts
    )


def _radar(table: Table, style: ChartStyle, rng: random.Random) -> PlotlyChart:
    if len(table.labels) < 4:
        raise Dropped("too_few_labels")
    pixels = min(style.width, style.height) * style.scale * 0.4
    step = readable_step(1.1 * max(map(max, table.values)), pixels, table.decimals)
    table = table.rounded(step)
    script = PlotlyScript(style, table.title, rng)
    fill = 'fill="toself"' if rng.random() < 0.7 else ""
    columns = columns_of(table)
    if len(columns) == 1:
        script.put_values(table)
        arguments = ("r=values + values[:1]", "theta=labels + labels[:1]", fill)
        script.put_trace("Scatterpolar", *arguments, 'mode="lines"', script.coloured("line_color", 0))
    else:
        script.put_series(table)
        script.put_traces(
            "Scatterpolar", "r=values + values[:1]", "theta=labels + labels[:1]", "name=name", 'mode="lines"', fill,
            "line_color={colour}",
        )  # fmt: skip
        script.legend(table.series)
    colour = style.grid_colour if style.grid_colour != style.background else style.axis
    look = [] if script.template else [f'gridcolor="{colour}"', f'linecolor="{colour}"']
    turn = rng.choice(([], ["rotation=90", 'direction="clockwise"']))
    script.put_layout(
        call(
            "polar=dict",
            "" if script.template else f'bgcolor="{style.background}"',
            call("radialaxis=dict", "nticks=5", *look),
            call("angularaxis=dict", *turn, *look) if turn or look else "",
        )
    )
    if any(label[:1].isdigit() for label in table.labels):
        script.put_look('fig.update_polars(angularaxis_type="category")')
    closed = [(*column, column[0]) for column in columns]
    return table_chart(script, table, "radius", step, "", series=len(columns) > 1, values=closed)


PLOTLY_CHARTS: dict[str, ChartFamily[PlotlyChart]] = {
    "bar": ChartFamily(_bar(False, False), "groups", (1, 1)),
    "bar_labelled": ChartFamily(_bar(False, True), "groups", (1, 1)),
    "bar_horizontal": ChartFamily(_bar(True, False), "groups", (1, 1)),
    "bar_horizontal_labelled": ChartFamily(_bar(True, True), "groups", (1, 1)),
    "bar_signed": ChartFamily(_bar(False, False), "signed", (1, 1)),
    "bar_over_time": ChartFamily(_bar(False, False), "time", (1, 1)),
    "bar_grouped": ChartFamily(_bars(False, False), "groups", (2, 4)),
    "bar_grouped_horizontal": ChartFamily(_bars(True, False), "groups", (2, 3)),
    "bar_stacked": ChartFamily(_bars(False, True), "parts", (2, 4)),
    "bar_stacked_horizontal": ChartFamily(_bars(True, True), "parts", (2, 3)),
    "bar_normalized": ChartFamily(_normalized, "parts", (2, 4)),
    "line": ChartFamily(_line(False, False, True), "time", (1, 1)),
    "line_points": ChartFamily(_line(True, False, False), "time", (1, 1)),
    "line_step": ChartFamily(_line(True, True, True), "time", (1, 1)),
    "line_series": ChartFamily(_line(True, False, True), "time", (2, 4)),
    "area": ChartFamily(_area, "time", (1, 1)),
    "area_stacked": ChartFamily(_area_stacked, "time", (2, 4)),
    "dots": ChartFamily(_dots, "groups", (1, 2)),
    "pie": ChartFamily(_pie(False, True), "parts", (1, 1)),
    "pie_direct": ChartFamily(_pie(False, False), "parts", (1, 1)),
    "donut": ChartFamily(_pie(True, True), "parts", (1, 1)),
    "treemap": ChartFamily(_treemap, "parts", (1, 1)),
    "funnel": ChartFamily(_funnel, "groups", (1, 1)),
    "waterfall": ChartFamily(_waterfall, "signed", (1, 1)),
    "heatmap": ChartFamily(_heatmap, "groups", (3, 5)),
    "radar": ChartFamily(_radar, "groups", (1, 2)),
}
