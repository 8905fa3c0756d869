"""Documents, tables and formulas to the HTML, Markdown or LaTeX that they are written in.

After the document-to-code data of the STEP3-VL-10B report, section 2.2. Whatever a document comes in, it is reduced to
what an image can show (`sources.markup`): addresses of links are printed or dropped, images without a text are left
out, spans of cells are those that can be seen. It is cut into pages, rendered by Chromium in a random style, and its
label is proven: the browser's own reading of the HTML and markdown-it's reading of the Markdown have to be the tree
that was rendered, the page has to show all of its text, and nothing may be cut off. Tables and formulas of LaTeX
sources are compiled by pdflatex as they stand on the label.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.sample import Box, BoxTruth, Image, Sample, Source, TranscriptTruth, Truth, format_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import compose, encode_rendering
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.document_to_code_check import DocumentCheck
from step3vl.pipelines.domains.document_to_code_entry import DocumentToCodeEntry
from step3vl.pipelines.domains.document_to_code_questions import Asked, Code, ask
from step3vl.pipelines.render.fonts import load_families
from step3vl.pipelines.render.web.document import DocumentImage, DocumentRenderer, PageOptions
from step3vl.pipelines.render.web.latex import LatexRenderer
from step3vl.pipelines.sources.documents.documents import (
    MAX_FILE,
    DocumentPiece,
    Format,
    Kind,
    format_of,
    piece_of,
    read_archived_page,
    read_file,
)
from step3vl.pipelines.sources.markup.markup import parse_markup
from step3vl.pipelines.sources.tables.document_tables import make_document_table
from step3vl.pipelines.sources.tables.real_tables import RealTables
from step3vl.pipelines.sources.tables.tables import TableKind, make_table
from step3vl.pipelines.sources.tables.topics import TOPICS
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS
from step3vl.pipelines.sources.web.warc import is_warc
from step3vl.pipelines.sources.web.web_archive import WebPage, pages_of_archive

_OPEN_SECONDS = 1800.0  # for an archive to be walked
_SECONDS = 120.0  # for a document to be cut, or a page or a batch of snippets to be rendered
_TABLE_KINDS: tuple[TableKind, ...] = ("groups", "time", "signed")
_SMALLEST = 6  # thousandths of the image's side; a smaller box cannot be given
_COLUMN = 500  # thousandths of a page's width that a block in one of two columns takes at most
_MAX_PLACED = 80  # characters of a text whose place is asked for


class StoredDocument(Config):
    """A document to read: a number for a generated table, a file, or a page of an archive."""

    number: int | None = None
    file: InputFile | None = None
    page: WebPage | None = None


class OpenSources:
    """Worker: an archive becomes its pages; any other input is one document."""

    def __init__(self, entry: DocumentToCodeEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int | InputFile], rng: random.Random) -> Iterator[Record[StoredDocument]]:
        value = record.value
        if isinstance(value, int):
            yield Record(record.key, StoredDocument(number=value))
        elif format_of(value.key) is not None:
            yield Record(record.key, StoredDocument(file=value))
        else:
            path = self._context.local_path(value)
            if not is_warc(path):
                raise Dropped("no_document")
            for page in pages_of_archive(path, value, MAX_FILE):
                yield Record(f"{record.key}#{page.at.offset}", StoredDocument(page=page))


class SplitDocuments:
    """Worker: a document becomes pieces that fit on an image."""

    def __init__(self, entry: DocumentToCodeEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context

    def setup(self) -> None:
        entry = self._entry
        if entry.count:
            self._real = RealTables() if entry.real_tables else None
            self._families = load_families(self._context.assets(entry.font_files))
            chinese = [topic for topic in ZH_TOPICS if self._covers(topic.characters())]
            self._topics = {"en": list(TOPICS), "zh": chinese}

    def _covers(self, text: str) -> bool:
        """Whether a font has all characters of a text."""
        return any(family.covers(text) for family in self._families)

    def process(self, record: Record[StoredDocument], rng: random.Random) -> Iterator[Record[DocumentPiece]]:
        stored, options = record.value, self._entry.split_options()
        if stored.page is not None:
            pieces = read_archived_page(stored.page, options, rng)
        elif stored.file is not None:
            file = stored.file
            path = self._context.local_path(file)
            address = file.url if "://" in file.url else f"file://{file.url}"
            pieces = read_file(path, file.key, address, file.licence, options, rng)
        else:
            pieces = iter([self._generated(record.key, rng)])
        for number, piece in enumerate(pieces):
            if piece.format != "generated":
                piece = piece.model_copy(update={"uri": f"{piece.uri}#{number}"})
            yield Record(f"{record.key}/{number}", piece)

    def _generated(self, key: str, rng: random.Random) -> DocumentPiece:
        kind, series = rng.choice(_TABLE_KINDS), rng.randint(1, 4)
        language = rng.choice([name for name in self._entry.languages if self._topics[name]] or ["en"])
        if kind == "signed":
            series = 1
        table = None
        if self._real is not None and language == "en" and rng.random() < self._entry.real_tables:
            table = self._real.table(kind, series, rng)
        if table is None:
            table = make_table(kind, series, rng, self._topics[language])
        uri = key if table.uri == "generated" else f"{table.uri}#{key}"
        return piece_of(make_document_table(table, language, rng, self._covers)[1], "generated", uri, table.licence)


class PieceElement(Config):
    """A block, heading or cell of a page."""

    role: str
    """The name of its element in HTML."""
    text: str
    box: tuple[int, int, int, int]
    """x1, y1, x2, y2 in 0..1000, around what it shows."""
    lines: dict[Code, tuple[int, int]] = Field(default_factory=dict)
    """The first and last line of a block in each code, from 1; empty for what is inside of a block."""


class RenderedDocument(Config):
    """A proven image with its code in each language that can say it. Other domains may ask about it, too."""

    image: Image
    kind: Kind
    format: Format | Literal["generated"]
    codes: dict[Code, str]
    elements: tuple[PieceElement, ...] = ()
    traits: dict[str, str]
    removed: int
    """Blocks of its document that were left out."""
    uri: str
    licence: str


class RenderDocuments:
    """Worker: a piece becomes proven images."""

    def __init__(self, entry: DocumentToCodeEntry, context: StepContext) -> None:
        self._entry, self._context = entry, context
        self._latex: LatexRenderer | None = None

    def setup(self) -> None:
        entry = self._entry
        self._pages = DocumentRenderer(load_families(self._context.assets(entry.font_files)))
        self._options = PageOptions(entry.page_width, entry.page_scale, entry.max_side)

    def process(self, record: Record[DocumentPiece], rng: random.Random) -> Iterator[Record[RenderedDocument]]:
        if record.value.format == "latex":
            yield from self._snippets(record, rng)
        else:
            rendered = self._pages.render(parse_markup(record.value.codes[0]), self._options, rng)
            yield Record(record.key, self._page(record.value, rendered, rng))

    def _page(self, piece: DocumentPiece, page: DocumentImage, rng: random.Random) -> RenderedDocument:
        elements = []
        for element in page.elements:
            x1, y1, x2, y2 = element.box
            box = Box(max(0, x1), max(0, y1), min(x2, page.size[0]), min(y2, page.size[1]), "pixels", page.size)
            lines: dict[Code, tuple[int, int]] = {}
            if element.html:
                lines["html"] = element.html
            if element.markdown:
                lines["markdown"] = element.markdown
            elements.append(PieceElement(role=element.role, text=element.text, box=box.milli(), lines=lines))
        codes: dict[Code, str] = {"html": page.html}
        if page.markdown:
            codes["markdown"] = page.markdown
        style = page.style
        return RenderedDocument(
            image=encode_rendering(page.png, self._entry.jpeg, rng),
            kind=piece.kind,
            format=piece.format,
            codes=codes,
            elements=tuple(elements),
            traits={**style.traits, "font": style.fonts[0]},
            removed=piece.removed,
            uri=piece.uri,
            licence=piece.licence,
        )

    def _snippets(self, record: Record[DocumentPiece], rng: random.Random) -> Iterator[Record[RenderedDocument]]:
        if self._latex is None:
            self._latex = LatexRenderer()
        piece, reasons = record.value, Counter[str]()
        kind: Literal["table", "formula"] = "table" if piece.kind == "table" else "formula"
        rendered = self._latex.render(piece.codes, kind, rng)
        reasons.update(outcome for outcome in rendered if isinstance(outcome, str))
        for number, (code, outcome) in enumerate(zip(piece.codes, rendered, strict=True)):
            if isinstance(outcome, str):
                continue
            image = encode_rendering(outcome.png, self._entry.jpeg, rng)
            if max(image.width, image.height) > self._entry.max_side:
                reasons["page_too_large"] += 1
                continue
            yield Record(
                f"{record.key}/{number}",
                RenderedDocument(
                    image=image,
                    kind=piece.kind,
                    format="latex",
                    codes={"latex": code},
                    traits={"font": outcome.font},
                    removed=piece.removed + reasons.total(),
                    uri=f"{piece.uri}.{number}",
                    licence=piece.licence,
                ),
            )
        if reasons.total() == len(piece.codes):
            raise Dropped(reasons.most_common(1)[0][0])


class LabelDocuments:
    """Worker: an image becomes a sample that asks for its code, that of a part, or the place of a text."""

    def __init__(self, entry: DocumentToCodeEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[RenderedDocument], rng: random.Random) -> Iterator[Sample]:
        entry, document = self._entry, record.value
        codes = [code for code in entry.codes if code in document.codes]
        if not codes:
            raise Dropped("no_code_that_is_wanted")
        (code,) = rng.choices(codes, [entry.codes[name] for name in codes])
        regions, texts = _regions(document, code), _single_texts(document)
        possible: dict[Asked, bool] = {"code": True, "region": bool(regions), "place": bool(texts)}
        tasks = [task for task in entry.tasks if possible[task]]
        if not tasks:
            raise Dropped("nothing_to_ask")
        (task,) = rng.choices(tasks, [entry.tasks[name] for name in tasks])
        language = rng.choice(entry.languages)
        truth: Truth
        if task == "place":
            element = rng.choice(texts)
            size = document.image.width, document.image.height
            answer = format_boxes([Box(*element.box, "milli", size)])
            question = ask("place", language, rng, text=element.text)
            truth = BoxTruth(boxes=(element.box,))
        elif task == "region":
            element = rng.choice(regions)
            first, last = element.lines[code]
            answer = "\n".join(document.codes[code].split("\n")[first - 1 : last])
            question = ask("region", language, rng, code=code, box=element.box)
            truth = TranscriptTruth(text=answer)
        else:
            answer = document.codes[code]
            question = ask("code", language, rng, subject=document.kind, code=code)
            truth = TranscriptTruth(text=answer)
        name = "place" if task == "place" else code if task == "code" else f"{code}_region"
        yield compose(
            kind=entry.kind,
            domain="ocr",
            task=f"ocr.document_to_code.{document.kind}_{name}",
            question=question,
            answer=answer,
            truth=truth,
            images=[document.image],
            source=Source(
                uri=document.uri,
                licence=document.licence,
                collected_by=f"step3vl/{entry.name}/{document.format}",
                traits={**document.traits, "source": document.format, "language": language},
            ),
            scores={"blocks_left_out": float(document.removed)},
        )


def _is_large(box: tuple[int, int, int, int]) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST


def _regions(document: RenderedDocument, code: Code) -> list[PieceElement]:
    """Blocks of a page that has several. One that continues in the next column has no box of its own."""
    blocks = [element for element in document.elements if code in element.lines]
    widest = _COLUMN if document.traits.get("layout") == "2_column" else 1000
    whole = [block for block in blocks if _is_large(block.box) and block.box[2] - block.box[0] <= widest]
    return whole if len(blocks) > 1 else []


def _single_texts(document: RenderedDocument) -> list[PieceElement]:
    """Headings and cells whose text stands in one place only."""
    short = [
        element
        for element in document.elements
        if 1 < len(element.text) <= _MAX_PLACED and not set(element.text) & set('"“”') and _is_large(element.box)
    ]
    whole = "\n".join(element.text for element in document.elements if element.lines)
    return [
        element
        for element in short
        if element.role not in ("p", "li", "pre", "ul", "ol", "table", "blockquote", "dl", "hr")
        and whole.count(element.text) == 1
        and (document.traits.get("layout") != "2_column" or element.box[2] - element.box[0] <= _COLUMN)
    ]


DOMAIN = Domain(
    DocumentToCodeEntry,
    steps=(
        BeamStep("open", version=1, worker=OpenSources, output=StoredDocument, time_limit=_OPEN_SECONDS),
        BeamStep("split", version=4, worker=SplitDocuments, output=DocumentPiece, spread=True, time_limit=_SECONDS),
        BeamStep(
            "render", version=2, worker=RenderDocuments, output=RenderedDocument, spread=True, time_limit=_SECONDS
        ),
        BeamStep("build", version=1, worker=LabelDocuments, output=Sample),
    ),
    example={"count": 4, "page_scale": [0.6, 0.8], "max_side": 640},
    label_check=DocumentCheck,
)
