"""Real images with text on them, labelled by PaddleOCR: what two readings at different scales agree on is a label.

After the real image-to-text data of the STEP3-VL-10B report, section 2.2. Lines that only one reading has make a
transcript incomplete, so an image with such lines is asked for single lines alone, and one that is mostly disputed is
dropped.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import (
    BoxTruth,
    Image,
    Sample,
    Source,
    TextTruth,
    TranscriptTruth,
    Truth,
    format_boxes,
)
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange, ModelStep
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.documents.two_readings import agreed_lines, read_twice, reads_like
from step3vl.pipelines.domains.text_page_questions import Language, ask
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.sources.documents.pages import count_pages, left_in_file, read_page

_SECONDS = 60.0  # for a file to be opened
_READ_SECONDS = 300.0  # for an image to be read twice
_DPI = 120  # of PDF pages, which a pattern may match too


class SceneTextEntry(DomainEntry):
    """Real images with text."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["ocr.scene_text"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Image files; only the first frame is read."""
    sides: IntRange = (64, 6000)
    """The shorter and the longer side of an image in pixels, at least and at most."""
    max_side: int = Field(default=1456, gt=0)
    """The longer side of the image in a sample, in pixels. The first reading sees it."""
    second_scale: float = Field(default=0.75, gt=0.2, lt=2)
    """The second reading sees the image scaled by this."""
    min_confidence: float = Field(default=0.85, ge=0, le=1)
    """Of both readings of a line."""
    min_height: float = Field(default=16, ge=0)
    """Of the box of a line, in pixels of the image that is read."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Characters of agreed lines over those of all lines, for a transcript of the whole image."""
    tasks: dict[Literal["transcribe", "region", "locate"], float] = Field(
        default={"transcribe": 2.0, "region": 1.0, "locate": 1.0}, min_length=1
    )
    """Relative weights of what is asked for: all of the text, that in a box, the box of a text."""
    questions: int = Field(default=2, ge=1, le=8)
    """Samples of an image, at most; each asks for something else."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of the questions, chosen with equal probability."""

    def inputs(self) -> Files:
        return Files(self.sources)


class Photo(Config):
    """An image that is to be read."""

    image: Image
    licence: str


class ReadPhoto(Photo):
    """An image with two readings of it, both in its own pixels."""

    first: tuple[OcrLine, ...]
    second: tuple[OcrLine, ...]


class OpenPhotos:
    """Worker: a file becomes an image within the entry's sizes."""

    def __init__(self, entry: SceneTextEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[Photo]]:
        entry, file = self._entry, record.value
        path = self._context.local_path(file)
        if count_pages(path) > 1:
            raise Dropped("several_frames")
        page = read_page(path, 0, _DPI)
        width, height = page.image.width, page.image.height
        if min(width, height) < entry.sides[0]:
            raise Dropped("too_small")
        if max(width, height) > entry.sides[1]:
            raise Dropped("too_large")
        image = page.image
        if max(width, height) > entry.max_side:
            pixels = image.open()
            pixels.thumbnail((entry.max_side, entry.max_side), PILImage.Resampling.LANCZOS)
            image = encode_jpeg(pixels, 95)
        elif page.is_file:
            image = left_in_file(image, file)
        yield Record(record.key, Photo(image=image, licence=file.licence))


class PhotoReader:
    """Annotator: images with what the OCR reads on them at two scales."""

    def __init__(self, entry: SceneTextEntry) -> None:
        self._model = OcrModel()
        self._scale = entry.second_scale

    def __call__(self, photos: Sequence[Photo]) -> list[ReadPhoto]:
        return [self._read(photo) for photo in photos]

    def _read(self, photo: Photo) -> ReadPhoto:
        readings = read_twice(self._model, photo.image.open(), self._scale)
        return ReadPhoto(**dict(photo), first=readings.first, second=readings.second)


def agreement(agreed: Sequence[OcrLine], first: Sequence[OcrLine], second: Sequence[OcrLine]) -> float:
    """How much of what either reading has is agreed on, in characters, 0..1."""
    whole = max(sum(len(line.text) for line in first), sum(len(line.text) for line in second))
    return sum(len(line.text) for line in agreed) / whole if whole else 0.0


def in_reading_order(lines: Sequence[OcrLine]) -> list[OcrLine] | None:
    """Lines from top to bottom, and from left to right where some stand beside each other.

    None where that order may not be the one in which people read: several lines stand beside several others, as in
    columns, or they are upright.
    """
    rows: list[list[OcrLine]] = []
    for line in sorted(lines, key=lambda line: line.box.y1):
        if line.box.y2 - line.box.y1 > 1.5 * (line.box.x2 - line.box.x1):
            return None
        row = rows[-1] if rows else []
        if row and line.box.y1 < max(other.box.y1 + 0.5 * (other.box.y2 - other.box.y1) for other in row):
            row.append(line)
        else:
            rows.append([line])
    if sum(len(row) > 1 for row in rows) > 1:
        return None
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.x1)]


class LabelPhotos:
    """Worker: an image becomes questions about the text that both readings have."""

    def __init__(self, entry: SceneTextEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ReadPhoto], rng: random.Random) -> Iterator[Sample]:
        entry, photo = self._entry, record.value
        if not photo.first:
            raise Dropped("no_text_found")
        agreed = agreed_lines(photo.first, photo.second, entry.min_confidence, entry.min_height)
        if not agreed:
            raise Dropped("readings_disagree")
        share = agreement(agreed, photo.first, photo.second)
        tasks = [task for task, weight in entry.tasks.items() if weight > 0]
        ordered = in_reading_order(agreed)
        if share < entry.min_agreement or len(agreed) < len(photo.first) or ordered is None:
            tasks = [task for task in tasks if task != "transcribe"]
        emitted: set[str] = set()
        for _ in range(2 * entry.questions):
            if not tasks or len(emitted) == entry.questions:
                break
            task = rng.choices(tasks, [entry.tasks[task] for task in tasks])[0]
            if task == "transcribe":
                tasks.remove(task)
            asked = self._ask(task, ordered or agreed, rng)
            if asked is None or asked[1] in emitted:
                continue
            emitted.add(asked[1])
            question, answer, truth, name = asked
            yield compose(
                kind=entry.kind,
                domain="ocr",
                task=name,
                question=question,
                answer=answer,
                truth=truth,
                images=[photo.image],
                source=Source(uri=record.key, licence=photo.licence, collected_by=f"step3vl/{entry.name}"),
                scores={
                    "ocr_confidence": round(min(line.score for line in agreed), 4),
                    "ocr_agreement": round(share, 4),
                },
            )
        if not emitted:
            raise Dropped("no_task_fits")

    def _ask(self, task: str, lines: Sequence[OcrLine], rng: random.Random) -> tuple[str, str, Truth, str] | None:
        language = rng.choice(self._entry.languages)
        if task == "transcribe":
            text = "\n".join(line.text for line in lines)
            truth: Truth = TranscriptTruth(text=text) if len(lines) > 1 else TextTruth(text=text)
            return ask("transcribe", language, rng), text, truth, "ocr.image_to_text"
        line = rng.choice(lines)
        if task == "region":
            question = ask("region", language, rng, box=format_boxes([line.box]))
            truth = TextTruth(text=line.text)
            return question, line.text, truth, "ocr.region"
        if any(reads_like(line.text, other.text) for other in lines if other is not line):
            return None  # there are two places that say so
        truth = BoxTruth(boxes=(line.box.milli(),))
        question = ask("locate", language, rng, text=line.text)
        return question, format_boxes([line.box]), truth, "ocr.locate"


DOMAIN = Domain(
    SceneTextEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenPhotos, output=Photo, time_limit=_SECONDS),
        ModelStep("read", version=1, annotator=PhotoReader, output=ReadPhoto, time_limit=_READ_SECONDS),
        BeamStep("build", version=1, worker=LabelPhotos, output=Sample),
    ),
    example={"sources": [{"files": ["data/samples/scans/*"], "licence": "public domain"}], "max_side": 800},
)
