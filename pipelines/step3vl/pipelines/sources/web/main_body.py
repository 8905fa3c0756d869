"""The main body of a page: its texts and images in reading order, without menus, banners and lists of links.

The body is cut on the tree first, by where the text is that is no link; then the rest is read paragraph by paragraph.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import lxml.html
from lxml import etree

from step3vl.pipelines.sources.web.boilerplate import is_boilerplate_line
from step3vl.pipelines.sources.web.html import HtmlPage, image_addresses
from step3vl.pipelines.sources.web.main_element import MainElement, find_main_element

_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "html body div section article main header p h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote figure figcaption "
        "table caption thead tbody tfoot tr td th pre address hr center details summary fieldset "
        "picture",  # words: of HTML
    )
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SHORT = 240  # characters up to which a line may be navigation
_LINKED = 0.66  # of a paragraph's characters in links, beyond which it is navigation
_PASSAGE = 200  # characters of a paragraph, so many that a title that is a link belongs to it
_MAX_CELL = 300  # characters of a cell, beyond which a table is layout

TextKind = Literal["heading", "paragraph", "item", "row", "code"]


class TextNode(NamedTuple):
    """A paragraph, heading, list item, table row or listing."""

    text: str
    kind: TextKind


@dataclass(frozen=True, eq=False)
class ImageNode:
    """An image; another one with the same fields is another place of the page.

    Attributes:
        addresses: Where it may be, the best first; absolute, or `data:` URLs.
        alt: The text that stands for it.
        size: Width and height that the page gives it, where it states both in pixels.
    """

    addresses: tuple[str, ...]
    alt: str
    size: tuple[int, int] | None


Node = TextNode | ImageNode


def main_element(page: HtmlPage) -> MainElement:
    """Where the main body of a page is."""
    body = page.tree.find("body")
    return find_main_element(page.tree if body is None else body)


def read_main_body(page: HtmlPage) -> list[Node]:
    """The texts and images of a page's main body in reading order.

    An image amid the words of a paragraph follows the paragraph. Headings, items and listings are written as Markdown
    does, rows of tables with ` | ` between cells.
    """
    return list(_Reader(page.base, main_element(page)).read())


@dataclass
class _Reader:
    """Reads the nodes of a main body."""

    base: str
    main: MainElement
    _words: list[str] = field(default_factory=list)
    _waiting: list[ImageNode] = field(default_factory=list)
    _kind: TextKind = "paragraph"
    _prefix: str = ""
    _linked: int = 0  # characters in links
    _elsewhere: int = 0  # of them, those in links to other pages
    _title: str = ""  # that is a link, until what follows tells whether it is a title of this page
    _links: int = 0
    _links_elsewhere: int = 0
    _listings: int = 0
    _numbers: dict[lxml.html.HtmlElement, int] = field(default_factory=dict)  # of the items of lists so far

    def read(self) -> Iterator[Node]:
        root = self.main.element
        tables: list[bool] = []  # of the open tables, whether they hold data
        skipping: lxml.html.HtmlElement | None = None
        for event, element in etree.iterwalk(root, events=("start", "end")):
            if skipping is not None:
                if event == "end" and element is skipping:
                    skipping = None
                    self._say(element.tail)
                continue
            tag = element.tag
            is_cell = bool(tables and tables[-1]) and tag not in ("table", "tr", "img")
            if event == "start":
                if element is not root and not self.main.keeps(element):
                    skipping = element
                    continue
                if tag == "table":
                    tables.append(_holds_data(element))
                if tag in _BLOCKS and not is_cell:
                    yield from self._end_of_block()
                    self._begin(element)
                elif is_cell and tag in ("td", "th") and element.getprevious() is not None:
                    self._words.append(" | ")
                elif is_cell and tag in _BLOCKS:
                    self._words.append(" ")
                if tag == "br":
                    self._words.append(" " if is_cell else "\n")
                elif tag == "img":
                    yield from self._show(element)
                self._count(element, 1)
                self._say(element.text)
            else:
                if tag in _BLOCKS and not is_cell:
                    yield from self._end_of_block()
                self._count(element, -1)
                if tag == "table":
                    tables.pop()
                if element is not root:
                    self._say(element.tail)
        yield from self._end_of_block()

    def _begin(self, element: lxml.html.HtmlElement) -> None:
        tag = element.tag
        if tag in _HEADINGS:
            self._kind, self._prefix = "heading", "#" * _HEADINGS[tag] + " "
        elif tag == "li":
            self._kind, self._prefix = "item", "- "
            if (parent := element.getparent()) is not None and parent.tag == "ol":
                self._numbers[parent] = number = self._numbers.get(parent, 0) + 1
                self._prefix = f"{number}. "
        elif tag == "tr":
            self._kind, self._prefix = "row", ""
        elif tag == "pre":
            self._kind, self._prefix = "code", ""

    def _count(self, element: lxml.html.HtmlElement, change: int) -> None:
        """Count the links and listings that are open."""
        if element.tag == "a" and (link := element.get("href")) is not None:
            self._links += change
            self._links_elsewhere += change * (not link.startswith("#"))
        elif element.tag == "pre":
            self._listings += change

    def _say(self, text: str | None) -> None:
        if not text:
            return
        if not self._listings:
            text = text.replace("\n", " ")
        if self._links:
            length = len(text.strip())
            self._linked += length
            self._elsewhere += length * (self._links_elsewhere > 0)
        self._words.append(text)

    def _show(self, element: lxml.html.HtmlElement) -> Iterator[ImageNode]:
        attributes = element.attrib
        addresses = image_addresses(attributes, self.base)
        if (picture := next(element.iterancestors("picture"), None)) is not None:  # words: the element of HTML
            for source in picture.iter("source"):  # words: the element of HTML
                addresses = (*addresses, *image_addresses(source.attrib, self.base))
            addresses = tuple(sorted(addresses, key=lambda address: address.startswith("data:")))
        width, height = _pixels(attributes.get("width")), _pixels(attributes.get("height"))
        node = ImageNode(
            addresses, " ".join(attributes.get("alt", "").split()), (width, height) if width and height else None
        )
        if not addresses:
            return
        if "".join(self._words).strip():
            self._waiting.append(node)
        else:
            yield node

    def _end_of_block(self) -> Iterator[Node]:
        text = "".join(self._words)
        if self._kind == "code":
            text = "\n".join(line.rstrip() for line in text.strip("\r\n").splitlines())
        else:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip(" \n|")
        if text.strip() and not self._is_boilerplate(text):
            yield from self._block(text)
        if text.strip() or self._kind != "item":  # the text of an item may be in a block of its own
            self._kind, self._prefix = "paragraph", ""
        yield from self._waiting
        self._words, self._waiting, self._linked, self._elsewhere = [], [], 0, 0

    def _block(self, text: str) -> Iterator[TextNode]:
        """A block. A title that is a link needs a passage after it: others are titles of other pages."""
        is_heading = self._kind == "heading"
        if is_heading and self._prefix != "# " and self._elsewhere > _LINKED * _characters(text):
            self._title = self._prefix + text
            return
        if self._title and not is_heading and len(text) >= _PASSAGE:
            yield TextNode(self._title, "heading")
        self._title = ""
        yield TextNode(f"```\n{text}\n```" if self._kind == "code" else self._prefix + text, self._kind)

    def _is_boilerplate(self, text: str) -> bool:
        if self._kind == "code":
            return False
        if self._kind != "heading" and self._linked > _LINKED * _characters(text) and len(text) < _SHORT:
            return True
        return is_boilerplate_line(text)


def _characters(text: str) -> int:
    return len(text.replace(" ", ""))


def _holds_data(table: lxml.html.HtmlElement) -> bool:
    """Whether a table holds data, and is no layout of a page."""
    rows = 0
    for element in table.iter("table", "tr", "td", "th"):
        if element.tag == "table" and element is not table:
            return False
        if element.tag == "tr":
            rows += 1
        elif len(element) and sum(len(text) for text in element.itertext()) > _MAX_CELL:
            return False
    return rows > 1 and next(table.iter("img"), None) is None


def _pixels(value: str | None) -> int:
    match = re.fullmatch(r"\s*(\d{1,5})(?:\.\d+)?\s*(?:px)?\s*", value or "")
    return int(match[1]) if match else 0
