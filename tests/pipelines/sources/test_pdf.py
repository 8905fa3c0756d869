from pathlib import Path

import pypdfium2
import pytest
from tests.pipelines.small_pdf import show, write_pdf

from step3vl.data.sample import Box
from step3vl.pipelines.sources.documents.pdf import (
    MAX_PIXELS,
    MAX_SIDE,
    PdfError,
    RenderedPage,
    page_count,
    render_page,
)
from step3vl.pipelines.sources.documents.pdf_text import PageWord, turned_back

TECHNOTE = Path("data/samples/documents/technote.pdf")


def texts(page: RenderedPage) -> list[str]:
    return [word.text for word in page.words]


def test_a_page_is_rendered_at_the_resolution_with_its_words() -> None:
    assert page_count(TECHNOTE) > 1
    small, large = render_page(TECHNOTE, 0, 36), render_page(TECHNOTE, 0, 72)
    assert large.image.width == pytest.approx(2 * small.image.width, abs=2)
    assert texts(large)[:6] == ["Technical", "notes", "on", "the", "amsmath", "package"]
    assert large.turn == 0


def test_a_page_that_is_not_there_is_a_damaged_one() -> None:
    with pytest.raises((PdfError, IndexError)):
        render_page(TECHNOTE, 1000, 36)


def test_the_box_of_a_word_is_where_its_ink_is(tmp_path: Path) -> None:
    page = render_page(write_pdf(tmp_path / "a.pdf", show("Xylophone", 100, 150, 20)), 0, 72)
    (word,) = page.words
    ink = page.image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert ink is not None
    assert (word.box.x1, word.box.y1, word.box.x2, word.box.y2) == pytest.approx(ink, abs=1.5)


@pytest.mark.parametrize(
    "hidden",
    [
        show("secret", 20, 100, more="3 Tr") + "0 Tr ",
        "1 g " + show("secret", 20, 100) + "0 g ",
        show("secret", 20, 100) + "0.9 g 10 90 100 30 re f 0 g ",
        show("secret", 20, -40),
        "q 0 0 10 10 re W n " + show("secret", 20, 100) + "Q ",
    ],
    ids=["no mode of painting", "white on white", "under a rectangle", "below the page", "clipped away"],
)
def test_a_word_that_cannot_be_seen_is_no_word_of_the_page(tmp_path: Path, hidden: str) -> None:
    path = write_pdf(tmp_path / "a.pdf", hidden + show("seen", 20, 150))
    assert texts(render_page(path, 0, 100)) == ["seen"]


def test_a_radical_is_the_ideograph_of_its_shape(tmp_path: Path) -> None:
    names = {"a": "\u2f42", "b": "\u2ed3", "c": "\u6587"}  # two radicals, and the ideograph of the first
    path = write_pdf(tmp_path / "a.pdf", show("abc", 20, 100), names=names)
    assert texts(render_page(path, 0, 100)) == ["\u6587\u957f\u6587"]


def test_what_is_outside_the_crop_box_is_no_part_of_the_page(tmp_path: Path) -> None:
    content = show("inside", 60, 110) + show("outside", 20, 20)
    page = render_page(
        write_pdf(tmp_path / "a.pdf", content, "/MediaBox [0 0 300 200] /CropBox [50 100 300 200]"), 0, 72
    )
    assert page.image.size == (250, 100)
    assert texts(page) == ["inside"]


def test_the_values_of_a_form_are_rendered_and_are_words(tmp_path: Path) -> None:
    field = "/FT /Tx /T (name) /V (Ada Lovelace) /DA (/F1 12 Tf 0 g) /Rect [100 140 250 160]"
    page = render_page(write_pdf(tmp_path / "a.pdf", show("Name:", 20, 145), fields=[field]), 0, 72)
    assert texts(page) == ["Name:", "Ada", "Lovelace"]
    extrema = page.image.crop((100, 40, 250, 60)).convert("L").getextrema()
    assert extrema[0] < 100, "the value is in the image"


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_words_of_a_rotated_page_stand_where_they_are_rendered(tmp_path: Path, rotation: int) -> None:
    content = show("Seven", 60, 110, 20) + show("swans", 130, 110, 20)
    path = write_pdf(tmp_path / "a.pdf", content, f"/MediaBox [0 0 300 200] /Rotate {rotation}")
    page = render_page(path, 0, 72)
    assert page.turn == rotation
    first, second = sorted((turned_back(word, page.turn) for word in page.words), key=lambda word: word.box.x1)
    assert (first.text, second.text) == ("Seven", "swans")
    assert first.box.size == (300, 200)
    assert first.box.x1 == pytest.approx(61, abs=3) and first.box.x2 < second.box.x1
    assert first.box.centre.y == pytest.approx(83, abs=3)


def test_a_ligature_is_its_letters_and_a_divided_word_is_two(tmp_path: Path) -> None:
    content = show("be-", 20, 150) + show("gin", 20, 135)
    assert texts(render_page(write_pdf(tmp_path / "a.pdf", content), 0, 100)) == ["be-", "gin"]
    words = [word for number in range(3) for word in texts(render_page(TECHNOTE, number, 72))]
    assert any("fi" in word for word in words)
    assert not any("\ufb00" <= character <= "\ufb06" for word in words for character in word)


def page_of(path: Path, width: float, height: float) -> Path:
    document = pypdfium2.PdfDocument.new()
    document.new_page(width, height)
    document.save(path)
    return path


@pytest.mark.parametrize(
    ("width", "height", "dpi"),
    [(14400, 14400, 120), (14400, 14400, 600), (14400, 3, 600), (3, 14400, 600), (595, 842, 600), (2000, 2900, 600)],
)
def test_a_rendered_page_has_a_bounded_number_of_pixels(tmp_path: Path, width: int, height: int, dpi: int) -> None:
    image = render_page(page_of(tmp_path / "p.pdf", width, height), 0, dpi).image
    assert image.width * image.height <= MAX_PIXELS
    assert max(image.size) <= MAX_SIDE
    expected = (width * dpi / 72, height * dpi / 72)
    if expected[0] * expected[1] < 0.98 * MAX_PIXELS and max(expected) < MAX_SIDE:
        assert image.size == pytest.approx(expected, abs=1)
    else:
        assert image.width * image.height > 0.98 * MAX_PIXELS or max(image.size) > 0.98 * MAX_SIDE


def sides(word: PageWord) -> tuple[float, ...]:
    return word.box.x1, word.box.y1, word.box.x2, word.box.y2, *word.box.size


def test_turning_a_word_back_four_times_by_a_quarter_changes_nothing() -> None:
    word = PageWord(text="word", box=Box(20.0, 30.0, 80.0, 45.0, "pixels", (300, 200)))
    quarter = turned_back(word, 90)
    assert sides(quarter) == (30, 220, 45, 280, 200, 300), "what reads down after a clockwise turn reads up before it"
    assert turned_back(turned_back(turned_back(quarter, 90), 90), 90) == word
    assert turned_back(quarter, 270) == word
    assert turned_back(word, 180) == turned_back(quarter, 90)
