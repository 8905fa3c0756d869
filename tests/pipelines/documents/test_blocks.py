"""From lines and regions to blocks in reading order."""

from typing import Any

import pytest

from step3vl.data.sample import Box
from step3vl.pipelines.documents.blocks import PageBlocks, PageRegion, page_blocks
from step3vl.pipelines.documents.markup import EDGES, to_markdown, to_text
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.models.tables import TableCell
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED, PageWord

SIZE = (800, 1000)


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(float(x1), float(y1), float(x2), float(y2), "pixels", SIZE)


def line(text: str, x1: float, y1: float, x2: float, height: float = 16, score: float = 0.99) -> OcrLine:
    return OcrLine(text=text, score=score, box=box(x1, y1, x2, y1 + height))


def region(kind: Any, x1: float, y1: float, x2: float, y2: float, cells: tuple[TableCell, ...] = ()) -> PageRegion:
    return PageRegion(kind=kind, score=0.9, box=box(x1, y1, x2, y2), cells=cells)


def blocks(*lines: OcrLine, regions: tuple[PageRegion, ...] = (), words: tuple[PageWord, ...] = ()) -> PageBlocks:
    return page_blocks(lines, regions, words, trusted=bool(words))


def words_of(*lines: OcrLine) -> tuple[PageWord, ...]:
    """The words of lines, evenly spread over their boxes."""
    words = []
    for each in lines:
        texts = each.text.split()
        step = (each.box.x2 - each.box.x1) / len(texts)
        for place, text in enumerate(texts):
            x1 = each.box.x1 + step * place
            words.append(PageWord(text=text, box=box(x1, each.box.y1, x1 + step - 2, each.box.y2)))
    return tuple(words)


PARAGRAPH = (
    line("It was a bright cold day in April, and the clocks", 100, 200, 700),
    line("were striking thirteen. The hallway smelt of boil-", 100, 222, 698),
    line("ed cabbage and old rag mats.", 100, 244, 400),
)


def test_lines_of_a_paragraph_are_joined_and_a_divided_word_is_whole() -> None:
    page = blocks(*PARAGRAPH)
    assert to_markdown(page) == " ".join(each.text for each in PARAGRAPH).replace("boil- ed", "boiled")
    assert to_text(page) == "\n".join(each.text for each in PARAGRAPH)


def test_a_title_has_the_level_of_its_size() -> None:
    sizes = ((32, "#"), (24, "##"), (18, "###"))
    for size, mark in sizes:
        title = line("Chapter", 100, 150, 300, size)
        page = blocks(title, *PARAGRAPH, regions=(region("title", 95, 148, 310, 152 + size),))
        assert to_markdown(page).startswith(f"{mark} Chapter\n\nIt was")


def test_headers_footers_and_stamps_are_in_the_text_and_not_in_markdown() -> None:
    header = line("THE BOOK", 300, 30, 420)
    stamp = OcrLine(text="arXiv:2601.09668v2", score=0.98, box=box(20, 300, 40, 700))
    number = line("- 12 -", 380, 950, 420)
    page = blocks(number, stamp, *PARAGRAPH, header, regions=(region("header", 290, 25, 430, 50),))
    assert [block.kind for block in page.blocks] == ["header", "text", "footer", "margin"]
    assert to_text(page).startswith("THE BOOK\n\nIt was") and to_text(page).endswith("- 12 -\n\narXiv:2601.09668v2")
    markdown = to_markdown(page)
    assert markdown.startswith("It was") and markdown.endswith("mats.")
    assert {"header", "footer", "margin", "line_number"} == set(EDGES)


def test_a_header_in_large_letters_is_a_title_and_one_in_the_middle_is_text() -> None:
    large, middle = line("A Study", 300, 30, 500, 30), line("not at the edge", 100, 500, 300)
    page = blocks(
        large,
        *PARAGRAPH,
        middle,
        regions=(region("header", 290, 25, 510, 65), region("header", 95, 495, 310, 520)),
    )
    assert [block.kind for block in page.blocks] == ["title", "text", "text"]


def test_formulas_and_figures_are_marked_unless_they_are_text() -> None:
    formula, label = line("E=mc2", 300, 300, 420), line("axis", 300, 500, 350)
    regions = (region("equation", 290, 295, 430, 320), region("figure", 100, 400, 700, 800))
    page = blocks(*PARAGRAPH, formula, label, regions=regions)
    assert to_markdown(page).endswith("mats.\n\n[formula]\n\n[figure]")
    wrong = (region("equation", 95, 195, 705, 265),)
    assert to_markdown(blocks(*PARAGRAPH, regions=wrong)).startswith("It was a bright")
    wrong = (region("figure", 50, 150, 750, 900),)
    assert to_markdown(blocks(*PARAGRAPH, regions=wrong)).startswith("It was a bright")


def test_lines_that_are_not_filled_keep_their_ends() -> None:
    verses = [
        line("Shall I compare thee", 100, 200, 320),
        line("to a summer's day?", 100, 222, 300),
        line("Thou art more lovely and more temperate than I can say", 100, 244, 690),
        line("in verse", 100, 266, 190),
    ]
    assert to_markdown(blocks(*verses)) == "\n".join(each.text for each in verses)


def test_items_are_paragraphs_and_bullets_are_dashes() -> None:
    items = [
        line("• one thing that is so long that it needs the whole", 100, 200, 700),
        line("of a line and more", 116, 222, 300),
        line("• another", 100, 244, 200),
        line("3. a third", 100, 266, 210),
    ]
    assert to_markdown(blocks(*items)) == (
        "- one thing that is so long that it needs the whole of a line and more\n\n- another\n\n3. a third"
    )


def test_ideographs_are_joined_without_spaces() -> None:
    lines = [line("学而时习之，不亦说乎？有朋自远方来，", 100, 200, 700), line("不亦乐乎？", 100, 222, 250)]
    assert to_markdown(blocks(*lines)) == "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？"


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("缺省的参数(即:不要尝试)", "缺省的参数（即：不要尝试）"),
        ("有视频卡（帧缓存的)和", "有视频卡（帧缓存的）和"),
        ("这些文档(或者更准确地说,", "这些文档（或者更准确地说，"),
        ("软件包)同名的子目录", "软件包）同名的子目录"),
        ("优先级(priority)的参数", "优先级(priority)的参数"),
        ("The capital (東京) is large", "The capital (東京) is large"),
    ],
)
def test_marks_of_chinese_text_are_wide(read: str, expected: str) -> None:
    other = line("这是（另一）行", 100, 400, 300)
    assert to_text(blocks(line(read, 100, 200, 500), other)).startswith(expected)


def test_brackets_stay_as_they_are_where_no_wide_one_was_read() -> None:
    assert to_text(blocks(line("缺省的参数(即:不要尝试)", 100, 200, 500))) == "缺省的参数(即：不要尝试)"


def test_short_paragraphs_in_one_region_are_parted() -> None:
    tops = (200, 214, 240, 254, 280, 306, 320)  # paragraphs of two, two, one and two lines
    lines = [line(f"These are the words of line {top}", 100, top, 700, 12) for top in tops]
    page = blocks(*lines, regions=(region("reference", 95, 195, 705, 340),))
    assert [len(part.split("These")) - 1 for part in to_markdown(page).split("\n\n")] == [2, 2, 1, 2]


def test_a_large_line_of_words_within_a_region_is_a_title() -> None:
    lines = [line("These are the words of a line", 100, top, 700, 12) for top in (100, 114, 128, 200, 214, 228)]
    inside = (region("text", 95, 95, 705, 245),)
    for text, start in (("Boot parameters", "### "), ("It is large.", ""), ("x = 2 + 3 - 4", "")):
        parts = to_markdown(blocks(*lines, line(text, 100, 160, 300, 16), regions=inside)).split("\n\n")
        assert parts[1] == start + text, text


def test_vertical_text_is_read_from_the_right() -> None:
    columns = ["学而时习之不亦说乎", "有朋自远方来不亦乐乎", "温故而知新可以为师矣"]
    lines = [
        OcrLine(text=text, score=0.99, box=box(600 - 60 * place, 100, 630 - 60 * place, 500))
        for place, text in enumerate(columns)
    ]
    page = blocks(*reversed(lines))
    assert page.vertical
    assert to_text(page) == "\n".join(columns)


def columns() -> tuple[list[OcrLine], list[OcrLine]]:
    left = [line(f"left column number {count} says this much", 60, 200 + 22 * count, 380) for count in range(6)]
    right = [line(f"right column number {count} says this much", 420, 200 + 22 * count, 740) for count in range(6)]
    return left, right


def test_two_columns_are_read_one_after_the_other() -> None:
    left, right = columns()
    mixed = [each for pair in zip(left, right, strict=True) for each in pair]
    assert to_text(blocks(*mixed)).split("\n") == [each.text for each in left] + [""] + [each.text for each in right]


def test_the_file_decides_the_order_of_blocks_where_it_visits_them_one_by_one() -> None:
    left, right = columns()
    regions = (region("text", 55, 195, 385, 335), region("text", 415, 195, 745, 335))
    page = blocks(*left, *right, regions=regions, words=words_of(*right, *left))
    assert to_text(page).startswith("right column")
    interleaved = [each for pair in zip(right, left, strict=True) for each in pair]
    page = blocks(*left, *right, regions=regions, words=words_of(*interleaved))
    assert to_text(page).startswith("left column")


@pytest.mark.parametrize(
    ("read", "spelling", "expected"),
    [
        ("the fa11 of the city of Troy", "the fall of the city of Troy", "the fall of the city of Troy"),
        ("thefall of Troy", "the fall of Troy", "the fall of Troy"),
        ("height=(dimension) and more", "height=hdimensioni and more", "height=(dimension) and more"),
        ("see → here and there", f"see {UNNAMED} here and there", "see → here and there"),
        ("the fall of Troy", "quite another line", "the fall of Troy"),
        ("价格为 10 元", "价格为10元", "价格为10元"),
    ],
)
def test_a_line_is_spelled_as_the_file_does_where_that_can_be_right(read: str, spelling: str, expected: str) -> None:
    (block,) = blocks(line(read, 100, 200, 500), words=words_of(line(spelling, 100, 200, 500))).blocks
    assert block.lines[0].text == expected
