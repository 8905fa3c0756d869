"""Questions about the images of a mosaic, answered from its captions: which is where, and which is beside another.

The captions are read twice: line by line in the order of the layout, and by a pattern over the raw text. Only captions
that have nothing in common with the other three are asked about.
"""

import random
import re
from collections.abc import Callable

from step3vl.pipelines.domains.mosaic_questions import places_of
from step3vl.pipelines.domains.vqa_questions.captions import is_apart
from step3vl.pipelines.domains.vqa_questions.distractors import shuffled
from step3vl.pipelines.domains.vqa_questions.turns import Draft, Language, quoted

ACROSS = {"en": ("to the right of", "to the left of"), "zh": ("右边", "左边")}
DOWN = {"en": ("below", "above"), "zh": ("下方", "上方")}
NEIGHBOURS: dict[str, tuple[tuple[int, int, dict[str, tuple[str, str]]], ...]] = {
    "row": ((0, 1, ACROSS), (1, 2, ACROSS), (2, 3, ACROSS)),
    "column": ((0, 1, DOWN), (1, 2, DOWN), (2, 3, DOWN)),
    "grid": ((0, 1, ACROSS), (2, 3, ACROSS), (0, 2, DOWN), (1, 3, DOWN)),
    "large_left": ((1, 2, DOWN), (2, 3, DOWN)),
    "large_right": ((0, 1, DOWN), (1, 2, DOWN)),
    "large_top": ((1, 2, ACROSS), (2, 3, ACROSS)),
    "large_bottom": ((0, 1, ACROSS), (1, 2, ACROSS)),
}
"""Images of a layout that are side by side, and what the second is to the first, and the first to the second."""


class MosaicQuestions:
    """Asks about a mosaic.

    Args:
        text: A line for each image, with its place and its caption.
        layout: The name of the layout.
        written: The language of the captions, in which the text names the places.
        language: Of the questions.
        rng: Chooses what is asked.

    Raises:
        ValueError: The text is not that of a mosaic of this layout.
    """

    def __init__(self, text: str, layout: str, written: Language, language: Language, rng: random.Random) -> None:
        self._language, self._rng = language, rng
        self._places = places_of(layout, language)
        names = places_of(layout, written)
        self._captions = [line.partition("：" if written == "zh" else ": ")[2] for line in text.split("\n")]
        again = [re.findall(rf"(?im)^{re.escape(name)}(?:: |：)(.+)$", text) for name in names]
        if again != [[caption] for caption in self._captions]:
            raise ValueError(f"the captions are {self._captions}, and by the pattern {again}")
        self._neighbours = NEIGHBOURS["grid" if layout.startswith("grid") else layout]
        self._known = [
            number
            for number, caption in enumerate(self._captions)
            if all(is_apart(caption, other) for other in self._captions if other is not caption)
            and not any(mark in caption for mark in '"“”')
        ]

    def kinds(self) -> dict[str, Callable[[], Draft | None]]:
        """The kinds of questions that suit the mosaic, each with what makes one: None where chance finds none."""
        if not self._known:
            return {}
        return {
            "mosaic_where": self._where,
            "mosaic_at": self._at,
            "mosaic_is_at": self._is_at,
            "mosaic_beside": self._beside,
        }

    def _where(self) -> Draft:
        number = self._rng.choice(self._known)
        wrong = [place for place in self._places if place != self._places[number]]
        values = {"cited": self._cite(number)}
        return Draft(
            "mosaic_where", values, self._places[number], "text", shuffled(wrong, self._rng), only_choice=True
        )

    def _at(self) -> Draft:
        number = self._rng.choice(self._known)
        values = {"place": quoted(self._places[number], self._language)}
        return Draft("mosaic_at", values, self._captions[number], "text", self._wrong(number), only_choice=True)

    def _is_at(self) -> Draft:
        """As often yes as no."""
        number = self._rng.choice(self._known)
        is_right = self._rng.random() < 0.5
        elsewhere = [place for place in self._places if place != self._places[number]]
        place = self._places[number] if is_right else self._rng.choice(elsewhere)
        values = {"cited": self._cite(number), "place": quoted(place, self._language)}
        return Draft("mosaic_is_at", values, "yes" if is_right else "no", "yes_no")

    def _beside(self) -> Draft | None:
        pairs = [
            (number, other, words[turned])
            for first, second, both in self._neighbours
            for words in (both[self._language],)
            for turned, (number, other) in enumerate(((first, second), (second, first)))
            if number in self._known and other in self._known
        ]
        if not pairs:
            return None
        number, other, relation = self._rng.choice(pairs)
        values = {"cited": self._cite(number), "relation": relation}
        wrong = tuple(caption for caption in self._wrong(other) if caption != self._captions[number])
        return Draft("mosaic_beside", values, self._captions[other], "text", wrong, only_choice=True)

    def _wrong(self, number: int) -> tuple[str, ...]:
        return shuffled([caption for caption in self._captions if caption != self._captions[number]], self._rng)

    def _cite(self, number: int) -> str:
        return quoted(self._captions[number].rstrip(".。"), self._language)
