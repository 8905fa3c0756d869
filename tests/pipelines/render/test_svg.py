"""SVG to pixels."""

import pytest

from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.render.svg import SvgRenderer

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100" viewBox="0 0 200 100">'


def text(content: str, x: int, y: int, font: str = "DejaVu Sans") -> str:
    return f'<text x="{x}" y="{y}" font-size="14" font-family="{font}" fill="#123456">{content}</text>'


def test_boxes_of_texts_hold_their_ink(families: list[FontFamily]) -> None:
    renderer = SvgRenderer(families)
    lines = [text("one", 10, 20), text("two", 100, 20), text("three", 10, 60), text("four", 100, 90)]
    svg = HEAD + f'<rect width="200" height="100" fill="#eeeeee"/>{"".join(lines)}</svg>'
    placed = renderer.texts(svg, 2.0)
    assert [item.text for item in placed] == ["one", "two", "three", "four"]
    pixels = renderer.pixels(svg, 2.0)
    for item in placed:
        outside = [pixels.getpixel((int(x), int(y))) for x, y in (item.box[:2], item.box[2:])]
        inside = pixels.crop(tuple(map(int, item.box))).getextrema()
        assert inside[0][0] < 80, "dark ink"
        assert outside[0] == (238, 238, 238) or outside[1] == (238, 238, 238)
    assert placed[1].box[0] == pytest.approx(200, abs=6) and placed[3].box[3] == pytest.approx(180, abs=6)


def test_a_line_of_two_spans_keeps_its_place(families: list[FontFamily]) -> None:
    spans = '<tspan x="10" dy="14">first</tspan><tspan x="10" dy="20">second</tspan>'
    svg = f'{HEAD}<text x="10" y="10" font-size="14" font-family="DejaVu Sans">{spans}</text></svg>'
    first, second = SvgRenderer(families).texts(svg, 1.0)
    assert second.box[1] - first.box[1] == pytest.approx(20, abs=2)


def test_a_font_of_the_machine_is_not_seen(families: list[FontFamily]) -> None:
    with pytest.raises(Dropped, match="text_not_shown"):
        SvgRenderer([]).texts(HEAD + text("one", 10, 20, "Arial") + "</svg>", 1.0)


def test_a_text_over_a_line_is_noticed(families: list[FontFamily]) -> None:
    renderer = SvgRenderer(families)
    clear = HEAD + text("one two three", 10, 50) + "</svg>"
    crossed = (
        HEAD + '<path d="M0 45 H200" stroke="#000000" stroke-width="3"/>' + text("one two three", 10, 50) + "</svg>"
    )
    renderer.check_clear(clear, 1.0, renderer.texts(clear, 1.0))
    with pytest.raises(Dropped, match="text_over_line"):
        renderer.check_clear(crossed, 1.0, renderer.texts(crossed, 1.0))
