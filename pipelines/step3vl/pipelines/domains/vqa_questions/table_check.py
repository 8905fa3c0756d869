"""Answers about a table, computed once more from its cells: in floats, by other code than that of the questions.

The cells are those that OCR reads on the image, or those of the label that the question was made from, read by parsers
that the questions do not use: `pyarrow` for CSV, `mistune` for Markdown, and the HTML parser of Python.
"""

import io
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import NamedTuple

import pyarrow as pa
from pyarrow import csv

from step3vl.data.optional import require
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.vqa_questions.names_in_questions import names_in, numbers_in, single, two_of

_YES = ("yes", "是")
_COLUMNS = 64  # at most, of a table in CSV
_TOLERANCE = 1e-6  # relative, of floats


class Grid(NamedTuple):
    """A table of numbers.

    Attributes:
        labels: One a row.
        series: One a column of numbers; other columns are left out.
        numbers: By label and series.
    """

    labels: list[str]
    series: list[str]
    numbers: dict[tuple[str, str], float]


def to_number(text: str) -> float | None:
    """A number that may have commas between thousands; None for any other text."""
    plain = text.strip().replace("−", "-").replace("–", "-").replace(",", "")
    try:
        return float(plain) if plain.lstrip("-")[:1].isdigit() else None
    except ValueError:
        return None


def grid_of(rows: Sequence[Sequence[str]]) -> Grid:
    """The numbers of a table whose first row and column are headings.

    Raises:
        Unchecked: The rows differ in length, or their headings repeat.
    """
    header, *body = rows
    labels = [row[0] for row in body]
    if any(len(row) != len(header) for row in body) or len(set(labels)) < len(labels):
        raise Unchecked("irregular_table")
    series: list[str] = []
    numbers: dict[tuple[str, str], float] = {}
    for place, name in enumerate(header[1:], 1):
        values = [to_number(row[place]) for row in body]
        column = [value for value in values if value is not None]
        if len(column) == len(body):
            series.append(name)
            numbers |= {(label, name): value for label, value in zip(labels, column, strict=True)}
    return Grid(labels, series, numbers)


def cells_of(label: str) -> list[list[str]]:
    """The cells of the only table of a label in CSV, Markdown or HTML.

    Raises:
        Unchecked: There is none, or there are several.
    """
    if "<table" in label:
        return _html_cells(label)
    if any(line.startswith("|") for line in label.splitlines()):
        render = require("mistune", "pipelines").create_markdown(escape=False, plugins=["table"])
        return _html_cells(str(render(label)))
    options = csv.ReadOptions(autogenerate_column_names=True)
    types = {f"f{place}": pa.string() for place in range(_COLUMNS)}
    texts = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    try:
        table = csv.read_csv(io.BytesIO(label.encode()), read_options=options, convert_options=texts)
    except pa.ArrowInvalid:
        raise Unchecked("no_table") from None
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            if any(name in ("rowspan", "colspan") and value != "1" for name, value in attrs):
                raise Unchecked("merged_cells")
            self.tables[-1][-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tables[-1][-1][-1] += data


def _html_cells(text: str) -> list[list[str]]:
    parser = _Tables()
    parser.feed(text)
    if len(parser.tables) != 1:
        raise Unchecked("no_table")
    return [[" ".join(cell.split()) for cell in row] for row in parser.tables[0]]


def check_table(kind: str, asked: str, before: Sequence[str], answer: str, grid: Grid) -> str | None:
    """What is wrong with an answer about a table; None for a right one.

    Args:
        kind: Of the question.
        asked: The question, without options.
        before: The questions before it, which one that follows up refers to.
        answer: As a text.
        grid: The table.

    Raises:
        Unchecked: The words do not tell what is asked.
    """
    labels, series, numbers = grid
    if kind == "entries":
        return None if len(labels) == to_number(answer) else "another_number"
    if kind == "row_argmax":
        row = single(names_in(labels, asked))
        best = max(series, key=lambda name: numbers[row, name])
        return None if _is_same(best, answer) else "another_series"
    column = _column(series, kind, asked, before)
    values = {label: numbers[label, column] for label in labels}
    if kind == "absent_label":
        return None if not names_in([label for label in labels if label != column], asked) else "is_there"
    if kind in ("value", "only_value", "next_value", "maximum", "minimum", "total", "mean", "difference"):
        number, expected = to_number(answer), _computed(kind, values, asked, column)
        close = number is not None and abs(number - expected) <= _TOLERANCE * max(1.0, abs(expected))
        return None if close else "another_number"
    if kind == "count_above":
        limit = single(numbers_in(asked, [column]))
        count = sum(value > _require(to_number(limit)) for value in values.values())
        return None if count == to_number(answer) else "another_number"
    if kind == "reverse":
        label = single([label for label in labels if _is_same(label, answer)])
        return None if values[label] in map(to_number, numbers_in(asked, [column])) else "another_value"
    if kind in ("argmax", "argmin", "second"):
        place = {"argmax": 0, "argmin": -1, "second": 1}[kind]
        other = sorted(labels, key=lambda label: -values[label])[place]
        return None if _is_same(other, answer) else "another_label"
    return _compared(kind, asked, answer, values, column)


def _column(series: Sequence[str], kind: str, asked: str, before: Sequence[str]) -> str:
    """The series that is asked about: the only one, or the one that the question names, or one before it."""
    if len(series) == 1:
        return series[0]
    questions = [*reversed(before)] if kind == "next_value" else [asked]
    return single(next((names for question in questions if (names := names_in(series, question))), []))


def _computed(kind: str, values: dict[str, float], asked: str, column: str) -> float:
    match kind:
        case "maximum":
            return max(values.values())
        case "minimum":
            return min(values.values())
        case "total":
            return sum(values.values())
        case "mean":
            return sum(values.values()) / len(values)
    labels = [label for label in values if label != column]
    if kind == "difference":
        first, second = two_of(labels, asked)
        return abs(values[first] - values[second])
    return values[single(names_in(labels, asked))]


def _compared(kind: str, asked: str, answer: str, values: dict[str, float], column: str) -> str | None:
    if kind not in ("compare", "greater", "rose"):
        raise Unchecked(kind)
    first, second = two_of([label for label in values if label != column], asked)
    if kind == "compare":
        higher = first if values[first] > values[second] else second
        return None if _is_same(higher, answer) else "another_label"
    if kind == "rose":  # labels in the order of the table are those in the order of time
        second, first = sorted((first, second), key=list(values).index)
    return None if (values[first] > values[second]) == (answer in _YES) else "the_opposite"


def _require(number: float | None) -> float:
    if number is None:
        raise Unchecked("not_named")
    return number


def _is_same(text: str, other: str) -> bool:
    """Whether two texts have the same letters and digits, as OCR reads no spaces for certain."""
    return _letters(text) == _letters(other)


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
