"""Texts as outlines of their glyphs, so that their boxes are exact and no renderer chooses a font of its own."""

from dataclasses import dataclass
from functools import lru_cache

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

from step3vl.pipelines.render.style import FontFace

_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+−n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ₐₑₘₙₓ", "0123456789aemnx", strict=True))
_SMALL = 0.66  # of the font size, for indices and exponents
_SLANT = 0.2
_CAPITAL = 0.7  # font sizes, the height of a capital
_LARGEST = 1.4


@dataclass(frozen=True)
class Glyph:
    """An outline in a font's units, y upwards, with its ink box and its advance."""

    path: str
    box: tuple[float, float, float, float] | None
    advance: float


@dataclass(frozen=True)
class Piece:
    """A glyph of a text: its outline, scaled and moved; y downwards from the baseline."""

    path: str
    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Outline:
    """A text from the baseline's left end, y downwards, with its ink box in pixels."""

    pieces: tuple[Piece, ...]
    box: tuple[float, float, float, float]
    advance: float


class FontOutlines:
    """The glyphs of a font file."""

    def __init__(self, face: FontFace) -> None:
        self._font = TTFont(face.path, lazy=True, fontNumber=0)
        self._glyphs = self._font.getGlyphSet()
        self._names = self._font.getBestCmap()
        em = float(self._font["head"].unitsPerEm)
        # Fonts with small symbols, as handwriting has, are set larger.
        capital = self._glyph("H").box if ord("H") in self._names else None
        height = capital[3] / em if capital else _CAPITAL
        self._em = em / min(max(_CAPITAL / height, 1.0), _LARGEST)
        self.glyph = lru_cache(maxsize=2000)(self._glyph)

    def covers(self, text: str) -> bool:
        """Whether every character can be shown; indices and exponents can where their digits can."""
        return all(ord(_plain(character)) in self._names for character in text)

    def outline(self, text: str, size: float) -> Outline:
        """A text at a size in pixels. Raises KeyError for a character that the font lacks."""
        pieces: list[Piece] = []
        x, left, top, right, bottom = 0.0, 1e9, 1e9, -1e9, -1e9
        for character in text:
            scale, y = size / self._em, 0.0
            if character in _RAISED:
                scale, y = scale * _SMALL, -0.36 * size
            elif character in _LOWERED:
                scale, y = scale * _SMALL, 0.14 * size
            glyph = self.glyph(_plain(character))
            if glyph.box is not None:
                pieces.append(Piece(glyph.path, x, y, scale))
                left, right = min(left, x + glyph.box[0] * scale), max(right, x + glyph.box[2] * scale)
                top, bottom = min(top, y - glyph.box[3] * scale), max(bottom, y - glyph.box[1] * scale)
            x += glyph.advance * scale
        if not pieces:
            left = top = right = bottom = 0.0
        return Outline(tuple(pieces), (left, top, right, bottom), x)

    def _glyph(self, character: str) -> Glyph:
        name = self._names[ord(character)]
        glyph = self._glyphs[name]
        pen, bounds = SVGPathPen(self._glyphs, ntos=lambda value: f"{value:g}"), BoundsPen(self._glyphs)
        glyph.draw(pen)
        glyph.draw(bounds)
        return Glyph(pen.getCommands(), bounds.bounds, float(glyph.width))


def _plain(character: str) -> str:
    return _RAISED.get(character) or _LOWERED.get(character) or character


def render(outline: Outline, x: float, y: float, colour: str, slant: bool = False) -> list[str]:
    """SVG paths of a text whose baseline begins at (x, y)."""
    lines = []
    for piece in outline.pieces:
        scale = f"{piece.scale:.5f}"
        skew = f"{_SLANT * piece.scale:.5f}" if slant else "0"
        lines.append(
            f'<path transform="matrix({scale} 0 {skew} -{scale} {x + piece.x:.2f} {y + piece.y:.2f})" '
            f'd="{piece.path}" fill="{colour}"/>'
        )
    return lines
