"""Tables from the cells of a model and the lines that were read."""

from step3vl.data.sample import Box
from step3vl.grading.checks import read_tables, squash
from step3vl.pipelines.documents.lines import Line
from step3vl.pipelines.documents.tables import Grid, table_grid
from step3vl.pipelines.models.tables import TableCell

SIZE = (800, 600)
WIDTH, HEIGHT = 150.0, 30.0


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(float(x1), float(y1), float(x2), float(y2), "pixels", SIZE)


def cell(row: int, column: int, row_span: int = 1, column_span: int = 1, shift: float = 0.0) -> TableCell:
    x, y = 20 + WIDTH * column, 20 + HEIGHT * row + shift
    return TableCell(
        row=row,
        column=column,
        row_span=row_span,
        column_span=column_span,
        box=box(x + 4, y + 4, x + WIDTH * column_span - 4, y + HEIGHT * row_span - 4),
    )


def text(value: str, row: float, column: float, width: float = 100) -> Line:
    x, y = 20 + WIDTH * column + 8, 20 + HEIGHT * row + 8
    return Line(value, 0.99, box(x, y, x + width, y + 14))


def texts(grid: Grid | None) -> list[list[str]]:
    assert grid is not None
    return [[cell.text for cell in grid.cells if cell.row == row] for row in range(grid.rows)]


SQUARE = [cell(row, column) for row in range(3) for column in range(3)]
NAMES = [[f"r{row} c{column}" for column in range(3)] for row in range(3)]
LINES = [text(NAMES[row][column], row, column) for row in range(3) for column in range(3)]


def test_each_text_is_in_its_cell() -> None:
    grid = table_grid(LINES, SQUARE)
    assert texts(grid) == NAMES
    assert grid is not None
    (table,) = read_tables(grid.markup())
    assert table[1, 2] == squash("r1 c2")
    assert grid.text().splitlines()[0] == "r0 c0 | r0 c1 | r0 c2"


def test_boxes_of_cells_that_drift_do_not_move_the_rows() -> None:
    drifting = [cell(row, column, shift=12.0 * row) for row in range(3) for column in range(3)]
    assert texts(table_grid(LINES, drifting)) == NAMES


def test_a_line_over_two_cells_that_cannot_be_cut_makes_the_table_doubtful() -> None:
    wide = Line("firstonesecond", 0.99, box(60, 28, 300, 42))
    assert table_grid([wide, *LINES[2:]], SQUARE) is None
    spanning = [cell(0, 0, column_span=2), *SQUARE[2:]]
    assert texts(table_grid([wide, *LINES[2:]], spanning))[0] == ["firstonesecond", "r0 c2"]


def test_a_line_over_two_cells_is_cut_between_them() -> None:
    wide = Line("first one second", 0.99, box(60, 28, 300, 42))
    grid = table_grid([wide, *LINES[2:]], SQUARE)
    assert texts(grid)[0] == ["first one", "second", "r0 c2"]


def test_cells_that_span_hold_their_text_once() -> None:
    cells = [cell(0, 0, row_span=2), cell(0, 1, column_span=2), cell(1, 1), cell(1, 2)]
    cells += [cell(2, column) for column in range(3)]
    lines = [
        text("Fruit", 0.5, 0),
        text("Price & weight", 0, 1.5),
        text("EUR", 1, 1),
        text("kg", 1, 2),
        text("Apple <1>", 2, 0),
        text("2.10", 2, 1),
        text("1", 2, 2),
    ]
    grid = table_grid(lines, cells)
    assert grid is not None
    markup = grid.markup()
    assert '<td rowspan="2">Fruit</td><td colspan="2">Price &amp; weight</td>' in markup
    assert "Apple &lt;1&gt;" in markup
    (table,) = read_tables(markup)
    assert table[0, 1] == table[0, 2] == squash("Price & weight") and table[1, 0] == "fruit"


def test_two_lines_in_a_cell_are_one_text() -> None:
    lines = [text("r0 c0", -0.2, 0), text("more", 0.3, 0), *LINES[1:]]
    assert texts(table_grid(lines, SQUARE))[0] == ["r0 c0 more", "r0 c1", "r0 c2"]


def test_a_table_whose_structure_is_in_doubt_is_none() -> None:
    assert table_grid(LINES, []) is None
    assert table_grid([], SQUARE) is None
    assert table_grid(LINES, SQUARE[:-1]) is None, "a place without a cell"
    assert table_grid(LINES, [*SQUARE, cell(1, 1)]) is None, "a place with two"
    assert table_grid(LINES[:1], SQUARE) is None, "hardly a text"
    assert table_grid(LINES[:3], SQUARE[:3]) is None, "a single row"


def test_two_rows_taken_for_one_are_in_doubt() -> None:
    tall = [
        TableCell(row=row, column=column, box=box(20 + 150 * column, 20 + 60 * row, 160 + 150 * column, 74 + 60 * row))
        for row in range(2)
        for column in range(3)
    ]
    four = [text(f"r{row} c{column}", row, column) for row in range(4) for column in range(3)]
    assert table_grid(four, tall) is None
