"""Every layout of a page, and every way to take its image: boxes are compared with the ink that is really there."""

import random
from typing import get_args

import numpy as np
import pytest

from step3vl.pipelines.core.assets import packaged_assets
from step3vl.pipelines.domains.ocr_text_pages import LAYOUTS, Layout
from step3vl.pipelines.render.pages.camera import Capture, shoot
from step3vl.pipelines.render.pages.legible import contrast, overlaps
from step3vl.pipelines.render.pages.page_style import Copy, PageStyle, Uncovered
from step3vl.pipelines.render.pages.sheet import Pen, Sheet, TextLine
from step3vl.pipelines.render.pages.typefaces import Typeface, TypefaceLibrary
from step3vl.pipelines.render.style import luminance

FONTS = [*packaged_assets("assets:fonts/**/*.ttf").values(), *packaged_assets("assets:fonts/**/*.otf").values()]
TEXTS = {
    "LATIN": "It was the best of times, it was the worst of times. " * 12 + "\nA second paragraph has a few words.",
    "CHINESE": "先天下之忧而忧，后天下之乐而乐。\n山不在高，有仙则名。水不在深，有龙则灵。" * 8,
    "ARABIC": "على قدر أهل العزم تأتي العزائم وتأتي على قدر الكرام المكارم. " * 8,
}


@pytest.fixture(scope="module")
def library() -> TypefaceLibrary:
    return TypefaceLibrary(sorted(FONTS))


def _face(library: TypefaceLibrary, name: str) -> Typeface:
    return next(face for face in library.faces if face.path.name == name)


def _ink_box(sheet: Sheet) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(sheet.ink()))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize(
    ("font", "text", "right_to_left"),
    [
        ("DejaVuSerif.ttf", "Jumping, fjords (x)", False),
        ("Caveat.ttf", "by hand", False),
        ("NotoSansJP.otf", "古池や蛙飛びこむ水の音。", False),
        ("NotoNaskhArabic.ttf", "العلم يرفع بيتا", True),
        ("NotoSansDevanagari.ttf", "धीरे धीरे रे मना", False),
        ("NotoSansThai.ttf", "รู้รักษาตัวรอดเป็นยอดดี", False),
    ],
)
def test_the_box_of_a_line_is_the_box_of_its_ink(
    library: TypefaceLibrary, font: str, text: str, right_to_left: bool
) -> None:
    sheet = Sheet((600, 100), (255, 255, 255), right_to_left)
    line = sheet.write(sheet.block("part"), text, Pen(_face(library, font), 33, (0, 0, 0)), 20, 60)
    assert line is not None and line.text == text
    assert line.box == _ink_box(sheet)


def test_a_vertical_line_runs_down(library: TypefaceLibrary) -> None:
    sheet = Sheet((80, 400), (255, 255, 255))
    line = sheet.write_down(
        sheet.block("part"), "古池や蛙", Pen(_face(library, "NotoSansJP.otf"), 40, (0, 0, 0)), 40, 20
    )
    assert line is not None and line.box == _ink_box(sheet)
    assert line.box[3] - line.box[1] > 3 * (line.box[2] - line.box[0])


def test_words_have_boxes_of_their_own(library: TypefaceLibrary) -> None:
    sheet = Sheet((600, 100), (255, 255, 255))
    pen = Pen(_face(library, "RobotoSlab.ttf"), 30, (0, 0, 0))
    line = sheet.write(sheet.block("part"), ["three ", "little ", "words"], pen, 20, 60, 300, "justify")
    assert line is not None
    assert [word.text for word in line.words] == ["three", "little", "words"]
    ink = np.asarray(sheet.ink())
    for word, after in zip(line.words, line.words[1:], strict=False):
        x2, x1 = int(word.box[2]), int(after.box[0])
        assert x2 < x1 and not ink[:, x2:x1].any()
    assert abs(line.box[2] - 320) < 4  # justified to the right edge


def test_nothing_is_set_where_it_would_be_cut(library: TypefaceLibrary) -> None:
    sheet = Sheet((60, 60), (255, 255, 255))
    pen = Pen(_face(library, "DejaVuSans.ttf"), 30, (0, 0, 0))
    block = sheet.block("part")
    assert sheet.write(block, "too wide", pen, 5, 40) is None
    assert not block.rows and not np.asarray(sheet.ink()).any()


def test_a_paragraph_gives_back_what_does_not_fit(library: TypefaceLibrary) -> None:
    sheet = Sheet((200, 100), (255, 255, 255))
    pen = Pen(_face(library, "DejaVuSans.ttf"), 20, (0, 0, 0))
    text = "one two three four five six seven eight nine ten eleven twelve"
    block = sheet.block("prose")
    _, rest = sheet.paragraph(block, text, pen, 10, 10, 180, 95)
    assert " ".join(block.text().split()) + " " + rest == text and len(block.rows) == 3


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("script", TEXTS)
def test_all_ink_of_a_layout_is_inside_the_boxes_of_its_lines(
    library: TypefaceLibrary, layout: Layout, script: str
) -> None:
    if layout == "vertical" and script != "CHINESE":
        pytest.skip("runs from top to bottom in Chinese and Japanese only")
    for seed in range(2):
        rng = random.Random(f"{layout}{script}{seed}")
        copy = Copy(TEXTS[script], rng)
        try:
            sheet = LAYOUTS[layout][0]((500, 600), copy, PageStyle(copy, library, (12, 18), rng), rng)
        except Uncovered:
            continue
        lines = sheet.lines()
        assert lines and all(line.text.strip() for line in lines)
        assert not overlaps(lines)
        ink = np.array(sheet.ink())
        assert ink.shape == (sheet.size[1], sheet.size[0])
        for line in lines:
            x1, y1, x2, y2 = map(int, line.box)
            assert ink[y1:y2, x1:x2].any()
        for line in lines:
            x1, y1, x2, y2 = map(int, line.box)
            ink[y1:y2, x1:x2] = 0
        assert not ink.any()
        assert abs(luminance(sheet.paper) - luminance(lines[0].colour)) > 0.25


def _page(library: TypefaceLibrary, seed: int) -> tuple[Sheet, list[TextLine]]:
    rng = random.Random(seed)
    copy = Copy(TEXTS["LATIN"], rng)
    sheet = LAYOUTS["article"][0]((500, 600), copy, PageStyle(copy, library, (14, 18), rng), rng)
    return sheet, sheet.lines()


@pytest.mark.parametrize("capture", get_args(Capture))
def test_boxes_move_with_the_ink(library: TypefaceLibrary, capture: Capture) -> None:
    for seed in range(6):
        sheet, lines = _page(library, seed)
        shot = shoot(sheet, capture, 14, None, random.Random(seed))
        for turned in (shot, shot.turned(1), shot.turned(2), shot.turned(3)):
            assert turned.ink.shape == (turned.image.height, turned.image.width)
            ink = np.array(turned.ink)
            boxes = [turned.box([line.box]) for line in lines]
            for box in boxes:
                assert box.size == turned.image.size
                window = ink[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)]
                rows, columns = np.nonzero(window > 60)
                # A line that is turned by degrees touches its upright box at corners only.
                slack = 4 + 0.06 * max(window.shape)
                assert columns.min() < slack and columns.max() > window.shape[1] - slack
                assert rows.min() < slack and rows.max() > window.shape[0] - slack
            for box in boxes:
                ink[int(box.y1 - 1) : int(box.y2 + 2), int(box.x1 - 1) : int(box.x2 + 2)] = 0
            assert (ink > 60).sum() == 0
            assert contrast(turned, boxes) > 0


def test_contrast_tells_readable_from_faded(library: TypefaceLibrary) -> None:
    def seen(colour: tuple[int, int, int]) -> float:
        sheet = Sheet((300, 80), (255, 255, 255))
        line = sheet.write(sheet.block("part"), "faded", Pen(_face(library, "DejaVuSans.ttf"), 40, colour), 20, 55)
        assert line is not None
        shot = shoot(sheet, "screenshot", 40, None, random.Random(0))
        return contrast(shot, [shot.box([line.box])])

    assert seen((0, 0, 0)) > 0.9
    assert 0.15 < seen((200, 200, 200)) < 0.3
    assert seen((250, 250, 250)) < 0.05


def test_text_over_text_is_noticed(library: TypefaceLibrary) -> None:
    sheet = Sheet((300, 200), (255, 255, 255))
    pen = Pen(_face(library, "DejaVuSans.ttf"), 30, (0, 0, 0))
    for baseline in (60, 120):
        sheet.write(sheet.block("part"), "text", pen, 20, baseline)
    assert not overlaps(sheet.lines())
    sheet.write(sheet.block("part"), "text", pen, 40, 130)
    assert overlaps(sheet.lines())
