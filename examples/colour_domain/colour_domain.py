"""Naming a colour: the smallest possible domain."""

import random
from collections.abc import Iterator
from typing import Literal

from step3vl.data.sample import OptionTruth, Sample, Source
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.render.style import COLOURS, luminance, plain


class ColoursEntry(GeneratedEntry):
    """Questions about the colour of an image."""

    domain: Literal["colours"]
    image_size: tuple[int, int] = (112, 112)
    """Width and height in pixels."""
    max_luminance: float = 1.0
    """Colours above it are dropped, 0..1."""


class NameColour:
    """Worker: a number becomes an image of a single colour."""

    def __init__(self, entry: ColoursEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        name = rng.choice(list(COLOURS))
        if luminance(COLOURS[name]) > entry.max_luminance:
            raise Dropped("too_light")
        yield compose(
            kind=entry.kind,
            domain="grounding",
            task="grounding.colour",
            question="What colour is it?",
            answer=name,
            truth=OptionTruth(option=name, options=tuple(COLOURS)),
            images=[encode_jpeg(plain(entry.image_size, COLOURS[name]))],
            source=Source(uri=record.key, licence="CC0-1.0", collected_by=f"step3vl/{entry.name}"),
        )


DOMAIN = Domain(
    ColoursEntry,
    steps=(BeamStep("build", version=1, worker=NameColour, output=Sample),),
    example={"count": 20, "max_luminance": 0.8},
)
