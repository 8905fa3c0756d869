"""The families of charts as Python code for matplotlib: a builder for each, from a table and a style."""

import random
from collections.abc import Sequence

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_family import ChartBuilder, ChartFamily, PointsFamily
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import columns_of, coordinates, readable_step, value_span
from step3vl.pipelines.render.charts.plot_parts import (
    Plot,
    PlotChannel,
    PlotReading,
    Script,
    number_list,
    quoted,
    text_list,
)
from step3vl.pipelines.sources.tables.tables import Points, Table, format_number

_PLOT_SHARE = 0.7  # of the image's side that the axes take, about


def _snap(
    table: Table, style: ChartStyle, horizontal: bool = False, stacked: bool = False, zero: bool = True
) -> tuple[Table, float]:
    pixels = (style.width if horizontal else style.height) * style.scale * _PLOT_SHARE
    span = value_span(table, stacked, zero)
    if span <= 0:
        raise Dropped("values_equal")
    step = readable_step(1.1 * span, pixels, table.decimals)
    return table.rounded(step), step


def _plot(
    script: Script, table: Table, channel: PlotChannel, values: Sequence[tuple[float, ...]], step: float, series: bool
) -> Plot:
    """A plot of one reading without labels on its marks; `series` says whether it shows their names."""
    texts = (table.title, *table.labels, *(table.series if series else ()))
    return Plot(script.text(), (PlotReading(channel, tuple(values), step),), texts, False, table)


def _bar(horizontal: bool, labelled: bool) -> ChartBuilder[Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        step = 10.0**-table.decimals
        if not labelled:
            table, step = _snap(table, style, horizontal)
        script = Script(style, table.title)
        values = script.put_values(table)
        colours = list(style.palette)
        several = rng.random() < 0.3 and len(values) <= len(colours)
        colour = text_list(colours[: len(values)]) if several else f'"{colours[0]}"'
        edge = rng.choice(("", f', edgecolor="{style.ink}"'))
        size = f"height={1 - style.gap:.1f}" if horizontal else f"width={1 - style.gap:.1f}"
        script.put(f"bars = ax.{'barh' if horizontal else 'bar'}(labels, values, {size}, color={colour}{edge})")
        if labelled:
            script.put(
                f'ax.bar_label(bars, labels=[f"{{value:g}}" for value in values], padding={rng.choice((2, 3))})'
            )
        if horizontal and rng.random() < 0.6:
            script.put("ax.invert_yaxis()")
        if horizontal:
            script.put("ax.margins(x=0.2)" if labelled else "ax.margins(x=0.05)")
        script.table_axes(table, rng, horizontal)
        readings = [PlotReading("bar_x" if horizontal else "bar_y", (values,), step)]
        if labelled:
            readings.append(PlotReading("text", (values,), step))
        return Plot(script.text(), tuple(readings), (table.title, *table.labels), labelled, table)

    return build


def _grouped(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    script = Script(style, table.title, numpy=True)
    script.put_series(table)
    width = round((1 - style.gap) / len(table.series), 2)
    script.put(
        "x = np.arange(len(labels))",
        "for i, (name, values) in enumerate(series.items()):",
        f"    ax.bar(x + i * {width}, values, {width}, color=colors[i], label=name)",
        f"ax.set_xticks(x + {round(width * (len(table.series) - 1) / 2, 3)}, labels)",
    )
    script.table_axes(table, rng)
    script.legend()
    return _plot(script, table, "bar_y", columns_of(table), step, series=True)


def _stacked(horizontal: bool) -> ChartBuilder[Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        table, step = _snap(table, style, horizontal, stacked=True)
        if min(map(min, table.values)) <= 0:
            raise Dropped("empty_part")
        columns = columns_of(table)
        script = Script(style, table.title, numpy=True)
        script.data = [f"labels = {text_list(table.labels)}"]
        script.data += [f"{name} = {number_list(column)}" for name, column in zip("abcde", columns, strict=False)]
        call, base = ("barh", "left") if horizontal else ("bar", "bottom")
        size = f"{1 - style.gap:.1f}"
        start = ""
        for i, name in enumerate(table.series):
            below = f", {base}={start}" if start else ""
            script.put(
                f'ax.{call}(labels, {"abcde"[i]}, {size}{below}, color="{style.palette[i]}", label={quoted(name)})'
            )
            start = f"np.add({start}, {'abcde'[i]})" if start else "a"
        script.table_axes(table, rng, horizontal)
        script.legend()
        return _plot(script, table, "width" if horizontal else "height", columns, step, series=True)

    return build


def _line(call: str, markers: bool, zero: bool) -> ChartBuilder[Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        table, step = _snap(table, style, zero=zero)
        columns = columns_of(table)
        script = Script(style, table.title)
        single = len(columns) == 1
        script.data = [f"labels = {text_list(table.labels)}"]
        signs = rng.sample(["o", "s", "^", "D", "v", "P"], len(columns))
        dashes = rng.choice((("-",) * 6, ("-", "--", "-.", ":", "-", "--")))
        for i, (name, column) in enumerate(zip(table.series, columns, strict=True)):
            variable = "values" if single else f"y{i + 1}"
            script.data.append(f"{variable} = {number_list(column)}")
            look = f'color="{style.palette[i]}", linewidth={style.line_width:g}'
            look += f', marker="{signs[i]}"' if markers else ""
            look += f', linestyle="{dashes[i]}"' if dashes[i] != "-" else ""
            look += "" if single else f", label={quoted(name)}"
            look += ', where="post"' if call == "step" else ""
            script.put(f"ax.{call}(labels, {variable}, {look})")
        if zero:
            script.put("ax.set_ylim(bottom=0)")
        script.table_axes(table, rng)
        if not single:
            script.legend()
        return _plot(script, table, "line_y", columns, step, series=not single)

    return build


def _area(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    script = Script(style, table.title)
    values = script.put_values(table)
    script.put(
        f'ax.fill_between(labels, values, color="{style.palette[0]}", alpha={rng.choice((0.3, 0.5, 0.7))})',
        f'ax.plot(labels, values, color="{style.palette[0]}", linewidth={style.line_width:g})',
        "ax.set_ylim(bottom=0)",
    )
    script.table_axes(table, rng)
    return _plot(script, table, "line_y", (values,), step, series=False)


def _stem(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    script = Script(style, table.title)
    values = script.put_values(table)
    script.put(
        "markers, stems, base = ax.stem(labels, values)",
        f'plt.setp(markers, color="{style.palette[0]}", markersize={rng.choice((6, 8, 10))})',
        f'plt.setp(stems, color="{style.palette[1]}", linewidth={style.line_width:g})',
        f'plt.setp(base, color="{style.axis}")',
    )
    script.table_axes(table, rng)
    return _plot(script, table, "stem", (values,), step, series=False)


def _error_bars(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style, zero=False)
    low, middle, high = columns_of(table)
    if any(not a < b < c for a, b, c in zip(low, middle, high, strict=True)):
        raise Dropped("empty_range")
    script = Script(style, table.title)
    below = [round(b - a, 6) for a, b in zip(low, middle, strict=True)]
    above = [round(c - b, 6) for b, c in zip(middle, high, strict=True)]
    script.data = [
        f"labels = {text_list(table.labels)}",
        f"mean = {number_list(middle)}",
        f"below = {number_list(below)}",
        f"above = {number_list(above)}",
    ]
    script.put(
        f'ax.errorbar(labels, mean, yerr=[below, above], fmt="{rng.choice(("o", "s", "o-"))}", '
        f'color="{style.palette[0]}", capsize={rng.choice((3, 4, 6))}, linewidth={style.line_width:g})'
    )
    script.table_axes(table, rng)
    # The caps are lines too: below, above, after the line of the means.
    return _plot(script, table, "line_y", (middle, low, high), step, series=False)


def _pie(hole: bool) -> ChartBuilder[Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        (values,) = columns_of(table)
        total = sum(values)
        if min(values) < total * 0.03 or len(values) > len(style.palette):
            raise Dropped("empty_part")
        script = Script(style, table.title)
        names = [f"{name}: {format_number(value)}" for name, value in zip(table.labels, values, strict=True)]
        script.put_values(table)
        ring = f', "width": {rng.choice((0.35, 0.45, 0.55))}' if hole else ""
        script.put(
            'names = [f"{label}: {value:g}" for label, value in zip(labels, values)]',
            f"ax.pie(values, labels=names, startangle={rng.choice((0, 45, 90, 180))}, "
            f"colors={text_list(style.palette[: len(values)])},",
            f'       wedgeprops={{"edgecolor": "{style.background}"{ring}}})',
            f"fig.supxlabel({quoted(table.measure)})",
        )
        readings = (PlotReading("angle", (values,), 10.0**-table.decimals),)
        return Plot(script.text(), readings, (table.title, *names), True, table)

    return build


def _heatmap(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    title = table.full_title()
    script = Script(style, title)
    ramp = rng.choice(("viridis", "Blues", "YlOrRd", "Greens", "magma", "PuBu", "cividis"))
    rows = [f"    {number_list(row)}," for row in table.values]
    values = [value for row in table.values for value in row]
    middle = (min(values) + max(values)) / 2
    if min(values) == max(values):
        raise Dropped("values_equal")
    dark_high = ramp not in ("viridis", "magma", "cividis")
    script.data = [
        f"rows = {text_list(table.labels)}",
        f"columns = {text_list(table.series)}",
        "values = [",
        *rows,
        "]",
    ]
    light, dark = ("black", "white") if dark_high else ("white", "black")
    script.put(
        f'ax.imshow(values, cmap="{ramp}", aspect="auto")',
        "for i, row in enumerate(values):",
        "    for j, value in enumerate(row):",
        f'        color = "{light}" if value < {format_number(round(middle, table.decimals))} else "{dark}"',
        '        ax.text(j, i, f"{value:g}", ha="center", va="center", color=color)',
        "ax.set_yticks(range(len(rows)), rows)",
        "ax.set_xticks(range(len(columns)), columns)",
    )
    script.turn_labels(table.series, 0.8)
    reading = PlotReading("text", table.values, 10.0**-table.decimals)
    return Plot(script.text(), (reading,), (title, *table.labels, *table.series), True, table)


def _radar(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    if len(table.labels) < 4:
        raise Dropped("too_few_labels")
    pixels = min(style.width, style.height) * style.scale * 0.33
    step = readable_step(1.1 * max(map(max, table.values)), pixels, table.decimals)
    table = table.rounded(step)
    script = Script(style, table.title, polar=True, numpy=True)
    script.put_series(table)
    script.put(
        "angles = np.linspace(0, 2 * np.pi, len(labels), endpoint=False)",
        "for color, (name, values) in zip(colors, series.items()):",
        "    closed = values + values[:1]",
        f"    ax.plot(np.append(angles, 0), closed, color=color, linewidth={style.line_width:g}, label=name)",
        f"    ax.fill(np.append(angles, 0), closed, color=color, alpha={rng.choice((0.1, 0.2))})",
        "ax.set_xticks(angles, labels)",
        "ax.set_ylim(bottom=0)",
        f'ax.grid(color="{style.grid_colour if style.grid_colour != style.background else style.axis}")',
    )
    script.legend()
    closed = [(*column, column[0]) for column in columns_of(table)]
    return _plot(script, table, "radius", closed, step, series=True)


PLOT_CHARTS: dict[str, ChartFamily[Plot]] = {
    "bar": ChartFamily(_bar(False, False), "groups", (1, 1)),
    "bar_labelled": ChartFamily(_bar(False, True), "groups", (1, 1)),
    "bar_horizontal": ChartFamily(_bar(True, False), "groups", (1, 1)),
    "bar_horizontal_labelled": ChartFamily(_bar(True, True), "groups", (1, 1)),
    "bar_signed": ChartFamily(_bar(False, False), "signed", (1, 1)),
    "bar_grouped": ChartFamily(_grouped, "groups", (2, 4)),
    "bar_stacked": ChartFamily(_stacked(False), "parts", (2, 4)),
    "bar_stacked_horizontal": ChartFamily(_stacked(True), "parts", (2, 3)),
    "line": ChartFamily(_line("plot", False, True), "time", (1, 1)),
    "line_points": ChartFamily(_line("plot", True, False), "time", (1, 1)),
    "line_series": ChartFamily(_line("plot", True, True), "time", (2, 4)),
    "line_step": ChartFamily(_line("step", False, True), "time", (1, 1)),
    "area": ChartFamily(_area, "time", (1, 1)),
    "stem": ChartFamily(_stem, "groups", (1, 1)),
    "error_bars": ChartFamily(_error_bars, "ranges", (1, 1)),
    "pie": ChartFamily(_pie(False), "parts", (1, 1)),
    "donut": ChartFamily(_pie(True), "parts", (1, 1)),
    "heatmap": ChartFamily(_heatmap, "groups", (3, 5)),
    "radar": ChartFamily(_radar, "groups", (1, 2)),
}


def _scatter(points: Points, style: ChartStyle, rng: random.Random) -> Plot:
    """Points in one colour for each group."""
    sides = (style.width * style.scale * _PLOT_SHARE, style.height * style.scale * _PLOT_SHARE)
    spans = [max(values) - min(values) for values in coordinates(points)]
    if min(spans) == 0:
        raise Dropped("values_equal")
    steps = [readable_step(1.1 * span, side, 3) for span, side in zip(spans, sides, strict=True)]
    groups: dict[str, list[tuple[float, float]]] = {}
    kept: list[tuple[float, float]] = []
    for x, y, group, _ in points.rows:
        u, v = (round(round(value / step) * step, 6) for value, step in zip((x, y), steps, strict=True))
        apart = (
            (u - a) ** 2 / spans[0] ** 2 * sides[0] ** 2 + (v - b) ** 2 / spans[1] ** 2 * sides[1] ** 2
            for a, b in kept
        )
        if min(apart, default=1e9) >= 100:
            kept.append((u, v))
            groups.setdefault(group, []).append((u, v))
    if len(kept) < 4:
        raise Dropped("too_few_points")
    script = Script(style, points.title)
    signs = rng.choice((("o",) * 4, ("o", "s", "^", "D")))
    several = len(groups) > 1
    for i, (name, rows) in enumerate(groups.items()):
        suffix = str(i + 1) if several else ""
        script.data += [
            f"x{suffix} = {number_list(x for x, _ in rows)}",
            f"y{suffix} = {number_list(y for _, y in rows)}",
        ]
        label = f", label={quoted(name)}" if several else ""
        script.put(f'ax.scatter(x{suffix}, y{suffix}, s={rng.choice((20, 30))}, marker="{signs[i]}", '
                   f'color="{style.palette[i]}"{label})')  # fmt: skip
    script.axes(points.x, points.y, "both")
    if several:
        script.legend()
    xs, ys = zip(*(row for rows in groups.values() for row in rows), strict=True)
    readings = (PlotReading("point_x", (xs,), steps[0]), PlotReading("point_y", (ys,), steps[1]))
    return Plot(script.text(), readings, (points.title, *(groups if several else ())), False)


PLOT_POINTS: dict[str, PointsFamily[Plot]] = {"scatter": PointsFamily(_scatter, (1, 3), (8, 24))}
