"""Whether a text stands at a place of an image, by PaddleOCR: the second opinion of label checks."""

import unicodedata

from PIL import Image as PILImage
from rapidfuzz.fuzz import partial_ratio

from step3vl.data.sample import Box
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.render.pages.warp import quarter_turned
from step3vl.pipelines.sources.text.scripts import main_script

_READ = frozenset({"LATIN", "CHINESE", "JAPANESE", ""})  # scripts that the recogniser knows
_SMALL = 900  # pixels of the longer side, below which an image is enlarged twofold for the reader
_SHORT = 2  # characters; nothing can be said of a shorter text
_MARGIN = 0.5  # of a box's shorter side that is read around it


class TextFinder:
    """Reads images, as a whole or at a place.

    Args:
        similar: How well a text must be read to be found, of 100; less for handwriting and what is blurred.
    """

    def __init__(self, similar: float = 80) -> None:
        self._ocr, self._similar = OcrModel.shared(), similar

    def is_at(self, image: PILImage.Image, box: Box, text: str, turns: int = 0) -> bool:
        """Whether a text stands in a box; False where it stands elsewhere.

        Args:
            image: RGB.
            box: In any space.
            text: That is looked for.
            turns: Quarter turns, clockwise, by which the image's text is turned.

        Raises:
            Unchecked: The text cannot be read here nor elsewhere, or not by this reader.
        """
        if self.reads(image, box, text, turns):
            return True
        if self.is_on(image, text, turns):
            return False
        raise Unchecked("not_read")

    def reads(self, image: PILImage.Image, box: Box, text: str, turns: int = 0) -> bool:
        """Whether a text is read in a box, whatever is elsewhere. Raises Unchecked for one that the reader cannot."""
        return similarity(expected_letters(text), letters(self.read(_cropped(image, box), turns))) >= self._similar

    def has_line(self, image: PILImage.Image, text: str) -> bool:
        """Whether a text is all of a line that is read. Raises Unchecked for one that the reader does not know."""
        expected = expected_letters(text)
        return any(letters(line) == expected for line in self._lines(image))

    def is_on(self, image: PILImage.Image, text: str, turns: int = 0) -> bool:
        """Whether a text is read anywhere on an image. Raises Unchecked for one that the reader does not know."""
        return similarity(expected_letters(text), letters(self.read(image, turns))) >= self._similar

    def read(self, image: PILImage.Image, turns: int = 0) -> str:
        """All that is read on an image, whose text is turned by so many quarters."""
        return "".join(self._lines(image, turns))

    def _lines(self, image: PILImage.Image, turns: int = 0) -> list[str]:
        upright = quarter_turned(image, (4 - turns) % 4)
        if max(upright.size) < _SMALL:
            upright = upright.resize((2 * upright.width, 2 * upright.height), PILImage.Resampling.LANCZOS)
        return [line.text for line in self._ocr.read(upright)]


def expected_letters(text: str) -> str:
    """The letters of a text that is looked for. Raises Unchecked for one that the reader does not know."""
    if main_script(text) not in _READ:
        raise Unchecked("script_not_read")
    expected = letters(text)
    if len(expected) < _SHORT:
        raise Unchecked("too_short")
    return expected


def letters(text: str) -> str:
    """Letters and digits without accents, in lower case, as readers confuse marks and spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in plain if character.isalnum())


def similarity(expected: str, read: str) -> float:
    """How well a text occurs in what was read, 0..100; 0 where less was read."""
    return partial_ratio(expected, read) if len(read) >= len(expected) / 2 else 0.0


def _cropped(image: PILImage.Image, box: Box) -> PILImage.Image:
    """A box of an image and a margin around it."""
    pixels = box.to("pixels")
    margin = _MARGIN * min(pixels.x2 - pixels.x1, pixels.y2 - pixels.y1) + 4
    x1, y1 = max(0, round(pixels.x1 - margin)), max(0, round(pixels.y1 - margin))
    return image.crop(
        (x1, y1, round(min(image.width, pixels.x2 + margin)), round(min(image.height, pixels.y2 + margin)))
    )
