"""Vega-Lite in this process, and the proof that an image shows what its specification says.

A specification is rendered as it stands in the label: the text is parsed, and what comes out is the image. The scene
graph then tells where every mark and text is. The values of marks are read back through the tick labels, as a person
would, and compared with those of the data; texts must be inside the image and apart from one another; and the colours
of bars and slices are looked up in the pixels.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

from step3vl.data.optional import require
from step3vl.pipelines.core.scratch import scratch_folder
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.charts.vega_parts import Chart, Reading, Spec
from step3vl.pipelines.render.colours import rgb
from step3vl.pipelines.render.figures.figure import (
    AxisScale,
    Element,
    Figure,
    PixelBox,
    Spot,
    box_of,
    check_colours,
    check_read_back,
    check_texts,
    fit_axis,
    parse_number,
    read_png,
    scaled,
    text_corners,
)
from step3vl.pipelines.render.fonts import FontFamily, private_copies

_VERSION = "5.20"
_ROLES = {
    "axis-label": "tick_label",
    "axis-title": "axis_title",
    "title-text": "title",
    "legend-label": "legend_label",
    "legend-title": "legend_title",
    "mark": "value_label",
    "column-header": "panel_title",
}


def format_spec(spec: Spec) -> str:
    """The specification as JSON text, with a row of data a line."""
    rows = spec["data"]["values"]
    body = json.dumps({**spec, "data": {"values": ["@"]}}, ensure_ascii=False, indent=2)
    lines = ",\n      ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return body.replace('"@"', lines, 1)


_REGISTERED: set[str] = set()  # Vega knows fonts until the process ends


def _register(family: FontFamily) -> None:
    """Make a font known to Vega, once in this process."""
    if family.private in _REGISTERED:
        return
    folder = scratch_folder("fonts")
    private_copies(family, folder)
    require("vl_convert", "pipelines").register_font_directory(str(folder))
    _REGISTERED.add(family.private)


class VegaRenderer:
    """Renders specifications with the fonts of a corpus.

    Args:
        families: Every font that a specification may name.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        os.environ.setdefault("TZ", "UTC")
        self._vega = require("vl_convert", "pipelines")
        self._families = {family.name: family for family in families}
        for family in families:
            _register(family)

    def render(self, code: str, scale: float) -> bytes:
        """The PNG of a specification, given as text.

        Args:
            code: JSON in Vega-Lite 5.
            scale: Pixels of the image for each of the specification's.
        """
        return self._png(self._compile(json.loads(code)), scale)

    def _compile(self, spec: Spec) -> Spec:
        """The specification in Vega, with the private name of its font."""
        config = {**spec["config"], "font": self._families[spec["config"]["font"]].private}
        vega: Spec = self._vega.vegalite_to_vega({**spec, "config": config}, vl_version=_VERSION)
        return vega

    def _png(self, vega: Spec, scale: float) -> bytes:
        png: bytes = self._vega.vega_to_png(vega, scale=scale)
        return png

    def figure(self, chart: Chart, code: str, scale: float) -> Figure:
        """Render a chart and prove that the image shows it.

        Args:
            chart: What `code` was written from.
            code: The label.
            scale: Pixels of the image for each of the specification's.

        Raises:
            Dropped: The image does not show what the code says, or not well.
        """
        spec = json.loads(code)
        if spec != chart.spec:
            raise ValueError("the label does not parse to the chart")
        vega = self._compile(spec)
        scene, png = self._vega.vega_to_scenegraph(vega), self._png(vega, scale)
        pixels = read_png(png)
        items = list(_items(scene["scenegraph"], *scene["origin"]))
        family = self._families[spec["config"]["font"]]
        elements = tuple(_elements(items, family, scale))
        texts = [element for element in elements if element.role in _ROLES.values()]
        if not family.covers("".join(element.text for element in texts)):
            raise Dropped("glyph_missing")
        check_texts(elements, pixels.size)
        if set(chart.texts) - {element.text for element in texts}:
            raise Dropped("text_not_shown")
        check_colours(_spots(items, scale), texts, pixels)
        error, resolution = _read_back(chart, items)
        return Figure(png, pixels.size, elements, error, None if resolution is None else resolution * scale)


class _Item(dict[str, Any]):
    """An item of the scene graph with its absolute place."""


def _items(
    node: dict[str, Any], x: float, y: float, mark: str = "", role: str = "", orient: str = ""
) -> Iterator[_Item]:
    """Every item that is seen, with its mark's type and role and its place in pixels of the specification."""
    if "marktype" in node:
        mark, role = node["marktype"], node.get("role") or role
        for item in node.get("items", []):
            yield from _items(item, x, y, mark, role, orient)
        return
    if mark != "group" and mark:
        if node.get("opacity", 1) > 0:
            yield _Item(node, marktype=mark, role=role, at_x=x, at_y=y, axis=orient)
        return
    here_x, here_y = x + node.get("x", 0), y + node.get("y", 0)
    orient = node.get("orient", orient) if role == "axis" else orient
    for child in node.get("items", []):
        yield from _items(child, here_x, here_y, "group", role, orient)


def _elements(items: Sequence[_Item], family: FontFamily, scale: float) -> Iterator[Element]:
    for item in items:
        x, y = item["at_x"] + item.get("x", 0), item["at_y"] + item.get("y", 0)
        if item["marktype"] == "text":
            if not str(item.get("text", "")):
                continue
            yield _text(item, x, y, family, scale)
        elif item["role"] == "mark" and item["marktype"] in ("rect", "symbol", "arc"):
            yield Element("mark", item.get("description", ""), scaled(_mark_box(item, x, y), scale))
        elif item["role"] == "legend-symbol":
            r = math.sqrt(item.get("size", 100)) / 2
            yield Element("legend_symbol", "", scaled((x - r, y - r, x + r, y + r), scale))


def _text(item: _Item, x: float, y: float, family: FontFamily, scale: float) -> Element:
    text, size = str(item["text"]), float(item.get("fontSize", 11))
    width = family.width(text, size, item.get("fontWeight") in ("bold", 700))
    if 0 < item.get("limit", 0) < width:
        raise Dropped("label_truncated")
    if "radius" in item:  # polar: the angle is clockwise from the top
        x += item["radius"] * math.sin(item.get("theta", 0))
        y -= item["radius"] * math.cos(item.get("theta", 0))
    corners = text_corners(
        x + item.get("dx", 0),
        y + item.get("dy", 0),
        width,
        size,
        item.get("align", "left"),
        item.get("baseline", "alphabetic"),
        item.get("angle", 0),
    )
    corners = tuple((u * scale, v * scale) for u, v in corners)
    return Element(_ROLES.get(item["role"], "text"), text, box_of(corners), corners)


def _mark_box(item: _Item, x: float, y: float) -> PixelBox:
    if item["marktype"] == "rect":
        return x, y, x + item.get("width", 0), y + item.get("height", 0)
    size = item.get("outerRadius" if item["marktype"] == "arc" else "size", 30)
    if size is None:  # the scale has no size for this value
        raise Dropped("mark_not_visible")
    r = size if item["marktype"] == "arc" else math.sqrt(size) / 2
    return x - r, y - r, x + r, y + r


def _spots(items: Sequence[_Item], scale: float) -> Iterator[Spot]:
    """The middle of each bar and slice that is not too thin."""
    for item in items:
        fill = item.get("fill", "")
        opaque = item.get("opacity", 1) == 1 and item.get("fillOpacity", 1) == 1
        if item["role"] != "mark" or item["marktype"] not in ("rect", "arc") or not opaque or not fill.startswith("#"):
            continue
        x, y = item["at_x"] + item.get("x", 0), item["at_y"] + item.get("y", 0)
        if item["marktype"] == "rect":
            if min(item.get("width", 0), item.get("height", 0)) * scale < 4:
                continue
            x, y = x + item.get("width", 0) / 2, y + item.get("height", 0) / 2
        else:
            angle = (item["startAngle"] + item["endAngle"]) / 2
            radius = item.get("innerRadius", 0) * 0.45 + item["outerRadius"] * 0.5
            x, y = x + radius * math.sin(angle), y - radius * math.cos(angle)
        yield x * scale, y * scale, rgb(fill)


def _axes(items: Sequence[_Item]) -> dict[str, AxisScale]:
    """The scales of the axes as their tick labels tell them: `x`, `y`."""
    ticks: dict[str, list[tuple[float, float]]] = {"x": [], "y": []}
    for item in items:
        number = parse_number(str(item.get("text", ""))) if item["role"] == "axis-label" else None
        if number is None:
            continue
        if item["axis"] in ("left", "right"):
            ticks["y"].append((item["at_y"] - 0.5 + item["y"], number))
        else:
            ticks["x"].append((item["at_x"] - 0.5 + item["x"], number))
    scales = {}
    for name, pairs in ticks.items():
        scale = fit_axis(sorted(set(pairs)))
        if scale is not None:
            scales[name] = scale
    return scales


def _described(item: _Item) -> dict[str, str]:
    parts = (part.partition(": ") for part in item.get("description", "").split("; "))
    return {name: value for name, _, value in parts}


def _read_back(chart: Chart, items: Sequence[_Item]) -> tuple[float, float | None]:
    """The largest error of all readings in steps, and the least pixels of a step (None where labels say all)."""
    scales, error, resolution = _axes(items), 0.0, math.inf
    rows = chart.spec["data"]["values"]
    for reading in chart.readings:
        marks = [item for item in items if item["role"] == "mark" and item["marktype"] == reading.mark]
        described = [_described(item) for item in marks]
        names = [name for name in (reading.title, reading.field) if described and name in described[0]]
        if not names:
            raise Dropped("marks_not_described")
        values = [parse_number(row[names[0]]) for row in described]
        if reading.channel == "text":
            marks, values = _with_numbers(marks, values)
        if sorted(map(str, values)) != sorted(str(float(row[reading.field])) for row in rows):
            raise Dropped("marks_differ_from_data")
        values_read, unit = _shown(reading, marks, scales, sum(row[reading.field] for row in rows))
        step = chart.steps[reading.field]
        pairs = [(s, v) for s, v in zip(values_read, values, strict=True) if v is not None]
        error = max(error, check_read_back(pairs, step, unit))
        if unit is not None and not chart.labelled:
            resolution = min(resolution, unit * step)
    return round(error, 6), None if math.isinf(resolution) else resolution


def _with_numbers(marks: list[_Item], values: list[float | None]) -> tuple[list[_Item], list[float | None]]:
    """Text marks that say numbers; others name what a slice is."""
    kept = [
        (mark, value) for mark, value in zip(marks, values, strict=True) if parse_number(str(mark["text"])) is not None
    ]
    return [mark for mark, _ in kept], [value for _, value in kept]


def _shown(
    reading: Reading, marks: Sequence[_Item], scales: dict[str, AxisScale], total: float
) -> tuple[list[float], float | None]:
    """The value that each mark shows, and the pixels of a unit of the axis (None where there is no axis)."""
    channel = reading.channel
    if channel == "text":
        return [parse_number(str(mark["text"])) or 0.0 for mark in marks], None
    if channel == "angle":
        return [abs(mark["endAngle"] - mark["startAngle"]) / (2 * math.pi) * total for mark in marks], None
    axis = "x" if channel in ("x", "x2", "bar_x", "width") else "y"
    scale = scales.get(axis)
    if scale is None:
        raise Dropped("axis_not_readable")
    length = "width" if axis == "x" else "height"
    values_read = []
    for mark in marks:
        start = mark[f"at_{axis}"] + mark.get(axis, 0)
        end = mark[f"at_{axis}"] + mark.get(f"{axis}2", mark.get(axis, 0) + mark.get(length, 0))
        if channel == length:
            values_read.append(abs(scale.length(mark.get(length, end - start))))
        elif reading.rise:
            low, high = sorted((scale.value(start), scale.value(end)))
            values_read.append(low if (mark["fill"] == reading.rise) == (channel == axis) else high)
        elif channel in ("bar_x", "bar_y"):
            values_read.append(max(scale.value(start), scale.value(end), key=abs))
        else:
            values_read.append(scale.value(end if channel.endswith("2") else start))
    return values_read, abs(1 / scale.slope)
