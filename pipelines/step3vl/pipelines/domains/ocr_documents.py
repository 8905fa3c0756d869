"""Real documents and scans: the label is what PaddleOCR reads, checked where the file itself knows its text.

After the document-to-text data of the STEP3-VL-10B report, section 2.2. The way of a page: a file is opened (Beam),
its pages become staged images (Beam), an OCR model reads them (Ray), pages and lines become samples (Beam).
"""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from PIL import Image as PILImage
from pydantic import Field
from rapidfuzz import fuzz

from step3vl.data.config import Config
from step3vl.data.dataset import ImagePartWriter
from step3vl.data.sample import Box, Image, Pointer, Sample, Source, TranscriptTruth
from step3vl.pipelines.core.beam import RunStep
from step3vl.pipelines.core.domain import Domain, DomainEntry, IntRange, ModelStep, Steps
from step3vl.pipelines.core.ray import KeyedRow
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.staging import dump_model
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.sources.files import match_files
from step3vl.pipelines.sources.pdf import page_count, render_page

_QUESTIONS = ("Read the text.", "Transcribe the text.")
_PAD = 0.15  # of a line's height, left around it when it is cropped


class DocumentFiles(Config):
    """Files under one licence."""

    files: tuple[str, ...] = Field(min_length=1)
    """Patterns of PDF or image files."""
    licence: str


class DocumentsEntry(DomainEntry):
    """Pages and lines of documents."""

    domain: Literal["ocr.document_to_text"]
    sources: tuple[DocumentFiles, ...] = (
        DocumentFiles(files=("data/samples/documents/*.pdf",), licence="LPPL-1.3c"),
        DocumentFiles(files=("data/samples/scans/*",), licence="public domain"),
    )
    regions: tuple[Literal["page", "line"], ...] = ("page",)
    """`page` gives each page with all its text, `line` each line cropped with its own; give either or both."""
    max_pages: int = Field(default=4, gt=0)
    """Pages read from the front of each PDF."""
    dpi: int = Field(default=120, ge=50, le=600)
    """The resolution at which a PDF page is rendered for the OCR; a page of more than 40 million pixels gets less."""
    max_side: int = Field(default=1456, gt=0)
    """The longer side of the image in a sample, in pixels."""
    characters: IntRange = (1, 20000)
    """The length of a sample's text."""
    min_confidence: float = Field(default=0.8, ge=0, le=1)
    """Of the OCR, on average over the lines."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """With the text layer of the PDF page; scans and photographs have none and pass."""

    def files(self) -> list[Path]:
        return [path for source in self.sources for path in match_files(source.files, self.name)]


class DocumentFile(NamedTuple):
    """A file to open."""

    path: Path
    licence: str


class DocumentPage(NamedTuple):
    """A page of a file, counted from 0."""

    path: Path
    licence: str
    page: int


class Page(KeyedRow):
    """A page that the OCR reads."""

    image: Image
    text_layer: str
    """The text that the file says is on the page; empty for a scan."""
    licence: str


class ReadPage(Page):
    """A page with the lines that the OCR read."""

    lines: tuple[OcrLine, ...]


class Region(NamedTuple):
    """A page, or a line of it: the lines that it shows and the box to crop, in pixels; None for all of the page."""

    page: ReadPage
    lines: tuple[OcrLine, ...]
    crop: Box | None


class OpenDocuments:
    """Worker: a file becomes numbered pages; an image is one page."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[DocumentFile], rng: random.Random) -> Iterator[Record[DocumentPage]]:
        path, licence = record.value
        pages = page_count(path) if path.suffix.lower() == ".pdf" else 1
        for page in range(min(pages, self._entry.max_pages)):
            yield Record(f"{record.key}#{page + 1}", DocumentPage(path, licence, page))


class RenderPages:
    """Worker: a page becomes an image and the text that the file says is on it.

    A PDF page is rendered; an image file is left where it is and pointed to.
    """

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[DocumentPage], rng: random.Random) -> Iterator[Page]:
        path, licence, page = record.value
        if path.suffix.lower() == ".pdf":
            rendering, text_layer = render_page(path, page, self._entry.dpi)
            image = encode_jpeg(rendering, quality=95)
        else:
            data = path.read_bytes()
            text_layer = ""
            image = Image.from_bytes(data).stored_at(Pointer(path=str(path.resolve()), offset=0, size=len(data)))
        yield Page(key=record.key, image=image, text_layer=text_layer, licence=licence)


def dump_page(page: Page, images: ImagePartWriter) -> str:
    """A rendered page as a row, its image staged."""
    return dump_model(page.model_copy(update={"image": images.stage(page.image)}))


def prepare_pages(entry: DocumentsEntry, seed: int, pipeline: Any) -> Steps:
    """Files to pages: the half before the OCR."""
    records = [
        Record(path.as_posix(), DocumentFile(path, source.licence))
        for source in entry.sources
        for path in match_files(source.files, entry.name)
    ]
    opened = pipeline | beam.Create(records) | RunStep(f"{entry.name}.open", OpenDocuments(entry), seed)
    # Pages spread over the workers however few the files are.
    rendered = opened.kept | beam.Reshuffle() | RunStep(f"{entry.name}.render", RenderPages(entry), seed)
    return [opened, rendered]


class PageReader:
    """Annotator: a page with the lines that the OCR reads on it."""

    def __init__(self) -> None:
        self._model = OcrModel()

    def __call__(self, page: Page) -> ReadPage:
        lines = tuple(self._model.read(page.image.open()))
        return ReadPage(key=page.key, image=page.image, text_layer=page.text_layer, licence=page.licence, lines=lines)


def word_agreement(text: str, reference: str) -> float:
    """F1 of two bags of words, alphanumeric only, 0..1; blind to the reading order, which columns upset."""
    words, expected = Counter(_words(text)), Counter(_words(reference))
    shared = sum((words & expected).values())
    return 2 * shared / (words.total() + expected.total()) if shared else 0.0


def line_agreement(line: str, page: str) -> float:
    """How well a line occurs somewhere in the page's text, alphanumeric only, 0..1."""
    needle, hay = "".join(_words(line)), "".join(_words(page))
    return fuzz.partial_ratio(needle, hay) / 100 if needle and hay else 0.0


def _words(text: str) -> list[str]:
    return "".join(character if character.isalnum() else " " for character in text.casefold()).split()


class SplitRegions:
    """Worker: a read page becomes a record for the page and one for each line, as the entry asks."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ReadPage], rng: random.Random) -> Iterator[Record[Region]]:
        page = record.value
        if not page.lines:
            raise Dropped("no_text_found")
        if "page" in self._entry.regions:
            yield Record(record.key, Region(page, page.lines, None))
        if "line" in self._entry.regions:
            for number, line in enumerate(page.lines):
                yield Record(f"{record.key}/{number + 1}", Region(page, (line,), line.box))


class LabelRegions:
    """Worker: a page or a line becomes a sample, if the OCR was sure and the file's own text agrees."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Region], rng: random.Random) -> Iterator[Sample]:
        entry, (page, lines, crop) = self._entry, record.value
        text = "\n".join(line.text for line in lines)
        if not entry.characters[0] <= len(text) <= entry.characters[1]:
            raise Dropped("length_out_of_range")
        scores = {"ocr_confidence": round(sum(line.score for line in lines) / len(lines), 4)}
        if scores["ocr_confidence"] < entry.min_confidence:
            raise Dropped("low_confidence")
        if page.text_layer.strip():
            measure = word_agreement if crop is None else line_agreement
            scores["text_layer_agreement"] = round(measure(text, page.text_layer), 4)
            if scores["text_layer_agreement"] < entry.min_agreement:
                raise Dropped("low_agreement")
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.document_to_text",
            question=rng.choice(_QUESTIONS),
            answer=text,
            truth=TranscriptTruth(text=text),
            images=[crop_image(page.image, crop, entry.max_side)],
            source=Source(uri=record.key, licence=page.licence, collected_by=f"step3vl/{entry.name}"),
            scores=scores,
        )


def crop_image(image: Image, crop: Box | None, max_side: int) -> Image:
    """The image of a sample.

    Args:
        image: Of the page.
        crop: A line in pixels, cropped with some padding; None for all of the page.
        max_side: The longer side in pixels. A page that is no larger is returned unchanged.
    """
    if crop is None and max(image.width, image.height) <= max_side:
        return image
    pixels = image.open()
    if crop is not None:
        pad = _PAD * (crop.y2 - crop.y1)
        x1, y1 = max(0, round(crop.x1 - pad)), max(0, round(crop.y1 - pad))
        x2, y2 = min(pixels.width, round(crop.x2 + pad)), min(pixels.height, round(crop.y2 + pad))
        pixels = pixels.crop((x1, y1, x2, y2))
    pixels.thumbnail((max_side, max_side), PILImage.Resampling.LANCZOS)
    return encode_jpeg(pixels)


def label_pages(entry: DocumentsEntry, seed: int, pages: Any) -> Steps:
    """Read pages to samples: the half after the OCR."""
    split = pages | RunStep(f"{entry.name}.split", SplitRegions(entry), seed)
    labelled = split.kept | beam.Reshuffle() | RunStep(f"{entry.name}.build", LabelRegions(entry), seed)
    return [split, labelled]


DOMAIN = Domain(
    DocumentsEntry,
    version=1,
    build=label_pages,
    model_step=ModelStep(
        name="read",
        version=2,
        prepare=prepare_pages,
        row=Page,
        dump=dump_page,
        annotator=PageReader,
        annotated=ReadPage,
    ),
)
