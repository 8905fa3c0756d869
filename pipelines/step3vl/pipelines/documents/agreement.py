"""How well two readings of a page agree: in their words or characters, and in their order.

Scripts without spaces are compared character by character, all others word by word, so that a Chinese page is not
judged by where its spaces are.
"""

import re
import unicodedata
from collections import Counter

IDEOGRAPHS = r"\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""The characters of scripts without spaces, for a class of a regular expression."""
_TOKEN = re.compile(rf"[{IDEOGRAPHS}]|[^\W_{IDEOGRAPHS}]+")
_ANY_IDEOGRAPH = re.compile(rf"[{IDEOGRAPHS}]")
_ANCHOR = 4  # ideographs, or half as many words, that are looked for in both texts
_FEW = 5  # anchors that say nothing about the order


def tokens(text: str) -> list[str]:
    """Words in lower case and single ideographs, in compatibility form; punctuation left out."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def has_ideographs(text: str) -> bool:
    """Whether a text holds Chinese or Japanese characters."""
    return _ANY_IDEOGRAPH.search(text) is not None


def recall(read: list[str], reference: list[str]) -> float:
    """The share of the reference's tokens that were read, each as often as it occurs, 0..1; 1 for an empty one."""
    if not reference:
        return 1.0
    return (Counter(read) & Counter(reference)).total() / len(reference)


def token_agreement(read: list[str], reference: list[str]) -> float:
    """F1 of two bags of tokens, 0..1; blind to the order."""
    shared = (Counter(read) & Counter(reference)).total()
    return 2 * shared / (len(read) + len(reference)) if shared else 0.0


def order_agreement(read: list[str], reference: list[str]) -> float | None:
    """Kendall's tau of the places of what occurs once in both readings, -1..1; None where that is too little."""
    first, second = _anchors(read), _anchors(reference)
    shared = [(place, second[anchor]) for anchor, place in first.items() if anchor in second]
    if len(shared) < _FEW:
        return None
    from scipy.stats import kendalltau  # takes a second to import, which whoever reads no page is spared

    places, others = zip(*shared, strict=True)
    return float(kendalltau(places, others).statistic)


def _anchors(text: list[str]) -> dict[tuple[str, ...], int]:
    """Runs of tokens that occur once, with their places."""
    places: dict[tuple[str, ...], int | None] = {}
    for place in range(len(text)):
        length = _ANCHOR if has_ideographs(text[place]) else _ANCHOR // 2
        run = tuple(text[place : place + length])
        places[run] = None if run in places else place
    return {run: place for run, place in places.items() if place is not None}
