"""Real documents and scans: the label is what PaddleOCR reads, checked where the file itself knows its text.

After the document-to-text data of the STEP3-VL-10B report, section 2.2. The way of a page: a file is opened, its pages
become staged images, an OCR model reads them, and each is split into regions that become samples.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field
from rapidfuzz import fuzz
from xxhash import xxh3_64_hexdigest

from step3vl.data.config import Config
from step3vl.data.sample import Box, Image, Pointer, Sample, Source, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange, ModelStep
from step3vl.pipelines.core.image_cache import ImageCache
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.sources.pages import count_pages, read_page

_QUESTIONS = ("Read the text.", "Transcribe the text.")
_PAD = 0.15  # of a line's height, left around it when it is cropped
_PAGES = 1 << 28  # bytes of decoded pages that are kept while their lines are cropped
_SECONDS = 120.0  # for a file to be opened, and for a page to be rendered
_READ_SECONDS = 300.0  # for a page to be read; a thousand lines take one core about a minute


class DocumentsEntry(DomainEntry):
    """Pages and lines of documents."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["ocr.document_to_text"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """PDF and image files; each page of a PDF is a page, and each frame of a GIF, TIFF or WebP."""
    regions: tuple[Literal["page", "line"], ...] = ("page",)
    """`page` gives each page with all its text, `line` each line cropped with its own; give either or both."""
    max_pages: int = Field(default=4, gt=0)
    """Pages read from the front of each file."""
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

    def inputs(self) -> Files:
        return Files(self.sources)


class DocumentPage(Config):
    """A page of a file, counted from 0."""

    file: InputFile
    number: int


class Page(Config):
    """A page that the OCR reads."""

    image: Image
    text_layer: str
    """The text that the file says is on the page; empty for a scan."""
    licence: str


class ReadPage(Page):
    """A page with the lines that the OCR read."""

    lines: tuple[OcrLine, ...]


class Region(Config):
    """A page, or a line of it."""

    image: Image
    """Of the page."""
    crop: Box | None
    """The line in pixels; None for all of the page."""
    text: str
    confidence: float
    """Of the OCR, on average over the lines."""
    agreement: float | None
    """With the page's text layer; None where it has none."""
    licence: str


class OpenDocuments:
    """Worker: a file becomes numbered pages."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[DocumentPage]]:
        file = record.value
        for number in range(count_pages(self._context.local_path(file))):
            yield Record(f"{record.key}#{number + 1}", DocumentPage(file=file, number=number))


class RenderPages:
    """Worker: a page becomes an image and the text that the file says is on it.

    An image file that is a page as it stands is left where it is and pointed to.
    """

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[DocumentPage], rng: random.Random) -> Iterator[Record[Page]]:
        file, number = record.value.file, record.value.number
        if number >= self._entry.max_pages:
            raise Dropped("beyond_max_pages")
        page = read_page(self._context.local_path(file), number, self._entry.dpi)
        image = _pointing_to(file, page.image) if page.is_file else page.image
        yield Record(record.key, Page(image=image, text_layer=page.text_layer, licence=file.licence))


def _pointing_to(file: InputFile, image: Image) -> Image:
    data = image.read()
    return image.stored_at(Pointer(path=file.url, offset=0, size=len(data), xxh3=xxh3_64_hexdigest(data)))


class PageReader:
    """Annotator: pages with the lines that the OCR reads on them."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._model = OcrModel()

    def __call__(self, pages: Sequence[Page]) -> list[ReadPage]:
        return [ReadPage(**dict(page), lines=tuple(self._model.read(page.image.open()))) for page in pages]


def words(text: str) -> list[str]:
    """The words of a text in lower case, alphanumeric characters only."""
    return "".join(character if character.isalnum() else " " for character in text.casefold()).split()


def word_agreement(text: str, reference: str) -> float:
    """F1 of two bags of words, 0..1; blind to the reading order, which columns upset."""
    counts, expected = Counter(words(text)), Counter(words(reference))
    shared = (counts & expected).total()
    return 2 * shared / (counts.total() + expected.total()) if shared else 0.0


def line_agreement(line: str, reference: str) -> float:
    """How well a line occurs somewhere in a text, 0..1; both are words joined without spaces."""
    return fuzz.partial_ratio(line, reference) / 100 if line and reference else 0.0


class SplitRegions:
    """Worker: a read page becomes a record for the page and one for each line, as the entry asks."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ReadPage], rng: random.Random) -> Iterator[Record[Region]]:
        page = record.value
        if not page.lines:
            raise Dropped("no_text_found")
        has_text = bool(page.text_layer.strip())
        if "page" in self._entry.regions:
            text = "\n".join(line.text for line in page.lines)
            agreement = word_agreement(text, page.text_layer) if has_text else None
            yield Record(record.key, _region(page, page.lines, text, agreement, None))
        if "line" in self._entry.regions:
            reference = "".join(words(page.text_layer))
            for number, line in enumerate(page.lines):
                agreement = line_agreement("".join(words(line.text)), reference) if has_text else None
                yield Record(f"{record.key}/{number + 1}", _region(page, (line,), line.text, agreement, line.box))


def _region(page: ReadPage, lines: Sequence[OcrLine], text: str, agreement: float | None, crop: Box | None) -> Region:
    return Region(
        image=page.image,
        crop=crop,
        text=text,
        confidence=round(sum(line.score for line in lines) / len(lines), 4),
        agreement=None if agreement is None else round(agreement, 4),
        licence=page.licence,
    )


class LabelRegions:
    """Worker: a page or a line becomes a sample, if the OCR was sure and the file's own text agrees."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        self._pages = ImageCache(_PAGES)

    def process(self, record: Record[Region], rng: random.Random) -> Iterator[Sample]:
        entry, region = self._entry, record.value
        if not entry.characters[0] <= len(region.text) <= entry.characters[1]:
            raise Dropped("length_out_of_range")
        if region.confidence < entry.min_confidence:
            raise Dropped("low_confidence")
        scores = {"ocr_confidence": region.confidence}
        if region.agreement is not None:
            if region.agreement < entry.min_agreement:
                raise Dropped("low_agreement")
            scores["text_layer_agreement"] = region.agreement
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.document_to_text",
            question=rng.choice(_QUESTIONS),
            answer=region.text,
            truth=TranscriptTruth(text=region.text),
            images=[self._image(region)],
            source=Source(uri=record.key, licence=region.licence, collected_by=f"step3vl/{entry.name}"),
            scores=scores,
        )

    def _image(self, region: Region) -> Image:
        """The page or the line, no larger than the entry allows. A page that is not larger is left unchanged."""
        page, max_side = region.image, self._entry.max_side
        if region.crop is None and max(page.width, page.height) <= max_side:
            return page
        pixels = self._pages.get(page.sha256, page.open)
        pixels = pixels.copy() if region.crop is None else crop_line(pixels, region.crop)
        pixels.thumbnail((max_side, max_side), PILImage.Resampling.LANCZOS)
        return encode_jpeg(pixels)


def crop_line(page: PILImage.Image, line: Box) -> PILImage.Image:
    """A line of a page, with some padding."""
    pad = _PAD * (line.y2 - line.y1)
    x1, y1 = max(0, round(line.x1 - pad)), max(0, round(line.y1 - pad))
    x2, y2 = min(page.width, round(line.x2 + pad)), min(page.height, round(line.y2 + pad))
    return page.crop((x1, y1, x2, y2))


DOMAIN = Domain(
    DocumentsEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenDocuments, output=DocumentPage, time_limit=_SECONDS),
        BeamStep("render", version=1, worker=RenderPages, output=Page, spread=True, time_limit=_SECONDS),
        ModelStep("read", version=2, annotator=PageReader, output=ReadPage, time_limit=_READ_SECONDS),
        BeamStep("split", version=1, worker=SplitRegions, output=Region),
        BeamStep("build", version=1, worker=LabelRegions, output=Sample),
    ),
    example={"sources": [{"files": ["documents/*.pdf"], "licence": "CC-BY-4.0"}], "max_pages": 2},
)
