"""Worksheets: numbered problems with their figures and options on one page."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.pages.page import SPACING
from step3vl.pipelines.render.style import FontFace

_PAPERS = (
    ("#ffffff", "#111111"),
    ("#ffffff", "#1a1a2e"),
    ("#fdfcf7", "#222222"),
    ("#fffdf0", "#2b2620"),
    ("#f7f9fc", "#1b2733"),
)
_STOPS = set("，。、；：？！）》”,.;:?!)")  # characters that begin no line


@dataclass(frozen=True)
class PageProblem:
    """A problem as it is printed.

    Attributes:
        text: Without its number.
        options: `A. 5 cm` and the others; empty for a free answer.
        figure: Beside or below the text.
    """

    text: str
    options: tuple[str, ...]
    figure: PILImage.Image


@dataclass(frozen=True)
class PageStyle:
    """How a page looks; pick it first, so that figures can have its colours."""

    paper: str
    ink: str
    face: FontFace
    font_size: int
    width: int
    beside: bool
    number: str
    ruled: bool


def pick_page_style(faces: Sequence[FontFace], width: tuple[int, int], rng: random.Random) -> PageStyle:
    """A random style.

    Args:
        faces: Fonts for the text; where one lacks a character, another that has it is used.
        width: Least and greatest width of the page in pixels.
        rng: Random numbers.
    """
    paper, ink = rng.choice(_PAPERS)
    pixels = rng.randint(*width)
    return PageStyle(
        paper, ink, rng.choice(faces), max(13, round(pixels / rng.uniform(34, 46))), pixels, rng.random() < 0.4,
        rng.choice(("{n}.", "{n}.", "({n})", "{n})", "Q{n}.")), rng.random() < 0.4,
    )  # fmt: skip


class PageWriter:
    """Sets texts in a face, with other faces for what it lacks."""

    def __init__(self, style: PageStyle, faces: Sequence[FontFace]) -> None:
        self._style, self._faces = style, [style.face, *faces]
        self._chosen: dict[str, FontFace] = {}

    def _face(self, character: str) -> FontFace:
        if character not in self._chosen:
            face = next((face for face in self._faces if face.covers(character)), None)
            if face is None:
                raise Dropped("no_font_has_all_characters")
            self._chosen[character] = face
        return self._chosen[character]

    def width(self, text: str, size: int) -> float:
        """Of a line, in pixels."""
        return sum(face.at(size).getlength("".join(run)) for face, run in groupby(text, self._face))

    def wrap(self, text: str, width: float, size: int) -> list[str]:
        """Lines that fit; Chinese breaks anywhere but before a closing mark."""
        lines, line = [], ""
        for piece in _pieces(text):
            if piece == "\n" or (line and self.width((line + piece).rstrip(), size) > width):
                lines.append(line.rstrip())
                line = "" if piece == "\n" else piece.lstrip()
            else:
                line += piece
        return [*lines, line.rstrip()]

    def write(self, canvas: ImageDraw.ImageDraw, lines: Sequence[str], at: tuple[int, int], size: int) -> int:
        """Write lines downwards on one baseline each; returns where the next line goes."""
        x, y = at
        for line in lines:
            left = float(x)
            for face, run in groupby(line, self._face):
                text, font = "".join(run), face.at(size)
                canvas.text((left, y + size), text, font=font, fill=self._style.ink, anchor="ls")
                left += font.getlength(text)
            y += round(size * (SPACING + 0.1))
        return y


def _pieces(text: str) -> list[str]:
    """Words with their spaces, and single CJK characters with the closing marks behind them."""
    pieces: list[str] = []
    for character in text:
        wide = "\u2e80" <= character <= "\uffef"
        breaks = not pieces or character == "\n" or pieces[-1] == "\n" or pieces[-1].endswith(" ") or wide
        breaks = breaks or "\u2e80" <= pieces[-1][-1] <= "\uffef"
        if breaks and not (pieces and character in _STOPS and pieces[-1] != "\n"):
            pieces.append(character)
        else:
            pieces[-1] += character
    return pieces


def render_page(
    problems: Sequence[PageProblem], title: str, style: PageStyle, faces: Sequence[FontFace]
) -> PILImage.Image:
    """A page as long as its problems.

    Raises:
        Dropped: No font has a character, or a figure or a word is wider than the page.
    """
    writer = PageWriter(style, faces)
    size, margin = style.font_size, round(style.width * 0.06)
    inner = style.width - 2 * margin
    gap = round(0.8 * size)
    height = 400 + sum(problem.figure.height + 40 * size for problem in problems)
    page = PILImage.new("RGB", (style.width, height), style.paper)
    canvas = ImageDraw.Draw(page)
    y = margin
    if title:
        y = writer.write(canvas, writer.wrap(title, inner, round(1.3 * size)), (margin, y), round(1.3 * size)) + gap
        if style.ruled:
            canvas.line((margin, y, style.width - margin, y), style.ink, 1)
            y += gap
    for n, problem in enumerate(problems, 1):
        number = style.number.format(n=n) + " " if len(problems) > 1 else ""
        indent = round(writer.width(number, size)) if number else 0
        figure = problem.figure
        if figure.width > inner - indent:
            raise Dropped("figure_too_wide")
        beside = style.beside and figure.width < 0.45 * inner
        space = inner - indent - (figure.width + gap if beside else 0)
        top = y
        if number:
            writer.write(canvas, [number.strip()], (margin, y), size)
        y = writer.write(canvas, writer.wrap(problem.text, space, size), (margin + indent, y), size)
        if not beside:
            page.paste(figure, (margin + indent + round((space - figure.width) * 0.3), y + gap // 2))
            y += figure.height + gap
        y = _write_options(writer, canvas, problem.options, (margin + indent, y), space, size)
        if beside:
            page.paste(figure, (margin + indent + space + gap, top))
            y = max(y, top + figure.height)
        y += gap
    return page.crop((0, 0, style.width, y + margin // 2))


def _write_options(
    writer: PageWriter,
    canvas: ImageDraw.ImageDraw,
    options: Sequence[str],
    at: tuple[int, int],
    space: float,
    size: int,
) -> int:
    """Options in one row, in two columns or one below the other, as they fit."""
    if not options:
        return at[1]
    widest = max(writer.width(option, size) for option in options) + 1.5 * size
    columns = len(options) if widest * len(options) <= space else 2 if widest * 2 <= space else 1
    y = at[1]
    for start in range(0, len(options), columns):
        below = y
        for k, option in enumerate(options[start : start + columns]):
            lines = [option] if columns > 1 else writer.wrap(option, space, size)
            below = max(below, writer.write(canvas, lines, (at[0] + round(k * space / columns), y), size))
        y = below
    return y
