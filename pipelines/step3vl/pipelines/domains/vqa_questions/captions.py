"""Questions about the caption of an image, answered from captions alone: which one fits, and what is missing in one.

A caption says what its image shows, not what the image does not show. So the wrong options are captions of other
images, or words of them, and only of captions that have nothing in common with the right one: no word by the
words, and no stem, no character of Chinese, by a search of the raw text.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from step3vl.data.sample import Sample
from step3vl.pipelines.domains.vqa_questions.distractors import shuffled
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language, quoted
from step3vl.pipelines.sources.text.words import STOP_WORDS, content_words, singular

GAP = "____"
_ROLES = ("caption", "alt", "recaption")  # texts about the image; those above and below it may be about anything
_LONGEST = 300  # characters of a caption
_TOKEN = re.compile(r"[^\W\d_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
# Characters that say little about what there is to see.
_COMMON_HAN = frozenset(
    "的了是在和与及或也都就而并但这那其有为以于被把从到对不又很更最一二三四五六七八九十个只张名位条座幅种些两几上下中里外前后左右"
    "旁边方面着过地得起来去向由等可能会要色部形样"
)
# What captions call an image, which says nothing of what it shows.
_IMAGE_WORDS = frozenset((
    "background", "figure", "illustration", "image", "photo", "photograph", "photography", "screenshot", "view",
    "drawing", "picture",  # words: of captions
))  # fmt: skip
_VAGUE = frozenset((
    "close", "different", "example", "front", "kind", "large", "like", "look", "many", "new", "number", "old", "part",
    "place", "scene", "seen", "several", "show", "showing", "side", "small", "thing", "type", "use", "various", "way",
))  # fmt: skip
_NO_GAP = STOP_WORDS | _IMAGE_WORDS | _VAGUE
_ENDINGS = ("ing", "ed", "ly", "s")
_PART = re.compile(r"[,，;；]\s*([^,，;；.。!！?？]+)(?=[,，;；.。]|$)")  # a part of a caption, but for the first
_MIN_HAN = 4  # characters of a Chinese part
_MIN_WORDS = 2  # content words of a caption, or of a part, that says something


def caption_of(sample: Sample) -> str | None:
    """The caption of a sample of `knowledge.pairs`, in a line; None for a text that need not be about the image.

    Args:
        sample: With the role of its text among the traits of its source.
    """
    caption = " ".join(sample.last_text().split())
    marks = '"“”'  # captions are cited between them
    if sample.source.traits.get("role") not in _ROLES or len(caption) > _LONGEST or any(m in caption for m in marks):
        return None
    return caption


def is_apart(caption: str, other: str) -> bool:
    """Whether two captions say something, and nothing that both of them say."""
    words, others = _content(caption), _content(other)
    if min(len(words - _VAGUE), len(others - _VAGUE)) < _MIN_WORDS or words & others:
        return False
    return not _shares_stem(words, other) and not _shares_stem(others, caption) and not _han(caption) & _han(other)


def _content(caption: str) -> set[str]:
    return set(content_words(caption)) - _IMAGE_WORDS


def _shares_stem(words: set[str], text: str) -> bool:
    """Whether a text has the beginning of one of the words at the beginning of one of its own."""
    folded = text.casefold()
    stems = (re.escape(word[: max(4, len(word) - 3)]) for word in words if word.isascii())
    return any(re.search(rf"(?<![a-z]){stem}", folded) for stem in stems)


def _han(text: str) -> set[str]:
    return set(_HAN.findall(text)) - _COMMON_HAN


class _Gap(NamedTuple):
    """A piece of a caption that can be left out, and what a piece in its place has to be like."""

    text: str
    start: int
    likeness: tuple[object, ...]


class CaptionQuestions:
    """Asks about a caption.

    Args:
        caption: Of the image.
        others: Captions of other images.
        language: Of the questions.
        rng: Chooses what is asked.
    """

    def __init__(self, caption: str, others: Sequence[str], language: Language, rng: random.Random) -> None:
        self._caption, self._language, self._rng = caption, language, rng
        self._others = [other for other in dict.fromkeys(others) if is_apart(caption, other)]

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the caption, each with what makes one: None where chance finds none."""
        if not self._others:
            return {}
        return {
            "caption_fits": self._fits,
            "caption_matches": self._matches,
            "caption_word": lambda: self._missing("caption_word", _words_of),
            "caption_part": lambda: self._missing("caption_part", _parts_of),
        }

    def _fits(self) -> Draft:
        return Draft("caption_fits", {}, self._caption, "text", shuffled(self._others, self._rng), only_choice=True)

    def _matches(self) -> Draft:
        """As often yes as no."""
        is_right = self._rng.random() < 0.5
        caption = self._caption if is_right else self._rng.choice(self._others)
        return Draft("caption_matches", {"cited": self._cite(caption)}, "yes" if is_right else "no", "yes_no")

    def _missing(self, kind: str, gaps_of: Callable[[str], Iterator[_Gap]]) -> Draft | None:
        """What a gap in the caption had, among pieces of other captions that could stand there."""
        folded = self._caption.casefold()
        gaps = [gap for gap in gaps_of(self._caption) if folded.count(gap.text.casefold()) == 1]
        others = [gap for other in self._others for gap in gaps_of(other) if gap.text.casefold() not in folded]
        for gap in self._rng.sample(gaps, len(gaps)):
            wrong = dict.fromkeys(other.text for other in others if other.likeness == gap.likeness)
            if len(wrong) < 2:
                continue
            left = self._caption[: gap.start] + GAP + self._caption[gap.start + len(gap.text) :]
            if left.replace(GAP, gap.text) != self._caption:
                raise ValueError(f"{gap.text!r} does not fill the gap of {left!r}")
            values = {"cited": self._cite(left)}
            return Draft(kind, values, gap.text, "text", shuffled(list(wrong), self._rng), only_choice=True)
        return None

    def _cite(self, caption: str) -> str:
        return quoted(caption.rstrip(".。"), self._language)


def _words_of(caption: str) -> Iterator[_Gap]:
    """Words of Latin letters, each with its ending, the article before it, and whether another word follows, so that
    grammar does not give the answer away."""
    tokens = list(_TOKEN.finditer(caption))
    if len(_content(caption) - _VAGUE) <= _MIN_WORDS:  # too little is left to tell what is missing
        return
    for number, token in enumerate(tokens):
        word = token[0]
        if not (word.isascii() and word.islower() and len(word) >= 4) or {word, singular(word)} & _NO_GAP:
            continue
        before = tokens[number - 1][0].casefold() if number else ""
        following = tokens[number + 1] if number + 1 < len(tokens) else None
        is_last = (
            following is None
            or following[0].casefold() in STOP_WORDS
            or bool(caption[token.end() : following.start()].strip())
        )
        article = (before, word[0] in "aeiou") if before in ("a", "an") else ()
        ending = next((ending for ending in _ENDINGS if word.endswith(ending)), "")
        yield _Gap(word, token.start(), (is_last, article, ending))


def _parts_of(caption: str) -> Iterator[_Gap]:
    """What stands between two commas, or after the last."""
    for match in _PART.finditer(caption):
        part = match[1].strip()
        if len(_HAN.findall(part)) >= _MIN_HAN or len(_content(part) - _VAGUE) >= _MIN_WORDS:
            first = part.split()[0] if part.isascii() else ""
            yield _Gap(part, match.start(1), (match.end() >= len(caption.rstrip(".。")), first in ("and", "with")))
