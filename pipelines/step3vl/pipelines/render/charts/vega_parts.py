"""What the families of charts share: specifications of Vega-Lite from a table and a style.

A chart says all that its specification says: values stand on the marks as labels, or are multiples of a step that can
be told from the axis. `Reading`s say how a mark shows its value, so that the renderer can read it back.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.charts.chart_values import readable_step, value_span
from step3vl.pipelines.sources.tables.tables import Table

Spec = dict[str, Any]
Channel = Literal["x", "y", "x2", "y2", "bar_x", "bar_y", "width", "height", "angle", "text"]


@dataclass(frozen=True)
class Reading:
    """How marks of a type show a value.

    Attributes:
        mark: Vega's type of the mark: `rect`, `symbol`, `line`, `area`, `rule`, `arc`, `text`.
        channel: What of the mark shows it; `bar_y` is the end of a bar that starts at zero.
        field: The field of the data that has it.
        title: The name of the field in the chart, by which marks describe themselves.
        rise: The colour of bars whose first value is the lower one; empty where bars have no direction.
    """

    mark: str
    channel: Channel
    field: str
    title: str
    rise: str = ""


@dataclass(frozen=True)
class Chart:
    """A specification and what is known of it.

    Attributes:
        spec: In Vega-Lite 5.
        readings: At least one for each value that the chart shows.
        steps: Of each field that is read: its values are multiples of it.
        texts: Texts that the chart must show.
        labelled: Whether every value stands beside its mark.
        table: With the values as the chart shows them; None where it has no table.
    """

    spec: Spec
    readings: tuple[Reading, ...]
    steps: Mapping[str, float]
    texts: tuple[str, ...]
    labelled: bool
    table: Table | None = None


def key(name: str) -> str:
    """A field's name from a column's: `Age group` becomes `age_group`; texts without Latin characters stay."""
    slug = re.sub(r"[^a-z0-9]+", "_", name.partition(" (")[0].lower()).strip("_")
    return slug or re.sub(r"[\s().%]+", "", name)


def snap_values(table: Table, style: ChartStyle, pixels: float, stacked: bool = False) -> tuple[Table, float]:
    """The table with values that can be read off an axis of that length, and the step of its values."""
    step = readable_step(1.2 * value_span(table, stacked), pixels * style.scale, table.decimals)
    return table.rounded(step), step


def long_rows(table: Table, label: str, value: str, series: str = "") -> list[dict[str, Any]]:
    """The table as rows of one value."""
    rows = []
    for name, row in zip(table.labels, table.values, strict=True):
        for column, number in zip(table.series, row, strict=True):
            rows.append({label: name, **({series: column} if series else {}), value: json_number(number)})
    return rows


def json_number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def config(style: ChartStyle) -> Spec:
    """The look of a chart as Vega-Lite's `config`."""
    axis: Spec = {
        "labelColor": style.ink,
        "titleColor": style.ink,
        "domainColor": style.axis,
        "tickColor": style.axis,
        "labelFontSize": style.label_size,
        "titleFontSize": style.label_size + 1,
        "grid": style.grid == "both",
    }
    if style.grid != "none":
        axis["gridColor"] = style.grid_colour
        if style.dashed:
            axis["gridDash"] = [3, 3]
    return {
        "font": style.font.name,
        "background": style.background,
        "view": {"stroke": style.axis if style.frame else None},
        "title": {"fontSize": style.title_size, "color": style.ink, "anchor": style.title_anchor},
        "axis": axis,
        "axisQuantitative": {"grid": style.grid != "none"},
        "legend": {
            "labelColor": style.ink,
            "titleColor": style.ink,
            "labelFontSize": style.label_size,
            "orient": style.legend,
        },
    }


def make_spec(title: str, style: ChartStyle, values: list[dict[str, Any]], body: Spec) -> Spec:
    plot: Spec = {"width": style.width, "height": style.height}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        **({} if "width" in body else plot),
        "data": {"values": values},
        **body,
        "config": config(style),
    }


def labels_axis(table: Table, style: ChartStyle, vertical: bool, rng: random.Random) -> Spec:
    """The encoding of the labels, turned where they would not fit side by side."""
    encoding: Spec = {
        "field": key(table.label),
        "type": "ordinal" if table.kind == "time" else "nominal",
        "sort": None,
        "title": None if rng.random() < 0.3 else table.label,
    }
    if not vertical:
        widest = max(style.font.width(label, style.label_size) for label in table.labels)
        room = style.width / len(table.labels)
        encoding["axis"] = {"labelAngle": 0 if widest + 4 < room else rng.choice((-45, -90))}
    return encoding


def value_axis(title: str, field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **more}


def value_key(table: Table) -> str:
    value = key(table.measure)
    return value if value not in (key(table.label), "series") else "value"


def make_mark(kind: str, style: ChartStyle, **more: Any) -> Spec:
    """A mark in the first colour."""
    stroke = {"strokeWidth": style.line_width} if kind in ("line", "rule") else {}
    return {"type": kind, **more, **stroke, "color": style.palette[0]}


def colour_scale(style: ChartStyle, number: int) -> Spec:
    return {
        "field": "series",
        "type": "nominal",
        "sort": None,
        "scale": {"range": list(style.palette[:number])},
        "title": None,
    }
