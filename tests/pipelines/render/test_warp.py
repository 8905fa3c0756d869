import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.render.pages.warp import Bend, Warp, apply

SHIFT = st.floats(-25, 25)


@st.composite
def warps(draw: st.DrawFn) -> Warp:
    corners = [(30.0, 30.0), (230.0, 30.0), (230.0, 180.0), (30.0, 180.0)]
    moved = [(x + draw(SHIFT), y + draw(SHIFT)) for x, y in corners]
    bend = Bend(draw(st.floats(-0.05, 0.05)), draw(st.floats(0.5, 3)), draw(st.floats(0, 6)))
    return Warp((200, 150), (260, 210), moved, bend)


@given(warps(), st.lists(st.tuples(st.floats(0, 200), st.floats(0, 150)), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_backward_undoes_forward(warp: Warp, points: list[tuple[float, float]]) -> None:
    there = warp.forward(np.array(points))
    assert np.allclose(warp.backward(there), points, atol=1e-6)


@given(warps(), st.integers(10, 185), st.integers(10, 135))
@settings(max_examples=60, deadline=None)
def test_pixels_move_where_points_do(warp: Warp, x: int, y: int) -> None:
    sheet = np.zeros((150, 200), np.uint8)
    sheet[y - 2 : y + 3, x - 2 : x + 3] = 255
    image = apply(sheet, warp.sampling()).astype(float)
    rows, columns = np.mgrid[0:210, 0:260] + 0.5
    centre = (image * columns).sum() / image.sum(), (image * rows).sum() / image.sum()
    expected = warp.forward(np.array([[x + 0.5, y + 0.5]]))[0]
    assert np.hypot(*(np.array(centre) - expected)) < 0.3


@given(warps())
@settings(max_examples=30, deadline=None)
def test_an_outline_encloses_what_is_inside_the_box(warp: Warp) -> None:
    sheet = np.zeros((150, 200), np.uint8)
    sheet[40:60, 30:170] = 255
    rows, columns = np.nonzero(apply(sheet, warp.sampling()) > 127)
    outline = warp.outline((30, 40, 170, 60))
    assert outline[:, 0].min() - 1 <= columns.min() and columns.max() <= outline[:, 0].max() + 1
    assert outline[:, 1].min() - 1.5 <= rows.min() and rows.max() <= outline[:, 1].max() + 1.5


def test_an_upright_sheet_is_not_changed() -> None:
    sheet = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    warp = Warp((200, 150), (200, 150), [(0, 0), (200, 0), (200, 150), (0, 150)])
    assert (apply(sheet, warp.sampling()) == sheet).all()
