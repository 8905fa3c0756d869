"""Every family of Vega-Lite charts is rendered and read back; a label that says something else is refused."""

import io
import json
from dataclasses import replace

import pytest
from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.charts.chart_style import ChartStyle, pick_style
from step3vl.pipelines.render.charts.vega import VegaRenderer, format_spec
from step3vl.pipelines.render.charts.vega_charts import TABLE_CHARTS
from step3vl.pipelines.render.charts.vega_parts import Chart
from step3vl.pipelines.render.charts.vega_ranges import POINT_CHARTS, RANGE_CHARTS
from step3vl.pipelines.render.colours import rgb
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import Points, Table, make_points, make_table

CHARTS = TABLE_CHARTS | RANGE_CHARTS


@pytest.fixture(scope="module")
def renderer(families: list[FontFamily]) -> VegaRenderer:
    return VegaRenderer(families)


def make(name: str, number: int, families: list[FontFamily]) -> tuple[Chart, ChartStyle]:
    rng = rng_for(0, name, number)
    if name in CHARTS:
        family = CHARTS[name]
        table: Table = make_table(family.kind, rng.randint(*family.series), rng)
        style = pick_style([f for f in families if f.covers(table.texts())], (240, 520), (180, 360), rng)
        return family.build(table, style, rng), style
    cloud = POINT_CHARTS[name]
    points: Points = make_points(rng, rng.randint(*cloud.groups), rng.randint(*cloud.number))
    style = pick_style([f for f in families if f.covers(points.texts())], (240, 520), (180, 360), rng)
    return cloud.build(points, style, rng), style


@pytest.mark.parametrize("name", [*CHARTS, *POINT_CHARTS])
def test_a_chart_is_read_back_from_the_image(name: str, families: list[FontFamily], renderer: VegaRenderer) -> None:
    kept = 0
    for number in range(6):
        try:
            chart, style = make(name, number, families)
            figure = renderer.figure(chart, format_spec(chart.spec), style.scale)
        except Dropped:
            continue
        kept += 1
        assert figure.read_back is not None and figure.read_back < 0.02
        assert {element.text for element in figure.elements} >= set(chart.texts)
        assert renderer.render(format_spec(chart.spec), style.scale) == figure.png
        if chart.table is not None and "share" not in chart.steps:
            rows = chart.spec["data"]["values"]
            assert chart.table.csv().count("\n") == len(rows) / (len(chart.table.series) if "series" in rows[0] else 1)
        if kept == 2:
            break
    assert kept


def test_a_renderer_of_a_process_that_has_had_others_renders_the_same(
    families: list[FontFamily], renderer: VegaRenderer
) -> None:
    chart, style = make("bar", 0, families)
    code = format_spec(chart.spec)
    images = [VegaRenderer(families).render(code, style.scale) for _ in range(2)]
    assert images == [renderer.render(code, style.scale)] * 2


def test_the_ends_of_bars_are_where_the_pixels_end(families: list[FontFamily], renderer: VegaRenderer) -> None:
    chart, style = make("bar", 3, families)
    figure = renderer.figure(chart, format_spec(chart.spec), style.scale)
    colour = rgb(chart.spec["mark"]["color"])
    with PILImage.open(io.BytesIO(figure.png)) as image:
        pixels = image.convert("RGB")
    for mark in (element for element in figure.elements if element.role == "mark"):
        x = int((mark.box[0] + mark.box[2]) / 2)
        column = [y for y in range(pixels.height) if pixels.getpixel((x, y)) == colour]
        assert abs(column[0] - mark.box[1]) <= 1.5 and abs(column[-1] + 1 - mark.box[3]) <= 1.5


def test_a_label_with_another_value_is_refused(families: list[FontFamily], renderer: VegaRenderer) -> None:
    chart, style = make("bar", 3, families)
    other = json.loads(format_spec(chart.spec))
    field = chart.readings[0].field
    other["data"]["values"][0][field] *= 2
    with pytest.raises(ValueError, match="does not parse to the chart"):
        renderer.figure(chart, format_spec(other), style.scale)


def test_marks_against_a_scale_that_is_not_shown_are_refused(
    families: list[FontFamily], renderer: VegaRenderer
) -> None:
    chart, style = make("bar", 3, families)
    spec = json.loads(format_spec(chart.spec))
    spec["encoding"]["y"]["axis"] = None
    with pytest.raises(Dropped, match="axis_not_readable"):
        renderer.figure(replace(chart, spec=spec), format_spec(spec), style.scale)


def test_hidden_labels_are_noticed(families: list[FontFamily], renderer: VegaRenderer) -> None:
    chart, style = make("bar", 3, families)
    with pytest.raises(Dropped, match="text_not_shown"):
        renderer.figure(replace(chart, texts=(*chart.texts, "Nowhere")), format_spec(chart.spec), style.scale)
