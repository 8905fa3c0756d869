"""Spans of texts: what a page shows. No two spans of a document overlap."""

import math
import random
import re
import unicodedata
from collections.abc import Iterable, Iterator

from step3vl.pipelines.core.domain import IntRange
from step3vl.pipelines.sources.text.scripts import is_shaped, script_of

_SPACES = re.compile(r"\s+")
_JOINERS = "\u200c\u200d"  # they shape Arabic and Indic words
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA")
_MIN_WORDS = 0.55  # of the characters of a paragraph that are letters, digits or spaces


def clean(paragraph: str) -> str:
    """A paragraph as it can be rendered: composed characters, single spaces, nothing invisible; empty if no text.

    Tables of dots, rulers and code are no text: most of their characters are no letters.
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", paragraph)).strip()
    if any(unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs") for character in text):
        text = "".join(
            character
            for character in text
            if unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cn", "Cs") or character in _JOINERS
        )
    if not is_shaped(text.replace("\u200c", "").replace("\u200d", "")):
        text = text.replace("\u200c", "").replace("\u200d", "")
    words = sum(character == " " or unicodedata.category(character)[0] in "LMN" for character in text)
    return text if "\ufffd" not in text and words >= _MIN_WORDS * len(text) and words else ""


def cut(paragraphs: Iterable[str], length: IntRange, rng: random.Random) -> Iterator[str]:
    """Consecutive spans of a document, their paragraphs on lines.

    Lengths are log-uniform: as many spans have 10 to 100 characters as have 100 to 1,000. A span ends with a word and
    may be longer by it; what is left of a document at its end is a span if it is not too short.

    Args:
        paragraphs: Of the document.
        length: Least and greatest number of characters of a span.
        rng: Chooses the lengths.
    """
    low, high = length
    target = _length(low, high, rng)
    span: list[str] = []
    size = 0
    for paragraph in paragraphs:
        text = clean(paragraph)
        while text:
            room = target - size
            if len(text) <= room:
                span.append(text)
                size += len(text) + 1
                break
            head, text = _split(text, room)
            if head:
                span.append(head)
                size += len(head) + 1
            if size > low:
                yield "\n".join(span)
                span, size, target = [], 0, _length(low, high, rng)
            else:  # too short yet: the next word belongs to it
                target = size + max(low, 8)
    joined = "\n".join(span)
    if len(joined) >= low:
        yield joined


def _length(low: int, high: int, rng: random.Random) -> int:
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _split(text: str, room: int) -> tuple[str, str]:
    """The beginning of a text, at most `room` characters and whole words, and the rest.

    A word is never divided: a first word that is longer is the beginning.
    """
    end = room
    while end > 0 and not breaks_before(text, end):
        end -= 1
    if end <= 0:
        end = next((place for place in range(max(1, room), len(text)) if breaks_before(text, place)), len(text))
        if room < 2:  # nothing fits into what is left of a span
            return "", text
    return text[:end].rstrip(), text[end:].lstrip()


def breaks_before(text: str, place: int) -> bool:
    """Whether a text may be divided before a character: at a space, or beside a Chinese or Japanese character."""
    if place >= len(text):
        return True
    before, after = text[place - 1], text[place]
    if after == " " or before == " ":
        return True
    if unicodedata.category(after) in ("Po", "Pe", "Pf", "Mn", "Mc", "Lm") or after in "ーゃゅょっァィゥェォャュョッ":
        return False
    if unicodedata.category(before) in ("Ps", "Pi"):
        return False
    if unicodedata.category(before)[0] == "P" and unicodedata.east_asian_width(before) in "WF":
        return True
    return script_of(after) in _UNSPACED or script_of(before) in _UNSPACED
