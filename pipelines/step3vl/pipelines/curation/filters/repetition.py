"""Texts that repeat themselves: lines, paragraphs and n-grams."""

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.curation.filters.words import lines_of, parts_words_by_spaces, repeated_characters, words_of


class RepetitionFilter(Filter):
    """The repetition filters of Gopher (Rae et al., 2021, table A1), with the thresholds of the paper.

    The rules on lines and paragraphs hold in any script, those on n-grams where spaces part words.
    """

    lines: float = Field(default=0.3, ge=0, le=1)
    """The largest share of lines that came before; the same of paragraphs."""
    characters: float = Field(default=0.2, ge=0, le=1)
    """The largest share of characters in such lines; the same of paragraphs."""
    frequent: tuple[float, float, float] = (0.2, 0.18, 0.16)
    """The largest share of characters in the most frequent 2-, 3- and 4-gram."""
    repeated: tuple[float, float, float, float, float, float] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)
    """The largest share of characters in 5- to 10-grams that came before."""

    def find(self, sample: SampleView) -> Finding | None:
        return repetition_fault(sample.text, self)


def repetition_fault(text: str, limits: RepetitionFilter) -> Finding | None:
    """The first rule that a text breaks, if any."""
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    for name, pieces in (("lines", lines_of(text)), ("paragraphs", paragraphs)):
        share = (len(pieces) - len(set(pieces))) / max(1, len(pieces))
        if share > limits.lines:
            return Finding(f"repeated_{name}", share, limits.lines)
        share = repeated_characters(pieces)
        if share > limits.characters:
            return Finding(f"repeated_{name}", share, limits.characters, "by characters")
    if not parts_words_by_spaces(text):
        return None
    words = [word.lower() for word in words_of(text)]
    for size, limit in enumerate(limits.frequent, 2):
        share = most_frequent_share(words, size)
        if share > limit:
            return Finding("frequent_ngram", share, limit, f"{size} words")
    for size, limit in enumerate(limits.repeated, 5):
        share = repeated_share(words, size)
        if share > limit:
            return Finding("repeated_ngrams", share, limit, f"{size} words")
    return None


def most_frequent_share(words: Sequence[str], size: int) -> float:
    """The share of characters in the n-gram that fills most; 0 where none occurs twice. Occurrences may overlap."""
    counts = Counter(zip(*(words[first:] for first in range(size)), strict=False))
    most = max((count * sum(map(len, ngram)) for ngram, count in counts.items() if count > 1), default=0)
    return min(1.0, most / max(1, sum(map(len, words))))


def repeated_share(words: Sequence[str], size: int) -> float:
    """The share of characters in n-grams that came before, each word counted once."""
    seen: set[tuple[str, ...]] = set()
    repeated, free = 0, 0
    for first in range(len(words) - size + 1):
        ngram = tuple(words[first : first + size])
        if ngram in seen:
            start = max(first, free)
            repeated += sum(map(len, words[start : first + size]))
            free = first + size
        seen.add(ngram)
    return repeated / max(1, sum(map(len, words)))
