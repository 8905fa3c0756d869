"""Python code for Plotly, run in this process and shown by Chromium, and the proof that an image shows what its code
says.

The label itself is run: code that names nothing but Plotly. What it makes is shown by Plotly's own library in a page
without network. Texts and marks are then asked of the page; values are read back through the tick labels and compared
with those of the code, and the colours of bars and slices are looked up in the pixels.
"""

import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.plotly_page import PlotlyBrowser, PlotlyPage
from step3vl.pipelines.render.charts.plotly_parts import PlotlyChart
from step3vl.pipelines.render.charts.plotly_reading import check_labels, read_values
from step3vl.pipelines.render.charts.sandbox import check_code, run_script
from step3vl.pipelines.render.figures.figure import (
    Element,
    Figure,
    Spot,
    check_colours,
    check_read_back,
    check_texts,
    read_png,
    scaled,
)
from step3vl.pipelines.render.fonts import FontFamily

_MODULES = ("plotly.graph_objects",)
_OUTPUTS = ("show", "write", "to_image")  # what methods of figures that leave this process begin with
_LEAST_SIDE = 5  # pixels of a mark whose colour is looked up


class PlotlyRenderer:
    """Runs code and shows its figures with the fonts of a corpus.

    Args:
        families: Every font that the code may name.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        self._families = {family.name: family for family in families}
        self._browser = PlotlyBrowser(families)

    def close(self) -> None:
        """End the browser."""
        self._browser.close()

    def run(self, code: str) -> Any:
        """The figure that a script makes.

        Args:
            code: The script; it ends with `fig.show()`.

        Raises:
            ValueError: It does more than make a figure.
        """
        tree = check_code(code, _MODULES)
        if not tree.body or ast.unparse(tree.body.pop()) != "fig.show()":
            raise ValueError("the code does not end with fig.show()")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith(_OUTPUTS):
                raise ValueError(f"the code uses {node.attr}")
        return run_script(tree, _MODULES)["fig"]

    def figure(self, chart: PlotlyChart, scale: float) -> Figure:
        """Render a chart and prove that the image shows it.

        Args:
            chart: The script and what it should show.
            scale: Pixels of the image for each of the script's.

        Raises:
            Dropped: The image does not show what the code says, or not well.
        """
        figure = self.run(chart.code)
        family = self._families[figure.layout.font.family]
        page = self._browser.show(figure.to_json(), family.name, scale)
        texts = [
            Element(
                text.role, text.text, scaled(text.box, scale), tuple((x * scale, y * scale) for x, y in text.corners)
            )
            for text in page.texts
        ]
        if not family.covers("".join(element.text for element in texts)):
            raise Dropped("glyph_missing")
        if any(family.name not in text.family for text in page.texts):
            raise Dropped("other_font")
        pixels = read_png(page.png)
        check_texts(texts, pixels.size)
        if set(chart.texts) - {element.text for element in texts}:
            raise Dropped("text_not_shown")
        check_labels(chart, page)
        check_colours(_spots(page, scale), texts, pixels)
        error, resolution = _read_back(chart, page)
        marks = [Element("mark", "", scaled(mark.box, scale)) for mark in page.marks if "point" in mark.classes]
        return Figure(
            page.png,
            pixels.size,
            (*texts, *marks),
            round(error, 6),
            None if math.isinf(resolution) else resolution * scale,
        )


def _spots(page: PlotlyPage, scale: float) -> Iterator[Spot]:
    """The middle of each bar and tile that is not too thin."""
    for mark in page.marks_of("point"):
        x1, y1, x2, y2 = mark.box
        if mark.fill and mark.is_opaque and "bars" in mark.classes and min(x2 - x1, y2 - y1) * scale >= _LEAST_SIDE:
            yield mark.middle[0] * scale, mark.middle[1] * scale, mark.fill


def _read_back(chart: PlotlyChart, page: PlotlyPage) -> tuple[float, float]:
    """The largest error of all readings in steps, and the least pixels of a step (infinite where labels say all)."""
    error, resolution = 0.0, math.inf
    for reading in chart.readings:
        values_read, unit = read_values(reading, page)
        values = [value for column in reading.values for value in column]
        if len(values_read) != len(values):
            raise Dropped("marks_differ_from_data")
        error = max(error, check_read_back(list(zip(values_read, values, strict=True)), reading.step, unit))
        if unit is not None and not chart.labelled:
            resolution = min(resolution, unit * reading.step)
    return error, resolution
