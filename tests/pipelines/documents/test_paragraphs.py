"""Lines and paragraphs of pages that are set by hand: 10 pixels high letters, 14 from line to line."""

from step3vl.data.sample import Box
from step3vl.pipelines.documents.paragraphs import page_lines, page_paragraphs
from step3vl.pipelines.sources.documents.pdf_text import PageWord

SIZE = (600, 400)
FULL = "words that fill a line of text"


def line(y: float, text: str = FULL, x: float = 50, gap: float = 4) -> list[PageWord]:
    """The words of a line, 8 pixels a letter."""
    words = []
    for word in text.split():
        words.append(PageWord(text=word, box=Box(x, y, x + 8 * len(word), y + 10, "pixels", SIZE)))
        x += 8 * len(word) + gap
    return words


def test_words_beside_each_other_are_a_line() -> None:
    (first, second) = page_lines([*line(20), *line(34, "and more")])
    assert (first.text, second.text) == (FULL, "and more")
    assert first.box == Box(50, 20, first.box.x2, 30, "pixels", SIZE)
    assert first.clear and second.clear


def test_a_wide_gap_begins_another_line_and_one_in_between_is_not_clear() -> None:
    columns = page_lines([*line(20, "left"), *line(20, "right", x=300)])
    assert [(each.text, each.clear) for each in columns] == [("left", True), ("right", True)]
    tabbed = page_lines([*line(20, "left"), *line(20, "right", x=50 + 32 + 20)])
    assert [each.clear for each in tabbed] == [False, False]


def test_what_overlaps_or_is_unnamed_or_has_no_letters_is_not_clear() -> None:
    over = page_lines([*line(20), *line(24, "laid over it", x=60)])
    assert [each.clear for each in over] == [False, False]
    assert not page_lines([*line(20), *line(60, "a \ufffd b")])[1].clear
    assert not page_lines([*line(20), *line(60, ". . .")])[1].clear


def test_paragraphs_are_told_by_space_and_by_indents() -> None:
    spaced = [*line(20), *line(34), *line(48, "and its end"), *line(90), *line(104), *line(118, "the other one")]
    blocks = page_paragraphs(page_lines(spaced))
    assert [(len(block.text.split()), block.clear) for block in blocks] == [(17, True), (17, True)]
    indented = [*line(20, x=70), *line(34), *line(48), *line(62, x=70), *line(76), *line(90)]
    blocks = page_paragraphs(page_lines(indented))
    assert [(block.box.y1, block.box.y2, block.clear) for block in blocks] == [(20, 58, True), (62, 100, True)]


def test_a_short_line_within_a_block_leaves_its_extent_open() -> None:
    ended = [*line(20), *line(34), *line(48, "ends"), *line(62), *line(76)]
    assert not any(block.clear for block in page_paragraphs(page_lines(ended)))


def test_headings_lists_and_single_lines_are_not_clear() -> None:
    page = [*line(20, "Heading"), *line(60, "one"), *line(74, "two"), *line(88, "three")]
    blocks = page_paragraphs(page_lines(page))
    assert not any(block.clear for block in blocks)
    assert len(page_lines(page)) == 4


def test_a_formula_that_touches_a_paragraph_leaves_it_open() -> None:
    clear = [*line(20), *line(34), *line(48)]
    assert [block.clear for block in page_paragraphs(page_lines(clear))] == [True]
    touched = [*clear, *line(64, "= + =", x=200)]
    assert not page_paragraphs(page_lines(touched))[0].clear


def test_a_page_without_words_has_nothing() -> None:
    assert page_lines([]) == []
    assert page_paragraphs([]) == []
