"""HTML that an image can show: blocks, emphasis and tables, without attributes, comments and scripts.

Whatever a document is written in, it becomes a tree of these elements (an `article` of lxml), from which its code in
HTML or Markdown is written. Nothing is in the tree that a reader of the page would not see: addresses of links are
dropped unless they are printed, an image is its alternative text in a frame, a span of cells is one that shows.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urljoin

import lxml.html
from lxml import etree

from step3vl.pipelines.sources.markup.markup_html import HEADINGS
from step3vl.pipelines.sources.markup.markup_space import SPACE, Element, break_line, printable, say, tidy
from step3vl.pipelines.sources.markup.markup_table import BrokenTable, Cell, arrange_cells

_SKIPPED = frozenset(
    [
        "script",
        "style",
        "template",
        "noscript",
        "head",
        "title",
        "meta",
        "link",
        "svg",
        "math",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "map",
        "form",
        "button",
        "select",
        "option",
        "input",
        "textarea",
        "dialog",
        "menu",
        "nav",
    ]
)
_INLINE = {
    "em": "em", "i": "em", "cite": "em", "dfn": "em", "var": "em", "strong": "strong", "b": "strong", "del": "del",
    "s": "del", "strike": "del", "code": "code", "kbd": "code", "samp": "code", "tt": "code", "sub": "sub",
    "sup": "sup",
}  # fmt: skip
_BREAKS = frozenset(
    [
        "div",
        "section",
        "article",
        "main",
        "header",
        "footer",
        "aside",
        "p",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "blockquote",
        "pre",
        "figure",
        "figcaption",
        "table",
        "caption",
        "tr",
        "address",
        "details",
        "summary",
        "center",
        "hr",
        "fieldset",
    ]
)
_LISTS = {"li": ("ul", "ol"), "dd": ("dl",)}  # what items may be in
_MAX_DEPTH = 40  # of elements; what is deeper counts as text of the last level
_SHORT = 100  # characters of a line above a table
_MAX_URL = 80  # characters of an address that is printed


class Markup(NamedTuple):
    """A document's tree, and what was left out of it."""

    root: Element
    removed: Counter[str]


def clean_markup(
    source: Element, base: str = "", *, links: bool = False, keep: Callable[[Element], bool] | None = None
) -> Markup:
    """The tree of what an element of any HTML shows.

    Args:
        source: Whose content is taken.
        base: The address that relative links start from.
        links: Whether absolute addresses of links stay, to be printed beside their texts.
        keep: Tells which elements are taken; by default all that are shown.
    """
    cleaner = _Cleaner(base, links, keep or (lambda element: True), Counter())
    root = article(())
    cleaner.blocks(source, root, 0)
    return Markup(root, cleaner.removed)


class _Cleaner(NamedTuple):
    base: str
    links: bool
    keep: Callable[[Element], bool]
    removed: Counter[str]

    def _takes(self, element: Element) -> bool:
        return isinstance(element.tag, str) and element.tag not in _SKIPPED and self.keep(element)

    def blocks(self, source: Element, target: Element, depth: int) -> None:
        """Append what `source` shows to `target`, as blocks; text between blocks becomes paragraphs."""
        run = etree.Element("p")

        def end_run() -> None:
            nonlocal run
            if tidy(run):
                target.append(run)
            run = etree.Element("p")

        say(run, source.text)
        for child in source:
            tag = child.tag
            if not self._takes(child):
                if isinstance(tag, str) and tag in ("svg", "math", "form", "iframe", "object", "video"):
                    self.removed[tag] += 1
            elif depth < _MAX_DEPTH and (tag in _BREAKS or _has_blocks(child)):
                end_run()
                self._block(child, target, depth + 1)
            else:
                self._inline(child, run, depth + 1)
            say(run, child.tail)
        end_run()

    def _block(self, source: Element, target: Element, depth: int) -> None:
        tag = source.tag
        if tag == "pre":
            text = "\n".join(line.rstrip() for line in printable("".join(source.itertext())).expandtabs(4).split("\n"))
            if text.strip():
                etree.SubElement(etree.SubElement(target, "pre"), "code").text = text.strip("\n")
        elif tag == "table":
            self._table(source, target)
        elif tag == "hr":
            etree.SubElement(target, "hr")
        elif tag in HEADINGS or tag in ("p", "dt", "summary", "figcaption"):
            known = tag in HEADINGS or (tag == "dt" and target.tag == "dl")
            block = etree.Element(tag if known else "p")
            self._inline_content(source, block, depth)
            if tidy(block):
                target.append(block)
        elif tag in ("ul", "ol", "dl", "li", "dd", "blockquote"):
            self._list_or_quote(source, target, depth)
        else:
            self.blocks(source, target, depth)

    def _list_or_quote(self, source: Element, target: Element, depth: int) -> None:
        tag = source.tag
        block = etree.Element(tag)
        if target.tag not in _LISTS.get(tag, (target.tag,)):
            self.blocks(source, target, depth)
            return
        self.blocks(source, block, depth)
        if tag in ("ul", "ol", "dl"):
            _only_items(block)
        if tag == "ol" and (start := source.get("start", "")).isdigit() and len(start) < 4 and start != "1":
            block.set("start", str(int(start)))
        if tag in ("li", "dd"):
            _unwrap_first(block)
        if len(block) or block.text:
            target.append(block)

    def _inline(self, source: Element, target: Element, depth: int) -> None:
        """Append an inline element to `target`."""
        tag = source.tag
        if tag == "br":
            etree.SubElement(target, "br")
        elif tag == "img":
            if alt := SPACE.sub(" ", printable(source.get("alt") or "")).strip():
                etree.SubElement(target, "img").set("alt", alt)
            else:
                self.removed["image_without_text"] += 1
        elif tag in ("code", "kbd", "samp", "tt"):
            text = SPACE.sub(" ", printable("".join(source.itertext()))).strip()
            if text:
                etree.SubElement(target, "code").text = text
        elif (name := _INLINE.get(tag)) and not _inside(target, name):
            self._inline_content(source, etree.SubElement(target, name), depth)
        elif tag == "a" and self.links and (address := self._address(source)) and not _inside(target, "a"):
            link = etree.SubElement(target, "a")
            link.set("href", address)
            self._inline_content(source, link, depth)
        else:
            self._inline_content(source, target, depth)

    def _inline_content(self, source: Element, target: Element, depth: int) -> None:
        say(target, source.text)
        for child in source:
            if self._takes(child) and child.tag != "table":
                if depth >= _MAX_DEPTH:
                    say(target, "".join(child.itertext()))
                else:
                    broken = child.tag in _BREAKS
                    if broken:
                        break_line(target)
                    self._inline(child, target, depth + 1)
                    if broken:
                        break_line(target)
            say(target, child.tail)

    def _address(self, source: Element) -> str:
        address = urljoin(self.base, (source.get("href") or "").strip())
        printable = address.isascii() and address.isprintable() and not set(address) & set(" <>()[]\\`\"'*_")
        return (
            address if printable and address.startswith(("http://", "https://")) and len(address) <= _MAX_URL else ""
        )

    def _table(self, source: Element, target: Element) -> None:
        if next((inner for inner in source.iter("table") if inner is not source), None) is not None:
            self.removed["nested_table"] += 1
            self.blocks(source, target, _MAX_DEPTH - 1)
            return
        rows: list[list[Cell]] = []
        header: list[bool] = []
        for row in source.iter("tr"):
            if not self._takes(row):
                continue
            in_head = row.getparent() is not None and row.getparent().tag == "thead"
            cells = []
            for cell in row:
                if cell.tag in ("td", "th") and self._takes(cell):
                    content = etree.Element("th" if cell.tag == "th" or in_head else "td")
                    self._inline_content(cell, content, 0)
                    tidy(content)
                    cells.append(Cell(content, _span(cell, "colspan"), _span(cell, "rowspan")))
            if cells:
                rows.append(cells)
                header.append(all(cell.content.tag == "th" for cell in cells))
        try:
            arranged = arrange_cells(rows)
        except BrokenTable as error:
            self.removed[str(error)] += 1
            return
        caption = next(source.iter("caption"), None)
        title = etree.Element("caption")
        if caption is not None and self._takes(caption):
            self._inline_content(caption, title, 0)
        target.append(build_table(arranged, title if tidy(title) else None))


def build_table(rows: Iterable[Iterable[Cell]], caption: Element | None = None) -> Element:
    """A table of arranged cells. Leading rows of header cells are its head.

    Args:
        rows: Of cells, each at its first row and column.
        caption: A `caption` element.
    """
    table = etree.Element("table")
    if caption is not None:
        table.append(caption)
    part: Element | None = None
    for row in rows:
        cells = list(row)
        is_head = all(cell.content.tag == "th" for cell in cells) and (part is None or part.tag == "thead")
        name = "thead" if is_head else "tbody"
        if part is None or part.tag != name:
            part = etree.SubElement(table, name)
        line = etree.SubElement(part, "tr")
        for cell in cells:
            for attribute, span in (("colspan", cell.columns), ("rowspan", cell.rows)):
                if span > 1:
                    cell.content.set(attribute, str(span))
            line.append(cell.content)
    return table


def article(blocks: Iterable[Element]) -> Element:
    """A tree of blocks, which move into it."""
    root = etree.Element("article")
    root.extend(list(blocks))
    return root


def parse_markup(html: str) -> Element:
    """The tree of code that `write_html` wrote."""
    return clean_markup(lxml.html.fromstring(f"<div>{html}</div>"), links=True).root


def is_table(root: Element) -> bool:
    """Whether a tree is a table, perhaps with a line above."""
    return root[-1].tag == "table" and (len(root) == 1 or (len(root) == 2 and len(plain_text(root[0])) < _SHORT))


def plain_text(element: Element) -> str:
    """What an element says, with single spaces."""
    return " ".join("".join(element.itertext()).split())


def _span(cell: Element, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return min(max(int(value), 1), 1000) if value.isascii() and value.isdigit() and len(value) < 5 else 1


def _inside(element: Element, name: str) -> bool:
    return element.tag == name or any(True for _ in element.iterancestors(name))


def _has_blocks(element: Element) -> bool:
    return any(isinstance(child.tag, str) and child.tag in _BREAKS for child in element.iterdescendants())


def _only_items(block: Element) -> None:
    """What a list has beside items moves into the item before."""
    names = ("dt", "dd") if block.tag == "dl" else ("li",)
    for child in list(block):
        if child.tag in names:
            continue
        previous = child.getprevious()
        if previous is None or previous.tag == "dt":
            previous = etree.Element(names[-1])
            child.addprevious(previous)
        previous.append(child)
    for item in block:
        if item.tag != "dt":
            _wrap_first(item)
            _unwrap_first(item)


def _wrap_first(item: Element) -> None:
    """The text that an item begins with becomes a paragraph."""
    first = etree.Element("p")
    first.text, item.text = item.text, None
    while len(item) and item[0].tag not in _BREAKS:
        first.append(item[0])
    if first.text or len(first):
        item.insert(0, first)


def _unwrap_first(item: Element) -> None:
    """The only paragraph of an item is no element of its own, whether or not lists follow it."""
    if item.text or not len(item) or item[0].tag != "p" or any(child.tag not in ("ul", "ol") for child in item[1:]):
        return
    paragraph = item[0]
    item.text = paragraph.text
    item.remove(paragraph)
    for place, child in enumerate(list(paragraph)):
        item.insert(place, child)
