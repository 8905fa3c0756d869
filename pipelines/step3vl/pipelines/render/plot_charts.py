"""Charts as Python code for matplotlib: a builder for each family, from a table and a style.

The code is what a person would write: the data as lists, a few calls, and the look in `plt.rcParams`. `PlotReading`s
say how the artists show the values, so that the renderer can read them back.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.chart_style import ChartStyle
from step3vl.pipelines.render.vega_parts import readable_step
from step3vl.pipelines.sources.tables import Points, Table, TableKind, format_number

PlotChannel = Literal[
    "bar_y", "bar_x", "height", "width", "line_y", "points", "angle", "text", "stairs", "radius", "stem"
]
_PLOT_SHARE = 0.7  # of the image's side that the axes take, about


@dataclass(frozen=True)
class PlotReading:
    """How the artists show values.

    Attributes:
        channel: What of them shows a value.
        values: What they should show: one tuple for each container, line or collection, in the order of the code.
        step: Every value is a multiple of it.
    """

    channel: PlotChannel
    values: tuple[tuple[float, ...], ...]
    step: float


@dataclass(frozen=True)
class Plot:
    """Code and what is known of it: as `Chart` of `vega_parts`, for Python."""

    code: str
    readings: tuple[PlotReading, ...]
    texts: tuple[str, ...]
    labelled: bool
    table: Table | None = None


@dataclass(frozen=True)
class PlotFamily:
    """A family of plots of tables: `kind` and `series` say which tables."""

    build: Callable[[Table, ChartStyle, random.Random], Plot]
    kind: TableKind
    series: tuple[int, int]


def _list(values: Iterable[float]) -> str:
    return "[" + ", ".join(map(format_number, values)) + "]"


def _names(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(_quoted, names)) + "]"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Script:
    """Lines of a script."""

    def __init__(self, style: ChartStyle, title: str, polar: bool = False, numpy: bool = False) -> None:
        self.style = style
        self.head = ["import matplotlib.pyplot as plt"] + (["import numpy as np"] if numpy else []) + [""]
        self.data: list[str] = []
        dpi = round(100 * style.scale)
        size = f"({style.width / 100 + 0.8:.1f}, {style.height / 100 + 0.8:.1f})"
        projection = ', subplot_kw={"projection": "polar"}' if polar else ""
        self.body = [
            "",
            "plt.rcParams.update({",
            f'    "font.family": {_quoted(style.font.name)}, "font.size": {style.label_size * 0.72:.1f},',
            f'    "text.color": "{style.ink}", "axes.labelcolor": "{style.ink}", "axes.edgecolor": "{style.axis}",',
            f'    "xtick.color": "{style.ink}", "ytick.color": "{style.ink}", "axes.facecolor": "{style.background}",',
            *(['    "axes.unicode_minus": False,'] if not style.font.covers("−") else []),
            "})",
            f'fig, ax = plt.subplots(figsize={size}, dpi={dpi}, facecolor="{style.background}", '
            f'layout="constrained"{projection})',
        ]
        location = {"start": ', loc="left"', "middle": "", "end": ', loc="right"'}[style.title_anchor]
        self.title = f"ax.set_title({_quoted(title)}, fontsize={style.title_size * 0.72:.1f}{location})"

    def put(self, *lines: str) -> None:
        self.body += lines

    def axes(self, x: str, y: str, value_axis: str, names: Sequence[str] = (), turn: bool = False) -> None:
        """Titles of the axes, grid and spines."""
        style = self.style
        if turn and names and max(style.font.width(name, style.label_size) for name in names) + 6 > (
            style.width * 0.9 / len(names)
        ):  # fmt: skip
            self.put('plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")')
        if x:
            self.put(f"ax.set_xlabel({_quoted(x)})")
        if y:
            self.put(f"ax.set_ylabel({_quoted(y)})")
        if style.grid != "none":
            axis = "" if style.grid == "both" else f'axis="{value_axis}", '
            dash = ', linestyle="--"' if style.dashed else ""
            self.put(f'ax.grid({axis}color="{style.grid_colour}"{dash})', "ax.set_axisbelow(True)")
        if not style.frame:
            self.put('ax.spines[["top", "right"]].set_visible(False)')

    def legend(self) -> None:
        place = {"right": 'loc="outside right upper"', "top": 'loc="outside upper right", ncols=3',
                 "bottom": 'loc="outside lower center", ncols=3'}[self.style.legend]  # fmt: skip
        self.put(f'fig.legend({place}, facecolor="{self.style.background}")')

    def text(self) -> str:
        return "\n".join((*self.head, *self.data, *self.body, self.title, "plt.show()")) + "\n"


def _snap(
    table: Table, style: ChartStyle, horizontal: bool = False, stacked: bool = False, zero: bool = True
) -> tuple[Table, float]:
    pixels = (style.width if horizontal else style.height) * style.scale * _PLOT_SHARE
    tops = [sum(row) if stacked else max(row) for row in table.values]
    bottoms = [0.0] if stacked else [min(row) for row in table.values]
    span = (max(0.0, *tops) - min(0.0, *bottoms)) if zero else max(tops) - min(bottoms)
    if span <= 0:
        raise Dropped("values_equal")
    step = readable_step(1.1 * span, pixels, table.decimals)
    return table.rounded(step), step


def _columns(table: Table) -> list[tuple[float, ...]]:
    return list(zip(*table.values, strict=True))


def _bar(horizontal: bool, labelled: bool) -> Callable[[Table, ChartStyle, random.Random], Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        step = 10.0**-table.decimals
        if not labelled:
            table, step = _snap(table, style, horizontal)
        (values,) = _columns(table)
        script = _Script(style, table.title)
        script.data = [f"labels = {_names(table.labels)}", f"values = {_list(values)}"]
        colours = list(style.palette)
        several = rng.random() < 0.3 and len(values) <= len(colours)
        colour = _names(colours[: len(values)]) if several else f'"{colours[0]}"'
        edge = rng.choice(("", f', edgecolor="{style.ink}"'))
        size = f"height={1 - style.gap:.1f}" if horizontal else f"width={1 - style.gap:.1f}"
        script.put(f"bars = ax.{'barh' if horizontal else 'bar'}(labels, values, {size}, color={colour}{edge})")
        if labelled:
            script.put(
                f'ax.bar_label(bars, labels=[f"{{value:g}}" for value in values], padding={rng.choice((2, 3))})'
            )
        if horizontal and rng.random() < 0.6:
            script.put("ax.invert_yaxis()")
        name = rng.choice(("", table.label))
        if horizontal:
            script.put("ax.margins(x=0.2)" if labelled else "ax.margins(x=0.05)")
            script.axes(table.measure, name, "x")
        else:
            script.axes(name, table.measure, "y", table.labels, turn=True)
        readings = [PlotReading("bar_x" if horizontal else "bar_y", (values,), step)]
        if labelled:
            readings.append(PlotReading("text", (values,), step))
        return Plot(script.text(), tuple(readings), (table.title, *table.labels), labelled, table)

    return build


def _grouped(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    columns = _columns(table)
    script = _Script(style, table.title, numpy=True)
    script.data = [f"labels = {_names(table.labels)}", "series = {"]
    script.data += [
        f"    {_quoted(name)}: {_list(column)}," for name, column in zip(table.series, columns, strict=True)
    ]
    script.data.append("}")
    width = round((1 - style.gap) / len(columns), 2)
    script.put(
        f"colors = {_names(style.palette[: len(columns)])}",
        "x = np.arange(len(labels))",
        "for i, (name, values) in enumerate(series.items()):",
        f"    ax.bar(x + i * {width}, values, {width}, color=colors[i], label=name)",
        f"ax.set_xticks(x + {round(width * (len(columns) - 1) / 2, 3)}, labels)",
    )
    script.axes(rng.choice(("", table.label)), table.measure, "y", table.labels, turn=True)
    script.legend()
    reading = PlotReading("bar_y", tuple(columns), step)
    return Plot(script.text(), (reading,), (table.title, *table.labels, *table.series), False, table)


def _stacked(horizontal: bool) -> Callable[[Table, ChartStyle, random.Random], Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        table, step = _snap(table, style, horizontal, stacked=True)
        if min(map(min, table.values)) <= 0:
            raise Dropped("empty_part")
        columns = _columns(table)
        script = _Script(style, table.title, numpy=True)
        script.data = [f"labels = {_names(table.labels)}"]
        script.data += [f"{name} = {_list(column)}" for name, column in zip("abcde", columns, strict=False)]
        call, base = ("barh", "left") if horizontal else ("bar", "bottom")
        size = f"{1 - style.gap:.1f}"
        start = ""
        for i, name in enumerate(table.series):
            below = f", {base}={start}" if start else ""
            script.put(
                f'ax.{call}(labels, {"abcde"[i]}, {size}{below}, color="{style.palette[i]}", label={_quoted(name)})'
            )
            start = f"np.add({start}, {'abcde'[i]})" if start else "a"
        name = rng.choice(("", table.label))
        if horizontal:
            script.axes(table.measure, name, "x")
        else:
            script.axes(name, table.measure, "y", table.labels, turn=True)
        script.legend()
        reading = PlotReading("width" if horizontal else "height", tuple(columns), step)
        return Plot(script.text(), (reading,), (table.title, *table.labels, *table.series), False, table)

    return build


def _line(call: str, markers: bool, zero: bool) -> Callable[[Table, ChartStyle, random.Random], Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        table, step = _snap(table, style, zero=zero)
        columns = _columns(table)
        script = _Script(style, table.title)
        single = len(columns) == 1
        script.data = [f"labels = {_names(table.labels)}"]
        signs = rng.sample(["o", "s", "^", "D", "v", "P"], len(columns))
        dashes = rng.choice((("-",) * 6, ("-", "--", "-.", ":", "-", "--")))
        for i, (name, column) in enumerate(zip(table.series, columns, strict=True)):
            variable = "values" if single else f"y{i + 1}"
            script.data.append(f"{variable} = {_list(column)}")
            look = f'color="{style.palette[i]}", linewidth={style.line_width:g}'
            look += f', marker="{signs[i]}"' if markers else ""
            look += f', linestyle="{dashes[i]}"' if dashes[i] != "-" else ""
            look += "" if single else f", label={_quoted(name)}"
            look += ', where="post"' if call == "step" else ""
            script.put(f"ax.{call}(labels, {variable}, {look})")
        if zero:
            script.put("ax.set_ylim(bottom=0)")
        script.axes(rng.choice(("", table.label)), table.measure, "y", table.labels, turn=True)
        if not single:
            script.legend()
        texts = (table.title, *table.labels, *(() if single else table.series))
        return Plot(script.text(), (PlotReading("line_y", tuple(columns), step),), texts, False, table)

    return build


def _area(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    (values,) = _columns(table)
    script = _Script(style, table.title)
    script.data = [f"labels = {_names(table.labels)}", f"values = {_list(values)}"]
    script.put(
        f'ax.fill_between(labels, values, color="{style.palette[0]}", alpha={rng.choice((0.3, 0.5, 0.7))})',
        f'ax.plot(labels, values, color="{style.palette[0]}", linewidth={style.line_width:g})',
        "ax.set_ylim(bottom=0)",
    )
    script.axes(rng.choice(("", table.label)), table.measure, "y", table.labels, turn=True)
    reading = PlotReading("line_y", (values,), step)
    return Plot(script.text(), (reading,), (table.title, *table.labels), False, table)


def _stem(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style)
    (values,) = _columns(table)
    script = _Script(style, table.title)
    script.data = [f"labels = {_names(table.labels)}", f"values = {_list(values)}"]
    script.put(
        "markers, stems, base = ax.stem(labels, values)",
        f'plt.setp(markers, color="{style.palette[0]}", markersize={rng.choice((6, 8, 10))})',
        f'plt.setp(stems, color="{style.palette[1]}", linewidth={style.line_width:g})',
        f'plt.setp(base, color="{style.axis}")',
    )
    script.axes(rng.choice(("", table.label)), table.measure, "y", table.labels, turn=True)
    reading = PlotReading("stem", (values,), step)
    return Plot(script.text(), (reading,), (table.title, *table.labels), False, table)


def _error_bars(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    table, step = _snap(table, style, zero=False)
    low, middle, high = _columns(table)
    if any(not a < b < c for a, b, c in zip(low, middle, high, strict=True)):
        raise Dropped("empty_range")
    script = _Script(style, table.title)
    below = [round(b - a, 6) for a, b in zip(low, middle, strict=True)]
    above = [round(c - b, 6) for b, c in zip(middle, high, strict=True)]
    script.data = [f"labels = {_names(table.labels)}", f"mean = {_list(middle)}", f"below = {_list(below)}",
                   f"above = {_list(above)}"]  # fmt: skip
    script.put(
        f'ax.errorbar(labels, mean, yerr=[below, above], fmt="{rng.choice(("o", "s", "o-"))}", '
        f'color="{style.palette[0]}", capsize={rng.choice((3, 4, 6))}, linewidth={style.line_width:g})'
    )
    script.axes(rng.choice(("", table.label)), table.measure, "y", table.labels, turn=True)
    # The caps are lines too: below, above, after the line of the means.
    reading = PlotReading("line_y", (middle, low, high), step)
    return Plot(script.text(), (reading,), (table.title, *table.labels), False, table)


def _pie(hole: bool) -> Callable[[Table, ChartStyle, random.Random], Plot]:
    def build(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
        (values,) = _columns(table)
        total = sum(values)
        if min(values) < total * 0.03 or len(values) > len(style.palette):
            raise Dropped("empty_part")
        script = _Script(style, table.title)
        names = [f"{name}: {format_number(value)}" for name, value in zip(table.labels, values, strict=True)]
        script.data = [f"labels = {_names(table.labels)}", f"values = {_list(values)}"]
        ring = f', "width": {rng.choice((0.35, 0.45, 0.55))}' if hole else ""
        script.put(
            'names = [f"{label}: {value:g}" for label, value in zip(labels, values)]',
            f"ax.pie(values, labels=names, startangle={rng.choice((0, 45, 90, 180))}, "
            f"colors={_names(style.palette[: len(values)])},",
            f'       wedgeprops={{"edgecolor": "{style.background}"{ring}}})',
            f"fig.supxlabel({_quoted(table.measure)})",
        )
        readings = (PlotReading("angle", (values,), 10.0**-table.decimals),)
        return Plot(script.text(), readings, (table.title, *names), True, table)

    return build


def _heatmap(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    title = table.full_title()
    script = _Script(style, title)
    ramp = rng.choice(("viridis", "Blues", "YlOrRd", "Greens", "magma", "PuBu", "cividis"))
    rows = [f"    {_list(row)}," for row in table.values]
    values = [value for row in table.values for value in row]
    middle = (min(values) + max(values)) / 2
    if min(values) == max(values):
        raise Dropped("values_equal")
    dark_high = ramp not in ("viridis", "magma", "cividis")
    script.data = [f"rows = {_names(table.labels)}", f"columns = {_names(table.series)}", "values = [", *rows, "]"]
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
    if max(style.font.width(name, style.label_size) for name in table.series) + 6 > style.width * 0.8 / len(
        table.series
    ):
        script.put('plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")')
    reading = PlotReading("text", table.values, 10.0**-table.decimals)
    return Plot(script.text(), (reading,), (title, *table.labels, *table.series), True, table)


def _radar(table: Table, style: ChartStyle, rng: random.Random) -> Plot:
    if len(table.labels) < 4:
        raise Dropped("too_few_labels")
    pixels = min(style.width, style.height) * style.scale * 0.33
    step = readable_step(1.1 * max(map(max, table.values)), pixels, table.decimals)
    table = table.rounded(step)
    columns = _columns(table)
    script = _Script(style, table.title, polar=True, numpy=True)
    script.data = [f"labels = {_names(table.labels)}", "series = {"]
    script.data += [
        f"    {_quoted(name)}: {_list(column)}," for name, column in zip(table.series, columns, strict=True)
    ]
    script.data.append("}")
    script.put(
        f"colors = {_names(style.palette[: len(columns)])}",
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
    closed = tuple((*column, column[0]) for column in columns)
    texts = (table.title, *table.labels, *table.series)
    return Plot(script.text(), (PlotReading("radius", closed, step),), texts, False, table)


PLOT_CHARTS: dict[str, PlotFamily] = {
    "bar": PlotFamily(_bar(False, False), "groups", (1, 1)),
    "bar_labelled": PlotFamily(_bar(False, True), "groups", (1, 1)),
    "bar_horizontal": PlotFamily(_bar(True, False), "groups", (1, 1)),
    "bar_horizontal_labelled": PlotFamily(_bar(True, True), "groups", (1, 1)),
    "bar_signed": PlotFamily(_bar(False, False), "signed", (1, 1)),
    "bar_grouped": PlotFamily(_grouped, "groups", (2, 4)),
    "bar_stacked": PlotFamily(_stacked(False), "parts", (2, 4)),
    "bar_stacked_horizontal": PlotFamily(_stacked(True), "parts", (2, 3)),
    "line": PlotFamily(_line("plot", False, True), "time", (1, 1)),
    "line_points": PlotFamily(_line("plot", True, False), "time", (1, 1)),
    "line_series": PlotFamily(_line("plot", True, True), "time", (2, 4)),
    "line_step": PlotFamily(_line("step", False, True), "time", (1, 1)),
    "area": PlotFamily(_area, "time", (1, 1)),
    "stem": PlotFamily(_stem, "groups", (1, 1)),
    "error_bars": PlotFamily(_error_bars, "ranges", (1, 1)),
    "pie": PlotFamily(_pie(False), "parts", (1, 1)),
    "donut": PlotFamily(_pie(True), "parts", (1, 1)),
    "heatmap": PlotFamily(_heatmap, "groups", (3, 5)),
    "radar": PlotFamily(_radar, "groups", (1, 2)),
}


def scatter_plot(points: Points, style: ChartStyle, rng: random.Random) -> Plot:
    """Points in one colour for each group."""
    sides = (style.width * style.scale * _PLOT_SHARE, style.height * style.scale * _PLOT_SHARE)
    spans = [max(row[i] for row in points.rows) - min(row[i] for row in points.rows) for i in (0, 1)]  # type: ignore[operator]
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
    script = _Script(style, points.title)
    signs = rng.choice((("o",) * 4, ("o", "s", "^", "D")))
    several = len(groups) > 1
    for i, (name, rows) in enumerate(groups.items()):
        suffix = str(i + 1) if several else ""
        script.data += [f"x{suffix} = {_list(x for x, _ in rows)}", f"y{suffix} = {_list(y for _, y in rows)}"]
        label = f", label={_quoted(name)}" if several else ""
        script.put(f'ax.scatter(x{suffix}, y{suffix}, s={rng.choice((20, 30))}, marker="{signs[i]}", '
                   f'color="{style.palette[i]}"{label})')  # fmt: skip
    script.axes(points.x, points.y, "both")
    if several:
        script.legend()
    flat = tuple(tuple(value for row in rows for value in row) for rows in groups.values())
    readings = (PlotReading("points", flat, min(steps)),)
    return Plot(script.text(), readings, (points.title, *(groups if several else ())), False)
