"""A domain that the tests of segments run, in this process and in others.

Numbers become a card each, cards are read by a model, and what was read becomes samples. What a record does besides is
written in its number.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Image, Sample, Source, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, Inputs, ModelStep, Numbers
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.render.style import plain


class CardEntry(DomainEntry):
    """Numbered cards, or cards of text files."""

    INPUT_FIELDS = frozenset({"count", "files"})

    domain: Literal["cards"] = "cards"
    count: int = 0
    files: tuple[str, ...] = ()
    faults: dict[int, str] = Field(default_factory=dict)
    """What goes wrong with the record of a number: `drop`, `fail`, `twins`, `surrogate`, `disk`, `model`, `hang`, or
    `crash`."""

    def inputs(self) -> Inputs:
        if self.files:
            return Files([FileSource(files=self.files, licence="CC0-1.0")])
        return Numbers(self.count)


class Card(Config):
    """A card with an image."""

    number: int
    image: Image
    text: str


class ReadCard(Card):
    """A card that a model read."""

    words: dict[str, int]
    score: float | None


class MakeCards:
    """Worker: a number, or a file that holds one, becomes two cards."""

    def __init__(self, entry: CardEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int | InputFile], rng: random.Random) -> Iterator[Record[Card]]:
        value = record.value
        number = value if isinstance(value, int) else int(self._context.local_path(value).read_text())
        fault = self._entry.faults.get(number)
        for side in ("front", "back"):
            image = encode_jpeg(plain((16, 16), (rng.randrange(256), number % 256, 0)))
            text = "\ud800" if fault == "surrogate" else f"{side} of {number}"
            yield Record(
                f"{record.key}/{'front' if fault == 'twins' else side}", Card(number=number, image=image, text=text)
            )
            if fault == "drop":
                raise Dropped("unwanted")
            if fault == "fail":
                raise ValueError(f"{number} is broken")
            if fault == "disk":
                raise OSError(28, "No space left on device")
            if fault == "hang":
                time.sleep(60)
            if fault == "crash":
                os.kill(os.getpid(), 11)


class ReadCards:
    """Annotator: counts the words of cards, batch by batch."""

    batches: ClassVar[list[int]] = []
    """The sizes of the batches of this process."""

    def __init__(self, entry: CardEntry) -> None:
        self._faults = entry.faults

    def __call__(self, cards: Sequence[Card]) -> list[ReadCard]:
        self.batches.append(len(cards))
        for card in cards:
            if self._faults.get(card.number) == "model":
                raise RuntimeError(f"cannot read {card.number}")
            card.image.read()
        return [
            ReadCard(**dict(card), words={word: card.text.count(word) for word in card.text.split()}, score=0.5)
            for card in cards
        ]


class AskCards:
    """Worker: a card that was read becomes a question with the image of the card, and one with an image of its own."""

    def __init__(self, entry: CardEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ReadCard], rng: random.Random) -> Iterator[Sample]:
        card = record.value
        for image in (card.image, encode_jpeg(plain((8, 8), (rng.randrange(256), 0, 0)))):
            yield compose(
                kind=self._entry.kind,
                domain="ocr",
                task="ocr.cards",
                question="Read the card.",
                answer=f"{card.text} 卡片 {list(card.words)}",
                truth=TextTruth(text=card.text),
                images=[image],
                source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
            )


DOMAIN = Domain(
    CardEntry,
    steps=(
        BeamStep("make", 1, MakeCards, Card),
        ModelStep("read", 1, ReadCards, ReadCard, batch=4),
        BeamStep("ask", 1, AskCards, Sample),
    ),
)
LIMITED = Domain(
    CardEntry,
    steps=(
        BeamStep("make", 1, MakeCards, Card, time_limit=1.0),
        ModelStep("read", 1, ReadCards, ReadCard, batch=4, time_limit=10.0),
        BeamStep("ask", 1, AskCards, Sample),
    ),
)
