"""Two readings of an image by the OCR at different scales: a wrong one seldom survives the change.

Detection and recognition then see other pixels. A text that both readings have at the same place is taken for right.
"""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as PILImage
from rapidfuzz.distance import Levenshtein

from step3vl.pipelines.models.ocr import OcrLine, OcrModel

_SAME_PLACE = 0.5  # intersection over union of two boxes of one line
_ALIKE = 0.8  # similarity of two texts that a misread letter may turn into each other


class Readings(NamedTuple):
    """What the OCR reads on an image at two scales, both in its pixels; the second is empty if the first is."""

    first: tuple[OcrLine, ...]
    second: tuple[OcrLine, ...]


def read_twice(model: OcrModel, image: PILImage.Image, scale: float) -> Readings:
    """Read an image as it is, and scaled.

    Args:
        model: Reads.
        image: RGB.
        scale: Of the second reading.
    """
    first = model.read(image)
    if not first:  # nothing that a second reading could confirm
        return Readings((), ())
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    scaled = model.read(image.resize(size, PILImage.Resampling.LANCZOS))
    second = (line.model_copy(update={"box": line.box.resized(image.size)}) for line in scaled)
    return Readings(tuple(first), tuple(second))


def agreed_lines(
    first: Sequence[OcrLine], second: Sequence[OcrLine], min_confidence: float, min_height: float = 0.0
) -> list[OcrLine]:
    """The lines of the first reading that the second has at the same place with the very same text.

    A line of one character is too short to be sure of.

    Args:
        first: A reading.
        second: Another.
        min_confidence: Of both, 0..1.
        min_height: Of the box of a line, in pixels; both readings err alike on smaller print.
    """
    agreed = []
    for line in first:
        twin = max(second, key=lambda other: line.box.iou(other.box), default=None)
        if twin is None or not is_same_place(line, twin) or min(line.score, twin.score) < min_confidence:
            continue
        tall = min(line.box.y2 - line.box.y1, line.box.x2 - line.box.x1) >= min_height
        if tall and line.text.split() == twin.text.split() and len(line.text) > 1:
            agreed.append(line)
    return agreed


def is_same_place(line: OcrLine, other: OcrLine) -> bool:
    """Whether two readings mean one line of the image."""
    return line.box.iou(other.box) >= _SAME_PLACE


def reads_like(text: str, other: str) -> bool:
    """Whether a text may be another one, misread in a few letters or read in part."""
    return text in other or Levenshtein.normalized_similarity(text, other) > _ALIKE
