"""Real documents and scans: the label is what PaddleOCR reads, checked where the file itself knows its text.

After the document-to-text data of the STEP3-VL-10B report, section 2.2. The way of a page: a file is opened (Beam),
its pages become staged pictures (Beam), an OCR model reads them (Ray), pages and lines become samples (Beam).
"""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
from PIL import Image as PILImage
from pydantic import Field
from rapidfuzz import fuzz

from step3vl.data.config import Config
from step3vl.data.ledger import DeadLetter, Step
from step3vl.data.sample import Image, Pointer, Sample, Source
from step3vl.data.truth import TranscriptTruth
from step3vl.pipelines.annotate.ocr import Reader
from step3vl.pipelines.annotate.ray import annotate
from step3vl.pipelines.compose import DomainEntry, Range, compose, encode_jpeg
from step3vl.pipelines.sources.files import expand
from step3vl.pipelines.sources.pdf import page_count, render_page
from step3vl.pipelines.staging import PictureParts, StageRows, read_rows
from step3vl.pipelines.steps import Dropped, Record, RunStep

_QUESTIONS = ("Read the text.", "Transcribe the text.")
_PAD = 0.15  # of a line's height, left around it when it is cut out


class DocumentFiles(Config):
    """Files under one licence: PDF, or pictures."""

    files: tuple[str, ...] = Field(min_length=1)
    licence: str


class DocumentsEntry(DomainEntry):
    """Pages and lines of documents.

    regions: `page` gives each page with all its text, `line` each line cut out with its own; give one or both.
    max_pages: pages taken from the front of each PDF. dpi: at which a PDF page is rendered for the OCR.
    max_side: pixels of the longer side of the picture in a sample.
    characters: length of a sample's text.
    min_confidence: of the OCR, 0..1, on average over the lines.
    min_agreement: with the text that the PDF says is on the page, 0..1; not asked of scans and photographs.
    """

    domain: Literal["ocr.document_to_text"]
    sources: tuple[DocumentFiles, ...] = (
        DocumentFiles(files=("data/samples/documents/*.pdf",), licence="LPPL-1.3c"),
        DocumentFiles(files=("data/samples/scans/*",), licence="public domain"),
    )
    regions: tuple[Literal["page", "line"], ...] = ("page",)
    max_pages: int = Field(default=4, gt=0)
    dpi: int = Field(default=120, ge=50, le=600)
    max_side: int = Field(default=1456, gt=0)
    characters: Range = (1, 20000)
    min_confidence: float = Field(default=0.8, ge=0, le=1)
    min_agreement: float = Field(default=0.9, ge=0, le=1)

    def files(self) -> list[Path]:
        """What the entry reads. Raises UserError when a pattern matches nothing."""
        return [path for source in self.sources for path in expand(source.files, self.name)]


class OpenDocuments:
    """Worker: a file becomes numbered pages; a picture is one page."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record, rng: random.Random) -> Iterator[Record]:
        path, licence = record.value
        number = page_count(path) if path.suffix.lower() == ".pdf" else 1
        for page in range(min(number, self._entry.max_pages)):
            yield Record(f"{record.key}#{page + 1}", (path, licence, page))


class RenderPages:
    """Worker: a page becomes a row with its picture and the text that the file says is on it.

    A PDF page is drawn; a picture is left where it is and pointed to.
    """

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record, rng: random.Random) -> Iterator[dict[str, Any]]:
        path, licence, page = record.value
        if path.suffix.lower() == ".pdf":
            picture, layer = render_page(path, page, self._entry.dpi)
            image = encode_jpeg(picture, quality=95)
        else:
            data = path.read_bytes()
            layer = ""
            image = Image.from_bytes(data).pointed(Pointer(path=str(path.resolve()), offset=0, size=len(data)))
        yield {"key": record.key, "image": image, "layer": layer, "licence": licence}


def page_row(page: dict[str, Any], parts: PictureParts) -> dict[str, Any]:
    """A rendered page as a row, its picture staged."""
    return {**page, "image": parts.stage(page["image"]).model_dump(mode="json")}


class StagePages(beam.PTransform):
    """Files to staged page rows: the half before the OCR. Gives the parts and the outcomes of the two steps."""

    def __init__(self, entry: DocumentsEntry, seed: int, folder: Path) -> None:
        super().__init__(entry.name)
        self._entry = entry
        self._seed = seed
        self._folder = folder

    def expand(self, pipeline: Any) -> Any:
        entry = self._entry
        records = [
            Record(path.as_posix(), (path, source.licence))
            for source in entry.sources
            for path in expand(source.files, entry.name)
        ]
        opened = pipeline | beam.Create(records) | RunStep(f"{entry.name}.open", OpenDocuments(entry), self._seed)
        # Pages spread over the workers however few the files are.
        pages = opened.kept | beam.Reshuffle()
        rendered = pages | RunStep(f"{entry.name}.render", RenderPages(entry), self._seed)
        return rendered.kept | StageRows(self._folder, f"{entry.name}-pages", page_row), [opened, rendered]


class ReadPage:
    """Annotator: adds `lines` to a page row, or `error` when the model could not read it."""

    def __init__(self) -> None:
        self._reader = Reader()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            lines = self._reader.read(Image.model_validate(row["image"]).open())
        except Exception as error:  # whatever the model can raise is this page's failure
            return {**row, "error": [type(error).__name__, str(error)]}
        boxes = [[line.box.x1, line.box.y1, line.box.x2, line.box.y2] for line in lines]
        texts = zip(lines, boxes, strict=True)
        return {**row, "lines": [{"text": line.text, "score": line.score, "box": box} for line, box in texts]}


def read_pages(
    entry: DocumentsEntry, pages: list[dict[str, Any]], workers: int
) -> tuple[list[dict[str, Any]], Step, list[DeadLetter]]:
    """The Ray stage: pages with their lines, in order of their keys, and the account of the step."""
    step = f"{entry.name}.read"
    kept, letters = [], []
    for row in sorted(annotate(pages, ReadPage, workers), key=lambda row: row["key"]):
        if "error" in row:
            error, reason = row["error"]
            letters.append(DeadLetter(step=step, error=error, reason=reason, source=row["key"]))
        else:
            kept.append(row)
    dead = Counter(letter.error for letter in letters)
    return kept, Step(name=step, read=len(pages), kept=len(kept), dead=dict(dead)), letters


def word_agreement(found: str, expected: str) -> float:
    """F1 of two bags of words, letters and digits only, 0..1; blind to the reading order, which columns upset."""
    ours, theirs = Counter(_words(found)), Counter(_words(expected))
    shared = sum((ours & theirs).values())
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def line_agreement(line: str, page: str) -> float:
    """How well a line occurs somewhere in the page's text, 0..1, letters and digits only."""
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

    def process(self, record: Record, rng: random.Random) -> Iterator[Record]:
        page = record.value
        if not page["lines"]:
            raise Dropped("no_text_found")
        if "page" in self._entry.regions:
            yield Record(record.key, {**page, "crop": None})
        if "line" in self._entry.regions:
            for number, line in enumerate(page["lines"]):
                yield Record(f"{record.key}/{number + 1}", {**page, "lines": [line], "crop": line["box"]})


class LabelRegions:
    """Worker: a page or a line becomes a sample, if the OCR was sure and the file's own text agrees."""

    def __init__(self, entry: DocumentsEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record, rng: random.Random) -> Iterator[Sample]:
        entry, region = self._entry, record.value
        text = "\n".join(line["text"] for line in region["lines"])
        if not entry.characters[0] <= len(text) <= entry.characters[1]:
            raise Dropped("length_out_of_range")
        scores = {"ocr_confidence": round(sum(line["score"] for line in region["lines"]) / len(region["lines"]), 4)}
        if scores["ocr_confidence"] < entry.min_confidence:
            raise Dropped("low_confidence")
        if region["layer"].strip():
            measure = word_agreement if region["crop"] is None else line_agreement
            scores["text_layer_agreement"] = round(measure(text, region["layer"]), 4)
            if scores["text_layer_agreement"] < entry.min_agreement:
                raise Dropped("low_agreement")
        image = Image.model_validate(region["image"])
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task="ocr.document_to_text",
            question=rng.choice(_QUESTIONS),
            answer=text,
            truth=TranscriptTruth(text=text),
            images=[show(image, region["crop"], entry.max_side)],
            source=Source(uri=record.key, licence=region["licence"], collected_by=f"step3vl/{entry.name}"),
            scores=scores,
        )


def show(image: Image, crop: list[float] | None, max_side: int) -> Image:
    """The picture that a sample shows: cut to a line, no larger than `max_side`; untouched when it is so already."""
    if crop is None and max(image.width, image.height) <= max_side:
        return image
    picture = image.open()
    if crop is not None:
        pad = _PAD * (crop[3] - crop[1])
        x1, y1 = max(0, round(crop[0] - pad)), max(0, round(crop[1] - pad))
        x2, y2 = min(picture.width, round(crop[2] + pad)), min(picture.height, round(crop[3] + pad))
        picture = picture.crop((x1, y1, x2, y2))
    picture.thumbnail((max_side, max_side), PILImage.Resampling.LANCZOS)
    return encode_jpeg(picture)


class TranscribeDocuments(beam.PTransform):
    """Read pages to samples: the half after the OCR. `parts` are the staged rows of `read_pages`."""

    def __init__(self, entry: DocumentsEntry, seed: int, parts: list[str]) -> None:
        super().__init__(entry.name)
        self._entry = entry
        self._seed = seed
        self._parts = parts

    def expand(self, pipeline: Any) -> Any:
        entry = self._entry
        pages = (
            pipeline
            | beam.Create(self._parts)
            | beam.FlatMap(lambda part: [Record(row["key"], row) for row in read_rows([part])])
        )
        split = pages | RunStep(f"{entry.name}.split", SplitRegions(entry), self._seed)
        regions = split.kept | beam.Reshuffle()
        return [split, regions | RunStep(f"{entry.name}.build", LabelRegions(entry), self._seed)]
