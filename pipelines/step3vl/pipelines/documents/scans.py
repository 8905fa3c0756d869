"""The words of a scan, as files that have text state theirs: what the OCR reads, and where its ink is.

What is not beyond doubt is there too, as a word that nobody can name: it takes its place on the page, and nothing is
said of its text.
"""

from collections.abc import Sequence
from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from step3vl.data.sample import Box
from step3vl.pipelines.documents.blocks import is_vertical
from step3vl.pipelines.documents.reader import parts_of
from step3vl.pipelines.documents.reading_order import reading_order
from step3vl.pipelines.documents.two_readings import Readings, agreed_lines, is_same_place, reads_like
from step3vl.pipelines.models.ocr import OcrLine
from step3vl.pipelines.sources.documents.pdf_text import UNNAMED, PageWord

_CONTRAST = 48  # of 255, between paper and ink
_INK = 0.5  # of the contrast of a line, from which a pixel is ink


def scan_words(image: PILImage.Image, readings: Readings, min_confidence: float) -> list[PageWord]:
    """The lines of an upright scan as words in reading order; none where the text runs down or lies on its side.

    A word is named where both readings have it, surely and alike, its ink is in one piece, and no other line may say
    the same. The OCR's boxes have a margin that varies; a word has the box of its ink.

    Args:
        image: RGB.
        readings: Of the image.
        min_confidence: Of both readings of a line, 0..1.
    """
    first, second = readings
    if not first or is_vertical(first) or _lies(first):
        return []
    # Lines that the second reading alone has are lines too.
    lines = [*first, *(line for line in second if not any(is_same_place(line, other) for other in first))]
    sure = {id(line) for line in agreed_lines(first, second, min_confidence)}
    pixels = np.asarray(image.convert("L"))
    order = reading_order([line.box for line in lines], median(line.box.y2 - line.box.y1 for line in lines))
    words = []
    for line in (lines[place] for place in order):
        box = ink_box(pixels, line.box)
        others = (other for other in lines if other is not line)
        is_named = (
            id(line) in sure
            and box is not None
            and len(parts_of(_cut(pixels, box))) == 1
            and not any(reads_like(line.text, other.text) for other in others)
        )
        words.append(PageWord(text=line.text if is_named else UNNAMED, box=box or line.box))
    return words


def ink_box(pixels: npt.NDArray[np.uint8], box: Box) -> Box | None:
    """The box of the ink within a box; None where there is too little contrast to tell.

    Args:
        pixels: [height, width] of the image, 0..255.
        box: In pixels.
    """
    cut = _cut(pixels, box).astype(np.int16)
    contrast = np.abs(cut - int(np.median(cut)))
    strongest = int(contrast.max(initial=0))
    if strongest < _CONTRAST:
        return None
    ink = contrast >= _INK * strongest
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    x, y = int(box.x1), int(box.y1)
    x1, x2 = float(x + columns[0]), float(x + columns[-1] + 1)
    return Box(x1, float(y + rows[0]), x2, float(y + rows[-1] + 1), "pixels", box.size)


def _cut(pixels: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    return pixels[int(box.y1) : round(box.y2 + 0.5), int(box.x1) : round(box.x2 + 0.5)]


def _lies(lines: Sequence[OcrLine]) -> bool:
    """Whether most of the text is higher than wide: it lies on its side."""
    characters = [(len(line.text), line.box.y2 - line.box.y1 > line.box.x2 - line.box.x1) for line in lines]
    return 2 * sum(count for count, is_high in characters if is_high) > sum(count for count, _ in characters)
