"""Checks of a page's label, made from its blocks: what is there, what is left out, in which order, in which cell."""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from step3vl.data.sample import AbsentCheck, CellCheck, ChecksTruth, OrderCheck, PageCheck, PresentCheck
from step3vl.grading.checks import grade_checks, squash
from step3vl.pipelines.documents.agreement import has_ideographs
from step3vl.pipelines.documents.blocks import Block, PageBlocks
from step3vl.pipelines.documents.tables import Grid

_PRESENT, _ABSENT, _ORDER, _CELLS = 6, 3, 5, 4  # checks of each kind at most
_LINES = 6  # of a block, for each text that is looked for
_LEAST = 4  # letters and digits of a text that is looked for
_WORDS = (4, 9)  # of a text that is looked for
_IDEOGRAPHS = (6, 14)  # of one in a script without spaces
_LEFT_OUT = 6  # letters and digits of a text that must not be there: a shorter one may be by chance
_MARKUP = re.compile(r"[<>|$]")  # what a grader may take for markup

T = TypeVar("T")


def page_checks(page: PageBlocks, label: str, left_out: Sequence[str], rng: random.Random) -> tuple[PageCheck, ...]:
    """Checks that the label of a page passes; none for a page with hardly a word.

    Args:
        page: The blocks that the label was made of.
        label: Markdown or plain text.
        left_out: The kinds of blocks that it leaves out.
        rng: Decides which of many are taken.
    """
    squashed = squash(label)
    blocks = [block for block in page.blocks if block.kind not in left_out]
    spans = [span for block in blocks for span in _spans(block, rng) if squash(span) in squashed]
    once = [span for span in spans if squashed.count(squash(span)) == 1]
    checks: list[PageCheck] = [PresentCheck(text=text) for text in _some(spans, _PRESENT, rng)]
    checks += [OrderCheck(first=first, second=second) for first, second in _some(list(pairwise(once)), _ORDER, rng)]
    edges = [" ".join(line.text for line in block.lines) for block in page.blocks if block.kind in left_out]
    absent = [text for text in edges if len(squash(text)) >= _LEFT_OUT and squash(text) not in squashed]
    checks += [AbsentCheck(text=text) for text in _some(absent, _ABSENT, rng)]
    checks += _some([check for block in blocks if block.grid for check in _cells(block.grid)], _CELLS, rng)
    return passing(checks, label)


def passing(checks: Sequence[PageCheck], label: str) -> tuple[PageCheck, ...]:
    """The checks that a label passes by itself."""
    return tuple(check for check in checks if grade_checks(ChecksTruth(checks=(check,)), label).verdict == "correct")


def _some(items: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """A few of the items, in their order."""
    return [items[place] for place in sorted(rng.sample(range(len(items)), min(count, len(items))))]


def _spans(block: Block, rng: random.Random) -> Iterator[str]:
    """A text of each few lines of a block."""
    if block.kind in ("figure", "equation") or block.grid is not None:
        return
    for start in range(0, len(block.lines), _LINES):
        span = text_span([line.text for line in block.lines[start : start + _LINES]], rng)
        if span:
            yield span


def text_span(texts: Sequence[str], rng: random.Random) -> str:
    """Some words of one of the texts, or characters of a script without spaces; empty where there are none."""
    texts = [text for text in texts if len(squash(text)) >= _LEAST and not _MARKUP.search(text)]
    if not texts:
        return ""
    text = rng.choice(texts)
    parts = list(text) if has_ideographs(text) else text.split()
    length = rng.randint(*(_IDEOGRAPHS if has_ideographs(text) else _WORDS))
    start = rng.randint(0, max(len(parts) - length, 0))
    span = ("" if has_ideographs(text) else " ").join(parts[start : start + length]).strip()
    return span.removesuffix("-") if len(squash(span)) >= _LEAST else ""


def _cells(grid: Grid) -> Iterator[CellCheck]:
    """Checks of the cells that have a text of their own, with a neighbour beside and one below."""
    places = {
        (row, column): cell.text
        for cell in grid.cells
        for row in range(cell.row, cell.row + cell.row_span)
        for column in range(cell.column, cell.column + cell.column_span)
    }
    texts = [squash(cell.text) for cell in grid.cells]
    counts = Counter(texts)
    for cell, text in zip(grid.cells, texts, strict=True):
        if not text or counts[text] > 1 or cell.row_span > 1 or cell.column_span > 1:
            continue
        left = places.get((cell.row, cell.column - 1))
        below = places.get((cell.row + 1, cell.column))
        if left or below:
            yield CellCheck(cell=cell.text, left=left or None, below=below or None)
