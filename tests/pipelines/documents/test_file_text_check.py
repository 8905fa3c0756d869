"""Labels of born-digital pages beside the text of their files."""

from pathlib import Path

import pytest
from tests.pipelines.small_pdf import show, write_pdf

from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.documents.file_text_check import FilePage, check_line, check_page, read_page

LEFT = (
    "Call me Ishmael and hear",
    "how it all came to pass",
    "in the year of the whale",
    "when I went to the sea-",
    "side with my old friend",
)
RIGHT = (
    "No man is an island",
    "entire of itself alone",
    "every man is a piece",
    "of the continent and",
    "a part of the main",
)
WHOLE = " ".join((*LEFT, *RIGHT)).replace("sea- side", "seaside")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> FilePage:
    """Two columns, which the file writes row by row, and a number at the foot of the page."""
    content = "".join(
        show(text, x, 330 - 14 * row)
        for row, pair in enumerate(zip(LEFT, RIGHT, strict=True))
        for text, x in zip(pair, (20, 220), strict=True)
    )
    path = tmp_path_factory.mktemp("pdf") / "page.pdf"
    return read_page(write_pdf(path, content + show("- 12 -", 190, 15), "/MediaBox [0 0 400 400]"), 0)


def test_a_label_with_all_words_in_order_is_right(page: FilePage) -> None:
    assert check_page(WHOLE, page, whole=True) is None
    assert check_page(f"{WHOLE} - 12 -", page, whole=True) is None, "a footer may be there"


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (WHOLE.replace("island", "highland").replace("whale", "snail"), "words_not_in_file"),
        (WHOLE + " and so on and on", "words_not_in_file"),
        (WHOLE.replace("entire of itself alone", ""), "words_left_out"),
        (" ".join((*RIGHT, *LEFT)).replace("sea- side", "seaside"), "order_differs"),
        (" ".join(sorted(WHOLE.split())), "order_differs"),
    ],
)
def test_planted_errors_are_found(page: FilePage, label: str, reason: str) -> None:
    assert check_page(label, page, whole=True) == reason


def test_the_order_of_the_file_or_that_of_its_layout_is_right(page: FilePage) -> None:
    by_rows = " ".join(f"{left} {right}" for left, right in zip(LEFT, RIGHT, strict=True))
    assert check_page(by_rows, page, whole=True) is None


def test_a_label_with_marks_may_leave_words_out(page: FilePage) -> None:
    assert check_page(WHOLE.replace("entire of itself alone", ""), page, whole=False) is None


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("Call me Ishmael and hear", None),
        ("12 call me ishmael", None),
        ("Call me Ismael and hear", "line_not_in_file"),
    ],
)
def test_a_line_must_be_in_the_file(page: FilePage, label: str, reason: str | None) -> None:
    assert check_line(label, page) == reason


def test_a_page_without_text_is_unchecked(tmp_path: Path) -> None:
    with pytest.raises(Unchecked, match="no_text_layer"):
        read_page(write_pdf(tmp_path / "empty.pdf", ""), 0)
