"""What a third reading proves of questions about scans: where lines begin and end, and what no line says.

The reading sees the image at another scale than the two that made the objects, and is compared with truths alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import median

from PIL import Image as PILImage

from step3vl.data.sample import Box, BoxTruth, Image, PointTruth, Truth
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.documents.lines import around, is_centred_in, same_row
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.models.text_finder import expected_letters, letters, similarity

_SCALE = 1.3  # of the third reading
_RECENT = 8  # readings that are kept, for an image has several questions
_OFF = 0.6  # of a line's height, by which a side may differ: the OCR's boxes have a margin
_MISREAD = 90  # similarity of 100 in letters, from which a text is read on a page


class ScanCheck:
    """Reads scans once more, and compares.

    Args:
        model: Reads.
    """

    def __init__(self, model: OcrModel) -> None:
        self._model = model
        self._lines = lru_cache(_RECENT)(self._read)

    def reason(self, image: Image, truth: Truth, lines: Sequence[Box], absent: Sequence[str]) -> str | None:
        """None for a truth that the reading confirms, or what is wrong with it.

        Args:
            image: Of the sample.
            truth: Of the sample.
            lines: Boxes that are to be one line each.
            absent: Texts that are said to be nowhere.

        Raises:
            Unchecked: Nothing is read in a box.
        """
        read = self._lines(image)
        for text in absent:
            expected = expected_letters(text)
            if any(similarity(expected, letters(line.text)) >= _MISREAD for line in read):
                return "is_there"
        if isinstance(truth, BoxTruth | PointTruth):
            for values in truth.boxes:
                box = Box(*values, "milli", (image.width, image.height)).to("pixels")
                inside = [line.box for line in read if is_centred_in(line.box, box)]
                if not inside:
                    raise Unchecked("not_read")
                if not _is_extent(box, inside):
                    return "another_extent"
                if values in [line.milli() for line in lines] and not all(
                    same_row(inside[0], each) for each in inside
                ):
                    return "several_lines"
        return None

    def _read(self, image: Image) -> tuple[OcrLine, ...]:
        pixels = image.open().convert("RGB")
        size = round(pixels.width * _SCALE), round(pixels.height * _SCALE)
        scaled = self._model.read(pixels.resize(size, PILImage.Resampling.LANCZOS))
        return tuple(line.model_copy(update={"box": line.box.resized(pixels.size)}) for line in scaled)


def _is_extent(box: Box, lines: Sequence[Box]) -> bool:
    """Whether lines fill a box."""
    whole, height = around(lines), median(line.y2 - line.y1 for line in lines)
    sides = ((box.x1, whole.x1), (box.y1, whole.y1), (box.x2, whole.x2), (box.y2, whole.y2))
    return all(abs(side - other) <= _OFF * height for side, other in sides)
