"""The independent check of synthetic pages: PaddleOCR reads the finished image, and the label must say what it reads.

It knows nothing of how a page was set. The reader errs, too, most of all on handwriting and blurred print. So a label
is called wrong only where as much is read as it has, but something else, or where its text is read at another place.
"""

import unicodedata
from collections import Counter
from functools import cached_property

from PIL import Image as PILImage
from rapidfuzz.fuzz import partial_ratio, ratio

from step3vl.data.sample import Box, BoxTruth, Sample, TextPart, parse_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.render.pages.warp import quarter_turned
from step3vl.pipelines.sources.text.scripts import main_script

_READ = frozenset({"LATIN", "CHINESE", "JAPANESE", ""})  # scripts that the recogniser knows
_SMALL = 900  # pixels of the longer side, below which an image is enlarged twofold for the reader
_SHORT = 2  # characters; nothing can be said of a shorter label
_RECALL = 0.6  # of the characters of a whole page that must be read
_SIMILAR = 55  # of 100, of a text that is looked for
_MARGIN = 0.5  # of a box's shorter side that is read around it


class CheckTextPages:
    """The label check of `ocr.text_pages`."""

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to load until it is needed."""

    @cached_property
    def _ocr(self) -> OcrModel:
        return OcrModel()

    def __call__(self, sample: Sample) -> str | None:
        traits = sample.source.traits
        if traits.get("layout") == "vertical":
            raise Unchecked("vertical")
        with sample.images[0].open() as opened:
            image = opened.convert("RGB")
        turns = int(traits.get("turned", "0")) // 90
        question = "".join(part.text for part in sample.parts() if isinstance(part, TextPart))
        if isinstance(sample.truth, BoxTruth):
            text = _quoted(question)
            box = Box(*sample.truth.boxes[0], "milli", image.size)
        else:
            text = sample.truth.text if sample.truth is not None and hasattr(sample.truth, "text") else ""
            boxes = parse_boxes(question) if sample.task == "ocr.region" else []
            box = Box(*boxes[0].milli(), "milli", image.size) if boxes else Box(0, 0, 1000, 1000, "milli", image.size)
        expected = _letters(text)
        if main_script(text) not in _READ:
            raise Unchecked("script_not_read")
        if len(expected) < _SHORT:
            raise Unchecked("too_short")
        if isinstance(sample.truth, BoxTruth) or sample.task == "ocr.region":
            if _similarity(expected, _letters(self._read(_cropped(image, box), turns))) >= _SIMILAR:
                return None
            if _similarity(expected, _letters(self._read(image, turns))) >= _SIMILAR:
                return "text_not_in_place"
            raise Unchecked("not_read")  # here as elsewhere
        read = _letters(self._read(image, turns))
        if sample.task == "ocr.field":
            if _similarity(expected, read) >= _SIMILAR:
                return None
            raise Unchecked("not_read")
        shared = (Counter(_grams(expected)) & Counter(_grams(read))).total() / len(_grams(expected))
        if max(shared, ratio(expected, read) / 100) >= _RECALL:
            return None
        if len(read) < _RECALL * len(expected):
            raise Unchecked("little_read")
        return "text_not_on_image"

    def _read(self, image: PILImage.Image, turns: int) -> str:
        upright = quarter_turned(image, (4 - turns) % 4)
        if max(upright.size) < _SMALL:
            upright = upright.resize((2 * upright.width, 2 * upright.height), PILImage.Resampling.LANCZOS)
        return "".join(line.text for line in self._ocr.read(upright))


def _similarity(expected: str, read: str) -> float:
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


def _quoted(question: str) -> str:
    """The text that a question asks for, which stands in quotation marks."""
    return question[question.find("“") + 1 : question.rfind("”")]


def _letters(text: str) -> str:
    """Letters and digits without accents, in lower case, as readers confuse marks and spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in plain if character.isalnum())


def _grams(text: str) -> list[str]:
    """Pairs of neighbours: they do not depend on the order of lines."""
    return [text[place : place + 2] for place in range(len(text) - 1)]
