"""Lines and paragraphs of a page from the rectangles of its words, and which of them are clear.

A file gives words in its order, which is nearly always that of reading. A line is a run of words beside each other, a
paragraph a run of lines below each other that begin at the same left side. What overlaps others, or could be grouped
in another way, such as a formula, a list or a heading, is not clear.
"""

from collections.abc import Sequence
from itertools import islice, pairwise
from statistics import median
from typing import NamedTuple

from step3vl.data.sample import Box
from step3vl.pipelines.documents.lines import around, join
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED, PageWord

_BESIDE = 0.5  # of the lower of two heights, that words of a line share
_GAP = 1.2  # heights between two words of a line
_APART = 3.0  # ... from which they are on two lines; in between nobody can tell
_BACK = 0.3  # heights that a word may begin before the end of the last one
_TALL = 2.0  # heights of the page's middle line; higher is a heading, or turned
_LOW = 5.0  # pixels; a lower line is not seen
_TOUCH = 0.25  # of a line's height that another one may reach into it
_ALIGNED = 0.6  # heights by which left sides differ
_INDENT = 5.0  # ... and by which the first line of a paragraph is indented
_LEADING = 1.3  # heights between a line and the next one of its paragraph
_MORE = 1.5  # times the space between the lines before, from which another paragraph begins
_NEAR = 2.5  # heights; what is not clear and nearer may belong to a paragraph
_NEXT = 1.35  # times the distance of its lines, within which what is above or below must be told apart by an indent
_FULL = 0.8  # of a paragraph's width, that all of its lines but the last have
_FEWEST = 3  # lines of a paragraph that is clear


class TextBlock(NamedTuple):
    """A line or a paragraph.

    Attributes:
        text: Its words.
        box: Around them, in pixels.
        clear: Whether its extent is beyond doubt.
    """

    text: str
    box: Box
    clear: bool


def page_lines(words: Sequence[PageWord]) -> list[TextBlock]:
    """The lines of an upright page.

    Args:
        words: In the order of the file.
    """
    runs: list[list[PageWord]] = []
    boxes: list[Box] = []
    unclear: set[int] = set()
    for word in words:
        gap = _gap(boxes[-1], word.box) if runs else None
        if gap is None or gap > _GAP:
            if gap is not None and gap < _APART:
                unclear |= {len(runs) - 1, len(runs)}
            runs.append([word])
            boxes.append(word.box)
        else:
            runs[-1].append(word)
            boxes[-1] = around([boxes[-1], word.box])
    unclear |= _overlapping(boxes)
    # Of letters, so that a line counts by its length, and dots that lead to the number of a page do not count.
    usual = median([0.0, *(b.y2 - b.y1 for run, b in zip(runs, boxes, strict=True) for _ in _letters(run))])
    lines = []
    for number, (run, box) in enumerate(zip(runs, boxes, strict=True)):
        text = join(run)
        is_clear = (
            number not in unclear
            and UNNAMED not in text
            and len(_letters(run)) > 0
            and _LOW <= box.y2 - box.y1 <= _TALL * usual
        )
        lines.append(TextBlock(text, box, is_clear))
    return lines


def page_paragraphs(lines: Sequence[TextBlock]) -> list[TextBlock]:
    """The paragraphs of a page. A line that stands alone is one that is not clear.

    Args:
        lines: As `page_lines` gives them.
    """
    blocks: list[list[int]] = []
    for number in range(len(lines)):
        if blocks and _continues([lines[place].box for place in blocks[-1]], lines[number].box):
            blocks[-1].append(number)
        else:
            blocks.append([number])
    return [_paragraph(lines, block) for block in blocks]


def _letters(words: Sequence[PageWord]) -> list[str]:
    return [character for word in words for character in word.text if character.isalnum()]


def _gap(line: Box, word: Box) -> float | None:
    """Heights between a line and the next word; None where that is not beside it."""
    low, high = min(line.y2 - line.y1, word.y2 - word.y1), max(line.y2 - line.y1, word.y2 - word.y1)
    shared = min(line.y2, word.y2) - max(line.y1, word.y1)
    gap = (word.x1 - line.x2) / high
    return gap if shared >= _BESIDE * low and gap >= -_BACK else None


def _overlapping(boxes: Sequence[Box]) -> set[int]:
    """The lines that reach into each other. Each is compared with those at its height, for a page has thousands."""
    overlapping: set[int] = set()
    from_top = sorted(range(len(boxes)), key=lambda number: boxes[number].y1)
    for place, number in enumerate(from_top, 1):
        for other in islice(from_top, place, None):
            if boxes[other].y1 >= boxes[number].y2:
                break
            if _reaches(boxes[other], boxes[number]):
                overlapping |= {number, other}
    return overlapping


def _reaches(other: Box, box: Box) -> bool:
    """Whether a line reaches into another one."""
    across = min(other.x2, box.x2) - max(other.x1, box.x1)
    down = min(other.y2, box.y2) - max(other.y1, box.y1)
    return across > 0 and down > _TOUCH * min(other.y2 - other.y1, box.y2 - box.y1)


def _continues(paragraph: Sequence[Box], line: Box) -> bool:
    """Whether a line belongs to the paragraph of the lines before it."""
    last = paragraph[-1]
    height = max(last.y2 - last.y1, line.y2 - line.y1)
    space = line.y1 - last.y2
    if not -_TOUCH * height <= space <= _LEADING * height:
        return False
    further_right = (line.x1 - last.x1) / height
    if len(paragraph) == 1:
        return -_INDENT <= further_right <= _ALIGNED
    steps = [b.y2 - a.y2 for a, b in pairwise(paragraph)]
    return abs(further_right) <= _ALIGNED and line.y2 - last.y2 <= _MORE * median(steps)


def _paragraph(lines: Sequence[TextBlock], block: Sequence[int]) -> TextBlock:
    members = [lines[number] for number in block]
    box = around([line.box for line in members])
    text = " ".join(line.text for line in members)
    if len(members) < _FEWEST or not all(line.clear for line in members):
        return TextBlock(text, box, False)
    width, first, second, last = box.x2 - box.x1, members[0].box, members[1].box, members[-1].box
    height = first.y2 - first.y1
    step = _NEXT * median(b.box.y2 - a.box.y2 for a, b in pairwise(members))
    is_indented = first.x1 - second.x1 > _ALIGNED * height
    is_clear = first.x2 >= box.x2 - (1 - _FULL) * width and all(
        line.box.x2 - line.box.x1 >= _FULL * width for line in members[1:-1]
    )
    for number, line in enumerate(lines):
        other = line.box
        if number in block or min(other.x2, box.x2) <= max(other.x1, box.x1):
            continue
        if other.y2 <= first.y1 + _TOUCH * height:
            is_apart = first.y2 - other.y2 > step or is_indented
        elif other.y1 >= last.y2 - _TOUCH * height:
            is_apart = other.y2 - last.y2 > step or other.x1 - second.x1 > _ALIGNED * height
        else:
            is_apart = False
        is_near = max(other.y1 - box.y2, box.y1 - other.y2) < _NEAR * height
        is_clear = is_clear and is_apart and (line.clear or not is_near)
    return TextBlock(text, box, is_clear)
