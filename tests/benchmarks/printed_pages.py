"""HTML printed to born-digital PDFs by Chromium, for measures of labels: pages of manuals, and pages around one table.

A printed page has a text layer that no OCR made, headings as bookmarks, and a table whose cells the HTML tells.
"""

import html
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lxml.html
from playwright.sync_api import sync_playwright

from step3vl.pipelines.documents.tables import Grid, GridCell
from step3vl.pipelines.render.web.browser import find_chromium

_HIDDEN = ".docnav, #banner, #title, .navheader, .navfooter, .footer, img { display: none !important }"
_FAMILIES = ("Noto Sans CJK SC", "Noto Serif CJK SC")
_MARGIN = {"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"}
_ROWS, _COLUMNS = (3, 24), (2, 7)  # of a table that fits on a page, at least and at most
_CELL = 60  # characters of a cell at most
_FULL = 0.6  # of the cells, that have a text at least
_RULES = (
    "td, th { border: 1px solid #555 }",
    "tr { border-bottom: 1px solid #888 } table { border-top: 2px solid; border-bottom: 2px solid }",
    "thead tr, tr:first-child { border-bottom: 2px solid } table { border-top: 2px solid; border-bottom: 2px solid }",
    "tr:nth-child(even) { background: #e8ecf2 } th { background: #c8d2e2 }",
)
_PRINT = """
  html, body {{ font-family: "{family}" !important; font-size: {size}pt !important; color: black; background: white;
    border: none !important; margin: 0 !important; padding: 0 !important; max-width: none !important;
    width: auto !important }}
  body {{ column-count: {columns}; column-gap: 9mm }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere }}
  a {{ color: black; text-decoration: none }}
"""


class TablePage(NamedTuple):
    """A page around a table."""

    content: str
    """HTML."""
    table: Grid


class Printer:
    """Chromium, which prints to PDF; what a page names elsewhere is not loaded, apart from files beside it."""

    def __init__(self, browser: Any) -> None:
        self._page = browser.new_context(offline=True).new_page()

    def print_file(self, source: Path, target: Path, columns: int, rng: random.Random) -> None:
        """Print an HTML file, without its menus and images, in one or more columns."""
        self._page.goto(source.as_uri())
        style = _PRINT.format(family=rng.choice(_FAMILIES), size=rng.choice((9, 10, 11)), columns=columns)
        self._print(target, style + _HIDDEN)

    def print_table(self, page: TablePage, target: Path, rng: random.Random) -> None:
        self._page.set_content(page.content)
        style = _PRINT.format(family=rng.choice(_FAMILIES), size=rng.choice((9, 10, 11)), columns=1)
        space = (
            f"table {{ border-collapse: collapse; margin: 5mm auto }} td, th {{ padding: {rng.choice((1, 2, 3))}mm }}"
        )
        self._print(target, style + space + rng.choice(_RULES))

    def _print(self, target: Path, style: str) -> None:
        self._page.add_style_tag(content=style)
        self._page.pdf(path=target, format="A4", margin=_MARGIN, print_background=True, outline=True, tagged=True)


@contextmanager
def printer() -> Iterator[Printer]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield Printer(browser)
        finally:
            browser.close()


def table_pages(paths: Sequence[Path], rng: random.Random) -> Iterator[TablePage]:
    """Pages with a table of one of the files between two paragraphs of it; each file once, in random order."""
    for path in rng.sample(paths, len(paths)):
        tree = lxml.html.fromstring(path.read_bytes())
        grids = [(table, grid) for table in tree.iter("table") if (grid := grid_of(table)) is not None]
        texts = [_text(element) for element in tree.iter("p", "div") if len(element) < 12]
        texts = [text for text in texts if 60 <= len(text) <= 600]
        if not grids or len(texts) < 2:
            continue
        table, grid = rng.choice(grids)
        before, after = (f"<p>{html.escape(text, quote=False)}</p>" for text in rng.sample(texts, 2))
        yield TablePage(
            f"<meta charset=utf-8>{before}{_plain(grid, header=table.find('.//th') is not None)}{after}", grid
        )


def grid_of(table: lxml.html.HtmlElement) -> Grid | None:
    """The cells of a table of data; None for another or one that is too large, too empty or too wordy."""
    if table.xpath(".//table | .//img | .//pre | .//ul"):
        return None
    cells: list[GridCell] = []
    taken: set[tuple[int, int]] = set()
    for row, element in enumerate(table.iter("tr")):
        column = 0
        for cell in element.iterchildren("td", "th"):
            while (row, column) in taken:
                column += 1
            down, along = _span(cell.get("rowspan")), _span(cell.get("colspan"))
            cells.append(GridCell(row, column, down, along, _text(cell)))
            taken |= {(row + y, column + x) for y in range(down) for x in range(along)}
    rows, columns = (1 + max((place[axis] for place in taken), default=0) for axis in (0, 1))
    fits = _ROWS[0] <= rows <= _ROWS[1] and _COLUMNS[0] <= columns <= _COLUMNS[1] and len(taken) == rows * columns
    filled = sum(bool(cell.text) for cell in cells) >= _FULL * len(cells)
    if not fits or not filled or any(len(cell.text) > _CELL for cell in cells):
        return None
    return Grid(rows, columns, tuple(cells))


def _plain(grid: Grid, *, header: bool) -> str:
    """The table without the classes and links of its page."""
    markup = grid.markup()
    if header:
        first, rest = markup.split("</tr>", 1)
        markup = first.replace("<td", "<th").replace("</td>", "</th>") + "</tr>" + rest
    return markup


def _text(element: lxml.html.HtmlElement) -> str:
    return " ".join(re.sub(r"[\u200b\xb6]", "", element.text_content()).split())


def _span(value: str | None) -> int:
    return int(value) if value and value.isdigit() and value != "0" else 1
