"""Charts of rectangles and lines, as Plotly renders them: values that differ from the pixels are found."""

import pytest
from PIL import Image, ImageDraw

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.render.charts.chart_pixels import check_pixels

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")


def code(trace: str, *traces: str, layout: str = "") -> str:
    figure = f"fig = go.Figure([{', '.join((trace, *traces))}])\nfig.update_layout(width=400, height=300, {layout})"
    return f"import plotly.graph_objects as go\n{figure}\nfig.show()\n"


def canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (400, 300), "white")
    return image, ImageDraw.Draw(image)


def bars(values: list[float], *, horizontal: bool = False) -> Image.Image:
    image, pen = canvas()
    for number, value in enumerate(values):
        start, length = 30 + 60 * number, round(8 * value)
        if horizontal:  # the first one is the lowest
            pen.rectangle((20, 270 - start, 20 + length, 300 - start), COLOURS[0])
        else:
            pen.rectangle((start, 280 - length, start + 30, 280), COLOURS[0])
    return image


@pytest.mark.parametrize("horizontal", [False, True])
def test_bars_must_be_as_long_as_their_values(horizontal: bool) -> None:
    axes = 'x={v}, y=["a", "b", "c"], orientation="h"' if horizontal else 'x=["a", "b", "c"], y={v}'
    image = bars([20, 12, 30], horizontal=horizontal)
    verdicts = [
        check_pixels(code(f'go.Bar({axes.format(v=values)}, marker_color="{COLOURS[0]}")'), image)
        for values in ([20, 12, 30], [2.0, 1.2, 3.0], [20, 13, 30], [12, 20, 30])
    ]
    assert verdicts == [None, None, "bars_differ", "bars_differ"]


def test_slices_must_be_as_large_as_their_values_each_in_its_colour() -> None:
    image, pen = canvas()
    start = 0.0
    for value, colour in zip((50, 30, 20), COLOURS, strict=False):
        pen.pieslice((100, 50, 300, 250), start, start + 3.6 * value, colour)
        start += 3.6 * value
    pie = 'go.Pie(labels=["a", "b", "c"], values={v}, sort=False, marker_colors=' + f"{list(COLOURS[:3])})"
    verdicts = [check_pixels(code(pie.format(v=v)), image) for v in ([50, 30, 20], [50, 20, 30], [53, 28, 19])]
    assert verdicts == [None, "areas_differ", "areas_differ"]


def test_tiles_must_be_as_large_as_their_values() -> None:
    image, pen = canvas()
    for box, colour in (((20, 20, 219, 259), COLOURS[0]), ((222, 20, 371, 259), COLOURS[1])):
        pen.rectangle(box, colour)
    tiles = 'go.Treemap(labels=["a", "b"], parents=["", ""], values={v}, marker_colors=' + f"{list(COLOURS[:2])})"
    assert check_pixels(code(tiles.format(v=[4, 3])), image) is None
    assert check_pixels(code(tiles.format(v=[3, 3])), image) == "areas_differ"


@pytest.mark.parametrize("mode", ["lines", "markers"])
def test_points_must_be_where_the_outermost_ones_tell(mode: str) -> None:
    image, pen = canvas()
    values = [10, 25, 15, 30, 20]
    points = [(50 + 70 * number, 270 - 8 * value) for number, value in enumerate(values)]
    if mode == "lines":
        pen.line(points, COLOURS[2], 3)
    else:
        for x, y in points:
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), COLOURS[2])
    trace = f'go.Scatter(x=["a", "b", "c", "d", "e"], y={{v}}, mode="{mode}", line_width=3, marker_size=11, '
    trace += f'{"line" if mode == "lines" else "marker"}_color="{COLOURS[2]}")'
    assert check_pixels(code(trace.format(v=values)), image) is None
    assert check_pixels(code(trace.format(v=[10, 25, 17, 30, 20])), image) == "points_differ"
    assert check_pixels(code(trace.format(v=[25, 10, 15, 30, 20])), image) == "points_differ"


def test_shapes_that_are_not_told_apart_are_not_checked() -> None:
    image = bars([20, 12, 30])
    line = f'go.Scatter(x=[1, 2], y=[1, 2], line_color="{COLOURS[0]}")'
    alike = 'go.Pie(labels=["a", "b"], values=[1, 2], sort=False, marker_colors=["#ff6361", "#f95d6a"])'
    for traces, reason in (
        ([f'go.Bar(x=["a"], y=[1], marker_color="{COLOURS[0]}")'], "shapes_not_separate"),
        ([line, line], "other_ink"),
        ([alike], "colours_alike"),
        (["go.Ohlc(x=[1], open=[1], high=[2], low=[0], close=[1])"], "kind_without_shapes"),
    ):
        with pytest.raises(Unchecked, match=reason):
            check_pixels(code(*traces), image)


def test_code_that_does_more_than_make_a_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="imports os"):
        check_pixels("import os\nfig.show()", canvas()[0])
