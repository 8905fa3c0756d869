"""Tables and graphs that the labels of samples say, as CSV, Markdown or HTML, and the numbers in them.

Nothing is guessed: a table whose rows differ in length, whose cells span others, whose labels repeat, or that is not
what its text says when it is written again, is none.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lxml import etree, html

_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|?\s*:?-{1,}:?\s*(\|\s*:?-{1,}:?\s*)*\|?")
_HTML = re.compile(r"<table\b.*?</table>", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"([-−–]?)(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_MAX_CELLS = 600
_MAX_TEXT = 200_000  # characters of a label that is searched for tables


@dataclass(frozen=True)
class DataTable:
    """A table with a label a row.

    Attributes:
        label_name: Heading of the labels.
        labels: One a row, all different.
        series: Headings of the other columns, all different.
        cells: Rows of texts, one for each series.
        numbers: Rows of numbers; None for every cell of a column that holds another text.
    """

    label_name: str
    labels: tuple[str, ...]
    series: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    numbers: tuple[tuple[Decimal | None, ...], ...]

    def column(self, series: int) -> list[Decimal] | None:
        """The numbers of a series; None where it has none."""
        return _all_numbers([row[series] for row in self.numbers])


@dataclass(frozen=True)
class Graph:
    """Nodes and the edges between them.

    Attributes:
        directed: Whether edges have arrows.
        edges: First node, second node, label (or an empty text).
    """

    directed: bool
    edges: tuple[tuple[str, str, str], ...]


def parse_number(text: str) -> Decimal | None:
    """A number such as `1,234.5` or `−3`; None for any other text."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    digits = text.strip().replace(",", "")
    return -Decimal(digits[1:]) if match[1] else Decimal(digits)


def format_decimal(value: Decimal) -> str:
    """A number without needless zeros: 12, 0.5, -3.25."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def tables_of(text: str) -> list[DataTable]:
    """The tables in a label: all of it as CSV, or the Markdown and HTML tables in it.

    Args:
        text: The label of a sample.
    """
    if len(text) > _MAX_TEXT:
        return []
    tables = [*_markdown_tables(text), *_html_tables(text)]
    if not tables and (rows := _csv_rows(text)) is not None:
        tables = [rows]
    return [table for rows in tables if (table := _table(rows)) is not None]


def graph_of(text: str) -> Graph | None:
    """The graph that an edge list in CSV says, headed `From,To` or `Node,Node`, with a `Label` or without."""
    rows = _csv_rows(text)
    if rows is None or tuple(rows[0][:2]) not in (("From", "To"), ("Node", "Node")):
        return None
    if len(rows[0]) > 3 or (len(rows[0]) == 3 and rows[0][2] != "Label"):
        return None
    edges = tuple((row[0], row[1], row[2] if len(row) == 3 else "") for row in rows[1:])
    return Graph(rows[0][0] == "From", edges) if edges else None


def _csv_rows(text: str) -> list[list[str]] | None:
    """The rows of CSV, which is the same when it is written again."""
    text = text.strip("\n")
    if "," not in text.partition("\n")[0]:
        return None
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error:
        return None
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return rows if len(rows) >= 2 and buffer.getvalue().rstrip("\n") == text else None


def _markdown_tables(text: str) -> Iterator[list[list[str]]]:
    """Runs of lines between pipes whose second line is a rule."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        stop = start
        while stop < len(lines) and lines[stop].strip().startswith("|") and lines[stop].strip().endswith("|"):
            stop += 1
        if stop - start >= 3 and _RULE.fullmatch(lines[start + 1].strip()):
            yield [_markdown_cells(line) for number, line in enumerate(lines[start:stop]) if number != 1]
        start = max(stop, start + 1)


def _markdown_cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip()[1:-1])]


def _html_tables(text: str) -> Iterator[list[list[str]]]:
    """Tables without merged cells and without tables inside."""
    for match in _HTML.finditer(text):
        try:
            table = html.fragment_fromstring(match[0])
        except (etree.ParserError, etree.XMLSyntaxError, ValueError):
            continue
        merged = table.xpath(".//*[@rowspan>1 or @colspan>1]")
        if table.tag != "table" or merged or table.xpath(".//table"):
            continue
        yield [[" ".join(cell.text_content().split()) for cell in row.xpath("./td|./th")] for row in table.iter("tr")]


def _table(rows: list[list[str]]) -> DataTable | None:
    """The table of rows of cells, the first one the headings."""
    if len(rows) < 3 or len(rows[0]) < 2 or len(rows) * len(rows[0]) > _MAX_CELLS:
        return None
    if any(len(row) != len(rows[0]) for row in rows):
        return None
    (label_name, *series), body = rows[0], rows[1:]
    labels = [row[0] for row in body]
    if not _are_names(labels) or not _are_names(series) or not _are_labels(labels):
        return None
    columns = [_all_numbers([parse_number(row[index + 1]) for row in body]) for index in range(len(series))]
    numbers: list[Sequence[Decimal | None]] = [column or [None] * len(body) for column in columns]
    return DataTable(
        label_name=label_name,
        labels=tuple(labels),
        series=tuple(series),
        cells=tuple(tuple(row[1:]) for row in body),
        numbers=tuple(zip(*numbers, strict=True)),
    )


def _are_names(texts: list[str]) -> bool:
    """Whether texts are there, short, and differ in more than case."""
    return all(0 < len(text) <= 60 and "\n" not in text for text in texts) and len(
        {text.casefold() for text in texts}
    ) == len(texts)


def _are_labels(labels: list[str]) -> bool:
    """Whether the first column names its rows: words, or whole numbers in order such as years, but no measurements."""
    numbers = _all_numbers([parse_number(label) for label in labels])
    return numbers is None or (
        sorted(numbers) == numbers and all(number == number.to_integral_value() for number in numbers)
    )


def _all_numbers(values: Sequence[Decimal | None]) -> list[Decimal] | None:
    """The numbers; None where one is missing."""
    numbers = [value for value in values if value is not None]
    return numbers if len(numbers) == len(values) else None
