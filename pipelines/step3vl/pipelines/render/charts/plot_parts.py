"""What the families of matplotlib charts share: the code as a person would write it, and what is known of it.

The data are lists, a few calls follow, and the look is in `plt.rcParams`. `PlotReading`s say how the artists show the
values, so that the renderer can read them back.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import columns_of
from step3vl.pipelines.sources.tables.tables import Table, format_number

PlotChannel = Literal[
    "bar_y", "bar_x", "height", "width", "line_y", "point_x", "point_y", "angle", "text", "radius", "stem"
]


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


def number_list(values: Iterable[float]) -> str:
    return "[" + ", ".join(map(format_number, values)) + "]"


def text_list(names: Sequence[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Script:
    """Lines of a script.

    Args:
        style: How the plot looks.
        title: Of the plot.
        polar: Whether its axes are polar.
        numpy: Whether the script uses numpy.
    """

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
            f'    "font.family": {quoted(style.font.name)}, "font.size": {style.label_size * 0.72:.1f},',
            f'    "text.color": "{style.ink}", "axes.labelcolor": "{style.ink}", "axes.edgecolor": "{style.axis}",',
            f'    "xtick.color": "{style.ink}", "ytick.color": "{style.ink}", "axes.facecolor": "{style.background}",',
            *(['    "axes.unicode_minus": False,'] if not style.font.covers("−") else []),
            "})",
            f'fig, ax = plt.subplots(figsize={size}, dpi={dpi}, facecolor="{style.background}", '
            f'layout="constrained"{projection})',
        ]
        location = {"start": ', loc="left"', "middle": "", "end": ', loc="right"'}[style.title_anchor]
        self.title = f"ax.set_title({quoted(title)}, fontsize={style.title_size * 0.72:.1f}{location})"

    def put(self, *lines: str) -> None:
        """Add lines after the data."""
        self.body += lines

    def put_values(self, table: Table) -> tuple[float, ...]:
        """Add the data of a table of one series as `labels` and `values`; returns the latter."""
        (values,) = columns_of(table)
        self.data += [f"labels = {text_list(table.labels)}", f"values = {number_list(values)}"]
        return values

    def put_series(self, table: Table) -> None:
        """Add the data of a table as `labels` and `series`, and a colour for each series as `colors`."""
        columns = zip(table.series, columns_of(table), strict=True)
        rows = [f"    {quoted(name)}: {number_list(column)}," for name, column in columns]
        self.data += [f"labels = {text_list(table.labels)}", "series = {", *rows, "}"]
        self.put(f"colors = {text_list(self.style.palette[: len(table.series)])}")

    def table_axes(self, table: Table, rng: random.Random, horizontal: bool = False) -> None:
        """The axes of a table's labels and of its values."""
        name = rng.choice(("", table.label))
        if horizontal:
            self.axes(table.measure, name, "x")
        else:
            self.axes(name, table.measure, "y", table.labels)

    def axes(self, x: str, y: str, value_axis: str, names: Sequence[str] = ()) -> None:
        """Titles of the axes, grid and spines; `names` are the labels along x."""
        style = self.style
        if names:
            self.turn_labels(names, 0.9)
        if x:
            self.put(f"ax.set_xlabel({quoted(x)})")
        if y:
            self.put(f"ax.set_ylabel({quoted(y)})")
        if style.grid != "none":
            axis = "" if style.grid == "both" else f'axis="{value_axis}", '
            dash = ', linestyle="--"' if style.dashed else ""
            self.put(f'ax.grid({axis}color="{style.grid_colour}"{dash})', "ax.set_axisbelow(True)")
        if not style.frame:
            self.put('ax.spines[["top", "right"]].set_visible(False)')

    def turn_labels(self, names: Sequence[str], share: float) -> None:
        """Turn the labels along x where they would not fit side by side into that share of the width."""
        style = self.style
        widest = max(style.font.width(name, style.label_size) for name in names)
        if widest + 6 > style.width * share / len(names):
            self.put('plt.setp(ax.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")')

    def legend(self) -> None:
        """The legend where the style says."""
        place = {"right": 'loc="outside right upper"', "top": 'loc="outside upper right", ncols=3',
                 "bottom": 'loc="outside lower center", ncols=3'}[self.style.legend]  # fmt: skip
        self.put(f'fig.legend({place}, facecolor="{self.style.background}")')

    def text(self) -> str:
        """The script."""
        return "\n".join((*self.head, *self.data, *self.body, self.title, "plt.show()")) + "\n"
