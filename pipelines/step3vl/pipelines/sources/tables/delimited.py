"""CSV and TSV files as tables of a document: windows of rows and columns, with the header."""

import csv
import io
import random
from collections.abc import Iterator

from step3vl.pipelines.sources.markup.markup import article, build_table
from step3vl.pipelines.sources.markup.markup_space import Element
from step3vl.pipelines.sources.markup.markup_table import text_cell

_MAX_CELL = 120  # characters
_SAMPLE = 8192  # characters by which the delimiter is told


class DelimitedError(ValueError):
    """Text that is no table."""


def read_delimited(
    text: str, rows: tuple[int, int], columns: tuple[int, int], rng: random.Random
) -> Iterator[Element]:
    """Consecutive windows of a table as `article`s with one table each.

    Args:
        text: With a header and a delimiter of `,`, `;`, tab or `|`.
        rows: Fewest and most rows of a window, beside the header.
        columns: Fewest and most columns.
        rng: Random numbers, for the sizes.

    Raises:
        DelimitedError: The delimiter cannot be told, or the rows differ in length.
    """
    try:
        dialect = csv.Sniffer().sniff(text[:_SAMPLE], delimiters=",;\t|")
        rows_of_text = csv.reader(io.StringIO(text, newline=""), dialect)  # which keeps the line breaks of a cell
        table = [[" ".join(cell.split()) for cell in row] for row in rows_of_text if row]
    except csv.Error as error:
        raise DelimitedError(f"the file is no table: {error}") from None
    if len(table) < 2 or len(table[0]) < 2 or any(len(row) != len(table[0]) for row in table):
        raise DelimitedError("the rows of the file differ in length, or are fewer than two")
    header, *body = table
    start = 0
    while start < len(body):
        count = rng.randint(*rows)
        first, wide = 0, min(len(header), rng.randint(*columns))
        if wide < len(header):
            first = rng.randrange(len(header) - wide + 1)
        window = [row[first : first + wide] for row in (header, *body[start : start + count])]
        start += count
        if len(window) - 1 >= rows[0] and all(len(cell) <= _MAX_CELL for row in window for cell in row):
            yield _article(window)


def _article(window: list[list[str]]) -> Element:
    rows = [[text_cell("td" if number else "th", text) for text in row] for number, row in enumerate(window)]
    return article([build_table(rows)])
