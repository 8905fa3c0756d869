"""The blocks of a page as Markdown of its main body, or as plain text of all of it."""

import itertools
import re
from collections.abc import Sequence
from statistics import median

from step3vl.data.sample import Box
from step3vl.pipelines.documents.blocks import Block, PageBlocks
from step3vl.pipelines.documents.lines import Line, glue, join, reading_sides, rows_of

FORMULA = "[formula]"
FIGURE = "[figure]"
NUMBERS = ("line_number",)
"""The blocks that no label has."""
EDGES = ("header", "footer", "margin", *NUMBERS)
"""The blocks that Markdown leaves out."""

_FULL = 0.85  # of a block's width: a line that reaches so far is filled
_FILLED = 0.5  # of the lines but the last, that are filled in running text
_PITCH, _SPACE = 1.25, 0.3  # times the usual distance of two lines, and of a line's height beyond it: a new paragraph
_USUAL = 0.25  # of the distances of lines are smaller: not half, for the paragraphs of a page may have a line or two
_LARGE = 1.3  # times the usual height of a line: a title within a region of text
_LONGEST_TITLE = 80  # characters
_SENTENCE_END = ".,:;!?。，：；！？、"
_INDENT = 0.8  # of a line's height
_TITLES = ((1.9, 1), (1.4, 2))  # times the usual height of a line, and the level of such a title
_LOWEST = 3
_BULLET = re.compile(r"[•·●○▪■◦∙‣–—*]\s*(?=\S)")
_ITEM = re.compile(r"([•●○▪■◦∙‣]|[·–*] |\(?\d{1,2}[.)] |\[\d{1,3}\] )")
_HYPHENATED = re.compile(r"(\w+)-$")
_COMPOUND = re.compile(
    r"\b(all|cross|double|eight|far|first|five|four|full|half|high|ill|large|left|long|low|multi|nine|non|one|open|right|"
    r"second|self|semi|seven|short|single|six|small|so|ten|third|three|two|well|wide)-$",
    re.IGNORECASE,
)
"""Words that mostly keep their hyphen where a line ends with it."""


def to_markdown(page: PageBlocks) -> str:
    """The main body as Markdown: titles, paragraphs, lists, tables as HTML; a formula or a figure by its mark."""
    parts = [_markdown(block, page) for block in page.blocks if block.kind not in EDGES]
    return "\n\n".join(part for part in parts if part)


def to_text(page: PageBlocks) -> str:
    """All of the page but the numbers of its lines, line by line; a formula or a figure by its mark."""
    return "\n\n".join(_text(block, page) for block in page.blocks if block.kind not in NUMBERS)


def _text(block: Block, page: PageBlocks) -> str:
    if block.kind == "figure":
        return FIGURE
    if block.kind == "equation":
        return FORMULA
    if block.grid is not None:
        return block.grid.text()
    return "\n".join(join(row) for row in rows_of(block.lines, page.vertical))


def _markdown(block: Block, page: PageBlocks) -> str:
    if block.kind == "figure":
        return FIGURE
    if block.kind == "equation":
        return FORMULA
    if block.grid is not None:
        return block.grid.markup()
    if block.kind == "title":
        return _title(block.lines, page)
    paragraphs = _paragraphs(block, page)
    alone = len(paragraphs) == 1  # then the layout model saw that it is no title
    return "\n\n".join(
        _title(rows[0], page) if _is_title(rows, page) and not alone else _paragraph(rows, block.box, page)
        for rows in paragraphs
    )


def _title(lines: Sequence[Line], page: PageBlocks) -> str:
    size = _size(lines, page)
    level = next((level for least, level in _TITLES if size >= least), _LOWEST)
    return "#" * level + " " + join(lines)


def _size(lines: Sequence[Line], page: PageBlocks) -> float:
    """The height of lines in usual ones."""
    sides = [reading_sides(line.box, page.vertical) for line in lines]
    return median(side[3] - side[1] for side in sides) / page.line_height


def _is_title(rows: Sequence[list[Line]], page: PageBlocks) -> bool:
    """Whether a paragraph of a larger region is a title: one large line of words, no sentence."""
    text = join(rows[0])
    letters = sum(character.isalpha() for character in text)
    words = len(text) / 2 < letters and len(text) <= _LONGEST_TITLE and text[-1] not in _SENTENCE_END
    return len(rows) == 1 and words and _size(rows[0], page) >= _LARGE


def _paragraphs(block: Block, page: PageBlocks) -> list[list[list[Line]]]:
    """The rows of a block by paragraph: parted by more space, an indent, or the mark of an item."""
    rows = rows_of(block.lines, page.vertical)
    sides = [reading_sides(row[0].box, page.vertical) for row in rows]
    pitches = [(below[1] + below[3] - above[1] - above[3]) / 2 for above, below in itertools.pairwise(sides)]
    usual = sorted(pitches)[int(_USUAL * len(pitches))] if pitches else 0.0
    left = min(side[0] for side in sides)
    paragraphs = [rows[:1]]
    for row, above, side, pitch in zip(rows[1:], sides, sides[1:], pitches, strict=False):
        height = side[3] - side[1]
        indented = side[0] - left > _INDENT * height and above[0] - left <= _INDENT * height / 2
        apart = pitch > _PITCH * usual and pitch - usual > _SPACE * height
        if apart or (indented and _is_filled(rows, block.box, page)) or _ITEM.match(row[0].text):
            paragraphs.append([row])
        else:
            paragraphs[-1].append(row)
    return paragraphs


def _is_filled(rows: Sequence[list[Line]], box: Box, page: PageBlocks) -> bool:
    """Whether rows are running text, which may be broken anywhere; others, as verses and code, keep their lines."""
    if len(rows) < 2:
        return True
    start, _, end, _ = reading_sides(box, page.vertical)
    reach = start + _FULL * (end - start)
    full = sum(reading_sides(row[-1].box, page.vertical)[2] >= reach for row in rows[:-1])
    return full >= _FILLED * (len(rows) - 1)


def _paragraph(rows: list[list[Line]], box: Box, page: PageBlocks) -> str:
    texts = [join(row) for row in rows]
    filled = _is_filled(rows, box, page)
    text = texts[0]
    for following in texts[1:]:
        text = _continued(text, following) if filled else f"{text}\n{following}"
    bullet = _BULLET.match(text)
    return f"- {text[bullet.end() :]}" if bullet and _ITEM.match(text) else text


def _continued(text: str, following: str) -> str:
    """A paragraph with its next line; a word that was divided at the end of the line is whole again."""
    divided = _HYPHENATED.search(text)
    if divided and not divided[1][-1].isdigit() and following[:1].islower():
        return (text if _COMPOUND.search(text) else text[:-1]) + following
    return text + glue(text, following) + following
