import io
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from lxml import etree
from PIL import Image as PILImage

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.render.colours import contrast, mix
from step3vl.pipelines.render.fonts import FontFamily
from step3vl.pipelines.render.web.document import DocumentImage, DocumentRenderer, PageOptions
from step3vl.pipelines.render.web.web_style import pick_fonts, pick_web_style
from step3vl.pipelines.sources.markup.markdown import read_markdown
from step3vl.pipelines.sources.markup.markup import parse_markup

OPTIONS = PageOptions((400, 700), (0.9, 1.2), 1400)
DOCUMENT = """# A title

Words *in* a paragraph with [a link](http://x.y/z) and `code`.

1. one
2. two
   - three

| a | b |
|---|---|
| 1 | 2 |

```
listing
  indented
```

![A photograph of a cat]()
"""


@pytest.fixture(scope="module")
def renderer(families: list[FontFamily]) -> Iterator[DocumentRenderer]:
    renderer = DocumentRenderer(families)
    yield renderer
    renderer.close()


def grey(image: DocumentImage) -> np.ndarray:
    with PILImage.open(io.BytesIO(image.png)) as pixels:
        return np.asarray(pixels.convert("L")).astype(int)


@pytest.mark.chromium
def test_a_page_has_its_code_in_both_languages_and_the_lines_of_each_block(renderer: DocumentRenderer) -> None:
    root = read_markdown(DOCUMENT, links=True).root
    page = renderer.render(root, OPTIONS, rng_for(3))
    blocks = [element for element in page.elements if element.html]
    assert [block.role for block in blocks] == ["h1", "p", "ol", "table", "pre", "p"]
    lines, markdown = page.html.split("\n"), page.markdown.split("\n")
    for block in blocks:
        assert block.html and block.markdown
        assert lines[block.html[0] - 1].startswith(f"<{block.role}")
        assert f"</{block.role}>" in lines[block.html[1] - 1]
    table = blocks[3]
    assert table.markdown
    assert markdown[table.markdown[0] - 1 : table.markdown[1]] == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]
    assert {element.text for element in page.elements if not element.html} == {"a", "b", "1", "2"}


@pytest.mark.chromium
def test_blocks_are_apart_from_top_to_bottom_and_have_ink(renderer: DocumentRenderer) -> None:
    pixels = None
    for number in range(6):
        page = renderer.render(read_markdown(DOCUMENT).root, OPTIONS, rng_for(number))
        if page.style.columns > 1:
            continue
        blocks = [element for element in page.elements if element.html]
        assert all(first.box[3] <= second.box[1] + 1 for first, second in itertools.pairwise(blocks))
        pixels = grey(page)
        for element in page.elements:
            x1, y1, x2, y2 = (round(value) for value in element.box)
            area = pixels[y1 : y2 + 1, x1 : x2 + 1]
            assert area.max() - area.min() > 60, element
    assert pixels is not None


@pytest.mark.chromium
def test_an_address_is_printed_only_where_the_code_has_it(renderer: DocumentRenderer) -> None:
    printed = renderer.render(read_markdown("see [this](http://x.y/zzz) text", links=True).root, OPTIONS, rng_for(0))
    plain = renderer.render(read_markdown("see [this](http://x.y/zzz) text").root, OPTIONS, rng_for(0))
    assert "[this](http://x.y/zzz)" in printed.markdown
    assert "http" not in plain.markdown + plain.html
    assert printed.png != plain.png


@pytest.mark.chromium
def test_a_label_that_says_something_else_is_dropped(
    renderer: DocumentRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = parse_markup("<p>one two</p>")
    monkeypatch.setattr("step3vl.pipelines.render.web.document.block_lines", lambda block: ["<p>one three</p>"])
    with pytest.raises(Dropped, match="html_differs"):
        renderer.render(root, OPTIONS, rng_for(0))


@pytest.mark.chromium
@pytest.mark.parametrize(
    ("css", "reason"),
    [
        ("p { display: none; }", "text_not_shown"),
        ("p { text-transform: uppercase; }", "text_not_shown"),
        ("p { margin-left: -500px; }", "page_cut_off"),
        ("main { width: 50px; } p { white-space: pre; }", "page_too_wide"),
    ],
)
def test_a_page_that_does_not_show_its_text_is_dropped(
    renderer: DocumentRenderer, monkeypatch: pytest.MonkeyPatch, css: str, reason: str
) -> None:
    def styled(*arguments: object) -> object:
        style = pick_web_style(*arguments)  # type: ignore[arg-type]
        return type(style)(f"{style.css}\n{css}", style.families, style.fonts, style.columns, style.traits)

    monkeypatch.setattr("step3vl.pipelines.render.web.document.pick_web_style", styled)
    with pytest.raises(Dropped, match=reason):
        renderer.render(parse_markup(f"<p>{'some words ' * 40}</p>"), OPTIONS, rng_for(1))


@pytest.mark.chromium
def test_characters_without_a_font_are_dropped(renderer: DocumentRenderer) -> None:
    with pytest.raises(Dropped, match="no_font_has_all_characters"):
        renderer.render(parse_markup("<p>ᚠᚢᚦ</p>"), OPTIONS, rng_for(0))


def test_two_fonts_together_have_all_characters(families: list[FontFamily]) -> None:
    fonts = pick_fonts(families, "Latin text 不亦说乎", "x = 1", rng_for(0))
    assert len(fonts) in (2, 3)
    assert all(any(font.covers(c) for font in fonts[:-1]) for c in "Latin不亦说乎")
    assert fonts[-1].name == "DejaVu Sans Mono"


def test_styles_are_readable_and_many(families: list[FontFamily]) -> None:
    styles = {pick_web_style(families[:1], False, False, False, rng_for(number)).css for number in range(200)}
    assert len(styles) == 200
    for css in styles:
        body = css[css.index("body {") :]
        paper, ink = (body[body.index(name) + len(name) :][:7] for name in ("background: ", "color: "))
        assert contrast(paper, ink) >= 7


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert mix("#000000", "#ffffff", 0.5) == "#808080"


def test_merged_cells_have_lines_between_them(families: list[FontFamily]) -> None:
    for number in range(30):
        style = pick_web_style(families[:1], False, True, True, random.Random(number))
        assert style.traits["table_lines"] == "all"


def test_the_page_is_made_of_the_tree_alone() -> None:
    root = parse_markup("<p>a</p>")
    assert etree.tostring(root) == b"<article><p>a</p></article>"
