"""Breaking text into lines by the rules of its script, from the widths of its words."""

import unicodedata
from collections.abc import Callable

from step3vl.pipelines.sources.text.spans import breaks_before


def words_of(text: str) -> list[str]:
    """The pieces of a paragraph that a line may break between; they join to the text, spaces ending theirs."""
    pieces: list[str] = []
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (breaks_before(text, place) and text[place] != " "):
            pieces.append(text[start:place])
            start = place
    return pieces


def break_lines(text: str, width: float, width_of: Callable[[str], float]) -> list[list[str]]:
    """The lines of a paragraph, each as its words; a word that is too wide is divided.

    Args:
        text: One paragraph.
        width: Of the lines, in pixels.
        width_of: Gives the pixels that a word takes, its last space included.
    """
    lines: list[list[str]] = []
    line: list[str] = []
    used = 0.0
    for word in words_of(text):
        for piece in [word] if width_of(word.rstrip()) <= width else _divide(word, width, width_of):
            if line and used + width_of(piece.rstrip()) > width:
                lines.append(line)
                line, used = [], 0.0
            line.append(piece)
            used += width_of(piece)
    if line:
        lines.append(line)
    return lines


def _divide(word: str, width: float, width_of: Callable[[str], float]) -> list[str]:
    """A word in pieces that fit, no combining mark parted from its letter."""
    pieces, piece = [], ""
    for character in word:
        if piece and not unicodedata.category(character).startswith("M") and width_of(piece + character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]
