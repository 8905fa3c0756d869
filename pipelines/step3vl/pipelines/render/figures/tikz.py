"""TikZ drawings by pdflatex, and the proof that an image shows what its code says.

The code is compiled as it stands in the label. A PDF reader finds the texts of the page and where they are; they must
be those of the drawing, at its coordinates, and lines must have ink where they pass. Ligatures are off, for readers
give them as one character.
"""

import math
import os
import random
import subprocess
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image as PILImage

from step3vl.data.optional import require
from step3vl.pipelines.core.scratch import temporary_folder
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import Element, Figure, PixelBox, encode_png, scaled
from step3vl.pipelines.render.figures.figures import MadeFigure, Supply
from step3vl.pipelines.render.figures.tikz_kinds import DRAWINGS, Drawing
from step3vl.pipelines.render.web.latex import find_pdflatex

_SECONDS = 40  # of a run
_POINTS = 72 / 2.54  # in a centimetre
_AWAY = 4.0  # points that a text may be away from its place
_BORDER = 6  # points around the drawing
_FONTS = {
    "Computer Modern": "",
    "Times": r"\usepackage{mathptmx}",
    "Palatino": r"\usepackage{mathpazo}",
    "Helvetica": r"\usepackage[scaled]{helvet}\renewcommand{\familydefault}{\sfdefault}",
}
_PREAMBLE = r"""\documentclass[tikz,border=%dpt]{standalone}
\usepackage[T1]{fontenc}
%s
\usepackage{microtype}\DisableLigatures{encoding = *, family = *}
\usetikzlibrary{arrows.meta,positioning,shapes.geometric}
\begin{document}
%s
\end{document}
"""


class TikzMaker:
    """Drawings as TikZ code."""

    def __init__(self, supply: Supply) -> None:
        self._program = find_pdflatex()
        self._pdfium = require("pypdfium2", "pipelines")

    def families(self) -> list[str]:
        return list(DRAWINGS)

    def make(self, family: str, rng: random.Random) -> MadeFigure:
        drawing = DRAWINGS[family](rng)
        font = rng.choice(list(_FONTS))
        figure = self._figure(drawing, font, rng.choice((96, 110, 130, 144)))
        return MadeFigure(
            f"tikz.{family}", "tikz", drawing.code, drawing.table, "", figure, "generated", "CC0-1.0",
            traits={"font": font},
        )  # fmt: skip

    def compile(self, code: str, font: str) -> bytes:
        """The PDF of a picture.

        Args:
            code: The `tikzpicture`.
            font: A name of `_FONTS`.

        Raises:
            ValueError: pdflatex refuses it.
        """
        with temporary_folder("tikz") as folder:
            (folder / "page.tex").write_text(_PREAMBLE % (_BORDER, _FONTS[font], code), "utf-8")
            environment = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(folder),
                "TEXMFVAR": f"{folder}/var",
                "openin_any": "p",
                "openout_any": "p",
                "SOURCE_DATE_EPOCH": "0",
                "FORCE_SOURCE_DATE": "1",
            }
            command = [self._program, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
            done = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
                check=False,
            )  # fmt: skip
            if done.returncode:
                errors = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith("!")]
                raise ValueError(errors[0] if errors else "pdflatex gave nothing")
            return (folder / "page.pdf").read_bytes()

    def _figure(self, drawing: Drawing, font: str, resolution: int) -> Figure:
        pdf = self._pdfium.PdfDocument(self.compile(drawing.code, font))
        try:
            page = pdf[0]
            height = page.get_height()
            words = _words(page.get_textpage(), height)
            pixels: PILImage.Image = page.render(scale=resolution / 72).to_pil().convert("RGB")
        finally:
            pdf.close()
        expected = [word for text, _ in drawing.texts for word in text.split()]
        if Counter(text for text, _ in words) != Counter(expected):
            raise Dropped("texts_differ")
        offset = _offset(drawing, words)
        scale = resolution / 72
        elements = [Element("node_label", text, scaled(box, scale)) for text, box in words]
        if offset is not None:
            _check_ink(drawing, offset, np.asarray(pixels.convert("L")), scale)
        return Figure(encode_png(pixels), pixels.size, tuple(elements), 0.0)


def _words(page: Any, height: float) -> list[tuple[str, PixelBox]]:
    """The words of a page with their boxes in points, origin top left."""
    words: list[tuple[str, PixelBox]] = []
    last: PixelBox | None = None
    for number in range(page.count_chars()):
        character = page.get_text_range(number, 1)
        left, bottom, right, top = page.get_charbox(number)
        box = (left, height - top, right, height - bottom)
        if not character.strip() or right <= left:
            last = None
            continue
        if last is not None and abs(box[0] - last[2]) < 3 and abs(box[3] - last[3]) < 4:
            text, old = words[-1]
            words[-1] = (
                text + character,
                (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3])),
            )
        else:
            words.append((character, box))
        last = box
    return words


def _offset(drawing: Drawing, words: list[tuple[str, PixelBox]]) -> tuple[float, float] | None:
    """Where the origin of a drawing is on the page, in points; None where no text says.

    Raises:
        Dropped: A text is not at its place.
    """
    places = [(text, place) for text, place in drawing.texts if not math.isnan(place[0]) and " " not in text]
    counts = Counter(text for text, _ in words)
    pairs = []
    for text, (x, y) in places:
        if counts[text] == 1:
            box = next(box for word, box in words if word == text)
            pairs.append(((box[0] + box[2]) / 2 - x * _POINTS, (box[1] + box[3]) / 2 + y * _POINTS))
    if len(pairs) < 2:
        return None
    offset = tuple(float(np.median([pair[axis] for pair in pairs])) for axis in (0, 1))
    if any(math.dist(pair, offset) > _AWAY for pair in pairs):
        raise Dropped("text_elsewhere")
    return offset[0], offset[1]


def _check_ink(drawing: Drawing, offset: tuple[float, float], grey: np.ndarray, scale: float) -> None:
    """Raise Dropped unless lines have ink where they pass."""
    for x, y in drawing.inked:
        column, row = (offset[0] + x * _POINTS) * scale, (offset[1] - y * _POINTS) * scale
        reach = _AWAY * scale
        part = grey[
            max(0, int(row - reach)) : int(row + reach) + 1, max(0, int(column - reach)) : int(column + reach) + 1
        ]
        if not part.size or part.min() > 235:
            raise Dropped("line_not_visible")
