"""How sketches look: papers, inks, fonts, line widths, a steady or an unsteady hand."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from step3vl.pipelines.render.charts.chart_style import PALETTES
from step3vl.pipelines.render.colours import contrast
from step3vl.pipelines.render.exercises.outlines import FontOutlines
from step3vl.pipelines.render.fonts import FontFamily

Paper = Literal["plain", "squares", "dots", "lines"]

# Background, ink, lines of the paper.
_PAPERS = (
    ("#ffffff", "#111111", "#dfe5ee"),
    ("#ffffff", "#000000", "#e4e4e4"),
    ("#ffffff", "#1c2b4a", "#d9e4f2"),
    ("#fbfaf5", "#2b2b2b", "#e6e1d3"),
    ("#fffdf0", "#3b2f1e", "#ece3c8"),
    ("#f5f7fa", "#1f2d3d", "#dde3ea"),
    ("#f4fbf6", "#16382a", "#d6eadd"),
    ("#fdf6f7", "#3a1420", "#efdbe0"),
)
_BOARDS = (("#1f3d33", "#f2f2ea", "#2a4d41"), ("#1e1e24", "#f2f2f2", "#2c2c34"), ("#0f1b2d", "#e6edf3", "#1b2b42"))


@dataclass(frozen=True)
class SketchStyle:
    """How a sketch looks.

    Attributes:
        family: Of the font.
        background: Of the image.
        ink: Of lines and texts.
        faint: Of the paper's lines and of grids.
        palette: Of fillings and of what is coloured.
        line_width: Pixels.
        font_size: Pixels.
        side: Pixels of the longer side of the figure, without labels.
        arc: Radius of an angle's mark in pixels.
        wobble: How far a freehand line strays, in pixels; 0 for a ruler.
        slant: Whether symbols that name points and quantities are slanted.
        paper: What the paper is printed with.
        accent: Whether angles' marks and curves are coloured.
    """

    family: FontFamily
    background: str
    ink: str
    faint: str
    palette: tuple[str, ...]
    line_width: float
    font_size: int
    side: int
    arc: float
    wobble: float
    slant: bool
    paper: Paper
    accent: bool

    def colour(self, number: int) -> str:
        """A colour of the palette, which begins again after its last one."""
        return self.palette[number % len(self.palette)]


def pick_sketch_style(
    families: Sequence[FontFamily],
    side: tuple[int, int],
    rng: random.Random,
    background: tuple[str, str] | None = None,
) -> SketchStyle:
    """A random style.

    Args:
        families: Of the fonts to choose from.
        side: Least and greatest length of the figure's longer side in pixels.
        rng: Random numbers.
        background: Colours of background and ink, for a figure that becomes part of a page.
    """
    paper, ink, faint = rng.choice(_BOARDS if rng.random() < 0.1 else _PAPERS)
    if background is not None:
        paper, ink = background
    palette = [colour for colour in rng.choice(PALETTES) if contrast(colour, paper) > 2.8]
    rng.shuffle(palette)
    length = rng.randint(*side)
    font_size = min(24, max(13, round(length / rng.uniform(17, 24))))
    kind: Paper = (
        "plain" if background is not None else rng.choice(("plain", "plain", "plain", "squares", "dots", "lines"))
    )
    return SketchStyle(
        family=rng.choice(families),
        background=paper,
        ink=ink,
        faint=faint,
        palette=tuple(palette) or (ink,),
        line_width=rng.choice((1.2, 1.5, 1.8, 2.2, 2.6)),
        font_size=font_size,
        side=length,
        arc=font_size * rng.uniform(0.9, 1.4),
        wobble=rng.choice((0.0, 0.0, 0.0, rng.uniform(0.6, 1.6))),
        slant=rng.random() < 0.4,
        paper=kind,
        accent=rng.random() < 0.5,
    )


class Lettering:
    """Outlines of texts in the first of the families that has all characters, the style's own first."""

    def __init__(self, families: Sequence[FontFamily]) -> None:
        self._families = {family.name: FontOutlines(family.regular) for family in families}
        self._bold = {family.name: FontOutlines(family.bold) for family in families}

    def covers(self, text: str) -> bool:
        """Whether some family has all characters."""
        return any(outlines.covers(text) for outlines in self._families.values())

    def outlines(self, family: str, text: str, bold: bool = False) -> FontOutlines | None:
        """The outlines of a family, or of another that has all characters of a text; None where none has."""
        table = self._bold if bold else self._families
        if table[family].covers(text):
            return table[family]
        return next((outlines for outlines in table.values() if outlines.covers(text)), None)
