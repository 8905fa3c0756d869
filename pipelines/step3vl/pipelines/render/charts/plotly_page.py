"""Plotly charts in Chromium, and what the page then shows: texts and marks as the browser has laid them out.

Nothing is taken from Plotly's own account of the chart. Texts are asked of the elements of its SVG, with their
baselines; marks are the paths of its traces, in the pixels of the page.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path.parser import parse_path

from step3vl.data.optional import require
from step3vl.pipelines.render.colours import rgb
from step3vl.pipelines.render.figures.figure import Corners, PixelBox, box_of
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.render.web.browser import BrowserRenderer

MIDDLE = 0.35  # of the size of a font: from its baseline to the middle of a line, as Plotly centres labels
_ASCENT, _DESCENT = 0.74, 0.2  # likewise: of Latin text without accents
_SHOW = """async figure => {
  const old = document.querySelector('#chart');
  if (old) Plotly.purge(old);
  document.body.innerHTML = '<div id="chart"></div>';
  document.body.style.margin = '0';
  const chart = document.querySelector('#chart');
  await Plotly.newPlot(chart, figure.data, figure.layout, {staticPlot: true});
  await Promise.all([...chart.querySelectorAll('image')].map(image => image.decode()));
  const matrix = node => {
    const m = node.getScreenCTM();
    return [m.a, m.b, m.c, m.d, m.e, m.f];
  };
  const classes = node => {
    const names = [];
    for (; node !== chart; node = node.parentNode) names.push(...node.classList);
    return names;
  };
  const opacity = node => {
    let product = 1;
    for (; node !== chart; node = node.parentNode) {
      const look = getComputedStyle(node);
      if (look.display === 'none' || look.visibility !== 'visible') return 0;
      product *= parseFloat(look.opacity);
    }
    return product;
  };
  const texts = [], marks = [];
  for (const node of chart.querySelectorAll('text')) {
    if (!node.textContent.trim() || opacity(node) === 0) continue;
    const lines = node.querySelectorAll('tspan.line');
    for (const line of lines.length ? lines : [node]) {
      if (!line.textContent.trim()) continue;
      const start = line.getStartPositionOfChar(0), look = getComputedStyle(line);
      texts.push({text: line.textContent, classes: classes(node), matrix: matrix(node), x: start.x, y: start.y,
                  length: line.getComputedTextLength(), size: parseFloat(look.fontSize), family: look.fontFamily});
    }
  }
  for (const node of chart.querySelectorAll('.trace path, .slice path, .radial-grid path, .heatmaplayer image')) {
    if (opacity(node) === 0) continue;
    const look = getComputedStyle(node), box = node.getBBox();
    marks.push({classes: classes(node), matrix: matrix(node), path: node.getAttribute('d') || '',
                box: [box.x, box.y, box.x + box.width, box.y + box.height], fill: look.fill, stroke: look.stroke,
                opacity: opacity(node) * parseFloat(look.fillOpacity)});
  }
  return {texts, marks};
}"""

_ROLES = {
    "gtitle": "title",
    "xtitle": "axis_title",
    "ytitle": "axis_title",
    "xtick": "tick_label",
    "ytick": "tick_label",
    "angularaxistick": "tick_label",
    "radialaxistick": "tick_label",
    "legendtext": "legend_label",
}


@dataclass(frozen=True)
class PageText:
    """A line of text on the page.

    Attributes:
        text: What it says.
        role: As `Element` names it.
        classes: Of its element and of those around it.
        corners: In pixels of the page.
        middle: Likewise, in the way that Plotly centres it.
        family: The font, as CSS names it.
    """

    text: str
    role: str
    classes: frozenset[str]
    corners: Corners
    middle: tuple[float, float]
    family: str

    @property
    def box(self) -> PixelBox:
        return box_of(self.corners)


@dataclass(frozen=True)
class PageMark:
    """A path of a trace.

    Attributes:
        classes: Of its element and of those around it.
        points: The ends of its segments, in pixels of the page.
        box: Around it without its stroke, likewise.
        origin: Where its coordinates begin, likewise; symbols stand around it.
        fill: Its colour; empty where it has none.
        stroke: Likewise, of its line.
        is_opaque: Whether nothing is seen through it.
    """

    classes: frozenset[str]
    points: tuple[tuple[float, float], ...]
    box: PixelBox
    origin: tuple[float, float]
    fill: tuple[int, ...]
    stroke: tuple[int, ...]
    is_opaque: bool

    @property
    def middle(self) -> tuple[float, float]:
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass(frozen=True)
class PlotlyPage:
    """A chart as the browser shows it."""

    png: bytes
    texts: tuple[PageText, ...]
    marks: tuple[PageMark, ...]

    def marks_of(self, *classes: str) -> list[PageMark]:
        """The marks that have all of some classes, in the order of the document."""
        return [mark for mark in self.marks if mark.classes.issuperset(classes)]


class PlotlyBrowser:
    """Shows figures one after the other.

    Args:
        families: Every font that a figure may name.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        library: str = require("plotly.offline", "pipelines").get_plotlyjs()
        self._browser = BrowserRenderer(
            {family.name: family.regular.path for family in families},
            {family.name: family.bold.path for family in families if family.bold is not family.regular},
            [library],
        )

    def show(self, figure: str, family: str, scale: float) -> PlotlyPage:
        """Show a figure.

        Args:
            figure: In the JSON of Plotly, with a width and a height.
            family: Its font.
            scale: Pixels of the image for each of the figure's.
        """
        content: dict[str, Any] = json.loads(figure)
        size = content["layout"]["width"], content["layout"]["height"]
        text = json.dumps(content, ensure_ascii=False) + "0123456789.,−-%kMB"
        seen, png = self._browser.run(_SHOW, content, [family], text, size, scale)
        return PlotlyPage(png, tuple(map(_text, seen["texts"])), tuple(map(_mark, seen["marks"])))

    def close(self) -> None:
        """End the browser."""
        self._browser.close()


def _text(item: dict[str, Any]) -> PageText:
    x, y, length, size, matrix = (item[name] for name in ("x", "y", "length", "size", "matrix"))
    top, bottom = y - _ASCENT * size, y + _DESCENT * size
    corners = ((x, top), (x + length, top), (x + length, bottom), (x, bottom))
    classes = frozenset(item["classes"])
    role = next((role for name, role in _ROLES.items() if name in classes), "value_label")
    return PageText(
        item["text"],
        role,
        classes,
        tuple(_placed(corner, matrix) for corner in corners),
        _placed((x + length / 2, y - MIDDLE * size), matrix),
        item["family"],
    )


def _mark(item: dict[str, Any]) -> PageMark:
    matrix = item["matrix"]
    x1, y1, x2, y2 = item["box"]
    return PageMark(
        frozenset(item["classes"]),
        tuple(_placed(point, matrix) for point in path_points(item["path"])),
        box_of(tuple(_placed(corner, matrix) for corner in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))),
        _placed((0.0, 0.0), matrix),
        _colour(item["fill"]),
        _colour(item["stroke"]),
        item["opacity"] == 1,
    )


def path_points(path: str) -> list[tuple[float, float]]:
    """Where the segments of an SVG path end, in its order; an arc has some points along it, too."""
    pen = RecordingPen()
    parse_path(path, pen)
    return [points[-1] for _, points in pen.value if points]


def _placed(point: tuple[float, float], matrix: Sequence[float]) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    x, y = point
    return a * x + c * y + e, b * x + d * y + f


def _colour(text: str) -> tuple[int, ...]:
    """A colour as the browser computes it, such as `rgb(1, 2, 3)`; empty for a transparent one or none."""
    if text.startswith("#"):
        return rgb(text)
    if not text.startswith("rgb("):
        return ()
    return tuple(int(number) for number in text[4:-1].split(","))
