"""A second opinion on the labels of documents: what other parsers read in the code, and OCR on the image."""

import re
from collections import Counter
from functools import cached_property
from html.parser import HTMLParser
from itertools import chain

from PIL import Image as PILImage
from rapidfuzz import fuzz

from step3vl.data.optional import require
from step3vl.data.sample import BoxTruth, Sample, TextPart
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.domains.formula_check import FormulaImages, check_formula, ink_of
from step3vl.pipelines.domains.rows_check import check_rows
from step3vl.pipelines.domains.vqa_questions.table_check import cells_of
from step3vl.pipelines.models.ocr import OcrLine, OcrModel

_QUOTED = re.compile(r'"(.+)"|“(.+)”', re.DOTALL)
_BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")
_LEAST_SHARED = 0.7  # of the sequences of three characters that code and image have, F1
_LEAST_RATIO = 0.6  # of a text in a box, or of a table row by row
_SCALE = 2.0  # of a small image, for the OCR
_PAD = 4  # pixels around a box
_SMALL = 900  # pixels of a side


class DocumentCheck:
    """Checks samples of `ocr.document_to_code`.

    The code is parsed by the HTML parser of Python, by mistune or by pylatexenc, none of which made it, and must say
    what PaddleOCR reads on the image. For a table without merged rows, it must say so row by row, and number by number
    for one without merged cells. Formulas are typeset again from the label, and their symbols compared.
    """

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to keep; the model is loaded for the first image."""

    @cached_property
    def _model(self) -> OcrModel:
        return OcrModel.shared()

    @cached_property
    def _formulas(self) -> FormulaImages:
        return FormulaImages()

    def __call__(self, sample: Sample) -> str | None:
        """None for a right label, or what is wrong with it. Raises Unchecked for what it cannot tell."""
        subject, _, asked = sample.task.rpartition(".")[2].partition("_")
        question, image = _question(sample), sample.images[0].open().convert("RGB")
        if isinstance(sample.truth, BoxTruth):
            quote = _QUOTED.search(question)
            text = "".join(self._read(_cropped(image, sample.truth.boxes[0])))
            expected = (quote[1] or quote[2]) if quote else ""
            return None if fuzz.ratio(_letters(text), _letters(expected)) >= 100 * _LEAST_RATIO else "text_not_in_box"
        if subject == "formula":
            label, height = sample.answer(), len(ink_of(image))
            # First as the builder sets it, by the same program; matplotlib reads the LaTeX by itself.
            again = self._formulas.pdflatex(label, height, sample.source.traits["font"])
            return check_formula(image, chain(again, self._formulas.mathtext(label, height)))
        if asked.endswith("_region") and (box := _BOX.search(question)):
            x1, y1, x2, y2 = map(int, box.groups())
            image = _cropped(image, (x1, y1, x2, y2))
        label_text, image_text = code_text(sample.answer(), asked.partition("_")[0]), " ".join(self._read(image))
        if len(_letters(label_text)) < 3:
            raise Unchecked("too_short")
        if _shared(label_text, image_text) < _LEAST_SHARED:
            return "text_differs"
        in_order = subject == "table" and "rowspan" not in sample.answer() and "multirow" not in sample.answer()
        if in_order and fuzz.ratio(_letters(label_text), _letters(image_text)) < 100 * _LEAST_RATIO:
            return "order_differs"
        return self._check_cells(sample.answer(), image) if in_order and "colspan" not in sample.answer() else None

    def _check_cells(self, code: str, image: PILImage.Image) -> str | None:
        """What is wrong with the words and numbers of a table's cells. Cells of several lines are not in one row."""
        try:
            reason = check_rows(cells_of(code), image, self._model.read)
        except Unchecked:
            return None
        return None if reason == "rows_differ" else reason

    def _read(self, image: PILImage.Image) -> list[str]:
        """The texts on an image, row by row."""
        if max(image.size) < _SMALL:
            image = image.resize((round(image.width * _SCALE), round(image.height * _SCALE)))
        lines = sorted(self._model.read(image), key=lambda line: (line.box.y1 + line.box.y2) / 2)
        rows: list[list[OcrLine]] = []
        for line in lines:
            if rows and (line.box.y1 + line.box.y2) / 2 < rows[-1][0].box.y2:
                rows[-1].append(line)
            else:
                rows.append([line])
        return [line.text for row in rows for line in sorted(row, key=lambda line: line.box.x1)]


def _question(sample: Sample) -> str:
    if sample.messages is None:
        raise Unchecked("document")
    return "".join(part.text for part in sample.messages[0].content if isinstance(part, TextPart))


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.parts.append(values.get("alt") or "")
        if values.get("start"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(" ")


def code_text(code: str, language: str) -> str:
    """What code says, by parsers that did not make it.

    Args:
        code: The label.
        language: `html`, `markdown` or `latex`.
    """
    if language == "latex":
        converter = require("pylatexenc.latex2text", "pipelines").LatexNodes2Text(
            math_mode="text", strict_latex_spaces=False
        )
        body = re.sub(r"\\begin\{tabular\}\s*\{(?:[^{}]|\{[^{}]*\})*\}|\\\\\s*\[[^\]]*\]|\\cline\{[^}]*\}", " ", code)
        return str(converter.latex_to_text(re.sub(r"\\(?:multicolumn|multirow)\{[^}]*\}\{[^}]*\}", "", body)))
    if language == "markdown":
        code = str(
            require("mistune", "pipelines").create_markdown(escape=False, plugins=["table", "strikethrough"])(code)
        )
    parser = _Text()
    parser.feed(re.sub(r'<a href="([^"]*)">(.*?)</a>', r"\2 (\1)", code, flags=re.DOTALL))
    return "".join(parser.parts)


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


def _shared(first: str, second: str) -> float:
    """F1 of the sequences of three characters inside the words of two texts, in any order."""
    a, b = _sequences(first), _sequences(second)
    return 2 * (a & b).total() / (a.total() + b.total()) if a and b else 0.0


def _sequences(text: str) -> Counter[str]:
    words = re.findall(r"[^\W_]+", text.casefold())
    return Counter(word[i : i + 3] for word in words for i in range(max(1, len(word) - 2)))


def _cropped(image: PILImage.Image, box: tuple[int, int, int, int]) -> PILImage.Image:
    """A box in 0..1000 of an image, with some space around it."""
    x1, y1, x2, y2 = (value * side / 1000 for value, side in zip(box, image.size * 2, strict=True))
    left, top = max(0, int(x1 - _PAD)), max(0, int(y1 - _PAD))
    return image.crop((left, top, min(image.width, int(x2 + _PAD)), min(image.height, int(y2 + _PAD))))
