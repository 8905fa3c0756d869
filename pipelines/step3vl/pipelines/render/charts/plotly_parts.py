"""What the families of Plotly charts share: the code as a person would write it, and what is known of it.

The data are lists, traces follow, and the look is in `update_layout`, either one of Plotly's templates or the colours
of the style space. `PlotlyReading`s say how the marks show the values, so that the renderer can read them back.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Literal

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import columns_of
from step3vl.pipelines.render.charts.plot_parts import number_list, quoted, text_list
from step3vl.pipelines.sources.tables.tables import Table

PlotlyChannel = Literal[
    "bar_x", "bar_y", "width", "height", "delta", "line_y", "stack_y", "point_x", "point_y", "error", "box", "candle",
    "ohlc", "angle", "area", "share", "radius", "text", "grid_text",
]  # fmt: skip

_TEMPLATES = ("plotly", "plotly", "plotly_white", "simple_white", "ggplot2", "seaborn", "plotly_dark")
_TEMPLATED = 0.45  # of charts have a template's colours
_LINE = 88  # characters


@dataclass(frozen=True)
class PlotlyReading:
    """How marks show values.

    Attributes:
        channel: What of them shows a value.
        values: What they should show: a tuple for each trace, in the order of the code.
        step: Every value is a multiple of it.
    """

    channel: PlotlyChannel
    values: tuple[tuple[float, ...], ...]
    step: float


@dataclass(frozen=True)
class PlotlyChart:
    """A script and what is known of it.

    Attributes:
        code: The script.
        readings: At least one for each value that the chart shows.
        texts: Texts that the chart must show.
        labelled: Whether every value stands beside its mark.
        template: Plotly's template, or empty for the colours of the style.
        label_axis: The axis whose tick labels are the table's labels; empty where there is none.
        table: With the values as the chart shows them; None where it has no table.
    """

    code: str
    readings: tuple[PlotlyReading, ...]
    texts: tuple[str, ...]
    labelled: bool
    template: str
    label_axis: Literal["x", "y", ""] = ""
    table: Table | None = None


def call(name: str, *arguments: str) -> str:
    """A call, on one line if it fits."""
    kept = [argument for argument in arguments if argument]
    line = f"{name}({', '.join(kept)})"
    if len(line) <= _LINE and "\n" not in line:
        return line
    return f"{name}(\n" + "".join(f"{indent(argument, '    ')},\n" for argument in kept) + ")"


class PlotlyScript:
    """Lines of a script.

    Args:
        style: How the chart looks.
        title: Of the chart.
        rng: Random numbers.
    """

    def __init__(self, style: ChartStyle, title: str, rng: random.Random) -> None:
        self.style = style
        self.template = rng.choice(_TEMPLATES) if rng.random() < _TEMPLATED else ""
        self._has_ticks = rng.random() < 0.5
        self._has_margins = rng.random() < 0.6
        self._title = title
        self._legend = 0.0  # pixels that it is wide
        self._data: list[str] = []
        self._traces: list[str] = []
        self._traces_loop: list[str] = []
        self._in_one = rng.random() < 0.5  # all traces are given to the figure at once
        self._layout: list[str] = []
        self._looks: list[str] = []

    def colour(self, number: int) -> str:
        """The colour of a trace, quoted; empty where the template gives it."""
        return "" if self.template else f'"{self.style.palette[number]}"'

    def coloured(self, name: str, number: int) -> str:
        """An argument that gives something the colour of a trace, or nothing where the template does."""
        return f"{name}={self.colour(number)}" if not self.template else ""

    def palette(self, number: int) -> str:
        """The colours of some marks as a list."""
        return text_list(self.style.palette[:number])

    def put_data(self, *lines: str) -> None:
        """Add definitions before the traces."""
        self._data += lines

    def put_values(self, table: Table, labels: str = "labels", values: str = "values") -> tuple[float, ...]:
        """Define the data of a table of a single series; returns its values."""
        (column,) = columns_of(table)
        self.put_data(f"{labels} = {text_list(table.labels)}", f"{values} = {number_list(column)}")
        return column

    def put_series(self, table: Table) -> None:
        """Define the data of a table as `labels` and `series`, and a colour for each series as `colors`."""
        columns = zip(table.series, columns_of(table), strict=True)
        rows = [f"    {quoted(name)}: {number_list(column)}," for name, column in columns]
        self.put_data(f"labels = {text_list(table.labels)}", "series = {", *rows, "}")
        if not self.template:
            self.put_data(f"colors = {self.palette(len(table.series))}")

    def put_trace(self, kind: str, *arguments: str) -> None:
        """Add a trace, such as a `Bar`."""
        self._traces.append(call(f"go.{kind}", *arguments))

    def put_traces(self, kind: str, *arguments: str) -> None:
        """Add a trace for each `name, values` of the `series`; in the arguments, `{colour}` is its colour."""
        written = [argument for argument in arguments if not (self.template and "{colour}" in argument)]
        trace = call(f"go.{kind}", *(argument.replace("{colour}", "color") for argument in written))
        head = "for name, values in series.items():"
        if any("{colour}" in argument for argument in written):
            head = "for color, (name, values) in zip(colors, series.items()):"
        self._traces_loop = [head, indent(call("fig.add_trace", trace), "    ")]

    def put_layout(self, *arguments: str) -> None:
        """Add arguments of `update_layout`."""
        self._layout += arguments

    def put_look(self, line: str) -> None:
        """Add a call after the layout."""
        self._looks.append(line)

    def legend(self, names: Sequence[str]) -> None:
        """A legend of traces of these names, where the style says."""
        style = self.style
        if style.legend == "right":
            self._legend = max(style.font.width(name, style.label_size) for name in names) + 50
        elif style.legend == "top":
            self.put_layout('legend=dict(orientation="h", x=0, y=1.02, yanchor="bottom")')
        else:
            self.put_layout('legend=dict(orientation="h", yref="container", y=0.02, yanchor="bottom")')

    def table_axes(self, table: Table, rng: random.Random, horizontal: bool = False) -> Literal["x", "y"]:
        """The axes of a table's labels and of its values; returns the former."""
        name = rng.choice(("", table.label))
        label, value = ("y", "x") if horizontal else ("x", "y")
        labels = f"{label}axis_title={quoted(name)}" if name else ""
        values = f"{value}axis_title={quoted(table.measure)}"
        self.put_layout(*filter(None, (values, labels) if horizontal else (labels, values)))
        # Plotly would take "2019" for a number, and leave out some labels where they are many.
        kinds = ['type="category"'] if any(text[:1].isdigit() for text in table.labels) else []
        if len(table.labels) > 7:
            kinds.append("dtick=1")
        self._axis(label, False, *kinds)
        self._axis(value, True)
        return "y" if horizontal else "x"

    def number_axes(self, x: str, y: str) -> None:
        """Two axes of numbers."""
        self.put_layout(f"xaxis_title={quoted(x)}", f"yaxis_title={quoted(y)}")
        self._axis("x", True)
        self._axis("y", True)

    def _axis(self, name: str, has_values: bool, *arguments: str) -> None:
        """The look of an axis, after arguments of its own."""
        style = self.style
        look = ['ticks="outside"', *arguments] if self._has_ticks else list(arguments)
        if not self.template:
            if style.grid == "none" or (style.grid == "values" and not has_values):
                look.append("showgrid=False")
            else:
                look += [f'gridcolor="{style.grid_colour}"', *(['griddash="dash"'] if style.dashed else [])]
            if has_values:
                look.append(f'zerolinecolor="{style.grid_colour}"')
            if style.frame:
                look += ["showline=True", f'linecolor="{style.axis}"', "mirror=True"]
            elif not has_values:
                look += ["showline=True", f'linecolor="{style.axis}"']
        if look:
            self._looks.append(call(f"fig.update_{name}axes", *look))

    def text(self) -> str:
        """The script."""
        head = ["import plotly.graph_objects as go", "", *self._data, ""]
        if not self._traces:
            head.append("fig = go.Figure()")
        elif len(self._traces) == 1:
            head.append(call("fig = go.Figure", self._traces[0]))
        elif self._in_one:
            head.append(
                "fig = go.Figure([\n" + "".join(f"{indent(trace, '    ')},\n" for trace in self._traces) + "])"
            )
        else:
            head.append("fig = go.Figure()")
            head += [call("fig.add_trace", trace) for trace in self._traces]
        layout = call("fig.update_layout", *self._common_layout())
        return "\n".join((*head, *self._traces_loop, layout, *self._looks, "fig.show()")) + "\n"

    def _common_layout(self) -> list[str]:
        style = self.style
        x, anchor = {"start": ("0.03", "left"), "middle": ("0.5", "center"), "end": ("0.97", "right")}[
            style.title_anchor
        ]
        left, right, top, bottom = (55, 25, style.title_size + 40, 50) if self._has_margins else (80, 80, 100, 80)
        if style.legend != "right" and any(argument.startswith("legend=") for argument in self._layout):
            top, bottom = (top + 25, bottom) if style.legend == "top" else (top, bottom + 35)
        title_width = style.font.width(self._title, style.title_size) * 1.1 + 40
        width = max(style.width + left + right + self._legend, title_width)
        colours = [f'font=dict(family={quoted(style.font.name)}, size={style.label_size}, color="{style.ink}")']
        if self.template:
            colours = [f"font=dict(family={quoted(style.font.name)}, size={style.label_size})"]
            if self.template != "plotly":
                colours.insert(0, f'template="{self.template}"')
        else:
            colours += [f'paper_bgcolor="{style.background}"', f'plot_bgcolor="{style.background}"']
        return [
            f'title=dict(text={quoted(self._title)}, x={x}, xanchor="{anchor}", font_size={style.title_size})',
            *self._layout,
            f"width={round(width / 10) * 10}",
            f"height={style.height + top + bottom}",
            *colours,
            *([f"margin=dict(l={left}, r={right}, t={top}, b={bottom})"] if self._has_margins else []),
        ]
