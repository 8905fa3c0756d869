"""Rules that a text has to pass before a model is trained on it, each with the word that the ledger counts by.

After the filters of Gopher (Rae et al., 2021, table A1) and C4, those that hold in any script.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from step3vl.pipelines.sources.web.main_body import TextNode
from step3vl.pipelines.sources.web.main_element import CJK, text_length
from step3vl.pipelines.sources.web.page_text import repetition

_BROKEN_LINES = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff\ue000-\uf8ff]")
LONG_WORD = 120  # characters without a space, in a script that has spaces: encoded data, not words
DAMAGED = 0.001  # of the characters that may be the one for what could not be decoded


@dataclass(frozen=True)
class QualityLimits:
    """What a text may be like.

    Attributes:
        characters: Fewest and most, a CJK one counting double.
        alphanumeric: The least share of letters and digits among what is no space.
        digits: The largest share of digits.
        repetition: The largest share of sequences of five words that came before.
    """

    characters: tuple[int, int]
    alphanumeric: float
    digits: float
    repetition: float


def normalise(text: str) -> str:
    """A text in NFC, with line feeds alone between lines and without characters that nobody sees."""
    text = _INVISIBLE.sub("", _BROKEN_LINES.sub("\n", text.encode("utf-8", "replace").decode()))
    lines = (line.rstrip() for line in unicodedata.normalize("NFC", text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def text_fault(text: str, limits: QualityLimits) -> tuple[str, dict[str, float]]:
    """Why a text is not wanted, empty for a good one, and what was measured; of an unwanted one also what decided.

    Args:
        text: Normalised.
        limits: What it may be like.
    """
    size = text_length(text)
    solid = [c for c in text if not c.isspace()]
    if size < limits.characters[0] or not solid:
        return "too_short", {"characters": size}
    if size > limits.characters[1]:
        return "too_long", {"characters": size}
    if (damaged := text.count("\ufffd") / len(text)) > DAMAGED:
        return "damaged_text", {"damaged": damaged}
    alphanumeric = sum(c.isalnum() for c in solid) / len(solid)
    digits = sum(c.isdigit() for c in solid) / len(solid)
    repeated = repetition([TextNode(text, "paragraph")])
    scores = {"alphanumeric": round(alphanumeric, 3), "repetition": round(repeated, 3)}
    if alphanumeric < limits.alphanumeric:
        return "symbols", scores
    if digits > limits.digits:
        return "digits", {**scores, "digits": digits}
    longest = max((len(word) for word in text.split() if word.isascii()), default=0)
    if longest > LONG_WORD:
        return "encoded_data", {**scores, "longest_word": longest}
    if repeated > limits.repetition:
        return "repetitive", scores
    return "", scores


def split_text(text: str, most: int) -> Iterator[str]:
    """Consecutive pieces of at most `most` characters, a CJK one counting double, cut between paragraphs or lines.

    A line that is too long by itself is left out, as a piece without an end would be.
    """
    piece: list[str] = []
    size = 0
    for line in text.split("\n"):
        if text_length(line) + 1 > most:
            continue
        added = _inner_length(line)
        while piece and size + added > most:
            cut = next((i for i in range(len(piece) - 1, len(piece) // 2, -1) if not piece[i]), len(piece))
            if cut_off := "\n".join(piece[:cut]).strip("\n"):
                yield cut_off
            piece = piece[cut:]
            size = sum(map(_inner_length, piece))
        size += added if piece else text_length(line) + 1
        piece.append(line)
    if rest := "\n".join(piece).strip("\n"):
        yield rest


def _inner_length(line: str) -> int:
    """What a line adds to a piece that has others: its indentation and its end count, too."""
    return len(line) + len(CJK.findall(line)) + 1
