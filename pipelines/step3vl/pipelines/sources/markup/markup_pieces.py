"""A long document as pieces that fit on an image: whole blocks, cut before a heading where there is one."""

import random
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy

from lxml import etree

from step3vl.pipelines.sources.markup.markup import article
from step3vl.pipelines.sources.markup.markup_html import HEADINGS
from step3vl.pipelines.sources.markup.markup_space import Element
from step3vl.pipelines.sources.web.main_element import CJK

_ROWS = 24  # of a table, at most
_LINES = 40  # of a listing, at most
_LINE = 60  # characters that a line of any block counts as, at least


def split_markup(
    root: Element, characters: tuple[int, int], rng: random.Random, removed: Counter[str]
) -> Iterator[Element]:
    """Pieces of a tree, each a tree.

    Args:
        root: The document.
        characters: The shortest and longest piece; its size is random between them, more often small. A CJK character
            counts double, a row or line at least 60.
        rng: Random numbers.
        removed: Counts blocks that no piece can hold, and pieces that are too short.
    """
    piece: list[Element] = []
    size, limit = 0, _limit(characters, rng)
    for block in _parts(root):
        weight = _weight(block)
        if weight > characters[1]:
            removed["block_too_long"] += 1
            continue
        starts = block.tag in HEADINGS and size > limit / 2
        if piece and (size + weight > limit or starts):
            carried = _trailing_headings(piece)
            yield from _whole(piece[: len(piece) - len(carried)], characters[0], removed)
            piece, limit = carried, _limit(characters, rng)
            size = sum(map(_weight, piece))
        piece.append(block)
        size += weight
    yield from _whole(piece[: len(piece) - len(_trailing_headings(piece))], characters[0], removed)


def _limit(characters: tuple[int, int], rng: random.Random) -> float:
    low, high = characters
    return float(low * (high / low) ** rng.uniform(0.25, 1))


def _whole(piece: list[Element], least: int, removed: Counter[str]) -> Iterator[Element]:
    if not piece:
        return
    if sum(map(_weight, piece)) < least:
        removed["piece_too_short"] += 1
        return
    yield article(piece)


def _trailing_headings(piece: list[Element]) -> list[Element]:
    count = 0
    while count < len(piece) and piece[-1 - count].tag in HEADINGS:
        count += 1
    return piece[len(piece) - count :]


def _weight(block: Element) -> int:
    lines = sum(1 for _ in block.iter("tr", "li", "p", "br")) or 1
    text = "".join(block.itertext())
    if block.tag == "pre":
        lines = text.count("\n") + 1
    return max(len(text) + len(CJK.findall(text)), lines * _LINE)


def _parts(root: Element) -> Iterator[Element]:
    """The blocks, with long tables, listings and lists in parts."""
    for block in root:
        if block.tag == "pre":
            lines = "".join(block.itertext()).split("\n")
            for start in range(0, len(lines), _LINES):
                text = "\n".join(lines[start : start + _LINES]).strip("\n")
                if text.strip():
                    part = etree.Element("pre")
                    etree.SubElement(part, "code").text = text
                    yield part
        elif block.tag == "table":
            yield from _table_parts(block)
        elif block.tag in ("ul", "ol"):
            yield from _list_parts(block)
        else:
            yield deepcopy(block)


def _table_parts(table: Element) -> Iterator[Element]:
    rows = list(table.iterfind("tbody/tr"))
    if len(rows) <= _ROWS or any(cell.get("rowspan") for row in rows for cell in row):
        yield deepcopy(table)
        return
    for start in range(0, len(rows), _ROWS):
        part = deepcopy(table)
        for number, row in enumerate(list(part.iterfind("tbody/tr"))):
            if not start <= number < start + _ROWS:
                parent = row.getparent()
                assert parent is not None
                parent.remove(row)
        for body in list(part.iterfind("tbody")):
            if not len(body):
                part.remove(body)
        if sum(1 for _ in part.iter("tr")) > 1:
            yield part


def _list_parts(block: Element) -> Iterator[Element]:
    part, first = etree.Element(block.tag), int(block.get("start", "1"))
    for number, item in enumerate(block, first):
        if len(part) and _weight(part) + _weight(item) > _LINE * _ROWS:
            yield part
            part = etree.Element(block.tag)
        if not len(part) and block.tag == "ol" and number != 1:
            part.set("start", str(number))
        part.append(deepcopy(item))
    if len(part):
        yield part
