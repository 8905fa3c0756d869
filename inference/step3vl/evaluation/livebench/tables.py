"""Tables as LiveBench compares them: columns by name in any order, rows in order, cells as numbers or texts."""

import csv
import io
import json
import math
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any, NamedTuple

Cell = str | float | None

_MISSING = frozenset(("", "nan", "null", "none", "n/a", "na", "#n/a", "<na>", "-nan", "1.#ind", "1.#qnan"))
_MAX_CHARS = 2**16


class Table(NamedTuple):
    """A table: the names of its columns, and rows with a cell for each."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]


def read_table(format: str, text: str) -> Table | None:
    """Read a table; None where the text is none in this format.

    Args:
        format: json, jsonl, csv, tsv, html or markdown.
        text: All of it is the table.
    """
    text = text[:_MAX_CHARS]
    match format:
        case "json":
            return _read_json(text)
        case "jsonl":
            return read_json_lines(text)
        case "csv":
            return _read_delimited(text, ",")
        case "tsv":
            return _read_delimited(text, "\t")
        case "html":
            return _read_html(text)
        case "markdown":
            return _read_markdown(text)
    return None


def same_table(table: Table, expected: Table) -> bool:
    """Whether two tables are equal. Numbers may differ by 1e-6, and the order of columns is free."""
    if len(table.rows) != len(expected.rows) or sorted(table.columns) != sorted(expected.columns):
        return False
    if len(set(table.columns)) < len(table.columns):
        return False
    order = [table.columns.index(name) for name in expected.columns]
    return all(
        _same_cell(row[index], true)
        for row, true_row in zip(table.rows, expected.rows, strict=True)
        for index, true in zip(order, true_row, strict=True)
    )


def _same_cell(cell: Cell, true: Cell) -> bool:
    if isinstance(cell, float) and isinstance(true, float):
        return math.isclose(cell, true, rel_tol=0.0, abs_tol=1e-6)
    return cell == true


def _table(records: Sequence[dict[str, Any]]) -> Table | None:
    """A table of records, without a column `index`; a column holds numbers where all its cells read as such."""
    rows = [{name.strip(): value for name, value in record.items()} for record in records]
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "index"]
    columns = [_column([row.get(name) for row in rows]) for name in names]
    return Table(tuple(names), [list(row) for row in zip(*columns, strict=True)]) if names else None


def _column(values: Sequence[Any]) -> list[Cell]:
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        return [None if number is None or math.isnan(number) else number for number in numbers]
    return [value if value is None or isinstance(value, float) else _text(value) for value in values]


def _number(value: Any) -> float | None:
    """The number that a cell reads as, NaN for a missing one; None for a text."""
    if value is None:
        return math.nan
    if isinstance(value, bool | dict | list):
        return None
    text = str(value).strip()
    try:
        return float(text) if len(text) < 100 and "_" not in text else None
    except ValueError:
        return None


def _text(value: Any) -> Cell:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**1000 else str(value)
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _read_json(text: str) -> Table | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return read_json_lines(text)
    if isinstance(value, dict):
        value = list(value.values()) if all(isinstance(row, dict) for row in value.values()) else [value]
    return _table(value) if isinstance(value, list) and all(isinstance(row, dict) for row in value) else None


def read_json_lines(text: str, skip_others: bool = False) -> Table | None:
    """Read a table of JSON lines; None where there are none.

    Args:
        text: The lines.
        skip_others: Whether lines that are no JSON objects are passed over.
    """
    records = []
    for line in filter(str.strip, text.split("\n")):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            records.append(record)
        elif not skip_others:
            return None
    return _table(records) if records else None


def _read_delimited(text: str, delimiter: str) -> Table | None:
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except (csv.Error, ValueError):
        return None
    if any(len(row) > len(header) for row in rows):
        return None
    return _table(_records(header, rows)) if rows else None


def _records(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[dict[str, str | None]]:
    """Rows by column; the usual words for a missing cell are None, and so are cells that a row lacks."""
    cells = ([None if cell.strip().lower() in _MISSING else cell for cell in row] for row in rows)
    return [{name.strip(): next(row, None) for name in header} for row in map(iter, cells)]


def read_delimited_after(text: str, columns: Sequence[str], delimiter: str) -> Table | None:
    """Read a table that starts at the line with these columns, up to the first line of another width."""
    lines = [line.strip("\r") for line in text.strip().split("\n")]
    header = delimiter.join(columns)
    start = next((index for index, line in enumerate(lines) if line.strip() == header), None)
    if start is None:
        return None
    rows: list[list[str]] = []
    for line in lines[start + 1 :]:
        row = next(csv.reader([line], delimiter=delimiter), [])
        if len(row) > len(columns):
            break
        rows += [row] if row else []
    return _table(_records(columns, rows)) if rows else None


def _read_markdown(text: str) -> Table | None:
    """The official reader takes the first column for an index and the rule below the header for a row of texts."""
    lines = [line.strip().strip("|").split("|") for line in text.split("\n") if "|" in line]
    if not lines:
        return None
    header = [name.strip() for name in lines[0]]
    if any(len(line) != len(header) for line in lines):
        return None
    rows: list[list[Cell]] = [[cell.strip() or None for cell in line[1:]] for line in lines[1:]]
    return Table(tuple(header[1:]), rows)


class _Rows(HTMLParser):
    """The rows of all tables, as texts of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def _read_html(text: str) -> Table | None:
    parser = _Rows()
    parser.feed(text)
    rows = [row for row in parser.rows if row]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    return _table(_records(rows[0], rows[1:])) if rows[1:] else None
