"""Pages of a document: those of a PDF, or the frames of an image file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image as PILImage
from xxhash import xxh3_64_hexdigest

from step3vl.data.sample import FORMAT, Image, ImageError, Pointer, open_image, require_pixels, to_rgb
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.sources.documents import pdf
from step3vl.pipelines.sources.documents.pdf_text import PageWord

_PAGED = ("GIF", "TIFF", "WEBP")  # the frames of other formats are versions of one image
_FEW_WORDS = 10  # with fewer the file does not say how a page is turned
_QUALITY = 95  # of the JPEG of a page, which the OCR reads and which is encoded again for a sample


class DocumentImage(NamedTuple):
    """A page as an image, and what the file says about its text; nothing for a scan.

    `is_file` tells that the image is the whole file as it is.
    """

    image: Image
    words: tuple[PageWord, ...] = ()
    turn: int | None = None
    """The clockwise turn of the text in degrees; None where the file does not say."""
    is_file: bool = False


def count_pages(path: Path) -> int:
    """The number of pages of a PDF or of frames of a GIF, TIFF or WebP; 1 for other images.

    Raises:
        PdfError: The PDF is damaged, locked by a password, or has no pages.
        ImageError: The file is neither a PDF nor an image.
    """
    if _is_pdf(path):
        return pdf.page_count(path)
    with _open_image(path) as image:
        return _frames(image)


def read_page(path: Path, number: int, dpi: int) -> DocumentImage:
    """A page of a document as an image.

    A PDF page is rendered. An image file of a single frame stays as it is, if samples may hold its format; other
    frames are encoded as JPEG, upright and on white.

    Args:
        path: The file.
        number: Of the page, from 0.
        dpi: The resolution of a PDF page.

    Raises:
        PdfError: The PDF or its page is damaged, or it is locked by a password.
        ImageError: The file is no image, is damaged, or has more pixels than the model's limit.
    """
    if _is_pdf(path):
        page = pdf.render_page(path, number, dpi)
        turn = page.turn if len(page.words) >= _FEW_WORDS else None
        return DocumentImage(encode_jpeg(page.image, _QUALITY), page.words, turn)
    with _open_image(path) as image:
        image.seek(number)
        require_pixels(image)
        if _frames(image) == 1 and image.format in FORMAT:
            return DocumentImage(Image.from_bytes(path.read_bytes()), is_file=True)
        return DocumentImage(encode_jpeg(to_rgb(image), _QUALITY))


def left_in_file(image: Image, file: InputFile) -> Image:
    """The image of a whole file, which stays where it is and is pointed to."""
    data = image.read()
    return image.stored_at(Pointer(path=file.url, offset=0, size=len(data), xxh3=xxh3_64_hexdigest(data)))


def _is_pdf(path: Path) -> bool:
    """By content: a store's object may have any name. PDFium too looks for the mark in the first kilobyte."""
    with path.open("rb") as file:
        return b"%PDF-" in file.read(1024)


@contextmanager
def _open_image(path: Path) -> Iterator[PILImage.Image]:
    try:
        image = open_image(path)
    except ImageError as error:  # without the path of this machine's copy
        raise ImageError(str(error).replace(str(path), "the file")) from None
    with image:
        yield image


def _frames(image: PILImage.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format in _PAGED else 1
