"""A table from the cells of the model and the lines that were read: a full grid of texts, or none where in doubt.

The model knows the structure well and the boxes roughly. So rows are those of the lines where their numbers agree,
columns the usual edges of their cells, and the result is only believed if everything falls into place.
"""

import html
import itertools
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from step3vl.data.sample import Box
from step3vl.pipelines.documents.lines import Line, join, same_row
from step3vl.pipelines.models.tables import TableCell

_CROSSING = 0.5  # of a line's height, beyond the edge of a column on both sides: two cells in one line
_NEAR_SPACE = 4  # characters, by which the place of a space may be misjudged where a line is cut
_FILLED = 0.3  # of the cells, that have a text at least
_MAX_CELLS = 2000


class GridCell(NamedTuple):
    """A cell of a table, with its text."""

    row: int
    column: int
    row_span: int
    column_span: int
    text: str


class Grid(NamedTuple):
    """A table of which every place belongs to one cell."""

    rows: int
    columns: int
    cells: tuple[GridCell, ...]
    """Row by row."""

    def markup(self) -> str:
        """The table as HTML."""
        lines = ["<table>"]
        for row in range(self.rows):
            lines.append("<tr>" + "".join(_td(cell) for cell in self.cells if cell.row == row) + "</tr>")
        return "\n".join([*lines, "</table>"])

    def text(self) -> str:
        """The table as lines, its cells parted by bars."""
        return "\n".join(" | ".join(cell.text for cell in self.cells if cell.row == row) for row in range(self.rows))


def _td(cell: GridCell) -> str:
    spans = f' rowspan="{cell.row_span}"' if cell.row_span > 1 else ""
    spans += f' colspan="{cell.column_span}"' if cell.column_span > 1 else ""
    return f"<td{spans}>{html.escape(cell.text, quote=False)}</td>"


def table_grid(lines: Sequence[Line], cells: Sequence[TableCell]) -> Grid | None:
    """The table, or None where its structure is in doubt.

    Args:
        lines: The text in the table.
        cells: What the model sees.
    """
    rows = max((cell.row + cell.row_span for cell in cells), default=0)
    columns = max((cell.column + cell.column_span for cell in cells), default=0)
    places = _places(cells, rows, columns)
    if not lines or places is None:
        return None
    edges = _edges(cells, columns, axis="x")
    pieces = [piece for line in lines for piece in _cut(line, edges)]
    row_of = _rows_of(pieces, cells, rows)
    texts: dict[int, list[tuple[int, Line]]] = {}
    centres = _centres(cells, columns)
    for piece, row in zip(pieces, row_of, strict=True):
        covered = {places[row, column] for column, x in centres.items() if piece.box.x1 < x < piece.box.x2}
        if len(covered) > 1:  # the texts of two cells, read as one
            return None
        column = sum(edge <= piece.box.centre.x for edge in edges)
        texts.setdefault(places[row, column], []).append((row, piece))
    if len(texts) < _FILLED * len(cells) or not _falls_into_place(texts, cells):
        return None
    filled = tuple(
        GridCell(
            cell.row,
            cell.column,
            cell.row_span,
            cell.column_span,
            join([piece for _, piece in texts.get(number, ())]),
        )
        for number, cell in sorted(enumerate(cells), key=lambda pair: (pair[1].row, pair[1].column))
    )
    return Grid(rows, columns, filled)


def _places(cells: Sequence[TableCell], rows: int, columns: int) -> dict[tuple[int, int], int] | None:
    """The cell at each place of the grid; None where one is missing, or it is no table."""
    if rows < 2 or columns < 2 or rows * columns > _MAX_CELLS:
        return None
    places: dict[tuple[int, int], int] = {}
    for number, cell in enumerate(cells):
        for row in range(cell.row, cell.row + cell.row_span):
            for column in range(cell.column, cell.column + cell.column_span):
                if (row, column) in places:
                    return None
                places[row, column] = number
    return places if len(places) == rows * columns else None


def _sides(cells: Sequence[TableCell], count: int, axis: str) -> list[tuple[list[float], list[float]]]:
    """The sides of the cells of each column, or row, where each begins and where it ends; wide cells left out."""
    sides: list[tuple[list[float], list[float]]] = [([], []) for _ in range(count)]
    for cell in cells:
        place, span = (cell.column, cell.column_span) if axis == "x" else (cell.row, cell.row_span)
        if span == 1:
            sides[place][0].append(cell.box.x1 if axis == "x" else cell.box.y1)
            sides[place][1].append(cell.box.x2 if axis == "x" else cell.box.y2)
    return sides


def _centres(cells: Sequence[TableCell], columns: int) -> dict[int, float]:
    """The middle of the usual cell of each column that has cells of its own."""
    sides = _sides(cells, columns, axis="x")
    return {column: (median(left) + median(right)) / 2 for column, (left, right) in enumerate(sides) if left}


def _edges(cells: Sequence[TableCell], count: int, axis: str) -> list[float]:
    """The edges between columns, or rows: in the middle between the usual sides of their cells."""
    edges: list[float] = []
    for before, after in itertools.pairwise(_sides(cells, count, axis)):
        if before[1] and after[0]:
            edges.append((median(before[1]) + median(after[0])) / 2)
        else:  # only wide cells there: the edge before serves, and the check of the whole decides
            edges.append(edges[-1] if edges else 0.0)
    return edges


def _cut(line: Line, edges: Sequence[float]) -> list[Line]:
    """A line cut at the edges of columns that it crosses, at the space that is next to each."""
    box, margin = line.box, _CROSSING * (line.box.y2 - line.box.y1)
    cuts: list[tuple[int, float]] = []
    for edge in edges:
        if box.x1 + margin < edge < box.x2 - margin:
            guess = (edge - box.x1) / (box.x2 - box.x1) * len(line.text)
            spaces = [place for place, character in enumerate(line.text) if character == " "]
            place = min(spaces, key=lambda place: abs(place - guess), default=None)
            if place is not None and abs(place - guess) <= _NEAR_SPACE and place not in [cut for cut, _ in cuts]:
                cuts.append((place, edge))
    if not cuts:
        return [line]
    starts = [(0, box.x1), *cuts]
    ends = [*cuts, (len(line.text), box.x2)]
    return [
        Line(
            line.text[start:end].strip(), line.score, Box(left, box.y1, max(left, right), box.y2, box.space, box.size)
        )
        for (start, left), (end, right) in zip(starts, ends, strict=True)
        if line.text[start:end].strip()
    ]


def _rows_of(pieces: Sequence[Line], cells: Sequence[TableCell], rows: int) -> list[int]:
    """The row of each piece: that of its line where there are as many lines as rows, otherwise by the cells' edges."""
    order = sorted(range(len(pieces)), key=lambda number: pieces[number].box.centre.y)
    lines: list[list[int]] = []
    for number in order:
        if lines and same_row(pieces[lines[-1][-1]].box, pieces[number].box):
            lines[-1].append(number)
        else:
            lines.append([number])
    row_of = [0] * len(pieces)
    edges = _edges(cells, rows, axis="y")
    for place, line in enumerate(lines):
        for number in line:
            row_of[number] = (
                place if len(lines) == rows else sum(edge <= pieces[number].box.centre.y for edge in edges)
            )
    return row_of


def _falls_into_place(texts: dict[int, list[tuple[int, Line]]], cells: Sequence[TableCell]) -> bool:
    """Whether no row begins above the end of the one before, and no two rows were taken for one."""
    extents: dict[int, list[float]] = {}
    heights: dict[int, list[int]] = {}
    for number, pieces in texts.items():
        cell = cells[number]
        if cell.row_span > 1:
            continue
        extents.setdefault(cell.row, []).extend(piece.box.centre.y for _, piece in pieces)
        lines = sorted(pieces, key=lambda pair: pair[1].box.centre.y)
        count = 1 + sum(not same_row(above.box, below.box) for (_, above), (_, below) in itertools.pairwise(lines))
        heights.setdefault(cell.row, []).append(count)
    ordered = [extents[row] for row in sorted(extents)]
    if any(max(above) >= min(below) for above, below in itertools.pairwise(ordered)):
        return False
    return not any(len(counts) > 1 and min(counts) > 1 for counts in heights.values())
