"""Trees of `sources.markup` as images of pages, each with its code and the proof that both say the same."""

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import lxml.html
from lxml import etree

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.figures.figure import PixelBox
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.render.web.browser import BrowserRenderer, PlacedElement, WebPage
from step3vl.pipelines.render.web.web_style import WebStyle, pick_fonts, pick_web_style
from step3vl.pipelines.sources.markup.markdown import MarkdownError, block_ranges, write_markdown
from step3vl.pipelines.sources.markup.markup import is_table, parse_markup, plain_text
from step3vl.pipelines.sources.markup.markup_html import HEADINGS, block_lines, canonical, visible_text
from step3vl.pipelines.sources.markup.markup_space import Element

_MARK = "data-step3vl"
_TABLE_SIDE = 1200  # CSS pixels in which a table alone is laid out before the page is made as narrow as it
_PLACED = frozenset((*HEADINGS, "td", "th", "caption"))


@dataclass(frozen=True)
class PageOptions:
    """What the entry of a corpus says about pages.

    Attributes:
        width: Smallest and largest width in CSS pixels.
        scale: Fewest and most pixels of a CSS pixel.
        max_side: Of an image, in pixels.
    """

    width: tuple[int, int]
    scale: tuple[float, float]
    max_side: int


@dataclass(frozen=True)
class PageElement:
    """A block, heading or cell of a page.

    Attributes:
        role: The name of the element in HTML.
        text: What it says.
        box: Around what it shows, in pixels.
        html: Its first and last line in the HTML, from 1; None for what is inside of a block.
        markdown: Likewise in the Markdown.
    """

    role: str
    text: str
    box: PixelBox
    html: tuple[int, int] | None = None
    markdown: tuple[int, int] | None = None


@dataclass(frozen=True)
class DocumentImage:
    """A page with its code.

    Attributes:
        png: The encoded image.
        size: Width and height in pixels.
        html: What renders to it.
        markdown: Likewise; empty where Markdown cannot say it.
        elements: The blocks in order, then headings and cells.
        style: Of the page.
    """

    png: bytes
    size: tuple[int, int]
    html: str
    markdown: str
    elements: tuple[PageElement, ...]
    style: WebStyle


class DocumentRenderer:
    """Renders trees in random styles.

    Args:
        families: Fonts of which one or two have all characters of a page.
    """

    def __init__(self, families: Sequence[FontFamily]) -> None:
        self._families = list(families)
        self._browser = BrowserRenderer(
            {family.private: family.regular.path for family in families},
            {family.private: family.bold.path for family in families if family.bold is not family.regular},
        )

    def start(self) -> None:
        """Start the browser."""
        self._browser.start()

    def close(self) -> None:
        """End the browser."""
        self._browser.close()

    def render(self, root: Element, options: PageOptions, rng: random.Random) -> DocumentImage:
        """Render a tree and prove that its code says what the image shows.

        Raises:
            Dropped: It cannot be shown whole, no font has its characters, or the proof fails.
        """
        html = ["\n".join(block_lines(block)) for block in root]
        if not html:
            raise Dropped("empty_page")
        try:
            markdown = write_markdown(root)
        except MarkdownError:
            markdown = []
        fit = is_table(root)
        style = self._style(root, fit, rng)
        page = WebPage(
            style.css,
            f"<main>{_marked(root)}</main>",
            style.families,
            _TABLE_SIDE if fit else rng.randint(*options.width) * (1 if style.columns == 1 else 2),
            rng.uniform(*options.scale),
            fit=fit,
        )
        image = self._browser.render(page, options.max_side)
        _prove(root, "\n".join(html), image.html, image.text)
        boxes = {element.name: element for element in image.elements}
        html_lines = block_ranges(html, 0)
        markdown_lines: list[tuple[int, int] | None] = [*block_ranges(markdown, 1)] or [None] * len(html)
        elements = [
            PageElement(block.tag, plain_text(block), _block_box(block.tag, boxes[f"b{number}"]), *lines)
            for number, (block, *lines) in enumerate(zip(root, html_lines, markdown_lines, strict=True))
        ]
        inner = [element for block in root for element in block.iter(*_PLACED) if element is not block]
        elements += [
            PageElement(element.tag, plain_text(element), boxes[f"i{number}"].content)
            for number, element in enumerate(inner)
            if plain_text(element)
        ]
        return DocumentImage(image.png, image.size, "\n".join(html), "\n\n".join(markdown), tuple(elements), style)

    def _style(self, root: Element, fit: bool, rng: random.Random) -> WebStyle:
        code = "".join("".join(element.itertext()) for element in root.iter("code"))
        fonts = pick_fonts(self._families, _without_code(root) + "0123456789.()", code, rng)
        merged = any(cell.get("colspan") or cell.get("rowspan") for cell in root.iter("td", "th"))
        return pick_web_style(fonts, bool(code), merged, fit, rng)


def _block_box(tag: str, element: PlacedElement) -> PixelBox:
    """What of a block is seen: its text, the frame of a listing or table, the marks of a list."""
    x1, y1, x2, y2 = element.content
    if tag in ("pre", "table", "blockquote"):
        return element.frame
    return (element.frame[0] if tag in ("ul", "ol") else x1, y1, x2, y2)


def _without_code(root: Element) -> str:
    copy = deepcopy(root)
    for code in copy.iter("code"):
        code.text = None
    return visible_text(copy)


def _marked(root: Element) -> str:
    """The HTML that is rendered: with marks to find elements by, addresses printed, images as frames."""
    copy = deepcopy(root)
    inner = [element for block in copy for element in block.iter(*_PLACED) if element is not block]
    for number, element in enumerate(inner):
        element.set(_MARK, f"i{number}")
    for number, block in enumerate(copy):
        block.set(_MARK, f"b{number}")
    for image in list(copy.iter("img")):
        image.tag = "span"
        image.set("class", "image")
        image.text = image.attrib.pop("alt")
    for link in list(copy.iter("a")):
        address = etree.Element("span")
        address.set("class", "address")
        address.text = f" ({link.attrib.pop('href')})"
        address.tail, link.tail = link.tail, None
        link.addnext(address)
    return "".join(etree.tostring(block, method="html", encoding="unicode", with_tail=False) for block in copy)


def _prove(root: Element, html: str, page: str, text: str) -> None:
    """Raise Dropped unless parsers and the page agree with the tree.

    Args:
        root: What was rendered.
        html: Its code.
        page: The HTML of the page as the browser understood it.
        text: What the page shows.
    """
    expected = canonical(root)
    if canonical(parse_markup(html)) != expected:
        raise Dropped("html_differs")
    understood = lxml.html.fromstring(page)
    if _marked_form(understood) != _marked_form(lxml.html.fromstring(f"<main>{_marked(root)}</main>")):
        raise Dropped("browser_differs")
    if "".join(text.split()) != visible_text(root):
        raise Dropped("text_not_shown")


def _marked_form(tree: Element) -> str:
    """HTML without marks of parts of tables, which a browser adds."""
    return etree.tostring(tree, method="html", encoding="unicode").replace("<tbody>", "").replace("</tbody>", "")
