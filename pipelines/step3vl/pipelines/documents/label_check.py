"""A second opinion on labels of pages and lines: the file's text by another reader, and the image read again."""

import re
from functools import cached_property, lru_cache
from html import unescape
from statistics import median

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.replay import InputFinder
from step3vl.pipelines.documents.agreement import order_agreement, token_agreement, tokens
from step3vl.pipelines.documents.blocks import is_vertical
from step3vl.pipelines.documents.file_text_check import FilePage, check_line, check_page, read_page
from step3vl.pipelines.documents.markup import FIGURE, FORMULA
from step3vl.pipelines.documents.reading_order import reading_order
from step3vl.pipelines.models.ocr import OcrModel

_LEAST_AGREEMENT = 0.85  # F1 of tokens; a line without spaces that is read with them differs in a few
_LEAST_ORDER = 0.9
_FEW = 3  # tokens that are too few for a share of them to mean much
_PAGES = 32  # of files, whose text is kept: a page has many lines
_MARKUP = re.compile(r"</?t(able|r|d)[^<>]*>")


class CheckDocuments:
    """Checks samples of `ocr.document_to_text`.

    The page of a PDF must say what the label says, as pdfminer reads it. Then PaddleOCR reads the image as the sample
    has it, smaller than the page that was labelled; the order is that of an XY-cut of the lines alone. So this knows
    neither the file's text nor the layout, and finds what went wrong between page and sample: another page or line, a
    wrong turn, letters that became too small, columns in the wrong order.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        self._context, self._files = context, InputFinder(entry, context)
        self._pages = lru_cache(maxsize=_PAGES)(self._read_page)

    @cached_property
    def _model(self) -> OcrModel:
        return OcrModel.shared()

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked where neither text nor image tells."""
        try:
            reason, is_known = self._check_file(sample), True
        except Unchecked:
            reason, is_known = None, False
        if reason is not None:
            return reason
        try:
            return self._check_image(sample)
        except Unchecked:
            if is_known:
                return None
            raise

    def _check_file(self, sample: Sample) -> str | None:
        """What is wrong with the label by the text of its file. Raises Unchecked where that has none."""
        if "turned_degrees" in sample.scores:
            raise Unchecked("turned")
        name, _, place = sample.source.uri.rpartition("#")
        number, _, line = place.partition("/")
        if not name.lower().endswith(".pdf"):
            raise Unchecked("no_text_layer")
        page, label = self._pages(self._files(sample.source.uri), int(number) - 1), sample.answer()
        if line:
            return check_line(label, page)
        is_whole = FIGURE not in label and FORMULA not in label and "$$" not in label
        return check_page(_text(label), page, whole=is_whole)

    def _read_page(self, file: InputFile, number: int) -> FilePage:
        return read_page(self._context.local_path(file), number)

    def _check_image(self, sample: Sample) -> str | None:
        """What is wrong with the label by what is read on the image. Raises Unchecked for more than text."""
        label = sample.answer()
        if FIGURE in label or FORMULA in label or "$$" in label:
            raise Unchecked("not_all_text")
        expected = tokens(_text(label))
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


def _text(label: str) -> str:
    """A label without markup and without the marks of figures and formulas."""
    return unescape(_MARKUP.sub(" ", label)).replace(FIGURE, " ").replace(FORMULA, " ")
