"""A second opinion on labels of pages and lines: the finished image, read again without layout and file."""

import re
from html import unescape
from statistics import median

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.documents.agreement import order_agreement, token_agreement, tokens
from step3vl.pipelines.documents.blocks import is_vertical
from step3vl.pipelines.documents.markup import FIGURE, FORMULA
from step3vl.pipelines.documents.reading_order import reading_order
from step3vl.pipelines.models.ocr import OcrModel

_LEAST_AGREEMENT = 0.85  # F1 of tokens; a line without spaces that is read with them differs in a few
_LEAST_ORDER = 0.9
_FEW = 3  # tokens that are too few for a share of them to mean much
_MARKUP = re.compile(r"</?t(able|r|d)[^<>]*>")


class CheckDocuments:
    """Checks samples of `ocr.document_to_text`.

    PaddleOCR reads the image as the sample has it, smaller than the page that was labelled; the order is that of an
    XY-cut of the lines alone. So the check knows neither the file's text nor the layout, and finds what went wrong
    between page and sample: another page or line, a wrong turn, letters that became too small, columns in the wrong
    order.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._model = OcrModel()

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked for a page that is not all text."""
        label = sample.answer()
        if FIGURE in label or FORMULA in label or "$$" in label:
            raise Unchecked("not_all_text")
        expected = tokens(unescape(_MARKUP.sub(" ", label)))
        if len(expected) < _FEW:
            raise Unchecked("too_short")
        lines = self._model.read(sample.images[0].open().convert("RGB"))
        if not lines:
            return "nothing_read"
        height = median(min(line.box.y2 - line.box.y1, line.box.x2 - line.box.x1) for line in lines)
        order = reading_order([line.box for line in lines], height, vertical=is_vertical(lines))
        read = [token for place in order for token in tokens(lines[place].text)]
        if token_agreement(read, expected) < _LEAST_AGREEMENT:
            return "text_differs"
        agreement = order_agreement(read, expected)
        return "order_differs" if agreement is not None and agreement < _LEAST_ORDER else None
