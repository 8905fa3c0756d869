"""Finished questions, read back: what stands in the places of a wording, and what the phrases there say.

It is the other way round from `wording` and `names`: it knows the wordings and the grammar of phrases, and nothing of
how a question was made. A text may be read in several ways, and all of them are given.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Optional

from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.grounding.answer_phrasings import HINTS
from step3vl.pipelines.grounding.map_phrasings import MAP_BODIES
from step3vl.pipelines.grounding.names import colour_name, name, plural
from step3vl.pipelines.grounding.phrasings import BODIES

_PLACES = {
    "leftmost": "最左边的", "rightmost": "最右边的", "topmost": "最上面的", "bottommost": "最下面的",
    "largest": "最大的", "smallest": "最小的",
}  # fmt: skip
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Description:
    """What a phrase says of an object.

    Attributes:
        label: What it is.
        attributes: Kinds and values.
        place: Which of those that are left, such as `leftmost`.
        near: What it is nearest to.
        between: What it lies between.
        written: Somebody's words, in place of all this.
    """

    label: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    place: str = ""
    near: Optional["Description"] = None
    between: tuple["Description", "Description"] | None = None
    written: str = ""


def fields_of(question: str, kind: str, form: str, language: Language) -> list[dict[str, str]]:
    """What may stand in the places of the wording that made a question, each way to read it once.

    Args:
        question: As it was asked, with what is said about the form of the answer.
        kind: Of the question.
        form: Of the answer.
        language: Of the question.
    """
    space = " " if language == "en" else ""
    bodies = [question]
    for hints in (HINTS["none"], HINTS[form]):
        endings = [space + hint for hint in hints[language]]
        bodies += [body.removesuffix(end) for body in bodies for end in endings if body.endswith(end)]
    readings: list[dict[str, str]] = []
    for pattern in _patterns(kind, language):
        readings += [match.groupdict() for body in bodies if (match := pattern.fullmatch(body))]
    return [reading for place, reading in enumerate(readings) if reading not in readings[:place]]


@cache
def _patterns(kind: str, language: Language) -> tuple[re.Pattern[str], ...]:
    bodies = (BODIES | MAP_BODIES)[kind][language]
    # What stands in a place may have words of the wording in it: the first place is as long as it can be, or as short.
    return tuple(re.compile(_pattern(body, content), re.DOTALL) for body in bodies for content in (".+", ".+?"))


def _pattern(body: str, content: str) -> str:
    """A wording as a pattern; its first letter is large in a question."""
    parts = _FIELD.split(body)
    texts, fields = [re.escape(text) for text in parts[::2]], parts[1::2]
    letter = parts[0][:1]
    if letter.islower():
        texts[0] = f"[{letter}{letter.upper()}]{texts[0][1:]}"
    return texts[0] + "".join(f"(?P<{field}>{content}){text}" for field, text in zip(fields, texts[1:], strict=True))


def descriptions_of(
    phrase: str, labels: Collection[str], colours: Collection[str], written: Collection[str], language: Language
) -> list[Description]:
    """What a phrase may say, each way to read it once.

    Args:
        phrase: With or without its article; it may begin with a large letter.
        labels: That an object may have.
        colours: That an object may have.
        written: Words that somebody wrote for an object. In Chinese, labels without a name of their own stand in
            quotation marks as well.
        language: Of the phrase.
    """
    read = (_English if language == "en" else _Chinese)(labels, colours, written)
    small = phrase[:1].lower() + phrase[1:]
    return list(dict.fromkeys(each for text in dict.fromkeys((phrase, small)) for each in read.phrase(text)))


class _Grammar(ABC):
    """What the grammars share: a noun that is near to something, between two things, in a place, or of a colour.

    Args:
        places: How a phrase begins that has a place.
        colours: The same for colours, the colour by the beginning.
    """

    def __init__(self, places: Mapping[str, str], colours: Mapping[str, str]) -> None:
        self._places, self._colours = places, colours

    @abstractmethod
    def phrase(self, text: str) -> Iterator[Description]:
        """What a whole phrase may say."""

    @abstractmethod
    def _noun(self, text: str) -> Iterator[Description]:
        """What a noun with its attributes may say."""

    def _near(self, head: str, anchor: str) -> Iterator[Description]:
        for noun in self._placed(head):
            for near in self.phrase(anchor):
                yield Description(noun.label, noun.attributes, noun.place, near=near)

    def _between(self, head: str, anchors: Iterable[tuple[str, str]]) -> Iterator[Description]:
        for first, second in anchors:
            for noun in self._placed(head):
                for pair in product(self.phrase(first), self.phrase(second)):
                    yield Description(noun.label, noun.attributes, noun.place, between=pair)

    def _placed(self, text: str) -> Iterator[Description]:
        for place, start in self._places.items():
            if text.startswith(start):
                for noun in self._noun(text.removeprefix(start)):
                    yield Description(noun.label, noun.attributes, place)
        yield from self._noun(text)

    def _coloured(self, text: str) -> Iterator[Description]:
        for start, colour in self._colours.items():
            if text.startswith(start):
                for noun in self._noun(text.removeprefix(start)):
                    yield Description(noun.label, (("colour", colour), *noun.attributes))


class _English(_Grammar):
    """The grammar of English phrases, from the outside: what is near, where, and what it is."""

    def __init__(self, labels: Collection[str], colours: Collection[str], written: Collection[str]) -> None:
        super().__init__({place: f"{place} " for place in _PLACES}, {f"{colour} ": colour for colour in colours})
        self._written = written
        self._nouns = {label: label for label in labels} | {plural(label): label for label in labels}

    def phrase(self, text: str) -> Iterator[Description]:
        if text[:1] == text[-1:] == '"' and text[1:-1] in self._written:
            yield Description(written=text[1:-1])
        for article in ("the ", "an ", "a ", ""):
            if text.startswith(article):
                yield from self._described(text.removeprefix(article))
                return

    def _described(self, text: str) -> Iterator[Description]:
        for head, anchor in _splits(text, " nearest to "):
            yield from self._near(head, anchor)
        for head, anchors in _splits(text, " between "):
            yield from self._between(head, _splits(anchors, " and "))
        yield from self._placed(text)

    def _noun(self, text: str) -> Iterator[Description]:
        patterns = {
            "text": r'(.+?) that reads "(.*)"',
            "start": r'(.+?) that begins with "(.*)"',
        }
        for kind, pattern in patterns.items():
            if match := re.fullmatch(pattern, text, re.DOTALL):
                for noun in self._noun(match[1]):
                    yield Description(noun.label, (*noun.attributes, (kind, match[2])))
        if match := re.fullmatch(r"(.+) in row (\d+), column (\d+)", text):
            for noun in self._noun(match[1]):
                yield Description(noun.label, (*noun.attributes, ("row", match[2]), ("column", match[3])))
        yield from self._coloured(text)
        if text in self._nouns:
            yield Description(self._nouns[text])


class _Chinese(_Grammar):
    """The grammar of Chinese phrases, in which all that describes stands before the noun, but for its text."""

    def __init__(self, labels: Collection[str], colours: Collection[str], written: Collection[str]) -> None:
        super().__init__(_PLACES, {f"{colour_name(colour, 'zh')}的": colour for colour in colours})
        self._written = written
        self._nouns = {name(label, "zh"): label for label in labels}

    def phrase(self, text: str) -> Iterator[Description]:
        if text[:1] == "“" and text[-1:] == "”" and text[1:-1] in self._written:
            yield Description(written=text[1:-1])
        if text.startswith("离"):
            for anchor, head in _splits(text[1:], "最近的"):
                yield from self._near(head, anchor)
        if text.startswith("在"):
            for anchors, head in _splits(text[1:], "之间的"):
                yield from self._between(head, _splits(anchors, "和"))
        yield from self._placed(text)

    def _noun(self, text: str) -> Iterator[Description]:
        for word, label in self._nouns.items():
            rest = text.removeprefix(word)
            if rest == text:
                continue
            if not rest:
                yield Description(label)
            elif rest.startswith("“") and rest.endswith("”"):
                yield Description(label, (("text", rest[1:-1]),))
            elif rest.startswith("（开头是“") and rest.endswith("”）"):
                yield Description(label, (("start", rest[5:-2]),))
        if match := re.fullmatch(r"第(\d+)行第(\d+)列的(.+)", text):
            for noun in self._noun(match[3]):
                yield Description(noun.label, (*noun.attributes, ("row", match[1]), ("column", match[2])))
        yield from self._coloured(text)


def _splits(text: str, separator: str) -> Iterator[tuple[str, str]]:
    """Each way to cut a text at a separator."""
    start = text.find(separator)
    while start >= 0:
        yield text[:start], text[start + len(separator) :]
        start = text.find(separator, start + 1)
