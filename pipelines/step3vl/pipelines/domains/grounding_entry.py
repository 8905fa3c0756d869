"""What the domains of grounding share that make images with objects: how many questions are asked, and the asking."""

import random
from collections.abc import Iterator

from pydantic import Field

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.grounding.questions import Weights, ask_about
from step3vl.pipelines.grounding.records import GroundedImage
from step3vl.pipelines.grounding.wording import to_sample


class ObjectQuestions(DomainEntry):
    """What is asked about the objects of images, for every domain that has some."""

    questions: int = Field(default=3, ge=1)
    """About an image, at most."""
    tasks: Weights = Field(default_factory=dict)
    """Relative weights; by default each task that suits an image is as likely as the others."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of the questions."""


class AskAboutObjects:
    """Worker: an image with its objects becomes questions about them."""

    def __init__(self, entry: ObjectQuestions, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[GroundedImage], rng: random.Random) -> Iterator[Sample]:
        entry = self._entry
        asked = ask_about(record.value, entry.tasks, entry.languages, entry.questions, rng)
        if not asked:
            raise Dropped("nothing_to_ask")
        yield from (to_sample(record.value, each, entry.kind, entry.name) for each in asked)
