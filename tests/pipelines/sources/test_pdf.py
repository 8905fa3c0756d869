from pathlib import Path

import pypdfium2
import pytest

from step3vl.pipelines.sources.pdf import MAX_PIXELS, MAX_SIDE, PdfError, page_count, render_page

TECHNOTE = Path("data/samples/documents/technote.pdf")


def test_a_page_is_rendered_at_the_resolution_with_its_text() -> None:
    assert page_count(TECHNOTE) > 1
    small, text = render_page(TECHNOTE, 0, 36)
    large, _ = render_page(TECHNOTE, 0, 72)
    assert large.width == pytest.approx(2 * small.width, abs=2)
    assert "math" in text


def test_a_page_that_is_not_there_is_a_damaged_one() -> None:
    with pytest.raises((PdfError, IndexError)):
        render_page(TECHNOTE, 1000, 36)


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
    image, _ = render_page(page_of(tmp_path / "p.pdf", width, height), 0, dpi)
    assert image.width * image.height <= MAX_PIXELS
    assert max(image.size) <= MAX_SIDE
    expected = (width * dpi / 72, height * dpi / 72)
    if expected[0] * expected[1] < 0.98 * MAX_PIXELS and max(expected) < MAX_SIDE:
        assert image.size == pytest.approx(expected, abs=1)
    else:
        assert image.width * image.height > 0.98 * MAX_PIXELS or max(image.size) > 0.98 * MAX_SIDE
