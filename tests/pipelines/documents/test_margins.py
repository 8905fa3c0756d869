"""Numbers of lines and notes in the margin: the body comes first, notes follow it, and numbers are in no label."""

import pytest
from tests.pipelines.documents.test_blocks import blocks, line, region, words_of

from step3vl.pipelines.documents.markup import to_markdown, to_text
from step3vl.pipelines.models.ocr import OcrLine

ROWS = [
    "It was the best of times, it was the worst of times,",
    "it was the age of wisdom, it was the age of foolish",
    "folk, it was the epoch of belief, it was the epoch of",
    "incredulity, it was the season of Light, it was the",
    "season of Darkness, it was the spring of hope, it was",
    "the winter of despair, we had everything before us.",
]
BODY = [line(text, 140, 200 + 24 * place, 620) for place, text in enumerate(ROWS)]
REGION = region("text", 130, 195, 625, 345)
TERMS = ("apple", "pear tree", "cherry", "plum")


def numbered(first: int, x: float = 90, every: int = 1) -> list[OcrLine]:
    """Numbers beside every line, or every so many."""
    return [
        line(str(first + place), x, 202 + 24 * place, x + 8 * len(str(first + place)), 11)
        for place in range(len(ROWS))
        if (first + place) % every == 0
    ]


@pytest.mark.parametrize(("first", "x"), [(1, 90), (7, 90), (97, 640)])
@pytest.mark.parametrize("wide", [False, True])
def test_numbers_of_lines_are_in_no_label(first: int, x: float, wide: bool) -> None:
    """With the numbers in a region of the layout, or outside of it."""
    regions = (region("text", 80, 195, 670, 345),) if wide else (REGION,)
    page = blocks(*BODY, *numbered(first, x), regions=regions)
    assert to_text(page) == "\n".join(ROWS)
    assert to_markdown(page) == " ".join(ROWS)


def test_every_second_number_is_enough_where_they_are_as_far_apart_as_they_say() -> None:
    rows = [*BODY, *(line(ROWS[place % 6], 140, 344 + 24 * place, 620) for place in range(6))]
    numbers = [line(str(place), 90, 202 + 24 * (place - 1), 100, 11) for place in range(2, 13, 2)]
    page = blocks(*rows, *numbers)
    assert not any(character.isdigit() for character in to_text(page))


def test_the_numbers_of_a_list_stay() -> None:
    items = [line(text, 140, 300 + 24 * place, 150 + 9 * len(text)) for place, text in enumerate(TERMS)]
    numbers = [line(str(place + 1), 110, 300 + 24 * place, 120) for place in range(len(TERMS))]
    page = blocks(*BODY[:4], *items, *numbers)
    assert [row for row in to_text(page).split("\n") if row[:1].isdigit()] == [
        f"{place + 1} {text}" for place, text in enumerate(TERMS)
    ]


def test_digits_that_do_not_count_the_lines_stay() -> None:
    years = [
        line(text, 90, 202 + 24 * place, 122, 11) for place, text in enumerate(("1999", "3", "77", "12", "5", "8"))
    ]
    assert "1999" in to_text(blocks(*BODY, *years))


NOTE = [line("A note on", 640, 226, 708, 11), line("the opening", 640, 240, 710, 11)]


@pytest.mark.parametrize("regions", [(REGION,), (REGION, region("text", 635, 222, 715, 255))])
def test_a_note_in_the_margin_follows_the_body(regions: tuple[object, ...]) -> None:
    """Also where the file has it between the lines that it stands beside."""
    more = [line(text, 140, 400 + 24 * place, 620) for place, text in enumerate(ROWS[:3])]
    in_file = [*BODY[:2], *NOTE, *BODY[2:], *more]
    second = region("text", 130, 395, 625, 470)
    for words in ((), words_of(*in_file)):
        page = blocks(*in_file, regions=(*regions, second), words=words)  # type: ignore[arg-type]
        assert to_markdown(page).split("\n\n") == [" ".join(ROWS), " ".join(ROWS[:3]), "A note on the opening"]
        assert to_text(page).split("\n\n")[-1] == "A note on\nthe opening"


def test_terms_as_large_as_their_definitions_are_no_notes() -> None:
    terms = [line(text, 60, 200 + 48 * place, 120) for place, text in enumerate(TERMS[:3])]
    text = to_text(blocks(*BODY, *terms))
    assert text.index("apple") < text.index("pear tree") < text.index(ROWS[5])


def test_a_page_of_two_columns_has_no_notes() -> None:
    left = [line(f"left line {place} of some words", 60, 200 + 24 * place, 370) for place in range(6)]
    right = [line(f"right line {place} of more", 420, 200 + 20 * place, 700, 11) for place in range(7)]
    assert [block.kind for block in blocks(*left, *right).blocks] == ["text", "text"]
