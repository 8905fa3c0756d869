"""Grounding and counting on pages of documents: text lines and paragraphs, by PDF rectangles or by the OCR.

After the text-paragraph detection of the STEP3-VL-10B report, section 2.2. A file with text says what each word is and
where, and two renderings prove that it is seen; no model reads anything. A page without text, such as a scan, is read
by PaddleOCR at two scales. Lines and paragraphs whose extent is not clear are regions to ignore, so that nothing is
counted that somebody else would count otherwise; on a scan nothing is counted, for a line may have been missed.
"""

import operator
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, Files, FileSource, ModelStep
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.documents.paragraphs import TextBlock, page_lines, page_paragraphs
from step3vl.pipelines.documents.scans import scan_words
from step3vl.pipelines.documents.two_readings import Readings, read_twice, reads_like
from step3vl.pipelines.domains.grounding_check import CheckObjects
from step3vl.pipelines.domains.grounding_entry import AskAboutObjects, ObjectQuestions
from step3vl.pipelines.domains.ocr_documents import DocumentPage, OpenDocuments, Page, RenderPages
from step3vl.pipelines.grounding.records import GroundedImage, GroundedObject, IgnoredRegion
from step3vl.pipelines.models.ocr import OcrLine, OcrModel

_SECONDS = 120.0  # for a file to be opened, and for a page to be rendered
_READ_SECONDS = 300.0  # for a scan to be read twice
_START, _LETTERS = 5, 40  # words and characters that a paragraph is told by
_FEWEST = 3  # lines of a page that is asked about
_SECOND = 0.75  # scale of the second reading
_SIDE = 1600  # pixels of the longer side of a scan in a sample; the OCR reads it at that size
_QUALITY = 95  # of the JPEG of a scan that is made smaller
_HALF = 3  # words of each of two lines that are joined to a text that no line has
_ABSENT = 2  # such texts of a page
_LABELS = ("text line", "paragraph")


class DocumentObjectsEntry(ObjectQuestions):
    """Questions about the lines and paragraphs of pages."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["grounding.documents"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """PDF and image files."""
    max_pages: int = Field(default=4, gt=0)
    """Pages read from the front of each file."""
    dpi: int = Field(default=110, ge=50, le=600)
    """The resolution at which a PDF page is rendered."""
    min_confidence: float = Field(default=0.9, ge=0, le=1)
    """Of both readings of a line on a page without text of its own; the others are not asked about."""

    def inputs(self) -> Files:
        return Files(self.sources)


class TwiceReadPage(Page):
    """A page; one whose file does not say what is on it with two readings, both in pixels of its image."""

    first: tuple[OcrLine, ...] = ()
    second: tuple[OcrLine, ...] = ()


class ScanReader:
    """Annotator: pages, those whose files do not say what is on them with two readings.

    The model is loaded for the first of those.
    """

    def __init__(self, entry: DocumentObjectsEntry) -> None:
        """Nothing of it is needed."""

    @cached_property
    def _model(self) -> OcrModel:
        return OcrModel()

    def __call__(self, pages: Sequence[Page]) -> list[TwiceReadPage]:
        return [self._read(page) if page.turn is None else TwiceReadPage(**dict(page)) for page in pages]

    def _read(self, page: Page) -> TwiceReadPage:
        pixels, image = page.image.open().convert("RGB"), page.image
        if max(pixels.size) > _SIDE:
            pixels.thumbnail((_SIDE, _SIDE), PILImage.Resampling.LANCZOS)
            image = encode_jpeg(pixels, _QUALITY)
        readings = read_twice(self._model, pixels, _SECOND)
        fields = {**dict(page), "image": image, "words": ()}
        return TwiceReadPage(**fields, first=readings.first, second=readings.second)


class GroundPages:
    """Worker: a page becomes an image with its lines and paragraphs as objects."""

    def __init__(self, entry: DocumentObjectsEntry, context: StepContext) -> None:
        self._min_confidence = entry.min_confidence

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[TwiceReadPage], rng: random.Random) -> Iterator[Record[GroundedImage]]:
        page, words = record.value, record.value.words
        is_scan = page.turn is None
        if is_scan:
            words = tuple(scan_words(page.image.open(), Readings(page.first, page.second), self._min_confidence))
        if page.turn or not words:
            raise Dropped("no_upright_text")
        lines = page_lines(words)
        if len(lines) < _FEWEST:
            raise Dropped("too_few_lines")
        objects, ignored = _objects(lines, page_paragraphs(lines), reads_like if is_scan else operator.eq)
        if is_scan:
            size = float(page.image.width), float(page.image.height)
            ignored += [IgnoredRegion(label=each, box=(0.0, 0.0, *size), reason="may_be_missed") for each in _LABELS]
        absent = _absent_texts([line.text for line in lines], [line.text for line in lines if line.clear], rng)
        yield Record(
            record.key,
            GroundedImage(
                image=page.image,
                subject="page",
                objects=tuple(objects),
                ignored=tuple(ignored),
                complete=_LABELS,
                absent_texts={"text line": absent},
                licence=page.licence,
                origin=record.key,
                traits={"text_layer": "no" if is_scan else "yes"},
            ),
        )


def _objects(
    lines: Sequence[TextBlock], paragraphs: Sequence[TextBlock], alike: Callable[[str, str], bool]
) -> tuple[list[GroundedObject], list[IgnoredRegion]]:
    """What can be told on a page, and what cannot.

    Args:
        lines: Of the page.
        paragraphs: Of the page.
        alike: Whether a paragraph that begins with the first text may be taken for one that begins with the second.
    """
    unclear = {line.text for line in lines if not line.clear}
    starts = [_start(block) for block in paragraphs]
    objects, ignored = [], []
    for line in lines:
        if line.text in unclear:
            ignored.append(_ignored("text line", line, "reads_alike" if line.clear else "not_clear"))
        else:
            objects.append(_object("text line", line, {"text": line.text}))
    for number, (block, start) in enumerate(zip(paragraphs, starts, strict=True)):
        others = starts[:number] + starts[number + 1 :]
        if block.clear and not any(alike(start, other) for other in others):
            objects.append(_object("paragraph", block, {"start": start}))
        else:
            ignored.append(_ignored("paragraph", block, "begins_alike" if block.clear else "not_clear"))
    return objects, ignored


def _object(label: str, block: TextBlock, attributes: dict[str, str]) -> GroundedObject:
    box = block.box
    return GroundedObject(
        label=label,
        box=(box.x1, box.y1, box.x2, box.y2),
        point=(box.centre.x, box.centre.y),
        spots=(box.milli(),),
        attributes=attributes,
    )


def _ignored(label: str, block: TextBlock, reason: str) -> IgnoredRegion:
    box = block.box
    return IgnoredRegion(label=label, box=(box.x1, box.y1, box.x2, box.y2), reason=reason)


def _start(block: TextBlock) -> str:
    """What a paragraph begins with: some words, or in scripts without spaces some characters."""
    return " ".join(block.text.split()[:_START])[:_LETTERS]


def _absent_texts(texts: Sequence[str], clear: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """Texts that no line of a page has, nor may be misread as: the beginnings of lines with the ends of others.

    Args:
        texts: Of all lines.
        clear: Of those whose text is beyond doubt.
        rng: Chooses.
    """
    long = [text for text in clear if len(text.split()) >= 2 * _HALF]
    absent = []
    for _ in range(_ABSENT if len(long) > 1 else 0):
        first, last = rng.sample(long, 2)
        text = " ".join(first.split()[:_HALF] + last.split()[-_HALF:])
        if not any(reads_like(text, other) or reads_like(other, text) for other in texts):
            absent.append(text)
    return tuple(absent)


DOMAIN = Domain(
    DocumentObjectsEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenDocuments, output=DocumentPage, time_limit=_SECONDS),
        BeamStep("render", version=1, worker=RenderPages, output=Page, spread=True, time_limit=_SECONDS),
        ModelStep("read", version=1, annotator=ScanReader, output=TwiceReadPage, time_limit=_READ_SECONDS),
        BeamStep("ground", version=3, worker=GroundPages, output=GroundedImage),
        BeamStep("ask", version=2, worker=AskAboutObjects, output=Sample),
    ),
    example={"sources": [{"files": ["data/samples/documents/*.pdf"], "licence": "LPPL-1.3c"}]},
    label_check=CheckObjects,
)
