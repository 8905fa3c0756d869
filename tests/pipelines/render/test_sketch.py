import math
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import step3vl.data
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.exercises.outlines import FontOutlines
from step3vl.pipelines.render.exercises.sketch import Sketch, turned
from step3vl.pipelines.render.exercises.sketch_layout import lay_out
from step3vl.pipelines.render.exercises.sketch_style import Lettering, SketchStyle, pick_sketch_style
from step3vl.pipelines.render.exercises.sketch_svg import Reading, to_pixels, to_svg
from step3vl.pipelines.render.fonts import FontFamily, load_families

_FONTS = Path(step3vl.data.__file__).parent / "assets" / "fonts"


@pytest.fixture(scope="module")
def families() -> list[FontFamily]:
    return load_families([_FONTS / "DejaVuSans.ttf", _FONTS / "Caveat.ttf"])


@pytest.fixture(scope="module")
def lettering(families: list[FontFamily]) -> Lettering:
    return Lettering(families)


@pytest.fixture
def style(families: list[FontFamily]) -> SketchStyle:
    return replace(pick_sketch_style(families, (240, 240), random.Random(1)), wobble=1.5)


def _triangle(turn: float = 0.0) -> Sketch:
    sketch = Sketch()
    for name, at in (("A", (0.0, 0.0)), ("B", (4.0, 0.0)), ("C", (0.0, 3.0))):
        sketch.point(name, turned(at, turn))
    sketch.polygon("A", "B", "C")
    sketch.angle("B", "A", "C", right=True)
    sketch.angle("A", "B", "C", "37°")
    sketch.side_label("B", "C", "5 cm")
    sketch.circle("circle", turned((1.0, 1.0), turn), 1.0)
    return sketch


@pytest.mark.parametrize("turn", [0, 33, 90, 217])
def test_a_figure_is_read_back_by_its_svg_alone(turn: float, style: SketchStyle, lettering: Lettering) -> None:
    layout = lay_out(_triangle(turn), style, lettering, random.Random(0))
    reading = Reading(to_svg(layout, style))
    unit = reading.distance("A", "B") / 4
    assert reading.distance("B", "C") == pytest.approx(5 * unit, rel=1e-3)
    assert reading.angle("B", "A", "C") == pytest.approx(90, abs=0.1)
    assert reading.area("A", "B", "C") == pytest.approx(6 * unit**2, rel=1e-3)
    assert reading.radius("circle") == pytest.approx(unit, rel=1e-3)
    assert reading.enclosed("circle") == pytest.approx(math.pi * unit**2, rel=5e-3)


def test_labels_keep_apart_from_lines_and_from_one_another(style: SketchStyle, lettering: Lettering) -> None:
    layout = lay_out(_triangle(), style, lettering, random.Random(0))
    assert len(layout.labels) == 5
    for first, second in combinations(layout.labels, 2):
        apart = first.box[2] < second.box[0] or second.box[2] < first.box[0]
        assert apart or first.box[3] < second.box[1] or second.box[3] < first.box[1]
    for label in layout.labels:
        for stroke in layout.strokes:
            for (x1, y1), (x2, y2) in zip(stroke.points, stroke.points[1:], strict=False):
                at = np.linspace((x1, y1), (x2, y2), 50)
                inside = (at[:, 0] > label.box[0]) & (at[:, 0] < label.box[2]) & (at[:, 1] > label.box[1])
                assert not (inside & (at[:, 1] < label.box[3])).any(), (label.text, stroke.name)


def test_a_label_without_room_drops_the_figure(style: SketchStyle, lettering: Lettering) -> None:
    sketch = _triangle()
    sketch.text("here", (1.0, 0.0))
    with pytest.raises(Dropped, match="no_room_for_label"):
        lay_out(sketch, style, lettering, random.Random(0))


def test_a_character_that_no_font_has_drops_the_figure(style: SketchStyle, lettering: Lettering) -> None:
    sketch = _triangle()
    sketch.text("角", (6.0, 3.0))
    with pytest.raises(Dropped, match="no_font_has_all_characters"):
        lay_out(sketch, style, lettering, random.Random(0))


def test_a_label_that_cannot_be_seen_drops_the_figure(style: SketchStyle, lettering: Lettering) -> None:
    layout = lay_out(_triangle(), style, lettering, random.Random(0))
    svg = to_svg(layout, style)
    assert to_pixels(svg, layout, style).size == layout.size
    blank = to_svg(replace(layout, labels=()), style)
    with pytest.raises(Dropped, match="label_not_visible"):
        to_pixels(blank, layout, style)


def test_a_point_that_is_shown_at_two_places_is_an_error(style: SketchStyle, lettering: Lettering) -> None:
    sketch = _triangle()
    layout = lay_out(sketch, style, lettering, random.Random(0))
    moved = tuple(
        replace(stroke, points=(*stroke.points[:-1], (0.0, 0.0))) if stroke.name == "A-B" else stroke
        for stroke in layout.strokes
    )
    with pytest.raises(ValueError, match="the point B"):
        Reading(to_svg(replace(layout, strokes=moved), style)).point("B")


def test_outlines_have_the_box_of_their_ink(families: list[FontFamily]) -> None:
    outlines = FontOutlines(next(f for f in families if f.name == "DejaVu Sans").regular)
    assert outlines.covers("R₁²")
    text = outlines.outline("H₂", 100)
    single = outlines.outline("H", 100)
    assert single.box[3] == pytest.approx(0, abs=1)
    assert single.box[1] == pytest.approx(-73, abs=3)
    assert text.box[3] > single.box[3] and text.advance > single.advance
