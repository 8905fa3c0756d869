"""Markdown as GitHub reads it, to and from trees of `markup`.

What is written is parsed again, by markdown-it-py, and must give the tree that it was written from.
"""

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import lru_cache

import lxml.html
from markdown_it import MarkdownIt

from step3vl.pipelines.sources.markup.markup import Markup, clean_markup
from step3vl.pipelines.sources.markup.markup_html import HEADINGS, canonical
from step3vl.pipelines.sources.markup.markup_space import Element

_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n(?:---|\.\.\.)\r?\n", re.DOTALL)
_MAX_FRONT_MATTER = 8000  # characters
_PLAIN = re.compile(r"[\\`*]|\](?=[(\[:])|<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|~(?=~)|(?<![^\W_])_|_(?![^\W_])")
_BRACKETS = re.compile(rf"[\[\]]|{_PLAIN.pattern}")
_CAUTIOUS = re.compile(r"[\\`*\[\]<>&~_#!()$|+-]")
_LINE_START = re.compile(r"^(?:#{1,6}(?=\s|$)|[-+*](?=\s|$)|>|=+\s*$|-+\s*$|~{3,})")
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")


class MarkdownError(ValueError):
    """A tree that Markdown cannot say; the message is a short word."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True, "maxNesting": 40}).enable(["table", "strikethrough"])


def read_markdown(text: str, base: str = "", *, links: bool = False) -> Markup:
    """The tree of a document in Markdown, with the HTML that is in it.

    Args:
        text: The document; front matter is left out.
        base: The address that relative links start from.
        links: Whether absolute addresses of links stay.
    """
    if match := _FRONT_MATTER.match(text[:_MAX_FRONT_MATTER]):
        text = text[match.end() :]
    html = _parser().render(text)
    parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    tree = lxml.html.document_fromstring(f"<body>{html}</body>".encode("utf-8", "replace"), parser=parser)
    return clean_markup(tree, base, links=links)


def write_markdown(root: Element) -> list[str]:
    """The code of each block of a tree. Joined by empty lines they are the document.

    Raises:
        MarkdownError: Markdown has no words for it, or its own reading of the code is another tree.
    """
    for escape in (_escape_little, _escape_more, _escape_all):
        blocks = [_block(block, escape) for block in root]
        if canonical(read_markdown("\n\n".join(blocks), links=True).root) == canonical(root):
            return blocks
    raise MarkdownError("markdown_differs")


def _block(block: Element, escape: Callable[[str], str]) -> str:
    tag = block.tag
    if tag in HEADINGS:
        return f"{'#' * int(tag[1])} {_one_line(block, escape)}"
    if tag == "p":
        return _paragraph(_inline(block, escape))
    if tag == "hr":
        return "---"
    if tag == "pre":
        text = "".join(block.itertext())
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
        return f"{fence}\n{text}\n{fence}"
    if tag == "blockquote":
        inner = "\n\n".join(_block(child, escape) for child in block)
        return "\n".join(f"> {line}".rstrip() for line in inner.split("\n"))
    if tag in ("ul", "ol"):
        return _list(block, escape)
    if tag == "table":
        return _table(block, escape)
    raise MarkdownError(f"no_{tag}_in_markdown")


def _list(block: Element, escape: Callable[[str], str]) -> str:
    items = []
    loose = any(child.tag == "p" for item in block for child in item)
    previous = block.getprevious()
    follows_list = previous is not None and previous.tag == block.tag  # another list of its kind would swallow it
    for number, item in enumerate(block, int(block.get("start", "1"))):
        bullet = "*" if follows_list else "-"
        mark = f"{bullet} " if block.tag == "ul" else f"{number}{')' if follows_list else '.'} "
        parts = []
        lead = _leading(item)
        if (text := _inline(lead, escape)).strip():
            parts.append(_paragraph(text))
        rest = [child for child in item if child.tag in _BLOCKS]
        parts += [_block(child, escape) for child in rest]
        if not parts:
            raise MarkdownError("empty_item")
        tight = not loose and all(child.tag in ("ul", "ol") for child in rest)
        body = ("\n" if tight else "\n\n").join(parts)
        indent = " " * len(mark)
        lines = [f"{indent}{line}" if line else "" for line in body.split("\n")]
        items.append(mark + "\n".join(lines)[len(mark) :])
    return ("\n\n" if loose else "\n").join(items)


_BLOCKS = frozenset((*HEADINGS, "p", "ul", "ol", "dl", "pre", "blockquote", "table", "hr"))


def _leading(item: Element) -> Element:
    """A copy of an item without its blocks."""
    copy = lxml.html.fromstring("<li></li>")
    copy.text = item.text
    for child in item:
        if child.tag in _BLOCKS:
            break
        copy.append(deepcopy(child))
    return copy


def _table(table: Element, escape: Callable[[str], str]) -> str:
    rows = list(table.iter("tr"))
    if table.find("caption") is not None:
        raise MarkdownError("caption_in_markdown")
    if any(cell.get("colspan") or cell.get("rowspan") for row in rows for cell in row):
        raise MarkdownError("spans_in_markdown")
    if any((cell.tag == "th") != (number == 0) for number, row in enumerate(rows) for cell in row):
        raise MarkdownError("header_cells_in_markdown")
    lines = []
    for row in rows:
        cells = [_one_line(cell, escape).replace("|", "\\|") for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def _one_line(element: Element, escape: Callable[[str], str]) -> str:
    text = _inline(element, escape)
    if "\n" in text:
        raise MarkdownError("break_in_line")
    return text


def _inline(element: Element, escape: Callable[[str], str]) -> str:
    parts = [escape(element.text or "")]
    for child in element:
        parts += [_span(child, escape), escape(child.tail or "")]
    return "".join(parts)


def _span(element: Element, escape: Callable[[str], str]) -> str:
    tag = element.tag
    if tag == "br":
        return "\\\n"
    if tag == "img":
        return f"![{_escape_all(element.get('alt') or '')}]()"
    if tag == "code":
        text = element.text or ""
        tick = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
        pad = " " if text.startswith("`") or text.endswith("`") else ""
        return f"{tick}{pad}{text}{pad}{tick}"
    inner = _inline(element, escape)
    if tag == "em":
        return f"*{inner}*"
    if tag == "strong":
        return f"**{inner}**"
    if tag == "del":
        return f"~~{inner}~~"
    if tag == "a":
        return f"[{inner}]({element.get('href')})"
    return f"<{tag}>{inner}</{tag}>"  # sub and sup


def _paragraph(text: str) -> str:
    """Text that does not begin as another block would."""
    lines = []
    for line in text.split("\n"):
        line = _LINE_START.sub(lambda match: "\\" + match[0], line)
        lines.append(_NUMBERED.sub(r"\1\\\2", line))
    return "\n".join(lines)


def _escape_little(text: str) -> str:
    return _PLAIN.sub(lambda match: "\\" + match[0], text)


def _escape_more(text: str) -> str:
    return _BRACKETS.sub(lambda match: "\\" + match[0], text)


def _escape_all(text: str) -> str:
    return _CAUTIOUS.sub(lambda match: "\\" + match[0], text)


def block_ranges(blocks: Sequence[str], gap: int) -> list[tuple[int, int]]:
    """The first and the last line of each block, from 1, where `gap` empty lines lie between blocks."""
    ranges, line = [], 1
    for block in blocks:
        end = line + block.count("\n")
        ranges.append((line, end))
        line = end + 1 + gap
    return ranges
