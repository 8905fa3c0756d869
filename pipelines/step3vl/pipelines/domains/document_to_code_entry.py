"""The configuration of `ocr.document_to_code`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Files, FileSource, FractionRange, IntRange, Numbers
from step3vl.pipelines.domains.document_to_code_questions import Asked, Code, Language
from step3vl.pipelines.render.web.browser import find_chromium
from step3vl.pipelines.render.web.latex import find_pdflatex
from step3vl.pipelines.sources.documents.documents import SplitOptions, format_of


class DocumentToCodeEntry(DomainEntry):
    """Pages, tables and formulas, and the code that they are asked for."""

    INPUT_FIELDS = frozenset({"count", "sources"})

    domain: Literal["ocr.document_to_code"]
    count: int = Field(default=0, ge=0)
    """Generated tables; some may be dropped. Without it, `sources` are read."""
    sources: tuple[FileSource, ...] = ()
    """Markdown, HTML, WARC, notebooks (`.ipynb`), CSV or TSV and LaTeX files, told by their names. The licence is that
    of pages that state none."""
    codes: dict[Code, float] = Field(default={"html": 1.0, "markdown": 1.0, "latex": 1.0}, min_length=1)
    """Relative weights of the languages that code is asked for in, where several can say it. Merged cells, captions
    and definition lists need HTML; sources in LaTeX stay in it."""
    tasks: dict[Asked, float] = Field(default={"code": 6.0, "region": 2.0, "place": 1.0}, min_length=1)
    """Relative weights of what is asked for: the code of all, that of a part given by its box, the box of a text."""
    languages: tuple[Language, ...] = ("en", "zh")
    """Of questions and of generated tables, chosen independently and with equal probability."""
    characters: IntRange = (120, 2400)
    """Of a page, CJK counted double; pages are more often short than long."""
    rows: IntRange = (2, 14)
    """Of a window of a CSV file, beside its header."""
    columns: IntRange = (2, 8)
    """Of a window of a CSV file."""
    tables_alone: float = Field(default=0.7, ge=0, le=1)
    """The share of the tables of documents that become images of their own, too."""
    printed_links: float = Field(default=0.25, ge=0, le=1)
    """The share of documents in which addresses of links are printed beside their texts and stand in the code. In the
    others, links are their texts."""
    page_width: IntRange = (420, 860)
    """Of pages, in CSS pixels. A page that needs more is wider."""
    page_scale: FractionRange = (0.85, 1.4)
    """Pixels of a CSS pixel."""
    max_side: int = Field(default=1456, gt=0)
    """Of images, in pixels; pages that do not fit are dropped."""
    jpeg: float = Field(default=0.25, ge=0, le=1)
    """The fraction of images encoded as JPEG, at qualities of 60 to 95; the others are PNG."""
    real_tables: float = Field(default=0.3, ge=0, le=1)
    """The fraction of generated tables whose numbers are real, where there are some that suit."""
    font_files: tuple[str, ...] = ("assets:fonts/*.ttf", "assets:fonts/*.otf")
    """Patterns of fonts; a page is set in two of them that together have all its characters."""

    def inputs(self) -> Numbers | Files:
        return Files(self.sources) if self.sources else Numbers(self.count)

    def assets(self) -> tuple[str, ...]:
        return self.font_files

    def check(self, context: StepContext) -> None:
        super().check(context)
        names = [pattern for source in self.sources for pattern in source.files]
        if not names or any(format_of(name) != "latex" for name in names):
            find_chromium()
        if any(format_of(name) == "latex" for name in names):
            find_pdflatex()

    @model_validator(mode="after")
    def _reads_one_thing(self) -> Self:
        if bool(self.count) == bool(self.sources):
            raise ValueError("give either count (generated tables) or sources (files)")
        return self

    def split_options(self) -> SplitOptions:
        """How documents are cut."""
        return SplitOptions(
            characters=self.characters,
            rows=self.rows,
            columns=self.columns,
            printed_links=self.printed_links,
            tables=self.tables_alone,
        )
