"""Every family of matplotlib charts is run, rendered and read back; code that does more than plot is refused."""

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.charts.chart_style import pick_style
from step3vl.pipelines.render.charts.plot import PlotRenderer
from step3vl.pipelines.render.charts.plot_charts import PLOT_CHARTS, PLOT_POINTS
from step3vl.pipelines.render.charts.plot_parts import Plot
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import Points, Table, make_points, make_table


@pytest.fixture(scope="module")
def renderer(families: list[FontFamily]) -> PlotRenderer:
    return PlotRenderer(families)


def make(name: str, number: int, families: list[FontFamily]) -> Plot:
    rng = rng_for(0, name, number)
    if name in PLOT_POINTS:
        scatter = PLOT_POINTS[name]
        points: Points = make_points(rng, rng.randint(*scatter.groups), rng.randint(*scatter.number))
        fonts = [f for f in families if f.covers(points.texts())]
        return scatter.build(points, pick_style(fonts, (300, 520), (220, 360), rng), rng)
    family = PLOT_CHARTS[name]
    table: Table = make_table(family.kind, rng.randint(*family.series), rng)
    fonts = [f for f in families if f.covers(table.texts())]
    return family.build(table, pick_style(fonts, (300, 520), (220, 360), rng), rng)


@pytest.mark.parametrize("name", [*PLOT_CHARTS, *PLOT_POINTS])
def test_a_chart_is_read_back_from_its_artists(name: str, families: list[FontFamily], renderer: PlotRenderer) -> None:
    kept = 0
    for number in range(12):
        try:
            plot = make(name, number, families)
            figure = renderer.figure(plot)
        except Dropped:
            continue
        kept += 1
        assert figure.read_back is not None and figure.read_back < 0.1
        assert {element.text for element in figure.elements} >= set(plot.texts)
        assert renderer.figure(plot).png == figure.png
        if kept == 2:
            break
    assert kept


def test_a_plot_that_shows_other_values_is_refused(families: list[FontFamily], renderer: PlotRenderer) -> None:
    plot = make("line", 1, families)
    values = next(line for line in plot.code.splitlines() if line.startswith("values = "))
    first = values.partition("[")[2].partition(",")[0]
    other = plot.code.replace(values, values.replace(f"[{first},", f"[{float(first) * 1.5 + 1},", 1))
    with pytest.raises(Dropped, match="mark_differs_from_value"):
        renderer.figure(Plot(other, plot.readings, plot.texts, plot.labelled))
