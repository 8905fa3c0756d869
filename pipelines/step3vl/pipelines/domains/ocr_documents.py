"""Real documents and scans: what PaddleOCR reads, put in order by the layout, checked where the file knows its text.

After the document-to-text data of the STEP3-VL-10B report, section 2.2. The way of a page: a file is opened, its pages
become staged images, models read their lines, regions and tables, and each is split into regions that become samples.
Labels that MinerU made elsewhere may take the place of ours; what is read then proves them.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal

from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Box, ChecksTruth, Image, PageCheck, Sample, Source, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import (
    BeamStep,
    Domain,
    DomainEntry,
    Files,
    FileSource,
    IntRange,
    MissingProgramError,
    ModelStep,
)
from step3vl.pipelines.core.image_cache import ImageCache
from step3vl.pipelines.core.inputs import InputFile, list_pattern
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.documents.agreement import has_ideographs
from step3vl.pipelines.documents.blocks import PageRegion, WordIndex, has_wide_brackets, is_vertical, spelled_by_file
from step3vl.pipelines.documents.label_check import CheckDocuments
from step3vl.pipelines.documents.labels import PageLabel, label_page, label_page_elsewhere, line_agreement
from step3vl.pipelines.documents.questions import LabelForm, ask
from step3vl.pipelines.documents.reader import DocumentReader
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.models.weights import LAYOUT, ORIENTATION, TABLES, locate
from step3vl.pipelines.sources.documents import mineru
from step3vl.pipelines.sources.documents.mineru import LabelBlock
from step3vl.pipelines.sources.documents.pages import count_pages, left_in_file, read_page
from step3vl.pipelines.sources.documents.pdf_text import PageWord, turned_back

_PAD = 0.15  # of a line's height, left around it when it is cropped
_PAGES = 1 << 28  # bytes of decoded pages that are kept while their lines are cropped
_COVERED = 0.5  # of the characters on a page, that its label is about
_QUALITY = 95  # of the JPEG of a page that is turned
_SECONDS = 120.0  # for a file to be opened, for a page to be rendered, and for one to be split
_READ_SECONDS = 300.0  # for a page to be read; a thousand lines take one core about a minute


class DocumentsEntry(DomainEntry):
    """Pages and lines of documents."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["ocr.document_to_text"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """PDF and image files; each page of a PDF is a page, and each frame of a GIF, TIFF or WebP. Or files of labels
    that MinerU wrote, `*_content_list.json` or `*_middle.json`, beside their PDFs."""
    regions: tuple[Literal["page", "line"], ...] = ("page",)
    """`page` gives each page with all its text, `line` each line cropped with its own; give either or both."""
    formats: tuple[Literal["markdown", "text"], ...] = Field(default=("markdown", "text"), min_length=1)
    """Of a page: Markdown of its main body, or plain text line by line. Of several, each page has one at random."""
    max_pages: int = Field(default=4, gt=0)
    """Pages read from the front of each file."""
    dpi: int = Field(default=120, ge=50, le=600)
    """The resolution at which a PDF page is rendered for the OCR; a page of more than 40 million pixels gets less."""
    max_side: int = Field(default=1456, gt=0)
    """The longer side of the image in a sample, in pixels."""
    characters: IntRange = (1, 20000)
    """The length of a sample's text."""
    min_confidence: float = Field(default=0.9, ge=0, le=1)
    """Of the OCR, on average over the characters."""
    min_line_confidence: float = Field(default=0.7, ge=0, le=1)
    """A line below it is left out."""
    max_unsure: float = Field(default=0.02, ge=0, le=1)
    """Of a page's characters, in lines that are left out; more drop the page."""
    min_agreement: float = Field(default=0.95, ge=0, le=1)
    """F1 of words, or of characters in scripts without spaces, between what is read and what the PDF says. Scans have
    no text and pass."""
    min_order: float = Field(default=0.95, ge=-1, le=1)
    """Kendall's tau of the orders that the layout and the PDF give the text."""

    def inputs(self) -> Files:
        return Files(self.sources)

    def check(self, context: StepContext) -> None:
        try:
            for model in (LAYOUT, ORIENTATION, TABLES):
                locate(*model)
        except UserError as error:
            raise MissingProgramError(f"{self.name}: {error}") from None


class DocumentPage(Config):
    """A page of a file, counted from 0."""

    file: InputFile
    number: int
    labels: tuple[LabelBlock, ...] = ()
    """Made elsewhere; empty where the page is to be labelled."""


class Page(Config):
    """A page that the OCR reads."""

    image: Image
    words: tuple[PageWord, ...]
    """That the file says are on the page, in its order; none for a scan."""
    turn: int | None
    """The clockwise turn of the text in degrees; None where the file does not say."""
    labels: tuple[LabelBlock, ...]
    """Made elsewhere."""
    licence: str


class ReadPage(Page):
    """A page, turned upright, with what the models read on it; its words are turned with it."""

    lines: tuple[OcrLine, ...]
    regions: tuple[PageRegion, ...] = ()


class Region(Config):
    """A page, or a line of it, with its text and what is known about it."""

    image: Image
    """Of the page."""
    crop: Box | None
    """The line in pixels; None for all of the page."""
    form: LabelForm
    text: str
    marks: bool
    """The text stands for more than text, such as a table or a formula, or leaves something out."""
    checks: tuple[PageCheck, ...]
    """Of a page."""
    confidence: float
    """Of the OCR, on average over the characters."""
    unsure: float
    """The share of the characters that are left out, for the OCR was not sure."""
    agreement: float | None
    """With the page's own text; None where it has none."""
    order: float | None
    """Kendall's tau with the order of the page's own text; None where there is too little."""
    turn: int
    """By how many degrees the page was turned."""
    licence: str


class OpenDocuments:
    """Worker: a file becomes numbered pages."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[DocumentPage]]:
        file = record.value
        labels: dict[int, tuple[LabelBlock, ...]] = {}
        labelled = mineru.is_label_file(PurePosixPath(file.url).name)
        if labelled:
            labels = mineru.read_labels(self._context.local_path(file))
            file = self._pdf_beside(file)
        pages = count_pages(self._context.local_path(file))
        for number in sorted(labels) if labelled else range(pages):
            if number >= pages:
                raise mineru.LabelError(f"the labels name page {number + 1}, and the PDF has {pages}")
            page = DocumentPage(file=file, number=number, labels=labels.get(number, ()))
            yield Record(f"{record.key}#{number + 1}", page)

    def _pdf_beside(self, labels: InputFile) -> InputFile:
        """The PDF of a file of labels, found by its name."""
        folder, _, name = labels.url.rpartition("/")
        for candidate in mineru.pdf_names(name):
            pattern = f"{folder}/{_literal(candidate)}"
            try:
                return next(
                    list_pattern(
                        pattern, labels.licence, entry="labels", base=self._context.base, store=self._context.store
                    )
                )
            except UserError:  # no such file
                continue
        raise mineru.LabelError(f"no PDF lies beside the labels: {' or '.join(mineru.pdf_names(name))}")


def _literal(name: str) -> str:
    """A file name as a pattern that matches it alone."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


class RenderPages:
    """Worker: a page becomes an image and the words that the file says are on it.

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
        image = left_in_file(page.image, file) if page.is_file else page.image
        labels = record.value.labels
        yield Record(
            record.key, Page(image=image, words=page.words, turn=page.turn, labels=labels, licence=file.licence)
        )


class PageReader:
    """Annotator: pages, upright, with the lines, regions and tables that the models read on them."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._reader = DocumentReader()

    def __call__(self, pages: Sequence[Page]) -> list[ReadPage]:
        return [self._read(page) for page in pages]

    def _read(self, page: Page) -> ReadPage:
        pixels = page.image.open()
        reading = self._reader.read(pixels, page.turn)
        image = encode_jpeg(reading.image, _QUALITY) if reading.turn else page.image
        words = tuple(turned_back(word, reading.turn) for word in page.words)
        fields = {**dict(page), "image": image, "words": words, "turn": reading.turn}
        return ReadPage(**fields, lines=reading.lines, regions=reading.regions)


class SplitRegions:
    """Worker: a read page becomes a record for the page and one for each line, as the entry asks."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ReadPage], rng: random.Random) -> Iterator[Record[Region]]:
        entry, page = self._entry, record.value
        if not page.lines:
            raise Dropped("no_text_found")
        if "page" in entry.regions:
            yield Record(record.key, _page_region(page, self._label(page, rng)))
        if "line" in entry.regions:
            words, wide = WordIndex(page.words), has_wide_brackets(page.lines)
            for number, line in enumerate(page.lines):
                yield Record(f"{record.key}/{number + 1}", _line_region(page, line, words, wide=wide))

    def _label(self, page: ReadPage, rng: random.Random) -> PageLabel:
        entry = self._entry
        if page.labels:
            return label_page_elsewhere(page.labels, page.lines, page.words, rng)
        form = rng.choice(entry.formats)
        label = label_page(page.lines, page.regions, page.words, form, entry.min_line_confidence, rng)
        if label.doubtful_table and "text" in entry.formats:
            return label_page(page.lines, page.regions, page.words, "text", entry.min_line_confidence, rng)
        return label


def _page_region(page: ReadPage, label: PageLabel) -> Region:
    if label.doubtful_table and label.form == "markdown":
        raise Dropped("doubtful_table")
    if label.covered < _COVERED:
        raise Dropped("mostly_figures")
    if not label.text:
        raise Dropped("no_text_left")
    return Region(
        image=page.image,
        crop=None,
        form=label.form,
        text=label.text,
        marks=label.marks,
        checks=label.checks,
        confidence=round(label.confidence, 4),
        unsure=round(label.unsure, 4),
        agreement=_rounded(label.agreement),
        order=_rounded(label.order),
        turn=page.turn or 0,
        licence=page.licence,
    )


def _line_region(page: ReadPage, line: OcrLine, words: WordIndex, *, wide: bool) -> Region:
    return Region(
        image=page.image,
        crop=line.box,
        form="line",
        text=spelled_by_file(line, words, is_vertical([line]), wide=wide).text,
        marks=False,
        checks=(),
        confidence=round(line.score, 4),
        unsure=0.0,
        agreement=_rounded(line_agreement(line, words)) if page.words else None,
        order=None,
        turn=page.turn or 0,
        licence=page.licence,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


class LabelRegions:
    """Worker: a page or a line becomes a sample, if the OCR was sure and the file's own text agrees."""

    def __init__(self, entry: DocumentsEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        self._pages = ImageCache(_PAGES)

    def process(self, record: Record[Region], rng: random.Random) -> Iterator[Sample]:
        entry, region = self._entry, record.value
        self._require_trusted(region)
        chinese = has_ideographs(region.text)
        scores = {"ocr_confidence": region.confidence}
        if region.agreement is not None:
            scores["text_layer_agreement"] = region.agreement
        if region.order is not None:
            scores["order_agreement"] = region.order
        if region.unsure:
            scores["left_out"] = region.unsure
        if region.turn:
            scores["turned_degrees"] = region.turn
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.document_to_text",
            question=ask(region.form, chinese, region.marks, rng),
            answer=region.text,
            truth=ChecksTruth(checks=region.checks) if region.checks else TranscriptTruth(text=region.text),
            images=[self._image(region)],
            source=Source(
                uri=record.key,
                licence=region.licence,
                collected_by=f"step3vl/{entry.name}",
                traits={
                    "form": region.form,
                    "script": "ideographs" if chinese else "letters",
                    "text_layer": "no" if region.agreement is None else "yes",
                },
            ),
            scores=scores,
        )

    def _require_trusted(self, region: Region) -> None:
        """Raises Dropped for what is not sure enough to be learnt."""
        entry = self._entry
        if not entry.characters[0] <= len(region.text) <= entry.characters[1]:
            raise Dropped("length_out_of_range")
        if region.confidence < (entry.min_confidence if region.crop is None else entry.min_line_confidence):
            raise Dropped("low_confidence")
        if region.unsure > entry.max_unsure:
            raise Dropped("unsure_lines")
        if region.agreement is not None and region.agreement < entry.min_agreement:
            raise Dropped("low_agreement")
        if region.order is not None and region.order < entry.min_order:
            raise Dropped("low_order_agreement")

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
    pad = _PAD * min(line.y2 - line.y1, line.x2 - line.x1)
    x1, y1 = max(0, round(line.x1 - pad)), max(0, round(line.y1 - pad))
    x2, y2 = min(page.width, round(line.x2 + pad)), min(page.height, round(line.y2 + pad))
    return page.crop((x1, y1, x2, y2))


DOMAIN = Domain(
    DocumentsEntry,
    steps=(
        BeamStep("open", version=2, worker=OpenDocuments, output=DocumentPage, time_limit=_SECONDS),
        BeamStep("render", version=3, worker=RenderPages, output=Page, spread=True, time_limit=_SECONDS),
        ModelStep("read", version=3, annotator=PageReader, output=ReadPage, time_limit=_READ_SECONDS),
        BeamStep("split", version=4, worker=SplitRegions, output=Region, time_limit=_SECONDS),
        BeamStep("build", version=2, worker=LabelRegions, output=Sample),
    ),
    example={
        "sources": [{"files": ["data/samples/scans/*"], "licence": "public domain"}],
        "regions": ["page", "line"],
    },
    label_check=CheckDocuments,
)
