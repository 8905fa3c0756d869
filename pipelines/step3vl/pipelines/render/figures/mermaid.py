"""Mermaid diagrams in this process, by `mermaid-render`, and the proof that an image shows what its source says.

The SVG tells where nodes and lines are. Which nodes a line connects is read from where it ends, and must be what the
source was written from; the texts must be those of the source, and are found in the pixels: whole, apart from one
another and clear of lines. Fonts and colours are ours, so that the diagrams share the style space of the charts.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.chart_style import ChartStyle
from step3vl.pipelines.render.colours import contrast, mix
from step3vl.pipelines.render.figures.figure import Element, Figure, PixelBox, check_texts, encode_png
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply, style_traits
from step3vl.pipelines.render.figures.mermaid_kinds import MERMAID_DIAGRAMS, MermaidDiagram
from step3vl.pipelines.render.svg import SVG, SvgRenderer

_THEMES = ("redux-color", "default", "dark", "neutral", "forest")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NEAR = 16.0  # units that a line may end away from the node that it is connected to


class MermaidMaker:
    """Diagrams as Mermaid sources."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._render = require("mermaid_render", "pipelines").mermaid_to_svg
        self._renderer = SvgRenderer(supply.families)

    def families(self) -> list[str]:
        return list(MERMAID_DIAGRAMS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        diagram = MERMAID_DIAGRAMS[family](rng)
        style = self._supply.style("".join(diagram.texts), rng)
        theme = rng.choice(_THEMES)
        figure = self._figure(
            diagram, theme, style if rng.random() < 0.6 else None, style, rng.choice((1.0, 1.25, 1.5))
        )
        traits = style_traits(style, diagram.code) | {"theme": theme}
        return MadeFigure(
            f"mermaid.{family}", "mermaid", diagram.code, diagram.table, "", figure, "generated", "CC0-1.0",
            traits=traits,
        )  # fmt: skip

    def _figure(
        self, diagram: MermaidDiagram, theme: str, colours: ChartStyle | None, style: ChartStyle, zoom: float
    ) -> Figure:
        raw: bytes = self._render(diagram.code, theme=theme)
        root = ElementTree.fromstring(raw)
        names = dict(re.findall(r"--(_\w+):(#[0-9A-Fa-f]{6})", root.attrib.pop("style", "")))
        root.attrib |= {"font-family": style.font.name, "font-size": "16"}
        svg = ElementTree.tostring(root, encoding="unicode")
        if diagram.edges is not None:
            read = [edge if diagram.directed else tuple(sorted(edge)) for edge in read_edges(root)]
            meant = [edge if diagram.directed else tuple(sorted(edge)) for edge in diagram.edges]
            if sorted(read) != sorted(meant):
                raise Dropped("edges_differ")
        background = names.get("_bg", "#ffffff")
        if colours is not None:
            svg, background = _recoloured(svg, names, colours), colours.background
        texts = self._renderer.texts(svg, zoom)
        if Counter(text.text for text in texts) != Counter(diagram.texts):
            raise Dropped("texts_differ")
        pixels = self._renderer.pixels(svg, zoom, background)
        elements = tuple(Element("node_label", text.text, text.box) for text in texts)
        check_texts(elements, pixels.size)
        self._renderer.check_clear(svg, zoom, texts, background)
        return Figure(encode_png(pixels), pixels.size, elements, 0.0)


def read_edges(root: Any) -> list[tuple[str, str]]:
    """The nodes that each line connects, by where it begins and ends; in a sequence diagram, by their lifelines."""
    nodes = {node.get("data-id"): box for node in _nodes(root) if (box := _extent(node)) is not None}
    if "pele-sequence" in root.get("class"):
        middles = {name: (box[0] + box[2]) / 2 for name, box in nodes.items()}
        nodes = {name: (x, -math.inf, x, math.inf) for name, x in middles.items()}
    edges = []
    for edge in root.iter(f"{SVG}g"):
        if "pele-edge" not in (edge.get("class") or "").split():
            continue
        paths = [path for path in edge.findall(f"{SVG}path") if "pele-marker" not in (path.get("class") or "")]
        if not paths:
            continue
        start, end = _ends(paths[0].get("d"))
        edges.append((_nearest(nodes, *start), _nearest(nodes, *end)))
    return edges


def _ends(path: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a path with absolute commands begins and ends."""
    points: list[tuple[float, float]] = []
    for command, rest in re.findall(r"([A-Z])([^A-Z]*)", path):
        numbers = [float(value) for value in _NUMBER.findall(rest)]
        if command == "H":
            points.append((numbers[-1], points[-1][1]))
        elif command == "V":
            points.append((points[-1][0], numbers[-1]))
        elif numbers:
            points.append((numbers[-2], numbers[-1]))
    return points[0], points[-1]


def _nodes(root: Any) -> Iterator[Any]:
    for node in root.iter(f"{SVG}g"):
        if "pele-node" in (node.get("class") or "").split() and node.get("data-id"):
            yield node


def _extent(node: Any) -> PixelBox | None:
    """The box of a node's outline."""
    x, y = (float(value) for value in _NUMBER.findall(node.get("transform") or "0,0")[:2])
    for shape in node.iter():
        tag = shape.tag.removeprefix(SVG)
        if tag == "rect":
            left, top, width, height = (float(shape.get(name) or 0) for name in ("x", "y", "width", "height"))
            return x + left, y + top, x + left + width, y + top + height
        if tag == "circle":
            cx, cy, r = (float(shape.get(name) or 0) for name in ("cx", "cy", "r"))
            return x + cx - r, y + cy - r, x + cx + r, y + cy + r
        if tag in ("polygon", "path"):
            values = [float(value) for value in _NUMBER.findall(shape.get("points") or shape.get("d"))]
            if tag == "path" and re.search("[AaHhVv]", shape.get("d")):
                side = max(map(abs, values))
                return x - side, y - side, x + side, y + side
            return x + min(values[::2]), y + min(values[1::2]), x + max(values[::2]), y + max(values[1::2])
    return None


def _nearest(nodes: dict[str, PixelBox], x: float, y: float) -> str:
    def distance(box: PixelBox) -> float:
        return math.hypot(max(box[0] - x, 0, x - box[2]), max(box[1] - y, 0, y - box[3]))

    name = min(nodes, key=lambda name: (distance(nodes[name]), name))
    if distance(nodes[name]) > _NEAR:
        raise Dropped("line_ends_nowhere")
    return name


def _recoloured(svg: str, names: dict[str, str], style: ChartStyle) -> str:
    """The image in the colours of a style.

    Args:
        svg: The image.
        names: The colours of its theme by their names.
        style: That it takes its colours from.
    """
    accents = [colour for colour in style.palette if contrast(colour, style.background) > 1.8] or [style.ink]
    new = {
        "_b": accents[0],
        "_c": accents[0],
        "_a": mix(accents[-1], style.background, 0.2),
        "_s": mix(accents[0], style.background, 0.2),
        "_m": style.ink,
        "_l": style.ink,
        "_fg": style.ink,
        "_bg": style.background,
    }
    old = {names[name].upper(): colour for name, colour in new.items() if name in names}
    return re.sub(r"#[0-9A-Fa-f]{6}\b", lambda match: old.get(match[0].upper(), match[0]), svg)
