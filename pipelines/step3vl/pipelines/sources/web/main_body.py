"""The main body of a page: its texts and images in reading order, without menus, banners and lists of links.

The body is cut on the tree first, by where the text is that is no link; then the rest is read paragraph by paragraph.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import lxml.html
from lxml import etree

from step3vl.pipelines.sources.web.html import HtmlPage, image_addresses

_SKIPPED = frozenset(
    re.findall(
        r"\w+",
        "script style noscript template svg iframe object embed canvas audio video map math head title nav footer "
        "aside form button select input textarea label dialog menu del",
    )
)
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "html body div section article main header p h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote figure figcaption "
        "table caption thead tbody tfoot tr td th pre address hr center details summary fieldset "
        "picture",  # words: of HTML
    )
)
_CONTAINERS = frozenset(
    {"html", "body", "div", "section", "article", "main", "header", "td", "table", "tbody", "tr", "center"}
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "menu", "menubar", "dialog"})
_NOISE = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|navheader|navfooter|menu|sidebar|side-bar|breadcrumbs?|footer|foot|banner|cookies?|"
    r"consent|share|sharing|social|related|recommend\w*|comments?|disqus|newsletter|subscribe|subscription|advert\w*|ads?|"
    r"promo|sponsor\w*|popup|modal|pagination|pager|toolbar|toc|headerlink|anchor|editsection|skip-link|sr-only|hidden|"
    r"visually-hidden|author-bio|tagcloud|tags|widget|copyright|prev-?next|indexterm|docnav)(?:$|[\s_-])",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_BOILERPLATE = re.compile(
    r"^(?:share(?: this| on .*)?|tweet|advertisements?|sponsored(?: content)?|read (?:more|next).*|continue reading.*|"
    r"click (?:here|to enlarge).*|see also:?|(?:©|copyright|\(c\)) .*|all rights reserved.*|sign (?:up|in).*|"
    r"log ?in.*|subscribe.*|loading\W*|skip to .*|back to top|next|prev(?:ious)?|menu|print(?: this page)?|"
    r"you may also like.*|related (?:posts|articles).*|leave a (?:reply|comment).*|powered by .*|"
    r"posted (?:by|on|in) .*|"
    r"(?:上|下)一[篇页页].*|相关(?:阅读|推荐|文章).*|责任编辑.*|(?:本文)?来源[::].*|扫(?:描|一扫).*(?:二维码|关注).*|点击(?:查看|阅读|关注).*|"
    r"版权所有.*|.*转载请注明.*|分享(?:到|至).*|返回(?:顶部|首页).*|广告|.*ICP备.*号.*)$",
    re.IGNORECASE,
)
_SHORT = 120  # characters up to which a line may be boilerplate
_DOMINANT = 0.8  # of the text outside links, which an element must have for the rest to be cut
_IMAGE_MASS = 150  # characters that an image counts as
_LINKED = 0.66  # of a paragraph's characters in links, beyond which it is navigation
_MAX_CELL = 300  # characters of a cell, beyond which a table is layout
_MAX_DEPTH = 400  # of elements; what is deeper is no page that anybody reads

CJK = re.compile("[\u2e80-\uffdc]")  # a character that says as much as half a word

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


def main_element(page: HtmlPage) -> tuple[lxml.html.HtmlElement, Callable[[lxml.html.HtmlElement], bool]]:
    """The element that holds a page's main body, and what tells which elements in it belong to the body."""
    root, reader = _reader_of(page)
    return root, lambda element: element in reader.masses and not reader.is_small_noise(element)


def read_main_body(page: HtmlPage) -> list[Node]:
    """The texts and images of a page's main body in reading order.

    An image amid the words of a paragraph follows the paragraph. Headings, items and listings are written as Markdown
    does, rows of tables with ` | ` between cells.
    """
    root, reader = _reader_of(page)
    return list(reader.read(root))


def _reader_of(page: HtmlPage) -> "tuple[lxml.html.HtmlElement, _Reader]":
    body = page.tree.find("body")
    if body is None:
        body = page.tree
    masses = _masses(body)
    root = _main_element(body, masses)
    return root, _Reader(page.base, masses, masses[root])


def _masses(body: lxml.html.HtmlElement) -> dict[lxml.html.HtmlElement, int]:
    """For each element that is shown, the characters in it outside links; images count too."""
    masses: dict[lxml.html.HtmlElement, int] = {}
    open_masses, links = [0], 0  # the masses of the elements that are open, the outermost for what is around them
    walk = etree.iterwalk(body, events=("start", "end"))
    skipping: lxml.html.HtmlElement | None = None
    for event, element in walk:
        if skipping is not None:
            if event == "end" and element is skipping:
                skipping = None
                if not links and element is not body:
                    open_masses[-1] += text_length(element.tail)
            continue
        if event == "start":
            if element is not body and (len(open_masses) > _MAX_DEPTH or _is_skipped(element)):
                skipping = element
                continue
            links += element.tag == "a"
            open_masses.append(0 if links else text_length(element.text))
            if element.tag == "img":
                open_masses[-1] += _IMAGE_MASS
        else:
            links -= element.tag == "a"
            mass = open_masses.pop()
            masses[element] = mass
            open_masses[-1] += mass
            if not links and element is not body:
                open_masses[-1] += text_length(element.tail)
    return masses


def text_length(text: str | None) -> int:
    """Characters without white space around, CJK counted double."""
    text = text.strip() if text else ""
    return len(text) if text.isascii() else len(text) + len(CJK.findall(text))


def _is_skipped(element: lxml.html.HtmlElement) -> bool:
    tag = element.tag
    if not isinstance(tag, str) or tag in _SKIPPED:
        return True
    attributes = element.attrib
    if not attributes:
        return False
    if "hidden" in attributes or attributes.get("aria-hidden") == "true" or attributes.get("role") in _ROLES:
        return True
    return "style" in attributes and bool(_HIDDEN.search(attributes["style"]))


def _is_noise(element: lxml.html.HtmlElement) -> bool:
    attributes = element.attrib
    if "class" not in attributes and "id" not in attributes:
        return False
    return bool(_NOISE.search(f"{attributes.get('class', '')} {attributes.get('id', '')}"))


def _main_element(body: lxml.html.HtmlElement, masses: dict[lxml.html.HtmlElement, int]) -> lxml.html.HtmlElement:
    """The smallest container that has most of the text and the title above it."""
    element = body
    while True:
        largest = max(
            (child for child in element if child in masses and child.tag in _CONTAINERS),
            key=lambda child: masses[child],
            default=None,
        )
        if largest is None or masses[largest] < _DOMINANT * masses[element]:
            return element
        if any(sibling.tag in ("h1", "h2") for sibling in largest.itersiblings(preceding=True)):
            return element
        element = largest


@dataclass
class _Reader:
    """Reads an element's nodes; `whole` is the mass of the element, beside which noise must be small."""

    base: str
    masses: dict[lxml.html.HtmlElement, int]
    whole: int
    _words: list[str] = field(default_factory=list)
    _waiting: list[ImageNode] = field(default_factory=list)
    _kind: TextKind = "paragraph"
    _prefix: str = ""
    _linked: int = 0
    _links: int = 0
    _listings: int = 0

    def read(self, root: lxml.html.HtmlElement) -> Iterator[Node]:
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
                if element is not root and (element not in self.masses or self.is_small_noise(element)):
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
                self._links += tag == "a"
                self._listings += tag == "pre"
                self._say(element.text)
            else:
                if tag in _BLOCKS and not is_cell:
                    yield from self._end_of_block()
                self._links -= tag == "a"
                self._listings -= tag == "pre"
                if tag == "table":
                    tables.pop()
                if element is not root:
                    self._say(element.tail)
        yield from self._end_of_block()

    def is_small_noise(self, element: lxml.html.HtmlElement) -> bool:
        """Whether an element is navigation, and not what the page is about."""
        return self.masses[element] < 0.4 * self.whole and _is_noise(element)

    def _begin(self, element: lxml.html.HtmlElement) -> None:
        tag = element.tag
        if tag in _HEADINGS:
            self._kind, self._prefix = "heading", "#" * _HEADINGS[tag] + " "
        elif tag == "li":
            parent = element.getparent()
            ordered = parent is not None and parent.tag == "ol"
            number = 1 + sum(1 for _ in element.itersiblings("li", preceding=True)) if ordered else 0
            self._kind, self._prefix = "item", f"{number}. " if ordered else "- "
        elif tag == "tr":
            self._kind, self._prefix = "row", ""
        elif tag == "pre":
            self._kind, self._prefix = "code", ""

    def _say(self, text: str | None) -> None:
        if not text:
            return
        if not self._listings:
            text = re.sub(r"\s+", " ", text)
        if self._links:
            self._linked += len(text.strip())
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
            yield TextNode(f"```\n{text}\n```" if self._kind == "code" else self._prefix + text, self._kind)
        if text.strip() or self._kind != "item":  # the text of an item may be in a block of its own
            self._kind, self._prefix = "paragraph", ""
        yield from self._waiting
        self._words, self._waiting, self._linked = [], [], 0

    def _is_boilerplate(self, text: str) -> bool:
        if self._kind == "code":
            return False
        characters = len(text.replace(" ", ""))
        if self._kind != "heading" and self._linked > _LINKED * characters and len(text) < 2 * _SHORT:
            return True
        return len(text) <= _SHORT and bool(_BOILERPLATE.match(text))


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
