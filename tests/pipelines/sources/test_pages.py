"""Whatever a document turns out to be, its error is the record's and says in plain words what is wrong."""

from pathlib import Path

import pypdfium2
import pytest
from PIL import Image as PILImage

from step3vl.data.sample import ImageError
from step3vl.pipelines.sources.documents.pages import count_pages, read_page
from step3vl.pipelines.sources.documents.pdf import PdfError

TECHNOTE = Path("data/samples/documents/technote.pdf")


def locked_pdf() -> bytes:
    """A PDF whose encryption dictionary no empty password opens."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] >>",
        b"<< /Filter /Standard /V 1 /R 2 /Length 40 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b"> >>",
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<< /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [<00><00>] >>"
    return data + b"trailer\n" + trailer + b"\nstartxref\n%d\n%%%%EOF\n" % start


def test_a_locked_pdf_is_said_to_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(locked_pdf())
    with pytest.raises(PdfError, match="locked by a password"):
        count_pages(path)


def test_a_pdf_without_pages_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.pdf"
    pypdfium2.PdfDocument.new().save(path)
    with pytest.raises(PdfError, match="without pages"):
        count_pages(path)


@pytest.mark.parametrize("size", [0, 5, 400])
def test_a_cut_pdf_is_said_to_be_damaged(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.pdf"
    path.write_bytes(TECHNOTE.read_bytes()[:size])
    with pytest.raises((PdfError, ImageError), match=r"damaged|known image format"):
        count_pages(path)


def test_what_is_no_document_is_named_without_the_path_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "noise.jpg"
    path.write_bytes(b"not an image")
    with pytest.raises(ImageError, match="the file is not in a known image format") as caught:
        count_pages(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_cut_image_fails_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    PILImage.effect_noise((60, 60), 50).save(path)
    path.write_bytes(path.read_bytes()[:-80])
    assert count_pages(path) == 1
    with pytest.raises(ImageError, match="damaged or truncated"):
        read_page(path, 0, 100)


def test_a_frame_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.tiff"
    page = PILImage.new("1", (9000, 9000))
    page.save(path, save_all=True, append_images=[page], compression="group4")
    assert count_pages(path) == 2
    with pytest.raises(ImageError, match="9000 x 9000 pixels are more than"):
        read_page(path, 1, 100)


def test_a_format_that_samples_cannot_hold_is_encoded_again(tmp_path: Path) -> None:
    path = tmp_path / "page.jp2"
    PILImage.new("RGB", (50, 40), (200, 30, 30)).save(path)
    page = read_page(path, 0, 100)
    assert page.image.format == "jpeg" and not page.is_file
