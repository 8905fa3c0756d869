"""Synthetic pages of real texts in many scripts: set, printed, photographed, and asked for as a whole or in part.

After the synthetic image-to-text data of the STEP3-VL-10B report, section 2.2, which SynthDoG makes: here texts come
from corpora of any size, every character is looked up in the font, pages have layouts of documents, receipts, forms,
signs and screens, and one geometric map moves pixels and boxes. A page whose text would be hard to see is dropped.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import BoxTruth, Sample, Source, TextTruth, TranscriptTruth, Truth, format_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.text_page_check import CheckTextPages
from step3vl.pipelines.domains.text_page_questions import Language, Task, ask
from step3vl.pipelines.render.pages.camera import Capture, Shot, shoot
from step3vl.pipelines.render.pages.legible import contrast, inside, overlaps
from step3vl.pipelines.render.pages.page_style import Copy, PageStyle, Uncovered
from step3vl.pipelines.render.pages.prose_layouts import article, itemised, letter, newspaper, note, vertical
from step3vl.pipelines.render.pages.record_layouts import card, form, receipt, table
from step3vl.pipelines.render.pages.sheet import Sheet
from step3vl.pipelines.render.pages.sign_layouts import poster, scattered, screen, sign, slide, terminal
from step3vl.pipelines.render.pages.typefaces import TypefaceLibrary, require_shaping
from step3vl.pipelines.render.style import PhotoBackgrounds
from step3vl.pipelines.sources.text.corpora import CorpusError, Part, read_documents, split_file
from step3vl.pipelines.sources.text.spans import cut

ChoiceT = TypeVar("ChoiceT")
Layout = Literal[
    "article", "newspaper", "letter", "list", "vertical", "note", "table", "receipt", "form", "card", "sign", "poster",
    "slide", "screen", "terminal", "scattered",
]  # fmt: skip

# How each page is set, and the characters of a text that suit it.
LAYOUTS: dict[Layout, tuple[Callable[[tuple[int, int], Copy, PageStyle, random.Random], Sheet], IntRange]] = {
    "article": (article, (150, 10000)),
    "newspaper": (newspaper, (600, 10000)),
    "letter": (letter, (200, 2500)),
    "list": (itemised, (60, 1500)),
    "vertical": (vertical, (10, 1500)),
    "note": (note, (16, 600)),
    "table": (table, (120, 10000)),
    "receipt": (receipt, (80, 2000)),
    "form": (form, (80, 1500)),
    "card": (card, (40, 400)),
    "sign": (sign, (1, 80)),
    "poster": (poster, (30, 500)),
    "slide": (slide, (60, 1000)),
    "screen": (screen, (80, 2000)),
    "terminal": (terminal, (60, 3000)),
    "scattered": (scattered, (40, 600)),
}
_VERTICAL_SCRIPTS = frozenset({"CHINESE", "JAPANESE"})
_DENSE_SCRIPTS = frozenset({"CHINESE", "JAPANESE", "KOREAN"})  # a character takes the room of two Latin ones
_SCREENS = frozenset({"slide", "screen", "terminal"})
_TURNED = 0.04  # of the photographs and scans lie on a side or upside down
_TRIED = 40  # texts of a page, until one is found that occurs once
_BLOCKS = frozenset({"prose", "title", "part", "caption"})  # kinds that are asked for as a whole
_SECONDS = 60.0  # for a page; the first of a process also reads the fonts


class TextPagesEntry(DomainEntry):
    """Pages of texts."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["ocr.text_pages"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Texts: Parquet, JSON Lines, plain text, HTML, DocBook, manual pages, gettext catalogues; also compressed with
    gzip, bzip2, xz or Zstandard."""
    text_field: str = "text"
    """The column of Parquet files and the key of JSON Lines that hold the text."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the spans of the texts that become pages, chosen at random. The others are left for another entry."""
    characters: IntRange = (16, 2500)
    """The length of a span of text; lengths are log-uniform."""
    layouts: dict[Layout, float] = Field(default=dict.fromkeys(LAYOUTS, 1.0), min_length=1)
    """Relative weights. A text takes a layout that suits its length and its script."""
    captures: dict[Capture, float] = Field(default={"screenshot": 1.0, "scan": 2.0, "photo": 3.0}, min_length=1)
    """Relative weights of how the image is taken; slides, screens and terminals are never scanned."""
    tasks: dict[Task, float] = Field(
        default={"transcribe": 5.0, "region": 2.0, "locate": 2.0, "field": 6.0}, min_length=1
    )
    """Relative weights of what is asked for: all of the text, that in a box, the box of a text, the value of a label.
    A page that has no labels is asked for something else."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of the questions, chosen with equal probability; that of the text does not matter."""
    width: IntRange = (448, 1000)
    """Of the sheet, in pixels."""
    ratio: tuple[float, float] = (0.7, 1.5)
    """Height of the sheet over its width, at most; sheets are cut off below their text."""
    font_size: IntRange = (13, 30)
    """Of running text, in pixels; scripts with dense characters get a fifth more."""
    min_contrast: float = Field(default=0.1, ge=0, le=1)
    """Between the grey of each line and what is around it in the finished image; a page with less is dropped."""
    font_files: tuple[str, ...] = ("assets:fonts/**/*.ttf", "assets:fonts/**/*.otf")
    """Patterns of fonts. A text is set in one that has all its characters, preferably one made for its script."""
    photo_files: tuple[str, ...] = ("assets:photos/*.jpg",)
    """Patterns of photographs on which sheets lie."""

    def inputs(self) -> Files:
        return Files(self.sources)

    def assets(self) -> tuple[str, ...]:
        return (*self.font_files, *self.photo_files)

    def check(self, context: StepContext) -> None:
        super().check(context)
        require_shaping()
        if not any(weight > 0 for weight in self.tasks.values()):
            raise UserError(f"{self.name}: no task has a weight above 0; give one")


class TextPart(Config):
    """A part of a file of text."""

    file: InputFile
    start: int
    stop: int


class TextSpan(Config):
    """The text of a page."""

    text: str
    licence: str
    problem: str = ""
    """Why a text cannot be read; empty for a good one."""


class Page(NamedTuple):
    """A page, the image of it, and what was chosen for it."""

    sheet: Sheet
    shot: Shot
    traits: dict[str, str]


class SplitFiles:
    """Worker: a file of text becomes parts that can be read one by one."""

    def __init__(self, entry: TextPagesEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[TextPart]]:
        file = record.value
        for number, part in enumerate(split_file(self._context.local_path(file), file.key)):
            yield Record(f"{record.key}#{number}", TextPart(file=file, start=part.start, stop=part.stop))


class CutSpans:
    """Worker: a part of a text becomes spans, each the text of a page."""

    def __init__(self, entry: TextPagesEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[TextPart], rng: random.Random) -> Iterator[Record[TextSpan]]:
        entry, part = self._entry, record.value
        path = self._context.local_path(part.file)
        number = 0
        for document in read_documents(path, part.file.key, Part(part.start, part.stop), entry.text_field):
            if isinstance(document, CorpusError):
                span = TextSpan(text="", licence=part.file.licence, problem=str(document))
                yield Record(f"{record.key}/{number}", span)
                number += 1
                continue
            for text in cut(document, entry.characters, rng):
                if rng.random() < entry.share:
                    yield Record(f"{record.key}/{number}", TextSpan(text=text, licence=part.file.licence))
                number += 1


class RenderTextPages:
    """Worker: a text becomes a page, and the page a question."""

    def __init__(self, entry: TextPagesEntry, context: StepContext) -> None:
        self._entry = entry
        self._context = context

    def setup(self) -> None:
        self._library = TypefaceLibrary(self._context.assets(self._entry.font_files))
        self._photos = PhotoBackgrounds(self._context.assets(self._entry.photo_files))

    def process(self, record: Record[TextSpan], rng: random.Random) -> Iterator[Sample]:
        entry, span = self._entry, record.value
        if span.problem:
            raise CorpusError(span.problem)
        page = self._page(span.text, rng)
        lines = page.sheet.lines()
        boxes = [page.shot.box([line.box]) for line in lines]
        if not all(map(inside, boxes)):
            raise Dropped("text_outside")
        least = contrast(page.shot, boxes)
        if least < entry.min_contrast:
            raise Dropped("low_contrast")
        question, answer, truth, task = self._question(page.sheet, page.shot, rng)
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task=task,
            question=question,
            answer=answer,
            truth=truth,
            images=[encode_jpeg(page.shot.image, page.shot.quality)],
            source=Source(
                uri=record.key, licence=span.licence, collected_by=f"step3vl/{entry.name}", traits=page.traits
            ),
            scores={"contrast": round(least, 3), "font_size": float(min(line.size for line in lines))},
        )

    def _page(self, text: str, rng: random.Random) -> Page:
        """An image of a page with a text, in a layout that suits it.

        Raises:
            Dropped: The text suits no layout, no font has it, or it cannot be set cleanly.
        """
        entry = self._entry
        copy = Copy(text, rng)
        layout = self._layout(len(text), copy.script, rng)
        size = (width := rng.randint(*entry.width)), round(width * rng.uniform(*entry.ratio))
        try:
            style = PageStyle(copy, self._library, entry.font_size, rng)
            sheet = LAYOUTS[layout][0](size, copy, style, rng)
        except Uncovered:
            raise Dropped("no_font_has_all_characters") from None
        lines = sheet.lines()
        if not lines:
            raise Dropped("nothing_fits")
        if overlaps(lines):
            raise Dropped("texts_overlap")
        # A screen is not scanned.
        captures = {
            kind: weight for kind, weight in entry.captures.items() if layout not in _SCREENS or kind != "scan"
        }
        capture = _weighted(captures, rng) if any(captures.values()) else "screenshot"
        shot = shoot(sheet, capture, min(line.size for line in lines), self._photos, rng)
        if capture != "screenshot" and rng.random() < _TURNED:
            shot = shot.turned(rng.randint(1, 3))
        traits = {"layout": layout, "capture": capture, "script": copy.script or "none", "font": style.body.family}
        if shot.turns:
            traits["turned"] = str(90 * shot.turns)
        return Page(sheet, shot, traits)

    def _layout(self, length: int, script: str, rng: random.Random) -> Layout:
        if script in _DENSE_SCRIPTS:
            length *= 2
        suitable = {
            layout: weight
            for layout, weight in self._entry.layouts.items()
            if LAYOUTS[layout][1][0] <= length <= LAYOUTS[layout][1][1]
            and (layout != "vertical" or script in _VERTICAL_SCRIPTS)
        }
        if not any(suitable.values()):
            raise Dropped("no_layout_for_length")
        return _weighted(suitable, rng)

    def _question(self, sheet: Sheet, shot: Shot, rng: random.Random) -> tuple[str, str, Truth, str]:
        """A question of a random task, its answer and truth, and the name of the task."""
        makers = {
            "transcribe": self._transcribe,
            "region": self._region,
            "locate": self._locate,
            "field": self._field,
        }
        tasks = {task: weight for task, weight in self._entry.tasks.items() if weight > 0}
        language = rng.choice(self._entry.languages)
        while tasks:
            task = _weighted(tasks, rng)
            del tasks[task]
            if made := makers[task](sheet, shot, language, rng):
                return made
        raise Dropped("no_task_fits")

    @staticmethod
    def _transcribe(
        sheet: Sheet, shot: Shot, language: Language, rng: random.Random
    ) -> tuple[str, str, Truth, str] | None:
        if not sheet.ordered:
            return None
        text = "\n\n".join(block.text() for block in sheet.blocks if block.rows)
        has_table = any(block.kind == "table" and block.rows for block in sheet.blocks)
        question = ask("transcribe", language, rng, has_table)
        truth = TextTruth(text=text) if len(sheet.lines()) == 1 else TranscriptTruth(text=text)
        return question, text, truth, "ocr.image_to_text"

    @staticmethod
    def _region(sheet: Sheet, shot: Shot, language: Language, rng: random.Random) -> tuple[str, str, Truth, str]:
        blocks = [block for block in sheet.blocks if block.kind in _BLOCKS and len(block.rows) > 1]
        if blocks and rng.random() < 0.4:
            block = rng.choice(blocks)
            text, box = block.text(), shot.box([line.box for row in block.rows for line in row])
        else:
            line = rng.choice(sheet.lines())
            text, box = line.text, shot.box([line.box])
        truth = TranscriptTruth(text=text) if "\n" in text else TextTruth(text=text)
        return ask("region", language, rng, box=format_boxes([box])), text, truth, "ocr.region"

    @staticmethod
    def _locate(
        sheet: Sheet, shot: Shot, language: Language, rng: random.Random
    ) -> tuple[str, str, Truth, str] | None:
        lines = sheet.lines()
        everything = "\n".join(line.text for line in lines).casefold()
        places = rng.sample([(line.text, line.box) for line in lines], len(lines))
        if rng.random() < 0.5:
            words = [(word.text, word.box) for line in lines for word in line.words if word.text.isalnum()]
            places = [place for place in rng.sample(words, len(words)) if len(place[0]) >= 3] + places
        for text, extent in places[:_TRIED]:
            if everything.count(text.casefold()) == 1 and any(character.isalnum() for character in text):
                box = shot.box([extent])
                question = ask("locate", language, rng, text=text)
                return question, format_boxes([box]), BoxTruth(boxes=(box.milli(),)), "ocr.locate"
        return None

    @staticmethod
    def _field(sheet: Sheet, shot: Shot, language: Language, rng: random.Random) -> tuple[str, str, Truth, str] | None:
        labels = Counter(field.label for field in sheet.fields)
        fields = [field for field in sheet.fields if labels[field.label] == 1]
        if not fields:
            return None
        field = rng.choice(fields)
        question = ask("field", language, rng, label=field.label)
        return question, field.value, TextTruth(text=field.value), "ocr.field"


def _weighted(weights: Mapping[ChoiceT, float], rng: random.Random) -> ChoiceT:
    return rng.choices(list(weights), list(weights.values()))[0]


DOMAIN = Domain(
    TextPagesEntry,
    steps=(
        BeamStep("split", version=2, worker=SplitFiles, output=TextPart),
        BeamStep("cut", version=2, worker=CutSpans, output=TextSpan, spread=True),
        BeamStep("build", version=1, worker=RenderTextPages, output=Sample, spread=True, time_limit=_SECONDS),
    ),
    example={
        "sources": [{"files": ["data/samples/texts/??.txt"], "licence": "public domain"}],
        "share": 0.2,
        "width": [300, 500],
    },
    label_check=CheckTextPages,
)
