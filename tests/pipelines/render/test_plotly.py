"""Every family of Plotly charts is run, shown by Chromium and read back; code that does more than plot is refused."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.charts.chart_style import pick_style
from step3vl.pipelines.render.charts.plotly import PlotlyRenderer
from step3vl.pipelines.render.charts.plotly_charts import PLOTLY_CHARTS
from step3vl.pipelines.render.charts.plotly_page import path_points
from step3vl.pipelines.render.charts.plotly_parts import PlotlyChart
from step3vl.pipelines.render.charts.plotly_ranges import PLOTLY_POINTS, PLOTLY_RANGES
from step3vl.pipelines.render.charts.plotly_reading import tick_number
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import make_points, make_table

TABLE_FAMILIES = PLOTLY_CHARTS | PLOTLY_RANGES


@pytest.fixture(scope="module")
def renderer(families: list[FontFamily]) -> Iterator[PlotlyRenderer]:
    renderer = PlotlyRenderer(families)
    yield renderer
    renderer.close()


def make(name: str, number: int, families: list[FontFamily]) -> tuple[PlotlyChart, float]:
    rng = rng_for(0, name, number)
    data: Any
    if name in PLOTLY_POINTS:
        points = PLOTLY_POINTS[name]
        data, build = make_points(rng, rng.randint(*points.groups), rng.randint(*points.number)), points.build
    else:
        family = TABLE_FAMILIES[name]
        data, build = make_table(family.kind, rng.randint(*family.series), rng), family.build
    fonts = [font for font in families if font.covers(data.texts())]
    style = pick_style(fonts, (300, 520), (220, 360), rng)
    return build(data, style, rng), style.scale


def first(name: str, families: list[FontFamily], renderer: PlotlyRenderer) -> tuple[PlotlyChart, float]:
    """The first chart of a family that passes its checks."""
    for number in range(20):
        try:
            chart, scale = make(name, number, families)
            renderer.figure(chart, scale)
        except Dropped:
            continue
        return chart, scale
    raise AssertionError(f"no chart of {name} passes")


@pytest.mark.chromium
@pytest.mark.parametrize("name", [*TABLE_FAMILIES, *PLOTLY_POINTS])
def test_a_chart_is_read_back_from_its_page(name: str, families: list[FontFamily], renderer: PlotlyRenderer) -> None:
    chart, scale = first(name, families, renderer)
    figure = renderer.figure(chart, scale)
    assert figure.read_back is not None and figure.read_back < 0.1
    assert {element.text for element in figure.elements} >= set(chart.texts)
    assert renderer.figure(chart, scale).png == figure.png


@pytest.mark.chromium
@pytest.mark.parametrize("name", [*TABLE_FAMILIES])
def test_a_chart_that_shows_another_value_is_refused(
    name: str, families: list[FontFamily], renderer: PlotlyRenderer
) -> None:
    chart, scale = first(name, families, renderer)
    for reading in chart.readings:
        row = list(reading.values[-1])
        is_exact = reading.channel in ("text", "grid_text") or not chart.labelled
        row[0] += 1.5 * reading.step if is_exact else max(map(abs, row))
        other = replace(reading, values=(*reading.values[:-1], tuple(row)))
        with pytest.raises(Dropped, match="differ"):
            renderer.figure(replace(chart, readings=(other,)), scale)


@pytest.mark.chromium
def test_labels_in_another_order_are_refused(families: list[FontFamily], renderer: PlotlyRenderer) -> None:
    chart, scale = first("bar", families, renderer)
    code = chart.code.replace("fig.show()", 'fig.update_xaxes(categoryorder="total ascending")\nfig.show()')
    with pytest.raises(Dropped, match="labels_differ"):
        renderer.figure(replace(chart, code=code), scale)


@pytest.mark.chromium
def test_the_same_bytes_whatever_was_shown_before(families: list[FontFamily], renderer: PlotlyRenderer) -> None:
    charts = [first(name, families, renderer) for name in ("heatmap", "pie", "line_series")]
    images = [renderer.figure(*chart).png for chart in charts]
    assert [renderer.figure(*chart).png for chart in reversed(charts)] == images[::-1]
    renderer.close()
    assert [renderer.figure(*chart).png for chart in charts] == images


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os\nfig.show()", "imports os"),
        ("import plotly.io as pio\nfig.show()", "imports plotly.io"),
        ("import plotly.graph_objects as go\nfig = go.Figure()\nfig.write_html('a.html')\nfig.show()", "write_html"),
        ("import plotly.graph_objects as go\ngo.Figure().show()\nfig = go.Figure()\nfig.show()", "uses show"),
        ("import plotly.graph_objects as go\nfig = go.Figure()", "does not end"),
    ],
)
def test_code_that_does_more_than_make_a_figure_is_refused(
    code: str, message: str, families: list[FontFamily]
) -> None:
    with pytest.raises(ValueError, match=message):
        PlotlyRenderer(families).run(code)


@pytest.mark.parametrize(
    ("text", "number"), [("1.5k", 1500), ("2M", 2e6), ("−0.5", -0.5), ("1,000", 1000), ("Mon", None), ("k", None)]
)
def test_tick_labels_are_numbers_as_plotly_writes_them(text: str, number: float | None) -> None:
    assert tick_number(text) == number


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(-999, 999)), min_size=2, max_size=9))
def test_the_points_of_a_path_are_its_corners(points: list[tuple[int, int]]) -> None:
    path = "M" + "L".join(f"{x},{y}" for x, y in points)
    assert path_points(path) == [(float(x), float(y)) for x, y in points]
    relative = f"M{points[0][0]},{points[0][1]}"
    for (x1, y1), (x2, y2) in pairwise(points):
        relative += f"h{x2 - x1}v{y2 - y1}"
    assert path_points(relative)[::2] == [(float(x), float(y)) for x, y in points]
