"""A domain whose records fail for as long as a file names them, as they do beside a service that is down.

Numbers become two halves each, halves are checked, a model reads them, and what was read becomes samples.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from step3vl.data.config import Config
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, ModelStep
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.steps import Dropped, Record


class FlakyEntry(GeneratedEntry):
    """Numbers, some of which fail."""

    domain: Literal["flaky"] = "flaky"
    broken: str
    """The file that names them, a step and a record a line."""

    def fail(self, step: str, key: str) -> None:
        """Note what is worked on, and fail where the file says so."""
        CALLS.append(f"{step} {key}")
        path = Path(self.broken)
        if path.exists() and f"{step} {key}" in path.read_text().splitlines():
            raise RuntimeError(f"{key} is broken in {step}")


CALLS: list[str] = []
"""What the steps of this process worked on."""


class Half(Config):
    """One of the two halves of a number."""

    key: str
    read: int = 0


class _Worker:
    def __init__(self, entry: FlakyEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""


class Split(_Worker):
    """Worker: a number becomes two halves; every tenth is not wanted."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[Half]]:
        self._entry.fail("split", record.key)
        if record.value % 10 == 9:
            raise Dropped("unwanted")
        for side in ("left", "right"):
            key = f"{record.key}/{side}"
            yield Record(key, Half(key=key))


class Check(_Worker):
    """Worker: a half stays as it is."""

    def process(self, record: Record[Half], rng: random.Random) -> Iterator[Record[Half]]:
        self._entry.fail("check", record.key)
        yield record


class Read:
    """Annotator: gives each half a number, batch by batch."""

    batches: ClassVar[list[int]] = []

    def __init__(self, entry: FlakyEntry) -> None:
        self._entry = entry

    def __call__(self, halves: Sequence[Half]) -> list[Half]:
        for half in halves:
            self._entry.fail("read", half.key)
        return [half.model_copy(update={"read": len(half.key)}) for half in halves]


class Ask(_Worker):
    """Worker: a half that was read becomes a sample."""

    def process(self, record: Record[Half], rng: random.Random) -> Iterator[Sample]:
        self._entry.fail("ask", record.key)
        yield compose(
            kind="conversation",
            domain="education",
            task="education.flaky",
            question=f"What is {record.key}? {rng.random()}",
            answer=str(record.value.read),
            truth=TextTruth(text=str(record.value.read)),
            images=[],
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
        )


DOMAIN = Domain(
    FlakyEntry,
    steps=(
        BeamStep("split", 1, Split, Half),
        BeamStep("check", 1, Check, Half),
        ModelStep("read", 1, Read, Half, batch=4),
        BeamStep("ask", 1, Ask, Sample),
    ),
)
