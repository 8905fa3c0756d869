"""From the lines that were read and the regions of a page to blocks in reading order.

The order is that of the file's own text where that can be trusted, and of the layout otherwise.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

from step3vl.data.sample import Box
from step3vl.pipelines.documents.agreement import IDEOGRAPHS, has_ideographs, tokens
from step3vl.pipelines.documents.lines import Line, around, is_centred_in, join, reading_sides, same_row
from step3vl.pipelines.documents.margins import are_few, body_of, is_note, line_numbers
from step3vl.pipelines.documents.reading_order import reading_order
from step3vl.pipelines.documents.tables import Grid, table_grid
from step3vl.pipelines.models.layout import LayoutRegion, RegionKind, intersection
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.models.tables import TableCell
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED, PageWord

BlockKind = RegionKind | Literal["margin", "note", "line_number"]
"""Besides the regions of the layout: what runs along the margin, a note in the margin, the numbers of lines."""

_ASIDE: tuple[BlockKind, ...] = ("header", "note", "footer", "margin", "line_number")  # beside the main body

_NOTES: tuple[BlockKind, ...] = ("text", "title", "reference", "figure_caption")  # what notes are taken for
_INSIDE = 0.5  # of a line's area, in the region that it belongs to
_WITHIN, _CLOSE = 0.9, 0.5  # of a line's width and height: it belongs to the paragraph above or below it
_TEXT = 0.35  # of a figure's area: with more text in it, it is no figure
_LONG, _LONG_LINES = 5, 3  # tokens of a line of running text, and how many such lines no figure has
_PROSE = 0.6  # of the characters of a formula, in words: with more of them, it is none
_MARGIN = 0.12  # of the page's height, where headers and footers are
_NUMBER_MARGIN = 0.16  # where page numbers are
_LARGE = 1.3  # times the usual height of a line: a title rather than a header
_TALL = 1.5  # times its width: a vertical line
_STAMP = 8.0  # times its width: a line that runs along the margin of a page of horizontal text
_LEADING = 1.2  # of a line's height, between two lines of one block at most
_ALIKE = 1.5  # times the height of the other: two lines of one block
_SAME_TEXT = 0.85  # similarity of what was read and what the file says: one text, which the file spells right
_COHERENT = 1.25  # times the number of blocks, that the file's text may move from block to block
_NARROW_MARK = re.compile(rf"(?<=[{IDEOGRAPHS}])[,?!:;](?=[{IDEOGRAPHS}]|$)")
_WIDE = str.maketrans(",?!:;()", "，？！：；（）")
_BRACKET = re.compile(r"[()]")
_BRACKETED = re.compile(r"[(（][^()（）]*(?:[)）]|$)|^[^()（）]*[)）]")
"""A pair with what it holds, or one whose other bracket is in another line."""
_ANY_LETTER = re.compile(r"[^\W\d_]")
_PAGE_NUMBER = re.compile(r"\W*(page\s*)?(\d{1,4}|[ivxlcdm]{1,7})(\s*(of|/)\s*\d{1,4})?\W*", re.IGNORECASE)


class PageRegion(LayoutRegion):
    """A region of a page, and the cells of a table."""

    cells: tuple[TableCell, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a page that is read as one."""

    kind: BlockKind
    box: Box
    lines: tuple[Line, ...]
    """In reading order."""
    grid: Grid | None = None
    """Of a table whose structure is beyond doubt."""


class PageBlocks(NamedTuple):
    """The blocks of a page: headers, the main body in reading order, notes, footers, text along margins, numbers."""

    blocks: tuple[Block, ...]
    vertical: bool
    """Lines run down and follow each other from right to left."""
    line_height: float
    """The usual one, in pixels."""


class WordIndex:
    """The words of a page, found by where they are."""

    def __init__(self, words: Sequence[PageWord]) -> None:
        self._step = max(median(word.box.y2 - word.box.y1 for word in words), 1.0) if words else 1.0
        self._rows: dict[int, list[tuple[int, PageWord]]] = {}
        for place, word in enumerate(words):
            self._rows.setdefault(int(word.box.centre.y / self._step), []).append((place, word))

    def inside(self, box: Box) -> list[tuple[int, PageWord]]:
        """The words whose centres are in a box, with their places in the file."""
        return [
            (place, word)
            for row in range(int(box.y1 / self._step), int(box.y2 / self._step) + 1)
            for place, word in self._rows.get(row, ())
            if is_centred_in(word.box, box)
        ]


def has_wide_brackets(lines: Sequence[OcrLine]) -> bool:
    """Whether any bracket was read as a full-width one: models miss most of them, and see none where there is none."""
    return any(bracket in line.text for line in lines for bracket in "（）")


def spelled_by_file(line: OcrLine, words: WordIndex, vertical: bool, *, wide: bool) -> Line:
    """The line as the file spells it, where the two are clearly one text; as it was read otherwise.

    Args:
        line: As it was read.
        words: Of the file.
        vertical: It runs down.
        wide: The page has full-width brackets.
    """
    inside = sorted(
        (word for _, word in words.inside(line.box)), key=lambda word: word.box.y1 if vertical else word.box.x1
    )
    text = join(inside)
    return Line(text if _spells(text, line.text) else _widened(line.text, wide), line.score, line.box)


def _widened(text: str, wide: bool) -> str:
    """The text with the full-width marks of Chinese and Japanese text, where models write ASCII.

    Marks between ideographs; and brackets of which one was read as wide, or that hold ideographs in a line that is
    mostly these, on a page with wide ones.
    """
    text = _NARROW_MARK.sub(lambda match: match[0].translate(_WIDE), text)
    letters = _ANY_LETTER.findall(text)
    mostly = sum(map(has_ideographs, letters)) > len(letters) / 2

    def widened(match: re.Match[str]) -> str:
        part = match[0]
        chinese = "（" in part or "）" in part or (wide and mostly and has_ideographs(part))
        return _BRACKET.sub(lambda mark: mark[0].translate(_WIDE), part) if chinese else part

    return _BRACKETED.sub(widened, text)


def _spells(text: str, read: str) -> bool:
    """Whether a text of the file is what was read, and right where they differ.

    Models take 1 for l, so the file is right. They do not take a letter for a bracket: where the file has a letter and
    a mark was read, its font names its characters wrongly. Spaces are left out, for neither side is certain of them.
    """
    text, read = "".join(text.split()), "".join(read.split())
    if not text or Levenshtein.normalized_similarity(text, read) < _SAME_TEXT:
        return False
    named = [
        (text[edit.src_pos], read[edit.dest_pos]) for edit in Levenshtein.editops(text, read) if edit.tag == "replace"
    ]
    return all(_is_character(character) for character in text) and not any(
        character.isalnum() and not mark.isalnum() for character, mark in named
    )


def _is_character(character: str) -> bool:
    """Not a control, a code for private use, or the mark for what has no code."""
    return unicodedata.category(character)[0] != "C" and character != UNNAMED


def page_blocks(
    lines: Sequence[OcrLine], regions: Sequence[PageRegion], words: Sequence[PageWord], *, trusted: bool
) -> PageBlocks:
    """The blocks of a page.

    Args:
        lines: As they were read, in any order; at least one.
        regions: Of the layout.
        words: Of the file, in its order.
        trusted: The words spell the lines, and decide the order of the blocks where they visit them one by one.
    """
    vertical = is_vertical(lines)
    heights = [line.box.x2 - line.box.x1 if vertical else line.box.y2 - line.box.y1 for line in lines]
    height = median(heights)
    index = WordIndex(words if trusted else ())
    wide = has_wide_brackets(lines)
    spelled = [spelled_by_file(line, index, vertical, wide=wide) for line in lines]
    blocks = _ordered(_with_margins(spelled, regions, height, vertical), height, vertical)
    body = [block for block in blocks if block.kind not in _ASIDE]
    if trusted:
        top, inner, bottom = (
            [block for block in body if at_edge(block.box) == edge] for edge in ("top", None, "bottom")
        )
        body = [*top, *_ordered_by_file(inner, index), *bottom]
    headers, *others = ([block for block in blocks if block.kind == kind] for kind in _ASIDE)
    return PageBlocks((*headers, *body, *(block for part in others for block in part)), vertical, height)


def at_edge(box: Box) -> Literal["top", "bottom"] | None:
    """Whether a box is all in the upper or lower margin of the page, where files write anything first or last."""
    if box.y2 < _MARGIN * box.size[1]:
        return "top"
    return "bottom" if box.y1 > (1 - _MARGIN) * box.size[1] else None


def is_vertical(lines: Sequence[OcrLine]) -> bool:
    """Whether most of the text is ideographs in lines that run down."""
    down = sum(len(line.text) for line in lines if _runs_down(line.box) and has_ideographs(line.text))
    return down > sum(len(line.text) for line in lines) / 2


def _runs_down(box: Box) -> bool:
    return box.y2 - box.y1 > _TALL * (box.x2 - box.x1)


def _with_margins(lines: Sequence[Line], regions: Sequence[PageRegion], height: float, vertical: bool) -> list[Block]:
    """The blocks of a page, of which those beside the main body are notes and numbers of lines."""
    body = None if vertical else body_of(lines)
    if body is None:
        return _blocks(lines, regions, height, vertical)
    numbers = line_numbers(lines, body)
    text = [line for place, line in enumerate(lines) if place not in numbers]
    blocks = _blocks(text, regions, height, vertical)
    notes = [block for block in blocks if block.kind in _NOTES and is_note(block.lines, body)]
    if are_few([note.lines for note in notes], lines):
        blocks = [replace(block, kind="note") if block in notes else block for block in blocks]
    counted = [lines[place] for place in sorted(numbers, key=lambda place: lines[place].box.y1)]
    return blocks + [Block("line_number", line.box, (line,)) for line in counted]


def _blocks(lines: Sequence[Line], regions: Sequence[PageRegion], height: float, vertical: bool) -> list[Block]:
    """The lines by region, then those without one, each alone."""
    members: list[list[Line]] = [[] for _ in regions]
    alone: list[Line] = []
    for line in lines:
        number = _region_of(line, regions)
        (alone if number is None else members[number]).append(line)
    blocks: list[Block] = []
    for region, inside in zip(regions, members, strict=True):
        if (region.kind == "figure" and _is_text(inside, region.box)) or (
            region.kind == "equation" and _is_prose(inside)
        ):
            alone += inside
        elif region.kind in ("figure", "table") or inside:
            blocks.append(_typed(region, inside, height, vertical))
    for line in alone:
        blocks.append(Block(_kind_alone(line, height, vertical), line.box, (line,)))
    return blocks


def _region_of(line: Line, regions: Sequence[PageRegion]) -> int | None:
    """The number of the region that has most of a line, or else of the first paragraph that it continues."""
    shares = [_share(line.box, region.box) for region in regions]
    if max(shares, default=0.0) >= _INSIDE:
        return shares.index(max(shares))
    return next((number for number, region in enumerate(regions) if _adjoins(line, region)), None)


def _adjoins(line: Line, region: PageRegion) -> bool:
    """Whether a line is the first or last of a paragraph of which the layout model found the rest."""
    box, other = line.box, region.box
    height = box.y2 - box.y1
    within = min(box.x2, other.x2) - max(box.x1, other.x1) >= _WITHIN * (box.x2 - box.x1)
    return region.kind == "text" and within and max(other.y1 - box.y2, box.y1 - other.y2) <= _CLOSE * height


def _is_text(lines: Sequence[Line], box: Box) -> bool:
    """Whether what the layout takes for a figure is text: much of its area, or several lines that are as long."""
    long = sum(len(tokens(line.text)) >= _LONG for line in lines)
    return long >= _LONG_LINES or sum(line.box.area for line in lines) > _TEXT * box.area


def _is_prose(lines: Sequence[Line]) -> bool:
    """Whether most of a text is ideographs and words of four letters or more."""
    all_tokens = [token for line in lines for token in tokens(line.text)]
    words = [token for token in all_tokens if has_ideographs(token) or (len(token) > 3 and token.isalpha())]
    return sum(map(len, words)) > _PROSE * sum(map(len, all_tokens))


def _share(line: Box, region: Box) -> float:
    return intersection(line, region) / line.area if line.area else 0.0


def _typed(region: PageRegion, lines: list[Line], height: float, vertical: bool) -> Block:
    """The block of a region. Headers and footers are at the edge of the page; elsewhere they are text or a title."""
    kind: BlockKind = region.kind
    if kind in ("header", "footer"):
        edge = "top" if kind == "header" else "bottom"
        if kind == "header" and max(line.box.y2 - line.box.y1 for line in lines) > _LARGE * height:
            kind = "title"
        elif at_edge(region.box) != edge:
            kind = "text"
    elif kind in ("text", "reference") and len(lines) == 1:
        kind = _kind_alone(lines[0], height, vertical, kind)
    order = reading_order([line.box for line in lines], height, vertical=vertical)
    grid = table_grid(lines, region.cells) if kind == "table" else None
    box = around([region.box, *(line.box for line in lines)])
    return Block(kind, box, tuple(lines[place] for place in order), grid)


def _kind_alone(line: Line, height: float, vertical: bool, otherwise: BlockKind = "text") -> BlockKind:
    box = line.box
    if not vertical and box.y2 - box.y1 > _STAMP * (box.x2 - box.x1):
        return "margin"
    if _PAGE_NUMBER.fullmatch(line.text) and box.y2 - box.y1 < _ALIKE * height:
        if box.y2 < _NUMBER_MARGIN * box.size[1]:
            return "header"
        if box.y1 > (1 - _NUMBER_MARGIN) * box.size[1]:
            return "footer"
    return otherwise


def _ordered(blocks: list[Block], height: float, vertical: bool) -> list[Block]:
    """The blocks by their boxes, where lines without a region that follow each other are combined."""
    order = reading_order([block.box for block in blocks], height, vertical=vertical)
    merged: list[Block] = []
    for place in order:
        block = blocks[place]
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.kind == block.kind
            and block.kind in ("text", "note")
            and _continues(last.lines[-1], block, vertical)
        ):
            merged[-1] = Block(block.kind, around([last.box, block.box]), last.lines + block.lines)
        else:
            merged.append(block)
    return merged


def _continues(last: Line, block: Block, vertical: bool) -> bool:
    """Whether a block of one line follows another line closely, or stands in its row."""
    if len(block.lines) > 1:
        return False
    above, below = reading_sides(last.box, vertical), reading_sides(block.box, vertical)
    heights = above[3] - above[1], below[3] - below[1]
    if max(heights) > _ALIKE * min(heights):
        return False
    if same_row(last.box, block.box, vertical):
        return True
    beside = min(above[2], below[2]) > max(above[0], below[0])
    return beside and below[3] - above[3] >= 0 and below[1] - above[3] < _LEADING * min(heights)


def _ordered_by_file(blocks: list[Block], words: WordIndex) -> list[Block]:
    """The blocks as the file's text visits them, if it does so one by one; as they are otherwise.

    A block without words, such as a figure, follows the one that it followed.
    """
    visits = sorted((place, number) for number, block in enumerate(blocks) for place, _ in words.inside(block.box))
    moves = [number for number, _ in groupby(number for _, number in visits)]
    if len(moves) > max(_COHERENT * len(set(moves)), len(set(moves)) + 1):
        return blocks
    places: dict[int, list[int]] = {}
    for place, number in visits:
        places.setdefault(number, []).append(place)
    keys: list[float] = []
    for number in range(len(blocks)):
        keys.append(median(places[number]) if number in places else (keys[-1] if keys else -1.0))
    return [blocks[number] for number in sorted(range(len(blocks)), key=lambda number: keys[number])]
