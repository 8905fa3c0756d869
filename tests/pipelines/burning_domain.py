"""A domain whose records keep three processes busy: a worker, that of its time limit, and one that ends with each."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Literal

from step3vl.data.config import Config
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.steps import Record

SECONDS = 0.05  # of each process for each record

_BURN = f"import time\nwhile time.process_time() < {SECONDS}: pass"


class BurningEntry(GeneratedEntry):
    """Numbers that take time."""

    domain: Literal["burning"] = "burning"


class Number(Config):
    """A number."""

    number: int


class _Worker:
    def __init__(self, entry: BurningEntry, context: StepContext) -> None:
        pass

    def setup(self) -> None:
        """Nothing to load."""


class BurnInChildren(_Worker):
    """Worker: burns in its own process and in a child."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[Number]]:
        subprocess.run([sys.executable, "-S", "-c", _BURN], check=True)
        burn()
        yield Record(record.key, Number(number=record.value))


class BurnHere(_Worker):
    """Worker: burns in its own process."""

    def process(self, record: Record[Number], rng: random.Random) -> Iterator[Sample]:
        burn()
        answer = str(record.value.number)
        yield compose(
            kind="conversation",
            domain="education",
            task="education.burning",
            question=f"What is {answer}?",
            answer=answer,
            truth=TextTruth(text=answer),
            images=[],
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
        )


def burn() -> None:
    """Keep this process busy."""
    end = time.process_time() + SECONDS
    while time.process_time() < end:
        pass


DOMAIN = Domain(
    BurningEntry,
    steps=(BeamStep("children", 1, BurnInChildren, Number, time_limit=30.0), BeamStep("here", 1, BurnHere, Sample)),
)
