"""Graphviz in a process of its own, and the proof that an image shows what its source says.

`graphviz-pure` is Graphviz 16 with its own fonts, and writes the same bytes on every machine. Its JSON output says
what it read of the source (nodes, edges, labels) and where each of them is; that must be the graph that the source was
written from.
"""

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.diagram_parts import Diagram, record_texts
from step3vl.pipelines.render.figures.figure import (
    Element,
    Figure,
    PixelBox,
    check_texts,
    corners_of,
    encode_png,
    is_inside,
    overlap,
    read_png,
)

_SECONDS = 20
_MARGIN = 4  # points around the layout, Graphviz's own


def graphviz_program() -> Path:
    """The program that the package graphviz-pure installs.

    Raises:
        UserError: It is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / "graphviz-pure"
    if not path.exists():
        raise UserError("this needs the package graphviz-pure; install it: pip install 'step3vl[pipelines]'")
    return path


class DiagramRenderer:
    """Renders Graphviz sources."""

    def __init__(self) -> None:
        self._program = graphviz_program()

    def run(self, code: str, format: str, engine: str, resolution: int) -> bytes:
        """What Graphviz makes of a source.

        Args:
            code: The source.
            format: `png` or `json`.
            engine: Of the layout.
            resolution: Dots per inch.

        Raises:
            ValueError: The source is wrong.
        """
        command = [str(self._program), f"-T{format}", f"-K{engine}", f"-Gdpi={resolution}"]
        done = subprocess.run(command, input=code.encode(), capture_output=True, timeout=_SECONDS, env={}, check=False)
        if done.returncode or not done.stdout:
            raise ValueError(done.stderr.decode(errors="replace").strip() or "graphviz-pure gave nothing")
        return done.stdout

    def figure(self, diagram: Diagram) -> Figure:
        """Render a diagram and prove that the image shows it.

        Raises:
            Dropped: The image does not show the graph, or not well.
        """
        pixels = read_png(self.run(diagram.code, "png", diagram.engine, diagram.resolution))
        layout = json.loads(self.run(diagram.code, "json", diagram.engine, diagram.resolution))
        _compare(diagram, layout)
        place = _Place(layout, diagram.resolution)
        elements = tuple(_elements(diagram, layout, place))
        check_texts(elements, pixels.size)
        _check_nodes(elements, pixels.size)
        return Figure(encode_png(pixels), pixels.size, elements, 0.0)


def _nodes(layout: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in layout.get("objects", []) if "pos" in item]


def _compare(diagram: Diagram, layout: dict[str, Any]) -> None:
    """Raise Dropped unless Graphviz read the graph that the source was written from."""
    names = {item["_gvid"]: item["name"] for item in layout.get("objects", [])}
    labels = {item["name"]: item["label"].replace("\\N", item["name"]) for item in _nodes(layout)}
    if labels != diagram.nodes:
        raise Dropped("nodes_differ")
    edges = [(names[item["tail"]], names[item["head"]], item.get("label", "")) for item in layout.get("edges", [])]
    if sorted(edges) != sorted(diagram.edges):
        raise Dropped("edges_differ")
    texts = [text for item in _nodes(layout) for text in _shown(item)]
    if sorted(texts) != sorted(text for label in diagram.nodes.values() for text in record_texts(label)):
        raise Dropped("text_not_shown")


def _shown(item: dict[str, Any]) -> list[str]:
    return [operation["text"] for operation in item.get("_ldraw_", []) if operation["op"] == "T"]


class _Place:
    """From points, with the origin at the bottom left, to pixels."""

    def __init__(self, layout: dict[str, Any], resolution: int) -> None:
        self._left, self._bottom, self._right, self._top = map(float, layout["bb"].split(","))
        self._scale = resolution / 72

    def box(self, x1: float, y1: float, x2: float, y2: float) -> PixelBox:
        return (
            (x1 - self._left + _MARGIN) * self._scale,
            (self._top - y2 + _MARGIN) * self._scale,
            (x2 - self._left + _MARGIN) * self._scale,
            (self._top - y1 + _MARGIN) * self._scale,
        )


def _elements(diagram: Diagram, layout: dict[str, Any], place: _Place) -> Iterator[Element]:
    for item in _nodes(layout):
        x, y = map(float, item["pos"].split(","))
        w, h = float(item["width"]) * 36, float(item["height"]) * 36
        yield Element("node", " ".join(_shown(item)), place.box(x - w, y - h, x + w, y + h))
    clusters = [item for item in layout.get("objects", []) if "pos" not in item]
    for role, items in (
        ("edge_label", layout.get("edges", [])),
        ("group_title", clusters),
        ("node_label", _nodes(layout)),
    ):
        for item in items:
            yield from (Element(role, text, place.box(*box)) for text, box in _text_boxes(item))


def _text_boxes(item: dict[str, Any]) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    size = 14.0
    for operation in item.get("_ldraw_", []):
        if operation["op"] == "F":
            size = float(operation["size"])
        elif operation["op"] == "T":
            x, y = operation["pt"]
            width = float(operation["width"])
            x -= {"c": width / 2, "r": width}.get(operation["align"], 0.0)
            yield operation["text"], (x, y - 0.2 * size, x + width, y + 0.75 * size)


def _check_nodes(elements: tuple[Element, ...], size: tuple[int, int]) -> None:
    """Raise Dropped unless nodes are inside the image, apart from one another and clear of edge labels."""
    nodes = [element for element in elements if element.role == "node"]
    labels = [element for element in elements if element.role == "edge_label"]
    for i, node in enumerate(nodes):
        if not is_inside(node.box, size):
            raise Dropped("node_clipped")
        if any(overlap(corners_of(node.box), corners_of(other.box)) > 2 for other in nodes[i + 1 :]):
            raise Dropped("nodes_overlap")
        if any(overlap(corners_of(node.box), corners_of(label.box)) > 3 for label in labels):
            raise Dropped("label_over_node")
