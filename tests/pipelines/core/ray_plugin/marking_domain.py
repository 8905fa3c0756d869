"""A domain that Ray's workers find as they find one of another package: by an entry point on their path.

A model marks numbers. It notes each number that it is given, with the process and the parent process that it runs in.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from step3vl.data.config import Config
from step3vl.data.sample import Image, Sample, Source, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, ModelStep
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.render.style import plain


class MarksEntry(GeneratedEntry):
    """Numbers to mark."""

    # Runs whose files are compared differ in where they take notes and in how long they take.
    INPUT_FIELDS = frozenset({"count", "notes", "seconds"})

    domain: Literal["marks"] = "marks"
    notes: str
    """The file of the model's notes."""
    seconds: float = 0.0
    """That each number takes."""
    fails: tuple[int, ...] = ()
    """Numbers on which the model raises."""
    ends: tuple[int, ...] = ()
    """Numbers on which the model ends its process."""
    hangs: tuple[int, ...] = ()
    """Numbers on which the model hangs."""
    loads: bool = True
    """Whether the model loads."""


class LimitedMarksEntry(MarksEntry):
    """The same with a time limit."""

    domain: Literal["limited-marks"] = "limited-marks"  # type: ignore[assignment]


class Number(Config):
    """A number and its image."""

    number: int
    image: Image


class Marked(Number):
    """A number with its mark."""

    mark: str


class MakeNumbers:
    """Worker: a number gets an image."""

    def __init__(self, entry: MarksEntry, context: StepContext) -> None:
        pass

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Record[Number]]:
        yield Record(
            record.key, Number(number=record.value, image=encode_jpeg(plain((8, 8), (record.value % 256,) * 3)))
        )


class Marker:
    """Annotator: marks numbers."""

    def __init__(self, entry: MarksEntry) -> None:
        self._entry = entry
        if not entry.loads:
            raise FileNotFoundError("marker.onnx")

    def __call__(self, numbers: Sequence[Number]) -> list[Marked]:
        entry = self._entry
        with Path(entry.notes).open("a") as notes:
            notes.writelines(f"{os.getpid()} {os.getppid()} {number.number}\n" for number in numbers)
        marked = []
        for number in numbers:
            time.sleep(entry.seconds)
            if number.number in entry.fails:
                raise ValueError(f"{number.number} has no mark")
            if number.number in entry.ends:
                os._exit(1)
            if number.number in entry.hangs:
                time.sleep(600)
            pixel = number.image.open().getpixel((0, 0))
            marked.append(Marked(number=number.number, image=number.image, mark=f"{number.number}: {pixel}"))
        return marked


class TellMarks:
    """Worker: a marked number becomes a sample."""

    def __init__(self, entry: MarksEntry, context: StepContext) -> None:
        self._kind = entry.kind

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Marked], rng: random.Random) -> Iterator[Sample]:
        yield compose(
            kind=self._kind,
            domain="ocr",
            task="ocr.marks",
            question="Which mark?",
            answer=record.value.mark,
            truth=TextTruth(text=record.value.mark),
            images=[record.value.image],
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
        )


_MAKE, _TELL = BeamStep("make", 1, MakeNumbers, Number), BeamStep("tell", 1, TellMarks, Sample)
_MARK = ModelStep("mark", 1, Marker, Marked, batch=4)

DOMAIN = Domain(MarksEntry, steps=(_MAKE, _MARK, _TELL))
LIMITED = Domain(LimitedMarksEntry, steps=(_MAKE, replace(_MARK, time_limit=3.0), _TELL))
