"""Trees of `markup` as HTML, and what can be compared of them."""

import re
from collections.abc import Callable, Iterator
from html import escape

from lxml import etree

from step3vl.pipelines.sources.markup.markup_space import VOID, Element

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LINES = frozenset((*HEADINGS, "p", "dt", "pre", "hr", "caption", "tr"))
_WRAPPED = frozenset(("ul", "ol", "dl", "blockquote", "table", "thead", "tbody", "li", "dd"))


def write_html(root: Element) -> str:
    """The code of what a root holds: a line for each block or row of a table, spans as the only attributes."""
    return "\n".join(line for block in root for line in block_lines(block))


def block_lines(block: Element) -> Iterator[str]:
    """The lines of a block's HTML."""
    tag = block.tag
    if tag not in _WRAPPED or (tag in ("li", "dd") and not any(child.tag in _WRAPPED | _LINES for child in block)):
        yield inline_html(block)
        return
    yield f"<{tag}{_attributes(block)}>{_leading(block)}"
    for child in block:
        if child.tag in _WRAPPED or child.tag in _LINES:
            yield from block_lines(child)
    yield f"</{tag}>"


def _leading(block: Element) -> str:
    """The inline content at the beginning of an item that also holds blocks."""
    parts = [escape(block.text or "", quote=False)]
    for child in block:
        if child.tag in _WRAPPED or child.tag in _LINES:
            break
        parts += [inline_html(child), escape(child.tail or "", quote=False)]
    return "".join(parts)


def inline_html(element: Element) -> str:
    """An element and its content as HTML, on one line but for listings."""
    head = f"<{element.tag}{_attributes(element)}>"
    if element.tag in VOID:
        return head
    inner = "".join(inline_html(child) + escape(child.tail or "", quote=False) for child in element)
    return f"{head}{escape(element.text or '', quote=False)}{inner}</{element.tag}>"


def _attributes(element: Element) -> str:
    return "".join(
        f' {name}="{escape(value)}"' for name, value in element.attrib.items() if not name.startswith("data-")
    )


def canonical(root: Element) -> str:
    """A tree as a text that is equal for equal trees, without regard to parts of tables and line breaks of code."""
    return "".join(re.sub(r"</?(?:thead|tbody)>", "", inline_html(block)) for block in root)


def visible_text(root: Element, printed: Callable[[str], str] = lambda address: f" ({address})") -> str:
    """Everything that the page says, in order, without white space.

    Args:
        root: The tree.
        printed: How the address of a link is printed behind its text.
    """
    parts: list[str] = []
    for event, element in etree.iterwalk(root, events=("start", "end")):
        if event == "start":
            parts += [element.text or "", element.get("alt") or "" if element.tag == "img" else ""]
            continue
        if element.tag == "a":
            parts.append(printed(element.get("href") or ""))
        parts.append(element.tail or "" if element is not root else "")
    return "".join("".join(parts).split())
