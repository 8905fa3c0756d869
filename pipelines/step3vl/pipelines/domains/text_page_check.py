"""The independent check of synthetic pages: PaddleOCR reads the finished image, and the label must say what it reads.

It knows nothing of how a page was set. The reader errs, too, most of all on handwriting and blurred print. So a label
is called wrong only where as much is read as it has, but something else, or where its text is read at another place.
"""

from collections import Counter
from functools import cached_property

from rapidfuzz.fuzz import ratio

from step3vl.data.sample import Box, BoxTruth, Sample, TextPart, parse_boxes
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.models.text_finder import TextFinder, expected_letters, letters

_SIMILAR = 55  # of 100, of a text that is looked for: many pages are handwritten or photographed
_RECALL = 0.6  # of the characters of a whole page that must be read


class CheckTextPages:
    """The label check of `ocr.text_pages` and `ocr.image_to_text`."""

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to load until it is needed."""

    @cached_property
    def _reader(self) -> TextFinder:
        return TextFinder(_SIMILAR)

    def __call__(self, sample: Sample) -> str | None:
        traits = sample.source.traits
        if traits.get("layout") == "vertical":
            raise Unchecked("vertical")
        with sample.images[0].open() as opened:
            image = opened.convert("RGB")
        turns = int(traits.get("turned", "0")) // 90
        question = "".join(part.text for part in sample.parts() if isinstance(part, TextPart))
        if isinstance(sample.truth, BoxTruth):
            box = Box(*sample.truth.boxes[0], "milli", image.size)
            return None if self._reader.is_at(image, box, _quoted(question), turns) else "text_not_in_place"
        text = sample.truth.text if sample.truth is not None and hasattr(sample.truth, "text") else ""
        expected = expected_letters(text)
        if sample.task == "ocr.region":
            boxes = parse_boxes(question)
            box = Box(*boxes[0].milli(), "milli", image.size) if boxes else Box(0, 0, 1000, 1000, "milli", image.size)
            return None if self._reader.is_at(image, box, text, turns) else "text_not_in_place"
        if sample.task == "ocr.field":
            if self._reader.is_on(image, text, turns):
                return None
            raise Unchecked("not_read")
        read = letters(self._reader.read(image, turns))
        shared = (Counter(_grams(expected)) & Counter(_grams(read))).total() / len(_grams(expected))
        if max(shared, ratio(expected, read) / 100) >= _RECALL:
            return None
        if len(read) < _RECALL * len(expected):
            raise Unchecked("little_read")
        return "text_not_on_image"


def _quoted(question: str) -> str:
    """The text that a question asks for, which stands in quotation marks."""
    return question[question.find("“") + 1 : question.rfind("”")]


def _grams(text: str) -> list[str]:
    """Pairs of neighbours: they do not depend on the order of lines."""
    return [text[place : place + 2] for place in range(len(text) - 1)]
