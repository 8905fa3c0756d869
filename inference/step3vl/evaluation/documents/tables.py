"""Tables in HTML: their normal form, and TEDS, the similarity by tree edit distance (Zhong et al., 2020)."""

import html
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

from rapidfuzz.distance import Levenshtein

from step3vl.data.optional import require

_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))
_SPACES = " \n\t\f\r"
_TABLE = re.compile(r"<table\b[^>]*>(.*)</table>", re.DOTALL | re.IGNORECASE)
_ATTRIBUTES = tuple(re.compile(rf'( {name}=".*?")') for name in ("style", "height", "width", "align", "class"))
_COLUMNS = re.compile(r"<colgroup>.*?</colgroup>")
_DROPPED_TAGS = ("sup", "sub", "span", "div", "p")


class _Rewriter(HTMLParser):
    """Source as well-formed HTML: `th` as `td`, without `thead` and `span`, `math` as its alternative text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._text = ""
        self._open: list[str] = []
        self._math = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._flush()
        if tag == "math":
            if not self._math:
                self.pieces.append(f"${dict(attrs).get('alttext') or ''}$")
            self._math += 1
        if self._math:
            return
        self._emit_opening(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def _emit_opening(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("thead", "span"):
            return
        values = "".join(f' {name}="{value or ""}"' for name, value in dict(attrs).items())
        self.pieces.append(f"<{'td' if tag == 'th' else tag}{values}{'/' if tag in _VOID else ''}>")

    def handle_endtag(self, tag: str) -> None:
        self._flush()
        if tag == "math":
            self._math = max(self._math - 1, 0)
        elif not self._math and tag in self._open:
            while self._close() != tag:
                pass

    def _close(self) -> str:
        tag = self._open.pop()
        if tag not in ("thead", "span"):
            self.pieces.append(f"</{'td' if tag == 'th' else tag}>")
        return tag

    def handle_data(self, data: str) -> None:
        if not self._math:
            self._text += data

    def _flush(self) -> None:
        """Text between two tags; white space alone is one line break or space, as in Beautiful Soup."""
        if self._text and not self._text.strip(_SPACES):
            self._text = "\n" if "\n" in self._text else " "
        self.pieces.append(self._text)
        self._text = ""

    def handle_comment(self, data: str) -> None:
        self._flush()
        if not self._math:
            self.pieces.append(f"<!--{data}-->")

    def finish(self) -> str:
        self.close()
        self._flush()
        while self._open:
            self._close()
        return "".join(self.pieces)


def normal_table(source: str) -> str:
    """A table in HTML as tables are compared: no layout, one kind of cell; empty where the source has no table."""
    if "<table" not in source.replace(" ", ""):
        return ""
    rewriter = _Rewriter()
    rewriter.feed(source)
    text = unicodedata.normalize("NFKC", rewriter.finish().replace("\n", "")).strip()
    text = "".join(_TABLE.findall(text))
    for attribute in _ATTRIBUTES:
        text = attribute.sub("", text)
    text = re.sub(r"\s+", " ", re.sub("</?tbody>", "", text))
    for tag in _DROPPED_TAGS:
        text = text.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    return f'<html><body><table border="1" >{_COLUMNS.sub("", text)}</table></body></html>'


def cell_texts(source: str) -> list[str]:
    """The texts of the cells of a table that hold nothing but text."""
    return [
        re.sub(r"\$\\cdot\$", "", html.unescape(text)).strip()
        for text in re.findall(r"<td\b[^>]*>([^<>]+)</td>", source, re.IGNORECASE)
    ]


def teds(predicted: str, truth: str, structure_only: bool = False) -> float:
    """Similarity of two tables in 0..1: one minus their tree edit distance over the larger number of nodes.

    Args:
        predicted: HTML, normalised.
        truth: HTML, normalised.
        structure_only: Whether the cells' contents are left out.

    Raises:
        UserError: lxml or apted is not installed.
    """
    lxml_html, apted = require("lxml.html", "evaluation"), require("apted", "evaluation")
    if not predicted or not truth:
        return 0.0
    try:
        tables = []
        for source in (predicted, truth):
            parser = lxml_html.HTMLParser(remove_comments=True, encoding="utf-8")
            tables.append(lxml_html.fromstring(source, parser=parser).xpath("body/table"))
        if not all(tables):
            return 0.0
        nodes = max(len(table[0].xpath(".//*")) for table in tables)
        trees = [_Node.of(table[0], structure_only) for table in tables]
    except (ValueError, lxml_html.etree.LxmlError):  # a span that is no number, or no HTML at all
        return 0.0
    distance = apted.APTED(trees[0], trees[1], _config(apted)).compute_edit_distance()
    return 1.0 - float(distance) / nodes if nodes else 0.0


class _Node:
    """A node of a table's tree; a cell has spans and its content as characters and tags."""

    def __init__(self, tag: str, spans: tuple[int, int] | None, content: list[str]) -> None:
        self.tag, self.spans, self.content = tag, spans, content
        self.children: list[_Node] = []

    @classmethod
    def of(cls, element: Any, structure_only: bool) -> "_Node":
        if element.tag == "td":
            spans = int(element.get("colspan", "1")), int(element.get("rowspan", "1"))
            return cls("td", spans, [] if structure_only else _tokens(element)[1:-1])
        node = cls(element.tag, None, [])
        node.children = [cls.of(child, structure_only) for child in element]
        return node


def _tokens(element: Any) -> list[str]:
    tokens = [f"<{element.tag}>", *(element.text or "")]
    for child in element:
        tokens += _tokens(child)
    if element.tag != "unk":
        tokens.append(f"</{element.tag}>")
    return tokens + (list(element.tail or "") if element.tag != "td" else [])


def _config(apted: Any) -> Any:
    class Costs(apted.Config):
        """Deleting and inserting cost 1 (the default); cells of equal spans differ by their contents."""

        def rename(self, node1: _Node, node2: _Node) -> float:
            if (node1.tag, node1.spans) != (node2.tag, node2.spans):
                return 1.0
            if node1.tag != "td" or not (node1.content or node2.content):
                return 0.0
            return Levenshtein.normalized_distance(node1.content, node2.content)

    return Costs()
