"""SVG to pixels with the fonts of a corpus and no others, and where each text of it is, found in the pixels."""

import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import PixelBox, read_png
from step3vl.pipelines.render.fonts import FontFamily

SVG = "{http://www.w3.org/2000/svg}"
_TEXT_TAGS = (f"{SVG}text", f"{SVG}tspan")
_HUES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))  # red, green and blue
_SEEN = 24  # of 255: a pixel of a text
_CROSSED = 0.06  # of the pixels of a text's box that other ink may take
_DIFFERENT = 50  # of a pixel from the colour around, summed over the channels


class PlacedText(NamedTuple):
    """A line of text of an SVG with the box of its ink in pixels."""

    text: str
    box: PixelBox


class SvgRenderer:
    """Renders SVG by resvg.

    Args:
        families: Every font that an image may name; others of the machine are not seen.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        self._resvg = require("resvg_py", "pipelines")
        self._files = sorted({str(face.path) for family in families for face in (family.regular, family.bold)})
        ElementTree.register_namespace("", SVG[1:-1])

    def pixels(self, svg: str | ElementTree.Element, zoom: float, background: str | None = None) -> PILImage.Image:
        """Render an image.

        Args:
            svg: The image.
            zoom: Pixels for each unit.
            background: Colour behind it; white where there is none.
        """
        source = svg if isinstance(svg, str) else ElementTree.tostring(svg, encoding="unicode")
        png = self._resvg.svg_to_bytes(
            svg_string=source,
            zoom=zoom,
            background=background or "#ffffff",
            skip_system_fonts=True,
            font_files=self._files,
        )
        return read_png(bytes(png))

    def texts(self, svg: str, zoom: float) -> list[PlacedText]:
        """Where the lines of text are, by rendering them alone: several at a time, each in a hue of its own.

        Args:
            svg: The image.
            zoom: Pixels for each unit.

        Raises:
            Dropped: A text leaves no ink.
        """
        number = len(text_nodes(ElementTree.fromstring(svg)))
        placed = []
        for start in range(0, number, len(_HUES)):
            root = ElementTree.fromstring(svg)
            nodes = text_nodes(root)
            group = nodes[start : start + len(_HUES)]
            _only_texts(root)
            for node in nodes:
                _fill(node, "none")
            for node, hue in zip(group, _HUES, strict=False):
                _fill(node, "#" + "".join("ff" if channel else "00" for channel in hue))
            seen = np.asarray(self.pixels(root, zoom, "#000000")).astype(np.int32)
            # On black, the edges of letters are darker and have the same hue.
            strongest = seen.max(2)
            hues = (2 * seen > strongest[..., None]) @ (1, 2, 4) * (strongest > _SEEN)
            for node, hue in zip(group, _HUES, strict=False):
                rows, columns = np.nonzero(hues == hue[0] + 2 * hue[1] + 4 * hue[2])
                if not len(rows):
                    raise Dropped("text_not_shown")
                box = float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)
                placed.append(PlacedText((node.text or "").strip(), box))
        return placed

    def check_clear(self, svg: str, zoom: float, texts: Sequence[PlacedText], background: str | None = None) -> None:
        """Raise Dropped where a text stands over a line or an edge of something else.

        Args:
            svg: The image.
            zoom: Pixels for each unit.
            texts: As `texts` returns them.
            background: Colour behind it.
        """
        root = ElementTree.fromstring(svg)
        for node in text_nodes(root):
            _fill(node, "none")
        without = np.asarray(self.pixels(root, zoom, background)).astype(np.int32)
        for text in texts:
            x1, y1, x2, y2 = map(int, text.box)
            part = without[max(0, y1) : y2, max(0, x1) : x2].reshape(-1, 3)
            if len(part) and (np.abs(part - np.median(part, axis=0)).sum(1) > _DIFFERENT).mean() > _CROSSED:
                raise Dropped("text_over_line")


def text_nodes(root: ElementTree.Element) -> list[ElementTree.Element]:
    """The elements that hold a line of text, in the order of the document."""
    return [node for node in root.iter() if node.tag in _TEXT_TAGS and (node.text or "").strip()]


def _fill(node: ElementTree.Element, colour: str) -> None:
    """Give a text a colour; one that is not filled still takes its place."""
    for name in ("style", "opacity", "stroke"):
        node.attrib.pop(name, None)
    node.set("fill", colour)


def _only_texts(node: ElementTree.Element) -> None:
    """Remove everything that is no text, and keep groups with their transformations."""
    if node.tag == f"{SVG}svg" and "style" in node.attrib:
        node.set("style", re.sub(r"background[^;]*;?", "", node.attrib["style"]))
    for child in list(node):
        if child.tag in (f"{SVG}g", f"{SVG}svg", f"{SVG}text", f"{SVG}defs", f"{SVG}style"):
            _only_texts(child)
        elif node.tag not in _TEXT_TAGS:
            node.remove(child)
