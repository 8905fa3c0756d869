"""Files in which people write documents, as pieces that fit on a page: Markdown, HTML, WARC, notebooks, CSV, LaTeX."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Literal

from step3vl.data.config import Config
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.markup.latex import read_latex
from step3vl.pipelines.sources.markup.markdown import read_markdown
from step3vl.pipelines.sources.markup.markup import Markup, article, clean_markup, is_table
from step3vl.pipelines.sources.markup.markup_html import write_html
from step3vl.pipelines.sources.markup.markup_pieces import split_markup
from step3vl.pipelines.sources.markup.markup_space import Element
from step3vl.pipelines.sources.markup.notebooks import read_notebook
from step3vl.pipelines.sources.tables.delimited import read_delimited
from step3vl.pipelines.sources.web.html import HtmlPage, decode_html, parse_page
from step3vl.pipelines.sources.web.main_body import main_element
from step3vl.pipelines.sources.web.web_archive import WebPage, parse_stored_page

Format = Literal["markdown", "html", "notebook", "csv", "latex"]
Kind = Literal["page", "table", "formula"]

_FORMATS: dict[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html", ".xhtml": "html",
    ".ipynb": "notebook", ".csv": "csv", ".tsv": "csv", ".tex": "latex", ".ltx": "latex",
}  # fmt: skip
MAX_FILE = 4 << 20  # bytes of a document
_SNIPPETS = 12  # of LaTeX, that are compiled together


class DocumentPiece(Config):
    """What becomes an image: a page in HTML, or snippets of LaTeX that are compiled together."""

    format: Format | Literal["generated"]
    """What it was read from."""
    kind: Kind
    codes: tuple[str, ...]
    """The page in HTML, or each snippet in LaTeX."""
    uri: str
    licence: str
    removed: int = 0
    """Blocks of its document that were left out."""


class SplitOptions(Config):
    """How documents are cut into pieces."""

    characters: tuple[int, int]
    """Of a page."""
    rows: tuple[int, int]
    """Of a window of a CSV file, beside its header."""
    columns: tuple[int, int]
    """Likewise."""
    printed_links: float
    """The share of documents in which addresses of links are printed beside their texts."""
    tables: float
    """The share of tables that are pages of their own, too."""


def format_of(name: str) -> Format | None:
    """What a file is, by the end of its name; None for what is no document."""
    return _FORMATS.get(PurePosixPath(name).suffix.lower())


def read_file(
    path: Path, name: str, address: str, licence: str, options: SplitOptions, rng: random.Random
) -> Iterator[DocumentPiece]:
    """The pieces of a file.

    Args:
        path: Where it is.
        name: By whose end its format is told, and which is the source of the samples.
        address: That relative links start from.
        licence: Of the file.
        options: How it is cut.
        rng: Random numbers.

    Raises:
        Dropped: It is no document, too large, or has nothing to show.
    """
    kind = format_of(name)
    if kind is None:
        raise Dropped("no_document")
    if path.stat().st_size > MAX_FILE:
        raise Dropped("file_too_large")
    text = decode_html(path.read_bytes(), None)
    if kind == "html":
        yield from _html_pieces(parse_page(text, address), name, licence, options, rng)
    elif kind == "latex":
        yield from _latex_pieces(text, name, licence)
    elif kind == "csv":
        yield from _pieces(read_delimited(text, options.rows, options.columns, rng), kind, name, licence, Counter())
    else:
        links = rng.random() < options.printed_links
        markup = read_notebook(text, links=links) if kind == "notebook" else read_markdown(text, address, links=links)
        yield from _markup_pieces(markup, kind, name, licence, options, rng)


def read_archived_page(stored: WebPage, options: SplitOptions, rng: random.Random) -> Iterator[DocumentPiece]:
    """The pieces of a page in a WARC file.

    Raises:
        Dropped: The page is not wanted, or has nothing to show.
    """
    page = parse_stored_page(stored, MAX_FILE)
    yield from _html_pieces(page, stored.url, stored.licence, options, rng)


def _html_pieces(
    page: HtmlPage, uri: str, licence: str, options: SplitOptions, rng: random.Random
) -> Iterator[DocumentPiece]:
    if page.opts_out:
        raise Dropped("opted_out")
    main = main_element(page)
    markup = clean_markup(main.element, page.base, links=rng.random() < options.printed_links, keep=main.keeps)
    yield from _markup_pieces(markup, "html", uri, page.licence or licence, options, rng)


def _markup_pieces(
    markup: Markup, kind: Format, uri: str, licence: str, options: SplitOptions, rng: random.Random
) -> Iterator[DocumentPiece]:
    """Pages of a document, and some of its tables alone."""
    alone, removed = [], markup.removed
    for table in markup.root.iter("table"):
        if rng.random() < options.tables:
            alone += list(split_markup(article([deepcopy(table)]), (1, options.characters[1]), rng, removed))
    pages = [*split_markup(markup.root, options.characters, rng, removed), *alone]
    yield from _pieces(pages, kind, uri, licence, removed)


def _pieces(
    roots: Iterable[Element], kind: Format, uri: str, licence: str, removed: Counter[str]
) -> Iterator[DocumentPiece]:
    """Pieces of the trees. Raises Dropped, for what was left out most, when there are none."""
    empty = True
    for root in roots:
        empty = False
        yield piece_of(root, kind, uri, licence, removed.total())
    if empty:
        raise Dropped(removed.most_common(1)[0][0] if removed else "nothing_to_show")


def piece_of(
    root: Element, origin: Format | Literal["generated"], uri: str, licence: str, removed: int = 0
) -> DocumentPiece:
    """A tree as a piece."""
    kind: Kind = "table" if is_table(root) else "page"
    return DocumentPiece(
        format=origin, kind=kind, codes=(write_html(root),), uri=uri, licence=licence, removed=removed
    )


def _latex_pieces(text: str, uri: str, licence: str) -> Iterator[DocumentPiece]:
    document = read_latex(text)
    if not document.tables and not document.formulas:
        raise Dropped(document.removed.most_common(1)[0][0] if document.removed else "nothing_to_show")
    snippets: tuple[tuple[Kind, list[str]], ...] = (("table", document.tables), ("formula", document.formulas))
    for kind, codes in snippets:
        for start in range(0, len(codes), _SNIPPETS):
            batch = tuple(codes[start : start + _SNIPPETS])
            yield DocumentPiece(
                format="latex", kind=kind, codes=batch, uri=uri, licence=licence, removed=document.removed.total()
            )
