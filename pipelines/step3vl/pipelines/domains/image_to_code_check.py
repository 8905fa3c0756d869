"""The independent check of figures: PaddleOCR reads the image, and the label must say what it reads.

It knows nothing of the renderers. Texts that the code or the data name must be on the image; values must be on it, or
lie in the range of the numbers that are; the text that is asked for must be in its box. The shapes of Plotly charts
are measured in the pixels. Formulas, which it cannot
read, are typeset again from the label by matplotlib or Typst, and the ink compared. Structures and scores have no
second reader.
"""

import ast
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image as PILImage
from rapidfuzz.fuzz import partial_ratio

from step3vl.data.sample import BoxTruth, Sample, TextPart, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import DomainEntry, Unchecked
from step3vl.pipelines.models.ocr import OcrModel
from step3vl.pipelines.render.charts.chart_pixels import check_pixels
from step3vl.pipelines.render.figures.figure import parse_number, read_png
from step3vl.pipelines.render.figures.table_kinds import page_setup
from step3vl.pipelines.render.figures.typeset import TypesetRenderer
from step3vl.pipelines.sources.tables.topics import TOPICS
from step3vl.pipelines.sources.tables.topics_zh import ZH_TOPICS

_SMALL = 640  # pixels of the longer side, below which an image is enlarged twofold for the reader
_SIMILAR = 80  # of 100: a text is found
_RECALL = 0.7  # of the characters of a label that must be found
_ENOUGH = 0.8  # ... for the image not to be turned and read again
_BOX_MARGIN = 0.35  # of a text's height that is read around its box
_OUTSIDE = 0.3  # of the range of an axis that values may lie outside of the numbers read
_TITLES = ("set_title", "set_xlabel", "set_ylabel", "suptitle", "title", "xlabel", "ylabel", "set_xticklabels")
_TITLE_ARGUMENTS = ("text", "name", "xaxis_title", "yaxis_title")
_UNNAMED = {  # series that no chart names: the ends of error bars, the edges of boxes
    names for topic in (*TOPICS, *ZH_TOPICS) for names in (topic.range_names, topic.price_names, topic.quartile_names)
}
_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')
_STEPS, _BANDS, _SHIFT = 64, 6, 14  # columns and bands that formulas are compared in; how far columns may shift
# Of 80 right formulas in other fonts, one was further than 0.8; of 960 wrong ones, one in twenty-five was nearer.
_FAR = 0.85
_ASPECTS = 1.5  # times that one may be longer


class CheckFigures:
    """The label check of `ocr.image_to_code`."""

    def __init__(self, entry: DomainEntry, context: StepContext) -> None:
        """Nothing to load until it is needed."""

    @cached_property
    def _ocr(self) -> OcrModel:
        return OcrModel()

    @cached_property
    def _typeset(self) -> TypesetRenderer:
        return TypesetRenderer([])

    def __call__(self, sample: Sample) -> str | None:
        subject, _, asked = sample.task.rpartition(".")[2].rpartition("_")
        with sample.images[0].open() as opened:
            image = opened.convert("RGB")
        if asked == "place":
            return self._check_place(sample, image)
        label = sample.truth.text if isinstance(sample.truth, TranscriptTruth) else ""
        if subject == "formula":
            return self._check_formula(label, image)
        if subject in ("molecule", "music"):
            raise Unchecked("no_second_reader")
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
        if is_chart_data and not _has_values(label, lines):
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
        if not any(map(folded, texts)):
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

    def _check_formula(self, label: str, image: PILImage.Image) -> str | None:
        ink = _trimmed(image)
        if label.startswith("$ "):
            setup = page_setup("New Computer Modern", 18, "#ffffff", "#000000", 4)
            again = read_png(self._typeset.png(f"{setup}{label}\n", 144))
        else:
            figure = self._typeset.latex_figure(label, "cm", 18, 144, ("#ffffff", "#000000"), 4)
            again = read_png(figure.png)
        other = _trimmed(again)
        aspect = (ink.shape[1] / ink.shape[0]) / (other.shape[1] / other.shape[0])
        if not 1 / _ASPECTS < aspect < _ASPECTS:
            return "formula_has_another_shape"
        return None if _distance(ink, other) < _FAR else "formula_looks_different"


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


def data_texts(label: str) -> Iterator[str]:
    """The row labels of a table in CSV or Markdown, and its series where there are several that a chart names."""
    rows = list(csv.reader(io.StringIO(as_csv(label))))
    if len(rows[0]) > 2 and tuple(rows[0][1:]) not in _UNNAMED:
        yield from rows[0][1:]
    for row in rows[1:]:
        yield from (cell for cell in row[:1] if _number(cell) is None)
    if all(_number(row[0]) is not None for row in rows[1:] if row):
        yield from (row[0] for row in rows[1:4])


def as_csv(label: str) -> str:
    """A table in Markdown as CSV; one in CSV as it is."""
    if not label.startswith("|"):
        return label
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in label.splitlines()]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([rows[0], *rows[2:]])
    return buffer.getvalue()


def label_texts(label: str, subject: str, asked: str) -> Iterator[str]:
    """The texts that an image with this label must show."""
    if asked == "data":
        rows = list(csv.reader(io.StringIO(as_csv(label))))
        if subject == "circuit":
            rows = [row[:1] + row[2:] for row in rows]  # the type is not written
        hides_header = subject in ("circuit", "diagram", "drawing")  # words: part of the name of a task
        for row in rows[1:] if hides_header else rows:
            yield from row
    elif subject == "chart":
        yield from _spec_texts(json.loads(label)) if label.startswith("{") else _script_texts(label)
    elif subject == "circuit":
        for text in re.findall(r'label\("([^"]*)"\)', label):
            yield from text.split("\\n")
    elif subject in ("diagram", "drawing"):  # words: part of the name of a task
        yield from _source_texts(label)
    elif subject == "infographic":
        for line in label.splitlines():
            text = re.sub(r"^(?:#+|-|\d+\.)\s+", "", line).replace("*", "")
            yield from text.strip("|").split("|")
    else:
        yield from _cell_texts(label)


def _spec_texts(node: Any, key: str = "") -> Iterator[str]:
    """Titles and the texts of the data in a Vega-Lite specification."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _spec_texts(value, "row" if key == "values" else name)
    elif isinstance(node, list):
        for value in node:
            yield from _spec_texts(value, key)
    elif isinstance(node, str) and key in ("title", "row", "text") and _number(node) is None:
        yield node


def _script_texts(code: str) -> Iterator[str]:
    """Titles and lists of texts in a script for matplotlib or Plotly."""
    tree = ast.parse(code)
    indices = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}  # such as of spines
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _TITLES:
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))
        elif isinstance(node, ast.keyword) and node.arg in _TITLE_ARGUMENTS and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
        elif isinstance(node, ast.List) and id(node) not in indices:
            texts = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            yield from (text for text in texts if not text.startswith("#"))


def _source_texts(code: str) -> Iterator[str]:
    """Labels of nodes and edges in a Graphviz, Mermaid or TikZ source."""
    if code.startswith(("digraph", "graph {")):
        for quoted, bare in re.findall(r'label=(?:"([^"]*)"|(\w+))', code):
            yield from re.split(r"\\[nlr]|[|{}]", quoted or bare)
    elif code.startswith("\\begin{tikzpicture}"):
        yield from (re.sub(r"\\\w+|[{}$\\]", " ", text) for text in re.findall(r"\{([^{}=;]*)\}\s*(?:;|\()", code))
    else:
        for line in code.splitlines()[1:]:
            yield from re.findall(r"[\[({]\"?([^\[\](){}\"|]+)\"?[\])}]", line)
            for groups in re.findall(r"\|([^|]+)\||(?:^\s*title|participant|:) (.+)$", line):
                yield from filter(None, groups)


def _cell_texts(code: str) -> Iterator[str]:
    """Cells of a table in LaTeX or Typst."""
    if "\\begin" in code:
        for row in code.split("\\\\"):
            yield from (re.sub(r"\\[a-z]+(\{[^{}]*\}|\[[^]]*\])*|[{}\\]", " ", cell) for cell in row.split("&"))
    else:
        yield from re.findall(r"\[([^\[\]]*)\]", code)


def _number(text: str) -> float | None:
    return parse_number(text.strip().rstrip("%").lstrip("+$€£"))


def _has_values(label: str, lines: Sequence[str]) -> bool:
    """Whether the values of a table are among the numbers that were read, or lie in their range."""
    rows = list(csv.reader(io.StringIO(as_csv(label))))[1:]
    values = [number for row in rows for number in map(_number, row[1:]) if number is not None]
    read = [number for line in lines for word in line.split() if (number := _number(word)) is not None]
    if not values or len(read) < 3:
        raise Unchecked("too_few_numbers_read")
    if sum(any(abs(number - value) < 1e-6 for number in read) for value in values) > 0.6 * len(values):
        return True
    low, high = min(read), max(read)
    margin = _OUTSIDE * (high - low)
    return all(low - margin <= value <= high + margin for value in values)


def _trimmed(image: PILImage.Image) -> np.ndarray:
    """The ink of an image, 0 to 1, without its margins."""
    grey = np.asarray(image.convert("L"), np.float32)
    paper = np.median(grey)
    ink = np.abs(grey - paper) / max(1.0, float(np.abs(grey - paper).max()))
    rows, columns = np.nonzero(ink.max(1) > 0.3)[0], np.nonzero(ink.max(0) > 0.3)[0]
    if not len(rows):
        raise Unchecked("no_ink")
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """How far two images of ink differ, by dynamic time warping of their columns: 0 for the same ink, 1 for unrelated.

    Columns may be narrower in one than in the other, as letters of another font are.
    """
    columns, others = _columns(first), _columns(second)
    costs = np.abs(columns[:, None] - others[None]).sum(2)
    totals = np.full((_STEPS + 1, _STEPS + 1), np.inf)
    totals[0, 0] = 0.0
    for i in range(1, _STEPS + 1):
        for j in range(max(1, i - _SHIFT), min(_STEPS, i + _SHIFT) + 1):
            totals[i, j] = costs[i - 1, j - 1] + min(totals[i - 1, j], totals[i, j - 1], totals[i - 1, j - 1])
    return float(totals[-1, -1] / (columns.sum() / 2 + others.sum() / 2 + 1e-6))


def _columns(ink: np.ndarray) -> np.ndarray:
    """The ink of an image in a few bands of each of its columns, [columns, bands]."""
    image = PILImage.fromarray((255 * ink).astype(np.uint8)).resize((_STEPS, _BANDS), PILImage.Resampling.BOX)
    return np.sqrt(np.asarray(image, np.float64).T / 255)
