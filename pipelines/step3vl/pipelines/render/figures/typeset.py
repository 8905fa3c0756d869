"""Typst in this process, for formulas and tables, and the proof that an image shows what its source says.

The image and a PDF are made from one source; the text of the PDF, read by another library, must be that of the source.
A formula in LaTeX is parsed by matplotlib besides, and has to have the same characters.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import Element, Figure, box_of, encode_png, read_png, scaled
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.sources.tables.tables import Table, format_number

_IGNORED = set("()[]{}|√⎛⎜⎝⎞⎟⎠⎧⎨⎩⎪⎡⎢⎣⎤⎥⎦ \r\n")  # brackets are made of pieces; a radical is a shape in Typst
_SAME = {"-": "−", "∗": "*", "·": "⋅", "∙": "⋅", "ϕ": "φ", "µ": "μ", "𝑑": "d"}


def visible(text: str) -> Counter[str]:
    """The characters of a text that are compared: without styles, brackets and spaces."""
    folded = (_SAME.get(character, character) for character in unicodedata.normalize("NFKC", text))
    return Counter(
        character for character in folded if character not in _IGNORED and unicodedata.category(character)[0] != "C"
    )


class Character(NamedTuple):
    """A character of a PDF page with its box in points, origin top left."""

    text: str
    x1: float
    y1: float
    x2: float
    y2: float


class TypesetRenderer:
    """Compiles Typst sources with the fonts of a corpus and those that Typst carries.

    Args:
        families: Further fonts.

    Attributes:
        families: Of them, those that Typst knows by their names.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        typst = require("typst", "pipelines")
        folders = sorted({str(face.path.parent) for family in families for face in (family.regular, family.bold)})
        self._compiler = typst.Compiler(font_paths=folders, ignore_system_fonts=True)
        known = set(typst.Fonts(font_paths=folders, include_system_fonts=False).families())
        # Typst takes "Narrow", "Condensed" and the like as widths of the family without them.
        self.families = [family for family in families if family.name in known]
        self._pdfium = require("pypdfium2", "pipelines")
        self._matplotlib = require("matplotlib", "pipelines")
        mathtext = require("matplotlib.mathtext", "pipelines")
        self._properties = require("matplotlib.font_manager", "pipelines").FontProperties
        self._outlines = mathtext.MathTextParser("path").parse
        self._mathtext = mathtext.MathTextParser("agg").parse

    def png(self, source: str, resolution: int) -> bytes:
        """The first page as an image.

        Args:
            source: In Typst.
            resolution: Pixels per inch.
        """
        result, warnings = self._compiler.compile_with_warnings(source.encode(), format="png", ppi=resolution)
        if warnings:
            raise ValueError(str(warnings[0]))
        png: bytes = result[0] if isinstance(result, list) else result
        return png

    def characters(self, source: str) -> list[Character]:
        """The characters of the first page, as a PDF reader finds them."""
        characters = []
        with self._page(source) as page:
            height, text = page.get_height(), page.get_textpage()
            for i in range(text.count_chars()):
                x1, y1, x2, y2 = text.get_charbox(i)
                characters.append(Character(text.get_text_range(i, 1), x1, height - y2, x2, height - y1))
        # Astral characters are two units of UTF-16, of which each is said to be all of it.
        return [c for i, c in enumerate(characters) if not _is_second_half(characters, i)]

    def text(self, source: str) -> str:
        """The text of the first page."""
        with self._page(source) as page:
            text: str = page.get_textpage().get_text_range()
            return text

    @contextmanager
    def _page(self, source: str) -> Iterator[Any]:
        pdf = self._pdfium.PdfDocument(self._compiler.compile(source.encode(), format="pdf"))
        try:
            yield pdf[0]
        finally:
            pdf.close()

    def formula(self, source: str, glyphs: str, latex: str | None, resolution: int) -> Figure:
        """Render a formula and prove that the image shows it.

        Args:
            source: In Typst.
            glyphs: The characters that it must show.
            latex: The same formula, if the label is in LaTeX.
            resolution: Pixels per inch.

        Raises:
            Dropped: The image or the LaTeX shows other characters.
        """
        expected = visible(glyphs)
        if visible(self.text(source)) != expected:
            raise Dropped("text_differs")
        if latex is not None and visible(self.latex_text(latex)) != expected:
            raise Dropped("latex_differs")
        pixels = read_png(self.png(source, resolution))
        return Figure(encode_png(pixels), pixels.size, (Element("formula", "", (0, 0, *pixels.size)),), 0.0)

    def latex_text(self, latex: str) -> str:
        """The characters that matplotlib's parser reads in a formula.

        Raises:
            ValueError: It cannot parse it.
        """
        parsed = self._outlines(f"${latex}$", 72, self._properties(size=12, math_fontfamily="stix"))
        return "".join(chr(glyph[2]) for glyph in parsed.glyphs)

    def latex_figure(
        self, latex: str, face: str, size: int, resolution: int, colours: tuple[str, str], margin: int
    ) -> Figure:
        """Render a formula in LaTeX by matplotlib, in one of its mathematical fonts.

        Args:
            latex: The formula.
            face: `cm`, `stix`, `stixsans`, `dejavusans` or `dejavuserif`.
            size: Of the font in points.
            resolution: Pixels per inch.
            colours: Of the paper and of the ink.
            margin: In points.
        """
        with self._matplotlib.rc_context():
            self._matplotlib.rcdefaults()  # charts that were rendered in this process may have left other settings
            parsed = self._mathtext(f"${latex}$", resolution, self._properties(size=size, math_fontfamily=face))
        alpha = PILImage.fromarray(np.asarray(parsed.image))
        pad = round(margin * resolution / 72)
        page = PILImage.new("RGB", (alpha.width + 2 * pad, alpha.height + 2 * pad), colours[0])
        page.paste(PILImage.new("RGB", alpha.size, colours[1]), (pad, pad), alpha)
        box = (pad, pad, pad + alpha.width, pad + alpha.height)
        return Figure(encode_png(page), page.size, (Element("formula", "", box),), 0.0)

    def table(self, source: str, cells: Sequence[Sequence[str]], resolution: int) -> Figure:
        """Render a table and prove that the image shows its cells row by row.

        Args:
            source: In Typst.
            cells: The texts of its rows, without those that another covers.
            resolution: Pixels per inch.

        Raises:
            Dropped: The rows on the page are others.
        """
        characters = [c for c in self.characters(source) if not c.text.isspace() and c.x2 > c.x1]
        lines = _rows(characters)
        expected = ["".join("".join(row).split()) for row in cells]
        if ["".join(c.text for c in line) for line in lines] != expected:
            raise Dropped("cells_differ")
        pixels = read_png(self.png(source, resolution))
        elements = []
        for line, row in zip(lines, cells, strict=True):
            start = 0
            for cell in row:
                end = start + len("".join(cell.split()))
                run = line[start:end]
                start = end
                if run:
                    box = box_of(tuple(corner for c in run for corner in ((c.x1, c.y1), (c.x2, c.y2))))
                    elements.append(Element("cell", cell, scaled(box, resolution / 72)))
        return Figure(encode_png(pixels), pixels.size, tuple(elements), 0.0)


def _is_second_half(characters: Sequence[Character], i: int) -> bool:
    return i > 0 and not characters[i].text and characters[i][1:] == characters[i - 1][1:]


def _rows(characters: Sequence[Character]) -> list[list[Character]]:
    """Characters by line from top to bottom, each line from left to right."""
    rows: list[list[Character]] = []
    for character in sorted(characters, key=lambda c: (c.y1 + c.y2) / 2):
        middle = (character.y1 + character.y2) / 2
        if rows and middle - sum((c.y1 + c.y2) / 2 for c in rows[-1]) / len(rows[-1]) < _LINE:
            rows[-1].append(character)
        else:
            rows.append([character])
    return [sorted(row, key=lambda c: c.x1) for row in rows]


_LINE = 7.5  # points between the middles of a comma and of a digit at most; rows of tables are further apart


def escape_typst(text: str) -> str:
    """Text as Typst markup."""
    return "".join("\\" + c if c in "#$*_`<>@\\[]~" else c for c in text)


def escape_latex(text: str) -> str:
    """Text as LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def table_cells(table: Table) -> list[list[str]]:
    """The header and the rows of a table as texts."""
    body = [[label, *map(format_number, row)] for label, row in zip(table.labels, table.values, strict=True)]
    return [[table.label, *table.series], *body]
