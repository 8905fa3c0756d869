"""Pages of PDF files as images, with the words that the file says are on them and that can be seen."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pypdfium2
import pypdfium2.raw
from PIL import Image as PILImage

from step3vl.pipelines.sources.documents.pdf_text import PageWord, page_turn, read_words, visible_words

MAX_PIXELS = 40_000_000  # of a rendered page: A4 at 600 dpi has 35 million, and 120 MB
MAX_SIDE = 65_500  # the longest side of a JPEG
_LOCK = threading.Lock()  # PDFium is not safe to call from two threads
_REASONS = {
    pypdfium2.raw.FPDF_ERR_PASSWORD: "the PDF is locked by a password",
    pypdfium2.raw.FPDF_ERR_SECURITY: "the PDF is encrypted in a way that PDFium does not know",
    pypdfium2.raw.FPDF_ERR_FORMAT: "the PDF is damaged, cut off or without pages",
}


class PdfError(Exception):
    """A PDF cannot be read. The message is the reason in plain words."""


def page_count(path: Path) -> int:
    """The number of pages, at least 1.

    Raises:
        PdfError: The file is damaged, locked by a password, or has no pages.
    """
    with _document(path) as document:
        pages = len(document)
    if pages == 0:
        raise PdfError("the PDF has no pages")
    return pages


class RenderedPage(NamedTuple):
    """A page as RGB, and what the file says about its text."""

    image: PILImage.Image
    words: tuple[PageWord, ...]
    """In the order of the file; those that cannot be seen are left out."""
    turn: int
    """The clockwise turn of most of the text on the image: 0, 90, 180 or 270 degrees."""


def render_page(path: Path, number: int, dpi: int) -> RenderedPage:
    """Render a page, with the values of its form fields.

    A PDF of a few kilobytes may declare a page of any size; a page that would exceed `MAX_PIXELS` or `MAX_SIDE` is
    rendered at the highest resolution that does not. The page is rendered a second time without its text: a word is
    seen where the two differ, so invisible, covered, clipped and white text is not taken for text of the page.

    Args:
        path: The file.
        number: Of the page, from 0.
        dpi: The resolution.

    Raises:
        PdfError: The file or the page is damaged, or the file is locked by a password.
    """
    with _document(path) as document:
        try:
            page = document[number]
            scale = _scale(page.get_size(), dpi)
            image = page.render(scale=scale).to_pil().convert("RGB")
            text = page.get_textpage()
            words = read_words(document, page, text, image.size)
            turn = page_turn(page, text)
            if words:
                words = visible_words(words, image, _without_text(page, text, scale))
        except pypdfium2.PdfiumError as error:
            raise PdfError(f"page {number + 1} of the PDF is damaged: {error}") from None
    return RenderedPage(image, tuple(words), turn)


def _without_text(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage, scale: float) -> PILImage.Image:
    """The page once its text objects, also those in forms that it contains, are made invisible."""
    for index in range(text.count_chars()):
        text_object = pypdfium2.raw.FPDFText_GetTextObject(text.raw, index)
        if text_object:
            pypdfium2.raw.FPDFTextObj_SetTextRenderMode(text_object, pypdfium2.raw.FPDF_TEXTRENDERMODE_INVISIBLE)
    return page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")  # words: pypdfium2's keyword


@contextmanager
def _document(path: Path) -> Iterator[pypdfium2.PdfDocument]:
    with _LOCK:
        # PDFium sets no error for a document without pages and leaves that of an earlier one: this one is FORMAT.
        pypdfium2.raw.FPDF_LoadMemDocument(b"", 0, None)
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise PdfError(_REASONS.get(error.err_code, f"the PDF cannot be opened: {error}")) from None
        with document:
            document.init_forms()
            yield document


def _scale(size: tuple[float, float], dpi: int) -> float:
    """Pixels of a PDF's unit, 1/72 inch: as many as the resolution has, or as the limits allow.

    PDFium rounds both sides up, so the limits are those of a page that is one pixel smaller.
    """
    width, height = size
    scale = dpi / 72
    if (width * scale + 1) * (height * scale + 1) <= MAX_PIXELS and max(size) * scale + 1 <= MAX_SIDE:
        return scale
    # The positive root of (width * scale + 1) * (height * scale + 1) = MAX_PIXELS.
    half, product = (width + height) / 2, width * height
    largest = (math.sqrt(half * half + product * (MAX_PIXELS - 1)) - half) / product
    return min(scale, largest, (MAX_SIDE - 1) / max(size))
