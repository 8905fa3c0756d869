"""The grid of a table: spans that show, rows that are whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lxml import etree

_MAX_COLUMNS = 40
_MAX_ROWS = 400


class BrokenTable(ValueError):
    """Cells that make no table; the message is a short word."""


@dataclass(frozen=True)
class Cell:
    """A cell with the columns and rows that it covers.

    Attributes:
        content: A `td` or `th` element.
        columns: At least 1.
        rows: At least 1.
    """

    content: Any
    columns: int = 1
    rows: int = 1


def text_cell(tag: str, text: str, columns: int = 1, rows: int = 1) -> Cell:
    """A cell that holds a text, or nothing."""
    content = etree.Element(tag)
    content.text = text or None
    return Cell(content, columns, rows)


def arrange_cells(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Cells as a browser places them, with only those spans that can be seen.

    A span that every row has, such as `colspan=2` in a column throughout, cannot be seen and is one column; the same
    for rows. A span beyond the last row ends there.

    Args:
        rows: The cells that each row begins, from left to right.

    Raises:
        BrokenTable: Cells overlap, a row is too short, or there is no text, or too little or too much of a table.
    """
    if len(rows) > _MAX_ROWS:
        raise BrokenTable("table_too_long")
    grid: list[dict[int, tuple[int, int]]] = [{} for _ in rows]  # by column: row and number of the cell there
    for r, row in enumerate(rows):
        column = 0
        for number, cell in enumerate(row):
            while column in grid[r]:
                column += 1
            if column + cell.columns > _MAX_COLUMNS:
                raise BrokenTable("table_too_wide")
            for down in range(r, min(r + cell.rows, len(rows))):
                for across in range(column, column + cell.columns):
                    if across in grid[down]:
                        raise BrokenTable("cells_overlap")
                    grid[down][across] = (r, number)
    width = max((max(row, default=-1) + 1 for row in grid), default=0)
    if any(len(row) != width for row in grid):
        raise BrokenTable("ragged_table")
    columns = [c for c in range(width) if c == 0 or any(row[c] != row[c - 1] for row in grid)]
    lines = [r for r in range(len(grid)) if r == 0 or any(grid[r][c] != grid[r - 1][c] for c in columns)]
    if len(columns) < 2 or len(lines) < 2:
        raise BrokenTable("no_table")
    arranged = []
    for i, r in enumerate(lines):
        cells = []
        for j, c in enumerate(columns):
            place = grid[r][c]
            if (i and grid[lines[i - 1]][c] == place) or (j and grid[r][columns[j - 1]] == place):
                continue
            across = sum(grid[r][other] == place for other in columns)
            down = sum(grid[other][c] == place for other in lines)
            cells.append(replace(rows[place[0]][place[1]], columns=across, rows=down))
        if not cells:
            raise BrokenTable("row_without_cells")
        arranged.append(cells)
    if not any("".join(cell.content.itertext()).strip() for row in arranged for cell in row):
        raise BrokenTable("empty_table")
    return arranged
