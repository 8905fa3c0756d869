"""Mining keywords from texts: what a document is about, and which of its paragraphs says most about it.

Candidates are runs of up to three words without stop words between them (as RAKE takes them); in Chinese, runs that
end with a noun, by jieba's segmentation. They are weighed by how often the document has them other than in a longer
one (as C-value counts), and by how rare their words are elsewhere.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import rjieba

from step3vl.pipelines.sources.text.words import STOP_WORDS, content_words, is_chinese

_BREAK = re.compile(r"[^\w\s'’-]+|\n|(?<=\w)['’]s\b")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_LONGEST = 3  # words
_HAN_LENGTHS = range(2, 9)  # characters
_BEFORE_NOUNS = frozenset({"a", "b", "s", "v", "vn"})  # jieba's adjectives, places and verbs
_LONGER = 0.4  # by which each word more adds to the weight


class Keyword(NamedTuple):
    """A keyword of a document.

    Attributes:
        text: As the document spells it first.
        weight: How much the document is about it.
        paragraph: The number of the paragraph that has it most often, for its length; the first of equal ones.
    """

    text: str
    weight: float
    paragraph: int


def mine_keywords(paragraphs: Sequence[str], rarity: Callable[[str], float], limit: int) -> list[Keyword]:
    """The keywords of a document, the weightiest first; none is part of another one.

    Args:
        paragraphs: Of the document.
        rarity: The inverse document frequency of a content word; 0 for one that no keyword may have.
        limit: Most keywords.
    """
    known: dict[str, float] = {}

    def weight_of(word: str) -> float:
        if word not in known:
            known[word] = rarity(word)
        return known[word]

    spelled: dict[tuple[str, ...], str] = {}
    places: dict[tuple[str, ...], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for number, paragraph in enumerate(paragraphs):
        for text in _candidates(paragraph):
            words = tuple(content_words(text))
            if words and all(weight_of(word) > 0 for word in words):
                spelled.setdefault(words, text)
                places[words][number] += 1
    nested = _nested({words: sum(counts.values()) for words, counts in places.items()})
    weighed = []
    for order, (words, counts) in enumerate(places.items()):
        times = sum(counts.values()) - nested[words]
        if times <= 0:
            continue
        mean = sum(map(weight_of, words)) / len(words)
        weight = (1 + math.log(times)) * mean * (1 + _LONGER * (len(words) - 1))
        best = max(counts, key=lambda number: (counts[number] / (50 + len(paragraphs[number])), -number))
        weighed.append((-weight, order, words, best))
    chosen: list[tuple[str, ...]] = []
    keywords = []
    for weight, _, words, best in sorted(weighed):
        if not any(set(words) <= set(other) or set(other) <= set(words) for other in chosen):
            chosen.append(words)
            keywords.append(Keyword(spelled[words], round(-weight, 4), best))
            if len(keywords) == limit:
                break
    return keywords


def _nested(counts: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """How often each candidate is part of the longer one that has it most often."""
    nested = dict.fromkeys(counts, 0)
    for words, count in counts.items():
        for start in range(len(words)):
            for stop in range(start + 1, len(words) + 1):
                part = words[start:stop]
                if part != words and part in nested:
                    nested[part] = max(nested[part], count)
    return nested


def _candidates(paragraph: str) -> Iterator[str]:
    for chunk in _BREAK.split(paragraph):
        if is_chinese(chunk):
            yield from _han_candidates(chunk)
            continue
        run: list[str] = []
        for match in _WORD.finditer(chunk):
            word = match[0]
            if word.casefold() in STOP_WORDS or word.isdigit() or len(word) < 2:
                run = []
                continue
            run = [*run[-_LONGEST + 1 :], word]
            for start in range(len(run)):
                yield " ".join(run[start:])


def _han_candidates(chunk: str) -> Iterator[str]:
    run: list[str] = []
    for word, tag in rjieba.tag(chunk):
        noun = tag.startswith("n")
        if not noun and (tag not in _BEFORE_NOUNS or len(word) < 2):
            run = []
            continue
        run = [*run[-_LONGEST + 1 :], word]
        if noun:
            for start in range(len(run)):
                text = "".join(run[start:])
                if len(text) in _HAN_LENGTHS:
                    yield text
