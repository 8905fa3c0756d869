"""Pages of PDF files as images, with the text that the file says is on them."""

import math
import threading
from pathlib import Path

import pypdfium2
from PIL import Image as PILImage

MAX_PIXELS = 40_000_000  # of a rendered page: A4 at 600 dpi has 35 million, and 120 MB
MAX_SIDE = 65_500  # the longest side of a JPEG
_LOCK = threading.Lock()  # PDFium is not safe to call from two threads


def page_count(path: Path) -> int:
    """Raises pypdfium2.PdfiumError when the file is damaged or locked by a password."""
    with _LOCK, pypdfium2.PdfDocument(path) as document:
        return len(document)


def render_page(path: Path, number: int, dpi: int) -> tuple[PILImage.Image, str]:
    """Render a page.

    A PDF of a few kilobytes may declare a page of any size; a page that would exceed `MAX_PIXELS` or `MAX_SIDE` is
    rendered at the highest resolution that does not.

    Args:
        path: The file.
        number: Of the page, from 0.
        dpi: The resolution.

    Returns:
        The page as RGB, and its text layer, which is empty for a scan.

    Raises:
        pypdfium2.PdfiumError: The file is damaged or locked by a password.
    """
    with _LOCK, pypdfium2.PdfDocument(path) as document:
        page = document[number]
        image = page.render(scale=_scale(page.get_size(), dpi)).to_pil().convert("RGB")
        text = page.get_textpage().get_text_range()
    return image, text


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
