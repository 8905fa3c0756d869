"""The words of a PDF page, where they stand on its image, and which of them can be seen."""

import ctypes
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image as PILImage
from PIL import ImageChops

from step3vl.data.config import Config
from step3vl.data.sample import Box

_UNIT = 1 << 20  # of a device whose whole numbers are fine enough to be taken for fractions
_DIFFERENCE = 24  # of 255 in one channel: fainter text is not seen
_INK = 0.03  # of a word's box that its ink covers at least; a full stop fills its own
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_DIVIDES = (0x02, 0xFFFE)  # PDFium's marks for a hyphen at the end of a line: it joins the word to its other half
_HYPHENS = {0x02: "-", 0xFFFE: "-", 0xAD: "-"}
UNNAMED = "\ufffd"
"""A character that the file shows and does not name."""
# Fonts have one glyph for a radical and the ideograph of its shape, and PDFs may name either. The ideographs of the
# first block are compatibility forms in Unicode; those of the second are from its list `EquivalentUnifiedIdeograph`,
# as far as they are words by themselves.
_RADICALS = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0x2F00, 0x2FD6)} | dict(
    zip(
        map(ord, "⺟⺠⻄⻅⻆⻉⻋⻑⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳"),
        "母民西见角贝车長长门青韦页风飞食马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟",
        strict=True,
    )
)
_CHARACTERS = {**_LIGATURES, **_HYPHENS, **_RADICALS}
_VALUES = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX)  # fields whose value is rendered as text


class PageWord(Config):
    """A word that a file says is on a page; of scripts without spaces, a run of characters."""

    text: str
    box: Box
    """Upright, in pixels of the page's image."""


def read_words(
    document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage, size: tuple[int, int]
) -> list[PageWord]:
    """The words of a page in the order of the file, then the values of its form fields; those off the page left out.

    Args:
        document: The file, whose forms are initialised.
        page: A page of it.
        text: The text of the page.
        size: Of the page's image, in pixels.
    """
    to_pixels = _Affine(page, size)
    words: list[PageWord] = []
    characters: list[str] = []
    corners: list[float] = []

    def close() -> None:
        if characters:
            box = to_pixels.box(corners[0::4], corners[1::4], corners[2::4], corners[3::4])
            if box is not None:
                words.append(PageWord(text=_joined(characters), box=box))
            characters.clear()
            corners.clear()

    sides = [ctypes.c_double() for _ in range(4)]
    for index in range(text.count_chars()):
        code = pdfium.FPDFText_GetUnicode(text.raw, index)
        character = _CHARACTERS.get(code) or chr(code)
        if character.isspace() or (code < 0x20 and code not in _CHARACTERS):
            close()
            continue
        if not pdfium.FPDFText_GetCharBox(text.raw, index, *sides):
            continue
        left, right, bottom, top = (side.value for side in sides)
        if right <= left or top <= bottom:  # an empty glyph, such as a space of no width
            continue
        # A font that does not name its characters: PDFium gives their codes, such as h for an angle bracket.
        named = not pdfium.FPDFText_HasUnicodeMapError(text.raw, index)
        characters.append(character if named else UNNAMED)
        corners += (left, right, bottom, top)
        if code in _DIVIDES:
            close()
    close()
    return words + _form_values(document, page, to_pixels)


def _joined(characters: Sequence[str]) -> str:
    """Characters as text; PDFium gives one beyond the first plane as two surrogates."""
    return "".join(characters).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class _Affine:
    """From a page's points to pixels of its image, whatever its boxes and its rotation."""

    def __init__(self, page: pypdfium2.PdfPage, size: tuple[int, int]) -> None:
        self._page, self._size = page, size
        self._origin = self._unit(0, 0)
        along_x, along_y = self._unit(1000, 0), self._unit(0, 1000)
        self._x = tuple((along_x[axis] - self._origin[axis]) / 1000 for axis in (0, 1))
        self._y = tuple((along_y[axis] - self._origin[axis]) / 1000 for axis in (0, 1))

    def _unit(self, x: float, y: float) -> tuple[float, float]:
        columns, rows = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDF_PageToDevice(self._page.raw, 0, 0, _UNIT, _UNIT, 0, x, y, columns, rows)
        return columns.value / _UNIT, rows.value / _UNIT

    def box(
        self, left: Sequence[float], right: Sequence[float], bottom: Sequence[float], top: Sequence[float]
    ) -> Box | None:
        """The box around some glyphs, clipped to the image; None when it is outside."""
        corners = [(min(left), min(bottom)), (max(right), max(top))]
        xs, ys = (
            sorted((self._origin[axis] + x * self._x[axis] + y * self._y[axis]) * self._size[axis] for x, y in corners)
            for axis in (0, 1)
        )
        width, height = self._size
        x1, x2 = max(xs[0], 0.0), min(xs[1], float(width))
        y1, y2 = max(ys[0], 0.0), min(ys[1], float(height))
        if not (x1 < x2 and y1 < y2):
            return None
        return Box(x1, y1, x2, y2, "pixels", self._size)


def _form_values(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, to_pixels: _Affine) -> list[PageWord]:
    """The words in the text fields of a form, which are no text of the page; each word with the box of its field."""
    if document.formenv is None:
        return []
    words = []
    for index in range(pdfium.FPDFPage_GetAnnotCount(page.raw)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, index)
        try:
            if pdfium.FPDFAnnot_GetFormFieldType(document.formenv.raw, annotation) not in _VALUES:
                continue
            size = pdfium.FPDFAnnot_GetFormFieldValue(document.formenv.raw, annotation, None, 0)
            buffer = (ctypes.c_ushort * (size // 2 + 1))()
            pdfium.FPDFAnnot_GetFormFieldValue(document.formenv.raw, annotation, buffer, size)
            value = bytes(buffer)[: max(size - 2, 0)].decode("utf-16-le", "replace")
            sides = pdfium.FS_RECTF()
            pdfium.FPDFAnnot_GetRect(annotation, sides)
            box = to_pixels.box([sides.left], [sides.right], [sides.bottom], [sides.top])
            words += [PageWord(text=word, box=box) for word in value.split() if box is not None]
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    return words


def page_turn(page: pypdfium2.PdfPage, text: pypdfium2.PdfTextPage) -> int:
    """The clockwise turn of most characters on the page's image: 0, 90, 180 or 270 degrees."""
    turns: Counter[int] = Counter()
    for index in range(text.count_chars()):
        angle = pdfium.FPDFText_GetCharAngle(text.raw, index)
        if angle >= 0 and not chr(pdfium.FPDFText_GetUnicode(text.raw, index)).isspace():
            turns[round(-math.degrees(angle) / 90) * 90 % 360] += 1
    turn = max(turns, key=lambda turn: (turns[turn], -turn), default=0)
    return (turn + page.get_rotation()) % 360


def turned_back(word: PageWord, turn: int) -> PageWord:
    """The word on the page's image after a clockwise turn of 0, 90, 180 or 270 degrees is undone."""
    box = word.box
    width, height = box.size
    if turn == 90:
        box = Box(box.y1, width - box.x2, box.y2, width - box.x1, "pixels", (height, width))
    elif turn == 180:
        box = Box(width - box.x2, height - box.y2, width - box.x1, height - box.y1, "pixels", (width, height))
    elif turn == 270:
        box = Box(height - box.y2, box.x1, height - box.y1, box.x2, "pixels", (height, width))
    return PageWord(text=word.text, box=box)


def visible_words(words: Sequence[PageWord], image: PILImage.Image, without: PILImage.Image) -> list[PageWord]:
    """The words that can be seen: where two renderings differ.

    Args:
        words: With boxes in pixels of the renderings.
        image: The page.
        without: The page without its text.
    """
    difference = np.asarray(ImageChops.difference(image, without)).max(axis=2) > _DIFFERENCE
    seen = []
    for word in words:
        x1, y1 = math.floor(word.box.x1), math.floor(word.box.y1)
        x2, y2 = math.ceil(word.box.x2), math.ceil(word.box.y2)
        if np.count_nonzero(difference[y1:y2, x1:x2]) >= max(1.0, _INK * word.box.area):
            seen.append(word)
    return seen
