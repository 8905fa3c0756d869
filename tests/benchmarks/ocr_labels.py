"""How right the labels are that `ocr.document_to_text` makes of page images, beside the text of born-digital PDFs.

    .venv/bin/python tests/benchmarks/ocr_labels.py                    # 30 pages and 20 tables a language
    .venv/bin/python tests/benchmarks/ocr_labels.py --languages zh --pages 60 --look runs/labels
    .venv/bin/python tests/benchmarks/ocr_labels.py --languages en --english FOLDER ...

The reader and the label get a page as a JPEG and nothing of the file, as for a scan; the file's visible words are the
reference alone. English pages are those of manuals. Chinese pages are web pages of manuals that Chromium prints in
one and two columns. Tables are those of such pages, each printed between two paragraphs: the HTML tells the cells.

Three rows a group: all pages; those that the domain keeps of scans, by confidence alone; and those that it keeps of
PDFs, at its default agreement with their text. What it keeps of PDFs is then spelled by the file, so better than here.
Words, characters and ideographs are bags a page, summed over pages; characters are exact, with punctuation, without
spaces and the dots that lead to page numbers. `recall of all` counts also what stands in figures and formulas, which
the label replaces by a mark.
"""

import argparse
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pypdfium2
from printed_pages import Printer, printer, table_pages
from rich.console import Console
from rich.table import Table

from step3vl.data.sample import Image
from step3vl.grading.checks import squash
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.documents.agreement import has_ideographs, tokens
from step3vl.pipelines.documents.blocks import page_blocks
from step3vl.pipelines.documents.labels import PageLabel, compare_with_file, label_page
from step3vl.pipelines.documents.lines import is_centred_in
from step3vl.pipelines.documents.markup import FIGURE, FORMULA
from step3vl.pipelines.documents.questions import LabelForm
from step3vl.pipelines.documents.tables import Grid
from step3vl.pipelines.domains.ocr_documents import (
    DocumentsEntry,
    LabelRegions,
    Page,
    PageReader,
    ReadPage,
    SplitRegions,
)
from step3vl.pipelines.sources.documents.pages import DocumentImage, count_pages, read_page
from step3vl.pipelines.sources.documents.pdf import PdfError
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED

_DOC = Path("/usr/share/doc")
ENGLISH = (_DOC / "texlive-doc" / "latex",)
CHINESE = (
    _DOC / "debian-handbook" / "html" / "zh-CN",
    _DOC / "installation-guide-amd64" / "zh_CN",
    _DOC / "debian-reference-common" / "docs",
)
TABLES = {
    "en": (_DOC / "python3.11" / "html" / "library", _DOC / "debian-handbook" / "html" / "en-US"),
    "zh": (*CHINESE, _DOC / "debian-handbook" / "html" / "zh-TW"),
}
_LEADERS = re.compile(r"\.{4,}")  # the dots of a table of contents
_LEAST = {"en": 50, "zh": 150}  # words or ideographs of a page that is taken
_SUBSETS = {
    "all": lambda _: True,
    "kept of scans": lambda row: row.as_scan == "kept",
    "kept of PDFs": lambda row: row.as_pdf == "kept",
}


class Counts(NamedTuple):
    """How many things label and reference have, and have in common."""

    shared: int = 0
    label: int = 0
    reference: int = 0

    @classmethod
    def of(cls, label: Iterable[object], reference: Iterable[object]) -> "Counts":
        first, second = Counter(label), Counter(reference)
        return cls((first & second).total(), first.total(), second.total())

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def precision(self) -> float | None:
        return self.shared / self.label if self.label else None

    @property
    def recall(self) -> float | None:
        return self.shared / self.reference if self.reference else None

    @property
    def f1(self) -> float | None:
        return 2 * self.shared / (self.label + self.reference) if self.label + self.reference else None


class Scores(NamedTuple):
    """How a label agrees with the file."""

    words: Counts
    all_words: Counts
    characters: Counts
    ideographs: Counts
    titles: Counts
    """In Markdown; the reference is the bookmarks of the file."""
    cells: Counts
    """Pairs of neighbours in a table, as at ICDAR 2013."""
    order: float | None
    as_scan: str
    """What becomes of the page without the file's text: kept, or why not."""
    as_pdf: str
    """What becomes of it with that."""


class BornDigital(NamedTuple):
    """A page with what its file says about it."""

    name: str
    page: DocumentImage
    bookmarks: tuple[str, ...]
    table: Grid | None = None


def manuals(folders: Iterable[Path], rng: random.Random, dpi: int) -> Iterator[BornDigital]:
    """A random page of each PDF, in random order."""
    paths = sorted({path for folder in folders for path in folder.rglob("*.pdf")})
    for path in rng.sample(paths, len(paths)):
        try:
            yield born_digital(path, rng.randrange(count_pages(path)), dpi)
        except PdfError as error:
            print(f"{path.name}: {error}")


def printed(
    browser: Printer, folders: Iterable[Path], columns: int, rng: random.Random, dpi: int, home: Path
) -> Iterator[BornDigital]:
    """A random page of each web page, printed, in random order."""
    paths = sorted({path for folder in folders for path in folder.glob("*.html") if is_chinese(path)})
    for path in rng.sample(paths, len(paths)):
        target = home / f"{path.stem}-{columns}.pdf"
        browser.print_file(path, target, columns, rng)
        yield born_digital(target, rng.randrange(count_pages(target)), dpi)


def tables(
    browser: Printer, folders: Iterable[Path], rng: random.Random, dpi: int, home: Path
) -> Iterator[BornDigital]:
    """Pages around one table, those that take one page alone."""
    paths = sorted({path for folder in folders for path in folder.glob("*.html")})
    for number, table_page in enumerate(table_pages(paths, rng)):
        target = home / f"table-{number:03}.pdf"
        browser.print_table(table_page, target, rng)
        if count_pages(target) == 1:
            yield born_digital(target, 0, dpi)._replace(table=table_page.table)


def is_chinese(path: Path) -> bool:
    """Whether an HTML file of a folder of several languages is in Chinese."""
    return path.parent.name != "docs" or path.name.endswith(".zh-cn.html")


def born_digital(path: Path, number: int, dpi: int) -> BornDigital:
    page = read_page(path, number, dpi)
    with pypdfium2.PdfDocument(path) as document:
        marks = [(mark.get_title(), mark.get_dest()) for mark in document.get_toc()]
        titles = tuple(title for title, target in marks if target is not None and target.get_index() == number)
    return BornDigital(f"{path.stem}#{number + 1}", page, titles)


def worth_reading(pages: Iterable[BornDigital], language: str) -> Iterator[BornDigital]:
    """The pages that have enough text of their language, and whose file names all characters."""
    for born in pages:
        if is_worth(born.page, language):
            yield born


def is_worth(page: DocumentImage, language: str) -> bool:
    if any(UNNAMED in word.text for word in page.words):
        return False
    all_tokens = [token for word in page.words for token in tokens(word.text)]
    return sum(has_ideographs(token) == (language == "zh") for token in all_tokens) >= _LEAST[language]


class Measure:
    """The models and the entry, and what becomes of a page with them."""

    def __init__(self, dpi: int) -> None:
        self._context = StepContext(seed=0, base=str(Path.cwd()))
        sources = [{"files": ["unused"], "licence": "unused"}]
        self._entry = DocumentsEntry.model_validate(
            {"domain": "ocr.document_to_text", "name": "labels", "sources": sources, "dpi": dpi}
        )
        self._reader = PageReader(self._entry)

    def __call__(self, born: BornDigital) -> tuple[Scores, dict[str, str]]:
        """The scores of a page, and its label as text and as Markdown beside the file's text."""
        scan = Page(image=born.page.image, words=(), turn=None, labels=(), licence="unused")
        (read,) = self._reader([scan])
        words = [word for word in born.page.words if word.text.strip()]
        as_scan = self._outcome(read)
        as_pdf = self._outcome(read.model_copy(update={"words": tuple(words)}))
        if not read.lines:
            return nothing_read(born, as_scan, as_pdf), {"text": "", "markdown": ""}
        text, markdown = self._label(read, "text").text, self._label(read, "markdown").text
        layout = page_blocks(read.lines, read.regions, (), trusted=False)
        unread = [block.box for block in layout.blocks if block.kind in ("figure", "equation")]
        claimed = [word for word in words if not any(is_centred_in(word.box, box) for box in unread)]
        scores = compare(born, text, [word.text for word in claimed], [word.text for word in words])
        grids = [block.grid for block in layout.blocks if block.grid is not None]
        return scores._replace(
            titles=matched_titles(markdown, born.bookmarks),
            cells=best_grid(grids, born.table) if born.table else Counts(),
            order=compare_with_file(layout, words)[1],
            as_scan=as_scan,
            as_pdf=as_pdf,
        ), {"text": text, "markdown": markdown}

    def _label(self, read: ReadPage, form: LabelForm) -> PageLabel:
        return label_page(read.lines, read.regions, (), form, self._entry.min_line_confidence, rng_for(0))

    def _outcome(self, read: ReadPage) -> str:
        worker = LabelRegions(self._entry, self._context)
        worker.setup()
        try:
            for region in SplitRegions(self._entry, self._context).process(Record("page", read), rng_for(0)):
                list(worker.process(region, rng_for(0)))
        except Dropped as dropped:
            return dropped.reason
        return "kept"


def compare(born: BornDigital, text: str, claimed: list[str], words: list[str]) -> Scores:
    """The scores of a label's text, apart from what needs the layout."""
    plain = text.replace(FIGURE, " ").replace(FORMULA, " ").replace(" | ", " ")
    read, expected, everything = (tokens(" ".join(texts)) for texts in ([plain], claimed, words))
    ideographs = [[token for token in side if has_ideographs(token)] for side in (read, expected)]
    characters = [_LEADERS.sub("", "".join("".join(texts).split())) for texts in ([plain], claimed)]
    return Scores(
        Counts.of(read, expected), Counts.of(read, everything), Counts.of(*characters), Counts.of(*ideographs),
        Counts(), Counts(), None, "", "",
    )  # fmt: skip


def nothing_read(born: BornDigital, as_scan: str, as_pdf: str) -> Scores:
    words = [word.text for word in born.page.words]
    return compare(born, "", words, words)._replace(as_scan=as_scan, as_pdf=as_pdf)


def matched_titles(markdown: str, bookmarks: Iterable[str]) -> Counts:
    """The bookmarks that are titles of the label; numbers of sections may stand before them."""
    titles = [squash(line.lstrip("# ")) for line in markdown.splitlines() if line.startswith("#")]
    names = [name for name in map(squash, bookmarks) if name]
    return Counts(sum(any(name in title for title in titles) for name in names), len(titles), len(names))


def neighbours(grid: Grid) -> Iterator[tuple[str, str, str]]:
    """The pairs of texts of which one stands right of, or below, the other; empty cells are passed over."""
    places = {
        (row, column): (number, squash(cell.text))
        for number, cell in enumerate(grid.cells)
        for row in range(cell.row, cell.row + cell.row_span)
        for column in range(cell.column, cell.column + cell.column_span)
    }
    pairs: set[tuple[int, int, str, str, str]] = set()
    for direction, lines in (
        ("right", [[(row, column) for column in range(grid.columns)] for row in range(grid.rows)]),
        ("below", [[(row, column) for row in range(grid.rows)] for column in range(grid.columns)]),
    ):
        for line in lines:
            cells = [places[place] for place in line if place in places and places[place][1]]
            pairs |= {
                (first, second, direction, text, other)
                for (first, text), (second, other) in pairwise(cells)
                if first != second
            }
    return ((direction, text, other) for _, _, direction, text, other in sorted(pairs))


def best_grid(grids: Iterable[Grid], table: Grid) -> Counts:
    """The pairs of the grid that agrees best with a table; those of the table alone where there is no grid."""
    counts = [Counts.of(neighbours(grid), neighbours(table)) for grid in grids]
    return max(counts, default=Counts.of((), neighbours(table)))


def look(folder: Path, group: str, born: BornDigital, label: dict[str, str], scores: Scores) -> None:
    """Write a page with its label, and what differs, for a person to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{group.replace(' ', '-')}-{born.name.replace('#', '-')}"
    image: Image = born.page.image
    (folder / f"{stem}.jpg").write_bytes(image.read())
    words = " ".join(word.text for word in born.page.words)
    read, expected = (Counter(tokens(text)) for text in (label["text"], words))
    signs, others = (Counter("".join(text.split())) for text in (label["text"], words))
    parts = [
        row_text(scores), f"missing: {dict(expected - read)}", f"too many: {dict(read - expected)}",
        f"characters missing: {dict(others - signs)}", f"characters too many: {dict(signs - others)}",
        "== text", label["text"], "== markdown", label["markdown"], "== file", words,
    ]  # fmt: skip
    (folder / f"{stem}.txt").write_text("\n".join(parts) + "\n", encoding="utf-8")


def figures(rows: list[Scores]) -> dict[str, str]:
    """The columns of the table for some pages."""

    def summed(name: str) -> Counts:
        total = Counts()
        for row in rows:
            total = total.plus(getattr(row, name))
        return total

    words, characters, titles, cells = (summed(name) for name in ("words", "characters", "titles", "cells"))
    orders = [row.order for row in rows if row.order is not None]
    gridded = sum(row.cells.label > 0 for row in rows if row.cells.reference)
    return {
        "pages": str(len(rows)),
        "word recall": number(words.recall),
        "precision": number(words.precision),
        "recall of all": number(summed("all_words").recall),
        "order": number(mean(orders) if orders else None),
        "character F1": number(characters.f1),
        "ideograph F1": number(summed("ideographs").f1),
        "titles": f"{titles.shared} of {titles.reference}" if titles.reference else "-",
        "cells": f"{number(cells.f1)} in {gridded}" if cells.reference else "-",
    }


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def row_text(row: Scores) -> str:
    values = {name: value for name, value in figures([row]).items() if value != "-" and name != "pages"}
    return ", ".join(f"{name} {value}" for name, value in values.items()) + f"; scan: {row.as_scan}, PDF: {row.as_pdf}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--languages", nargs="+", choices=("en", "zh"), default=["en", "zh"])
    parser.add_argument("--pages", type=int, default=30, help="of a language (30)")
    parser.add_argument("--tables", type=int, default=20, help="pages around a table, of a language (20)")
    parser.add_argument("--english", type=Path, nargs="+", default=ENGLISH, help="folders of PDFs")
    parser.add_argument("--chinese", type=Path, nargs="+", default=CHINESE, help="folders of HTML")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which no other page is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dpi", type=int, default=120)
    parser.add_argument("--look", type=Path, help="a folder for pages and labels, to look at")
    options = parser.parse_args()
    measure, results, start = Measure(options.dpi), dict[str, list[Scores]](), time.process_time()
    end = time.monotonic() + 60 * options.minutes
    with printer() as browser, TemporaryDirectory() as home:
        for group, born in by_turns(groups(options, browser, Path(home))):
            scores, label = measure(born)
            results.setdefault(group, []).append(scores)
            print(f"{group}, {born.name}: {row_text(scores)}", flush=True)
            if options.look:
                look(options.look, group, born, label, scores)
            if time.monotonic() > end:
                break
    count = sum(map(len, results.values()))
    columns = list(figures([]))
    grid = Table(title="Labels of page images beside the text of the PDFs")
    for name in ("group", "subset", *columns):
        grid.add_column(name, justify="left" if name in ("group", "subset") else "right")
    for group, rows in results.items():
        grid.add_section()
        for subset, is_in in _SUBSETS.items():
            grid.add_row(group, subset, *figures([row for row in rows if is_in(row)]).values())
    Console(width=160).print(grid)
    for name in ("as_scan", "as_pdf"):
        print(name, dict(Counter(getattr(row, name) for rows in results.values() for row in rows)))
    print(f"{count} pages, {(time.process_time() - start) / max(count, 1):.1f} CPU seconds each")


def by_turns(groups: Iterable[tuple[str, Iterator[BornDigital]]]) -> Iterator[tuple[str, BornDigital]]:
    """A page of each group, another one of each, and so on: a run that is stopped has seen some of all."""
    waiting = list(groups)
    while waiting:
        for group, pages in tuple(waiting):
            if (born := next(pages, None)) is None:
                waiting.remove((group, pages))
            else:
                yield group, born


def groups(options: argparse.Namespace, browser: Printer, home: Path) -> Iterator[tuple[str, Iterator[BornDigital]]]:
    """The name and the pages of each group."""
    seed, dpi = options.seed, options.dpi
    for language in options.languages:
        if language == "en":
            pages = {"en manuals": (manuals(options.english, random.Random(seed), dpi), options.pages)}
        else:
            half = options.pages // 2
            pages = {
                f"zh printed, {columns} column{'s' * (columns > 1)}": (
                    printed(browser, options.chinese, columns, random.Random(seed + columns), dpi, home), count
                )
                for columns, count in ((1, options.pages - half), (2, half))
            }  # fmt: skip
        for name, (all_pages, count) in pages.items():
            yield name, islice(worth_reading(all_pages, language), count)
        around = tables(browser, TABLES[language], random.Random(seed), dpi, home)
        yield f"{language} tables", islice(around, options.tables)


if __name__ == "__main__":
    main()
