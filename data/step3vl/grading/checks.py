"""Transcribed pages, by checks of what they contain."""

import re
import unicodedata
from html import unescape
from typing import NamedTuple

from step3vl.data.sample import AbsentCheck, CellCheck, ChecksTruth, OrderCheck, PresentCheck
from step3vl.data.sample.checks import PageCheck
from step3vl.grading.extraction import MAX_CHARS
from step3vl.grading.text import stream_safe
from step3vl.grading.verdicts import UNPARSABLE, Grade

_MAX_PLACES = 20_000  # of all tables of an answer
_MAX_SPAN = 50
_MAX_COMPOSED = 2 * MAX_CHARS  # NFKC turns some characters into eighteen; of a text of any language few
_TAG = re.compile(r"<[^<>]{0,200}>")
_TABLE = re.compile(r"<(/?)(table|tr|td|th)\b([^<>]{0,200})>", re.IGNORECASE)
_SPAN = re.compile(r'(rowspan|colspan)\s{0,3}=\s{0,3}["\']?(\d{1,3})', re.IGNORECASE)
_RULE = re.compile(r"[\s|:-]+")

Places = dict[tuple[int, int], str]


class _Answer(NamedTuple):
    squashed: str
    tables: list[Places]


def squash(text: str) -> str:
    """What two texts are compared by: letters and digits alone, in compatibility form and lower case."""
    folded = unicodedata.normalize("NFKC", text if text.isascii() else stream_safe(text))[:_MAX_COMPOSED].casefold()
    return "".join(character for character in folded if character.isalnum())


def grade_checks(truth: ChecksTruth, answer: str) -> Grade:
    """Grade a page by the share of its checks that pass; "correct" means all of them.

    Punctuation, spaces and markup do not count. A table may be HTML or Markdown.
    """
    if not answer.strip():
        return UNPARSABLE
    tables = any(isinstance(check, CellCheck) for check in truth.checks)
    parsed = _Answer(squash(_TAG.sub(" ", unescape(answer))), read_tables(answer) if tables else [])
    passed = sum(_passes(check, parsed) for check in truth.checks)
    return Grade(passed / len(truth.checks), "correct" if passed == len(truth.checks) else "wrong")


def _passes(check: PageCheck, answer: _Answer) -> bool:
    match check:
        case PresentCheck():
            return squash(check.text) in answer.squashed
        case AbsentCheck():
            return squash(check.text) not in answer.squashed
        case OrderCheck():
            first = answer.squashed.find(squash(check.first))
            return 0 <= first < answer.squashed.rfind(squash(check.second))
        case CellCheck():
            return any(_in_table(check, table) for table in answer.tables)


def _in_table(check: CellCheck, table: Places) -> bool:
    neighbours = [
        (squash(text), step)
        for text, step in ((check.left, (0, -1)), (check.right, (0, 1)), (check.above, (-1, 0)), (check.below, (1, 0)))
        if text is not None
    ]
    cell = squash(check.cell)
    return any(
        text == cell
        and all(table.get((row + down, column + along)) == neighbour for neighbour, (down, along) in neighbours)
        for (row, column), text in table.items()
    )


def read_tables(answer: str) -> list[Places]:
    """The tables of an answer, HTML first, then Markdown: squashed texts by row and column."""
    return _html_tables(answer) + _markdown_tables(answer)


def _html_tables(answer: str) -> list[Places]:
    tables: list[Places] = []
    free: dict[int, int] = {}
    row = -1
    opened: tuple[int, int, int] | None = None  # where the text of the open cell starts, and its spans
    places = 0
    for tag in _TABLE.finditer(answer):
        closing, name = bool(tag[1]), tag[2].lower()
        if opened is not None and tables:
            places += _place(tables[-1], free, row, answer[opened[0] : tag.start()], opened[1], opened[2])
            opened = None
        if places > _MAX_PLACES:
            break
        if name == "table" and not closing:
            tables.append({})
            free, row = {}, -1
        elif name == "tr" and not closing:
            row += 1
        elif name in ("td", "th") and not closing:
            spans = {key.lower(): min(int(value), _MAX_SPAN) for key, value in _SPAN.findall(tag[3])}
            opened = tag.end(), max(spans.get("rowspan", 1), 1), max(spans.get("colspan", 1), 1)
    return tables


def _place(table: Places, free: dict[int, int], row: int, text: str, row_span: int, column_span: int) -> int:
    """Put a cell into the first free place of its row; the number of places that it takes.

    Args:
        table: What it is put into.
        free: By row, a column before which no place is free.
    """
    column = free.get(row, 0)
    while (row, column) in table:
        column += 1
    free[row] = column + column_span
    squashed = squash(_TAG.sub(" ", unescape(text)))
    for down in range(row_span):
        for along in range(column_span):
            table[row + down, column + along] = squashed
    return row_span * column_span


def _markdown_tables(answer: str) -> list[Places]:
    tables: list[Places] = []
    places = 0
    inside = False
    row = 0
    for line in answer.splitlines():
        text = line.strip()
        if "|" not in text or places > _MAX_PLACES:
            inside = False
            continue
        if not inside:
            tables.append({})
            inside, row = True, 0
        if _RULE.fullmatch(text):
            continue
        cells = text.removeprefix("|").removesuffix("|").split("|")[:_MAX_PLACES]
        for column, cell in enumerate(cells):
            tables[-1][row, column] = squash(cell)
        places += len(cells)
        row += 1
    return tables
