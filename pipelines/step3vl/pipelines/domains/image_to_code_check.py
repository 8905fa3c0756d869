"""The independent check of figures: PaddleOCR reads the image, and the label must say what it reads.

It knows nothing of the renderers. Texts that the code or the data name must be on the image; values must be on it, or
lie in the range of the numbers that are; the text that is asked for must be in its box. The rows of tables and the
values of infographics are compared number by number. The shapes of Plotly charts are measured in the pixels. Formulas,
which it cannot read, are typeset again from the label by matplotlib, pdflatex or Typst, and compared symbol by symbol.
The note heads of scores are found in the pixels. Structures have no second reader.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, pairwise
from statistics import median

from PIL import Image as PILImage
from rapidfuzz.fuzz import partial_ratio

from step3vl.data.sample import BoxTruth, Sample, TextPart, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.domains.figure_label_texts import as_csv, data_texts, label_texts, number_of, table_rows
from step3vl.pipelines.domains.formula_check import FormulaImages, check_formula, ink_of
from step3vl.pipelines.domains.pairs_check import check_pairs, pairs_of
from step3vl.pipelines.domains.rows_check import check_rows
from step3vl.pipelines.domains.score_check import check_score
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.render.charts.chart_pixels import check_pixels

_SMALL = 640  # pixels of the longer side, below which an image is enlarged twofold for the reader
_SIMILAR = 80  # of 100: a text is found
_RECALL = 0.7  # of the characters of a label that must be found
_ENOUGH = 0.8  # ... for the image not to be turned and read again
_BOX_MARGIN = 0.35  # of a text's height that is read around its box
_OUTSIDE = 0.3  # of the range of an axis that values may lie outside of the numbers read
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')


class CheckFigures:
    """The label check of `ocr.image_to_code`."""

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to load until it is needed."""

    @cached_property
    def _ocr(self) -> OcrModel:
        return OcrModel.shared()

    @cached_property
    def _formulas(self) -> FormulaImages:
        return FormulaImages()

    def __call__(self, sample: Sample) -> str | None:
        subject, _, asked = sample.task.rpartition(".")[2].rpartition("_")
        with sample.images[0].open() as opened:
            image = opened.convert("RGB")
        if asked == "place":
            return self._check_place(sample, image)
        label = sample.truth.text if isinstance(sample.truth, TranscriptTruth) else ""
        if subject == "formula":
            height = len(ink_of(image))
            if label.startswith("$ "):
                return check_formula(image, self._formulas.typst(label, height))
            renderings = chain(self._formulas.mathtext(label, height), self._formulas.pdflatex(label, height))
            return check_formula(image, renderings)
        if subject == "molecule":
            raise Unchecked("no_second_reader")
        if subject == "music":
            return check_score(label, image)
        if subject == "table":
            return check_rows(table_rows(label), image, self._ocr.read)
        if subject == "infographic" and (reason := check_pairs(pairs_of(label), image, self._ocr.read)):
            return reason
        if (
            asked == "code"
            and subject == "chart"
            and "import plotly" in label
            and (reason := _check_pixels(label, image))
        ):
            return reason
        is_chart_data = asked == "data" and subject == "chart"
        texts = list(data_texts(label) if is_chart_data else label_texts(label, subject, asked))
        recall, lines = self._recall(texts, image)
        if recall < _RECALL:
            return "texts_not_on_image"
        if is_chart_data and not has_values(label, lines):
            return "values_not_on_image"
        return None

    def _read(self, image: PILImage.Image) -> list[str]:
        """The lines on an image."""
        if max(image.size) < _SMALL:
            image = image.resize((2 * image.width, 2 * image.height), PILImage.Resampling.LANCZOS)
        return [line.text for line in self._ocr.read(image)]

    def _recall(self, texts: Sequence[str], image: PILImage.Image) -> tuple[float, list[str]]:
        """The share of the characters of texts that are on the image, and the lines read.

        The image is turned where some were not found.
        """
        # The reader misses letters that stand alone, such as those of points.
        texts = [text for text in texts if len(folded(text)) > 1]
        if not texts:
            raise Unchecked("label_has_no_text")
        lines: list[str] = []
        recall = 0.0
        for turned in (None, PILImage.Transpose.ROTATE_270, PILImage.Transpose.ROTATE_90):
            lines += self._read(image if turned is None else image.transpose(turned))
            recall = found_share(texts, lines)
            if recall > _ENOUGH:
                break
        return recall, lines

    def _check_place(self, sample: Sample, image: PILImage.Image) -> str | None:
        assert isinstance(sample.truth, BoxTruth)
        question = " ".join(p.text for m in sample.prompt() for p in m.content if isinstance(p, TextPart))
        match = _QUOTED.search(question)
        if match is None:
            raise Unchecked("no_quoted_text")
        expected = folded(match[1] or match[2])
        if not expected:
            raise Unchecked("no_letters")
        x1, y1, x2, y2 = (v * s / 1000 for v, s in zip(sample.truth.boxes[0], image.size * 2, strict=True))
        margin = _BOX_MARGIN * min(x2 - x1, y2 - y1) + 2
        crop = image.crop((round(x1 - margin), round(y1 - margin), round(x2 + margin), round(y2 + margin)))
        scale = max(1.0, 48 / min(crop.size))
        large = crop.resize((round(crop.width * scale), round(crop.height * scale)), PILImage.Resampling.LANCZOS)
        framed = PILImage.new("RGB", (large.width + 80, large.height + 80), large.getpixel((0, 0)))
        framed.paste(large, (40, 40))
        for turned in (None, PILImage.Transpose.ROTATE_270, PILImage.Transpose.ROTATE_90):
            view = framed if turned is None else framed.transpose(turned)
            read = folded("".join(line.text for line in self._ocr.read(view)))
            if read and partial_ratio(expected, read) >= _SIMILAR and len(read) < 2 * len(expected) + 12:
                return None
        return "text_not_in_box"


def _check_pixels(code: str, image: PILImage.Image) -> str | None:
    """What is wrong with the shapes of a Plotly chart; None also for one whose shapes cannot be told apart."""
    try:
        return check_pixels(code, image)
    except Unchecked:
        return None


def folded(text: str) -> str:
    """A text without case, spaces and punctuation."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def found_share(texts: Iterable[str], lines: Sequence[str]) -> float:
    """The share of the characters of texts that occur, nearly, in the lines that were read."""
    read = [folded(line) for line in lines]
    everything = " ".join(read)
    hits = total = 0
    for text in texts:
        whole = folded(text)
        # The reader may take the words of a text apart.
        pieces = [whole] if _is_read(whole, everything) else map(folded, text.split())
        total += len(whole)
        hits += sum(len(piece) for piece in pieces if _is_read(piece, everything))
    return hits / total if total else 0.0


def _is_read(text: str, everything: str) -> bool:
    return text in everything or (len(text) > 3 and partial_ratio(text, everything) >= _SIMILAR)


def has_values(label: str, lines: Sequence[str]) -> bool:
    """Whether the values of a table are among the numbers that were read, or lie in their range.

    The range goes one step further on both sides, for the reader may miss the first or the last number of an axis.
    """
    rows = list(csv.reader(io.StringIO(as_csv(label))))[1:]
    values = [number for row in rows for number in map(number_of, row[1:]) if number is not None]
    # The mark of a tick is read as a dash behind its number.
    read = [number for line in lines for word in line.split() if (number := number_of(word.rstrip("-–—"))) is not None]
    if not values or len(read) < 3:
        raise Unchecked("too_few_numbers_read")
    if sum(any(abs(number - value) < 1e-6 for number in read) for value in values) > 0.6 * len(values):
        return True
    numbers = sorted(set(read))
    low, high = numbers[0], numbers[-1]
    step = median([after - before for before, after in pairwise(numbers)] or [0.0])
    margin = max(_OUTSIDE * (high - low), step)
    return all(low - margin <= value <= high + margin for value in values)
