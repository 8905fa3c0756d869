"""Pages of PDF files as pictures, with the text that the file says is on them."""

import threading
from pathlib import Path

import pypdfium2
from PIL import Image as PILImage

_LOCK = threading.Lock()  # PDFium is not safe to call from two threads


def page_count(path: Path) -> int:
    """Raises pypdfium2.PdfiumError when the file is damaged or locked by a password."""
    with _LOCK, pypdfium2.PdfDocument(path) as document:
        return len(document)


def render_page(path: Path, number: int, dpi: int) -> tuple[PILImage.Image, str]:
    """The page as RGB and its text layer, which is empty for a scan. Raises as `page_count` does."""
    with _LOCK, pypdfium2.PdfDocument(path) as document:
        page = document[number]
        picture = page.render(scale=dpi / 72).to_pil().convert("RGB")  # a PDF's unit is 1/72 inch
        text = page.get_textpage().get_text_range()
    return picture, text
