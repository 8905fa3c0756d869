"""Where the main body of a page is: which element holds it, and which elements in that are something else.

What is not shown is left out first, then what names itself as a menu, an advertisement or the like and is small; of
the rest, the body is the element with most of the text outside links. Names mislead, so what holds much of the text
is never left out by name, apart from comments.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import lxml.html

from step3vl.pipelines.sources.web.boilerplate import names_kind

Element: TypeAlias = lxml.html.HtmlElement

_NEVER_TEXT = frozenset(
    re.findall(
        r"\w+",
        "script style noscript template svg iframe object embed canvas audio video map math head title button select "
        "input textarea label menu del rt rp",  # of HTML; rt is how the characters beside it are said
    )
)
_BESIDE_BODY = frozenset({"nav", "footer", "aside", "form", "dialog"})
_BODIES = frozenset({"article", "main"})
_CONTAINERS = frozenset(
    {"html", "body", "div", "section", "article", "main", "header", "td", "table", "tbody", "tr", "center", "form"}
)
_NAMED = _BESIDE_BODY | frozenset(
    re.findall(r"\w+", "div section article main header ul ol li dl p span table td a h2 h3 h4 figure")
)
_ROLES = frozenset(
    re.findall(
        r"\w+",
        "navigation banner contentinfo search complementary menu menubar dialog alertdialog toolbar tablist",
    )
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_LARGE = 0.4  # of the text of a page, which no menu has
_BESIDE_COMMENTS = 300  # characters outside links that a page with comments has besides, at least
_NAMED_BODY = 0.5  # of the text, which an element must have that is named as the body
_DOMINANT = 0.8  # of the text, which an element must have for the rest to be cut
_IMAGE_MASS = 150  # characters that an image counts as
_MAX_DEPTH = 400  # of elements; what is deeper is no page that anybody reads

CJK = re.compile("[\u2e80-\uffdc]")  # a character that says as much as half a word


class MainElement(NamedTuple):
    """The main body of a page.

    Attributes:
        element: That holds the body and the heading above it.
        left_out: Elements in it that are no part of the body, with all that is in them.
        visible: All elements of the page that are shown, with the characters in each outside links.
    """

    element: Element
    left_out: frozenset[Element]
    visible: dict[Element, int]

    def keeps(self, element: Element) -> bool:
        """Whether an element of the body's, in nothing that is left out, belongs to it."""
        return element in self.visible and element not in self.left_out


def find_main_element(body: Element) -> MainElement:
    """Find the main body in the `body` element of a page."""
    masses, named = _masses(body)
    noise = _small_noise(masses, named, masses[body])
    clean = _without(noise, masses)
    element = _heaviest(body, clean, noise)
    top, heading = _with_heading(element, body, clean, noise)
    outside = _outside(top, heading, element) if heading is not None else set[Element]()
    return MainElement(top, frozenset(noise | outside), masses)


def text_length(text: str | None) -> int:
    """Characters without white space around, CJK counted double."""
    text = text.strip() if text else ""
    return len(text) if text.isascii() else len(text) + len(CJK.findall(text))


def _masses(body: Element) -> tuple[dict[Element, int], list[tuple[Element, str]]]:
    """For each element that is shown, in the order of the page, the characters in it outside links; images count too.

    With them, the elements that name themselves as no part of the body.
    """
    masses: dict[Element, int] = {}
    noise: list[tuple[Element, str]] = []
    inside: list[tuple[Element, Element]] = []
    depths = {body.getparent(): (0, False)}  # of what is shown, and whether it is in a link
    for element in body.iter():
        parent = element.getparent()
        if (place := depths.get(parent)) is None:
            continue
        depth, linked = place
        tag, attributes = element.tag, dict(element.items())
        if element is not body:
            if not linked and (tail := element.tail):
                masses[parent] += text_length(tail)
            if tag in _NEVER_TEXT or depth > _MAX_DEPTH or (attributes and _is_hidden(attributes)):
                continue
            inside.append((element, parent))
        linked = linked or (tag == "a" and "href" in attributes)
        depths[element] = depth + 1, linked
        text = None if linked else element.text
        masses[element] = (text_length(text) if text else 0) + (_IMAGE_MASS if tag == "img" else 0)
        if tag in _NAMED and (kind := _noise_kind(element, tag, attributes)):
            noise.append((element, kind))
    for element, parent in reversed(inside):
        masses[parent] += masses[element]
    return masses, noise


def _is_hidden(attributes: dict[str, str]) -> bool:
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return "style" in attributes and bool(_HIDDEN.search(attributes["style"]))


def _noise_kind(element: Element, tag: str, attributes: dict[str, str]) -> str:
    """`comments`, `teaser` or `other` for what is no part of the body by its tag, role or names; or nothing."""
    if tag in _BESIDE_BODY:
        return "other"
    if not attributes:
        return ""
    if attributes.get("role") in _ROLES:
        return "other"
    kind = names_kind(attributes.get("class", ""), attributes.get("id", ""))
    if kind in ("", "body") or (
        kind != "comments" and (tag in _BODIES or attributes.get("itemprop") == "articleBody")
    ):
        return ""
    if kind == "teaser" and next(element.iter("a"), None) is None:  # the summary of this page, not of another one
        return ""
    return kind


def _small_noise(masses: dict[Element, int], named: Iterable[tuple[Element, str]], whole: int) -> set[Element]:
    return {
        element
        for element, kind in named
        if masses[element] < _LARGE * whole or (kind == "comments" and whole - masses[element] >= _BESIDE_COMMENTS)
    }


def _without(noise: set[Element], masses: dict[Element, int]) -> dict[Element, int]:
    """The masses without those of noise."""
    clean = dict(masses)
    for element in noise:
        around = list(element.iterancestors())
        if noise.isdisjoint(around):
            for each in around:
                if each in clean:
                    clean[each] -= masses[element]
    return clean


def _heaviest(body: Element, masses: dict[Element, int], noise: set[Element]) -> Element:
    """The smallest container that has most of the text, or is named as the body and has much of it."""
    element, share = body, _NAMED_BODY
    least = max(_NAMED_BODY * masses[body], 1)
    candidates = [
        each for each, mass in masses.items() if mass >= least and _is_named_body(each) and each not in noise
    ]
    for candidate in sorted(candidates, key=lambda each: -masses[each]):  # outer ones first
        if masses[candidate] >= share * masses[element]:
            element, share = candidate, _DOMINANT
    while True:
        largest = max(
            (child for child in element if child in masses and child not in noise and child.tag in _CONTAINERS),
            key=lambda child: masses[child],
            default=None,
        )
        if largest is None or masses[largest] < max(_DOMINANT * masses[element], 1):
            return element
        element = largest


def _is_named_body(element: Element) -> bool:
    attributes = element.attrib
    if element.tag in _BODIES:
        return True
    if not attributes or element.tag not in _CONTAINERS:
        return False
    return (
        attributes.get("itemprop") == "articleBody"
        or attributes.get("role") in ("main", "article")
        or names_kind(attributes.get("class", ""), attributes.get("id", "")) == "body"
    )


def _with_heading(
    element: Element, body: Element, masses: dict[Element, int], noise: set[Element]
) -> tuple[Element, Element | None]:
    """The element that holds the body and the last main heading before it, and that heading."""
    if next(element.iter("h1"), None) is not None:
        return element, None
    inner = element
    while inner is not body:
        for sibling in inner.itersiblings(preceding=True):
            if sibling not in masses or sibling in noise:
                continue
            headings = [each for each in sibling.iter("h1") if masses.get(each, 0) > 0]
            if headings:
                return inner.getparent(), headings[-1]
        inner = inner.getparent()
    return element, None


def _outside(top: Element, first: Element, last: Element) -> set[Element]:
    """The elements in `top` before `first` and after `last`."""
    outside: set[Element] = set()
    for inner, preceding in ((first, True), (last, False)):
        while inner is not top:
            outside.update(inner.itersiblings(preceding=preceding))
            inner = inner.getparent()
    return outside
