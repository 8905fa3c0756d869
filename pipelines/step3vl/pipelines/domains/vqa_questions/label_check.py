"""An independent check of finished visual questions, which reads their words back and answers them in another way.

Texts are read on the image by OCR, and searched for what the question cites. Tables, charts and diagrams are those of
the labels that the questions were made from, read by other parsers; whether these labels are what their images show
is checked where they were made.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rapidfuzz import fuzz

from step3vl.data.sample import OptionTruth, Sample, TextPart, TextTruth, TranscriptTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.domains.vqa_questions.graph_check import check_graph
from step3vl.pipelines.domains.vqa_questions.parents import Parents
from step3vl.pipelines.domains.vqa_questions.table_check import cells_of, check_table, grid_of
from step3vl.pipelines.models.ocr import OcrLine, OcrModel

_ALIKE = 88  # of 100: two readings of one text
_SMALL = 500  # pixels of the longer side; smaller images are read at twice their size
_CITED = re.compile(r"[“\"]([^“”\"]+)[”\"]")
_NUMBER = re.compile(r"\d+")
_OPTIONS = "\nA. "
_STEP = re.compile(r"Values are multiples of \S+|数值均为 \S+ 的倍数")  # no number that is asked about


class CheckByReading:
    """The label check of `vqa`.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: Any, context: StepContext) -> None:
        self._parents = Parents(getattr(entry, "datasets", ()), context)

    @cached_property
    def _model(self) -> OcrModel:
        return OcrModel.shared()

    def __call__(self, sample: Sample) -> str | None:
        """What is wrong with the last answer; None for a right one. Raises Unchecked for what cannot be read."""
        if sample.messages is None:
            raise Unchecked("document")
        kind, answer = sample.source.traits["question"], _answer(sample)
        *before, asked = [
            "".join(part.text for part in message.content if isinstance(part, TextPart)).partition(_OPTIONS)[0]
            for message in sample.messages
            if message.role == "user"
        ]
        if sample.task in ("vqa.text", "vqa.document"):
            return _check_text(kind, asked, answer, self._read(sample))
        if sample.task == "vqa.diagram":
            return check_graph(kind, asked, answer, self._label(sample))
        if sample.task not in ("vqa.table", "vqa.chart"):
            raise Unchecked("nothing_to_read")
        return check_table(kind, _STEP.sub("", asked), before, answer, grid_of(cells_of(self._label(sample))))

    def _label(self, sample: Sample) -> str:
        """The label of the same image that a sample was made from."""
        if len(sample.source.parents) != 1:
            raise Unchecked("no_parent")
        parent = self._parents(sample.source.parents[0])
        is_same = parent.images[0].sha256 == sample.images[0].sha256
        if not is_same or not isinstance(parent.truth, TranscriptTruth | TextTruth):
            raise Unchecked("another_parent")
        return parent.truth.text

    def _read(self, sample: Sample) -> list[OcrLine]:
        pixels = sample.images[0].open()
        if max(pixels.size) < _SMALL:
            pixels = pixels.resize((2 * pixels.width, 2 * pixels.height))
        return self._model.read(pixels)


def _answer(sample: Sample) -> str:
    """The answer as a text, also where it is an option."""
    truth = sample.truth
    if isinstance(truth, OptionTruth):
        return truth.option.partition(". ")[2] or truth.option
    return sample.answer()


def _plain(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _check_text(kind: str, asked: str, answer: str, lines: Sequence[OcrLine]) -> str | None:
    rows = [" ".join(line.text for line in row) for row in _rows(lines)]
    text = _plain("".join(rows))
    cited = _plain(match[1]) if (match := _CITED.search(asked)) else ""
    match kind:
        case "word_after" | "characters_after" | "key_value":
            return _is_read(cited + _plain(answer), cited, text)
        case "word_before":
            return _is_read(_plain(answer) + cited, cited, text)
        case "present":
            if (cited in text) == (answer in ("yes", "是")):
                return None
            if answer in ("yes", "是"):
                raise Unchecked("not_read")
            return "is_there"
        case "which_present" | "email" | "url" | "date" | "price":
            return _is_read(_plain(answer), "", text)
        case "nth_line":
            likeness = [fuzz.ratio(_plain(row), _plain(answer)) for row in rows]
            if not likeness or max(likeness) < _ALIKE:
                raise Unchecked("not_read")
            number = int(_NUMBER.findall(asked)[0])
            return None if likeness.index(max(likeness)) + 1 == number else "another_line"
        case "line_with":
            row = max(rows, key=lambda row: fuzz.ratio(_plain(row), _plain(answer)), default="")
            if fuzz.ratio(_plain(row), _plain(answer)) < _ALIKE:
                raise Unchecked("not_read")
            return None if fuzz.partial_ratio(cited, _plain(row)) >= _ALIKE else "another_line"
        case "line_count":
            return None if len(rows) == int(answer) else "another_number"
        case "character_count":
            return None if text.count(cited) == int(answer) else "another_number"
        case "word_count":
            words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", " ".join(rows).casefold())
            return None if sum(_plain(word) == cited for word in words) == int(answer) else "another_number"
    raise Unchecked(kind)


def _is_read(run: str, cited: str, text: str) -> str | None:
    """Whether a run of text was read; without what it begins or ends with, nothing can be told."""
    if fuzz.partial_ratio(run, text) >= _ALIKE and len(text) >= len(run):
        return None
    if cited and fuzz.partial_ratio(cited, text) < _ALIKE:
        raise Unchecked("not_read")
    return "other_text"


def _rows(lines: Sequence[OcrLine]) -> list[list[OcrLine]]:
    """What stands beside each other, from the top and from the left."""
    rows: list[list[OcrLine]] = []
    for line in sorted(lines, key=lambda line: line.box.centre.y):
        if rows:
            last = rows[-1][-1].box
            if line.box.centre.y < last.y1 + 0.75 * (last.y2 - last.y1) and line.box.centre.y < last.y2:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [sorted(row, key=lambda line: line.box.x1) for row in rows]
