"""Rules on the words and lines of documents: Gopher's, FineWeb's and C4's.

They hold for scripts that part words by spaces. A text of which more than a fifth is in another script passes them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import Field

from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.models.language import identify

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
_BULLET = re.compile(r"\s*(?:[-*•‣▪●◦–]|\d{1,3}[.)])\s")
_ELLIPSIS = ("...", "…")
_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_CLOSING = (".", "!", "?", '"', "'", "”", "’", "…", ":", ";")
_SENTENCE = re.compile(r"[.!?…][\"'”’)]*(?:\s|$)")
_LOREM = re.compile(r"\blorem ipsum\b", re.IGNORECASE)
_NOTICE = re.compile(
    r"\b(?:enable|disabled?|requires?|turn on|activate)\b.{0,30}\bjavascript\b"
    r"|\bjavascript\b.{0,30}\b(?:disabled|enabled)\b"
    r"|\b(?:terms of (?:use|service)|privacy policy|cookie policy|all rights reserved)\b"
    r"|\b(?:uses? cookies|use of cookies|accept (?:all )?cookies)\b",
    re.IGNORECASE,
)
_CJK_SHARE = 0.2


def parts_words_by_spaces(text: str) -> bool:
    """Whether rules on words hold: at most a fifth of the letters are Chinese, Japanese, Thai and the like."""
    letters = sum(character.isalpha() for character in text)
    return len(_WITHOUT_SPACES.findall(text)) <= _CJK_SHARE * letters


def words_of(text: str) -> list[str]:
    """The words of a text as they are written; an inner hyphen or apostrophe does not part them."""
    return _WORD.findall(text)


def lines_of(text: str) -> list[str]:
    """The lines that are not empty, without white space around."""
    return [line.strip() for line in text.split("\n") if line.strip()]


class GopherFilter(Filter):
    """The quality filters of Gopher (Rae et al., 2021, table A1), with the thresholds of the paper."""

    words: tuple[int, int] = (50, 100_000)
    """Fewest and most."""
    word_length: tuple[float, float] = (3, 10)
    """The mean number of characters of a word."""
    symbols: float = Field(default=0.1, ge=0)
    """The largest ratio of `#` and of ellipses to words."""
    bullets: float = Field(default=0.9, ge=0, le=1)
    """The largest share of lines that begin with a bullet."""
    ellipses: float = Field(default=0.3, ge=0, le=1)
    """The largest share of lines that end with an ellipsis."""
    alphabetic: float = Field(default=0.8, ge=0, le=1)
    """The least share of words with a letter."""
    stop_words: int = Field(default=2, ge=0)
    """How often the, be, to, of, and, that, have or with occur at least, in a text that is English."""

    def find(self, sample: SampleView) -> Finding | None:
        return gopher_fault(sample.text, self)


def gopher_fault(text: str, limits: GopherFilter) -> Finding | None:
    """The first of Gopher's rules that a text breaks, if any."""
    if not parts_words_by_spaces(text):
        return None
    words, lines = words_of(text), lines_of(text)
    count = len(words)
    if count < limits.words[0]:
        return Finding("few_words", count, limits.words[0])
    if count > limits.words[1]:
        return Finding("many_words", count, limits.words[1])
    length = sum(map(len, words)) / max(1, count)
    if length < limits.word_length[0]:
        return Finding("short_words", length, limits.word_length[0])
    if length > limits.word_length[1]:
        return Finding("long_words", length, limits.word_length[1])
    tokens = text.split()
    for name, symbols in (("hashes", text.count("#")), ("ellipses", sum(map(text.count, _ELLIPSIS)))):
        if symbols > limits.symbols * max(1, count):
            return Finding("symbol_words", symbols / max(1, count), limits.symbols, name)
    for reason, share, limit in (
        ("bullet_lines", _share(bool(_BULLET.match(line)) for line in lines), limits.bullets),
        ("ellipsis_lines", _share(line.endswith(_ELLIPSIS) for line in lines), limits.ellipses),
    ):
        if share > limit:
            return Finding(reason, share, limit)
    alphabetic = _share(any(map(str.isalpha, token)) for token in tokens)
    if alphabetic < limits.alphabetic:
        return Finding("without_letters", alphabetic, limits.alphabetic)
    stop_words = sum(word.lower() in _STOP_WORDS for word in words)
    if stop_words < limits.stop_words and identify(text)[0] == "en":
        return Finding("few_stop_words", stop_words, limits.stop_words)
    return None


class FineWebFilter(Filter):
    """The line filters of FineWeb (Penedo et al., 2024, section 3.6), with its thresholds."""

    closed_lines: float = Field(default=0.12, ge=0, le=1)
    """The least share of lines that end with punctuation."""
    short_lines: float = Field(default=0.67, ge=0, le=1)
    """The largest share of lines of at most 30 characters."""
    repeated_characters: float = Field(default=0.01, ge=0, le=1)
    """The largest share of characters in lines that came before."""
    line_feeds: float = Field(default=0.3, ge=0)
    """The largest ratio of line feeds to words."""

    def find(self, sample: SampleView) -> Finding | None:
        return fineweb_fault(sample.text, self)


def fineweb_fault(text: str, limits: FineWebFilter) -> Finding | None:
    """The first of FineWeb's rules that a text breaks, if any."""
    lines = lines_of(text)
    if not lines or not parts_words_by_spaces(text):
        return None
    closed = _share(line.endswith(_CLOSING) for line in lines)
    if closed < limits.closed_lines:
        return Finding("open_lines", closed, limits.closed_lines)
    short = _share(len(line) <= 30 for line in lines)
    if short > limits.short_lines:
        return Finding("short_lines", short, limits.short_lines)
    repeated = repeated_characters(lines)
    if repeated > limits.repeated_characters:
        return Finding("repeated_lines", repeated, limits.repeated_characters)
    feeds = text.count("\n") / max(1, len(words_of(text)))
    return Finding("line_feeds", feeds, limits.line_feeds) if feeds > limits.line_feeds else None


def repeated_characters(pieces: Sequence[str]) -> float:
    """The share of the characters of pieces that are in a piece that came before."""
    counts = Counter(pieces)
    total = sum(map(len, pieces))
    return sum(len(piece) * (count - 1) for piece, count in counts.items()) / max(1, total)


class C4Filter(Filter):
    """Rules of C4 (Raffel et al., 2020, section 2.2) on whole documents; C4's list of bad words is left out."""

    sentences: int = Field(default=3, ge=0)
    """Fewest, by the marks that end them."""
    notices: float = Field(default=0.3, ge=0, le=1)
    """The largest share of lines that speak of JavaScript, cookies, policies and rights."""

    def find(self, sample: SampleView) -> Finding | None:
        return c4_fault(sample.text, self)


def c4_fault(text: str, limits: C4Filter) -> Finding | None:
    """The first of C4's rules that a text breaks, if any. A curly bracket, C4's sign of code, is none of them."""
    if _LOREM.search(text):
        return Finding("lorem_ipsum")
    lines = lines_of(text)
    notices = _share(bool(_NOTICE.search(line)) for line in lines)
    if notices > limits.notices:
        return Finding("notices", notices, limits.notices)
    sentences = len(_SENTENCE.findall(text))
    if sentences < limits.sentences and parts_words_by_spaces(text):
        return Finding("few_sentences", sentences, limits.sentences)
    return None


def _share(values: Iterable[bool]) -> float:
    flags = list(values)
    return sum(flags) / max(1, len(flags))
