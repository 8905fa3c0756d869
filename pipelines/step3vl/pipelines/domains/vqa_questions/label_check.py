"""An independent check of finished visual questions: the image is read by an OCR, and the question answered from that.

It knows nothing of what the labels were made of. Texts are searched for what the question cites; tables are
made again of the cells that the OCR reads, and the question is answered from these numbers. What the OCR
cannot read, such as the marks of a chart, stays unchecked.
"""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from rapidfuzz import fuzz

from step3vl.data.sample import OptionTruth, Sample, TextPart
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.models.ocr import OcrLine, OcrModel
from step3vl.pipelines.sources.tables.data_tables import parse_number

_ALIKE = 88  # of 100: two readings of one text
_SMALL = 500  # pixels of the longer side; smaller images are read at twice their size
_CITED = re.compile(r"[“\"]([^“”\"]+)[”\"]")
_LIMIT = re.compile(r"(-?\d[\d.,]*\d|\d)")

Grid = dict[tuple[str, str], float]
FoundT = TypeVar("FoundT")


class CheckByReading:
    """The label check of `vqa`.

    Args:
        entry: Whose samples are checked.
        context: Of the build.
    """

    def __init__(self, entry: Any, context: StepContext) -> None:
        self._model = OcrModel()

    def __call__(self, sample: Sample) -> str | None:
        """What is wrong with the last answer; None for a right one. Raises Unchecked for what cannot be read."""
        if sample.messages is None:
            raise Unchecked("document")
        if sample.task not in ("vqa.text", "vqa.table"):
            raise Unchecked("nothing_to_read")
        pixels = sample.images[0].open()
        if max(pixels.size) < _SMALL:
            pixels = pixels.resize((2 * pixels.width, 2 * pixels.height))
        lines = self._model.read(pixels)
        question = "".join(part.text for part in sample.messages[-2].content if isinstance(part, TextPart))
        asked, kind, answer = question.partition("\nA. ")[0], sample.source.traits["question"], _answer(sample)
        if sample.task == "vqa.text":
            return _check_text(kind, asked, answer, lines)
        return _check_table(kind, asked, answer, lines)


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
            number = int(_LIMIT.findall(asked)[0])
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


def _grid(lines: Sequence[OcrLine]) -> tuple[list[str], list[str], Grid]:
    """Labels, series and numbers of a table. Raises Unchecked where cells are missing."""
    rows = _rows(lines)
    width = max(map(len, rows), default=0)
    full = [row for row in rows if len(row) == width]
    if width < 2 or len(full) < 3 or len(rows) - len(full) > 2 or any(len(row) != width for row in rows[-len(full) :]):
        raise Unchecked("table_not_read")
    header, *body = full
    labels, series = [row[0].text for row in body], [cell.text for cell in header[1:]]
    grid: Grid = {}
    for row in body:
        for name, cell in zip(series, row[1:], strict=True):
            number = parse_number(cell.text.replace(" ", ""))
            if number is None:
                raise Unchecked("table_not_read")
            grid[row[0].text, name] = float(number)
    if len(grid) != len(labels) * len(series):
        raise Unchecked("table_not_read")
    return labels, series, grid


def _check_table(kind: str, asked: str, answer: str, lines: Sequence[OcrLine]) -> str | None:
    labels, series, grid = _grid(lines)
    if kind == "entries":
        return None if len(labels) == int(answer) else "another_number"
    named = _named(series, asked) if len(series) > 1 else list(series)
    if kind == "row_argmax":
        row = _one(_named(labels, asked))
        best = max(series, key=lambda name: grid[row, name])
        return None if _plain(best) == _plain(answer) else "another_series"
    column = _one(named)
    values = {label: grid[label, column] for label in labels}
    ranked = sorted(labels, key=lambda label: -values[label])
    if kind == "absent_label":
        return None if not _named(labels, asked) else "is_there"
    if kind in ("argmax", "argmin", "second"):
        other = ranked[{"argmax": 0, "argmin": -1, "second": 1}[kind]]
        return None if _plain(other) == _plain(answer) else "another_label"
    if kind == "reverse":
        other = _one([label for label in labels if _plain(label) == _plain(answer)])
        return (
            None
            if any(parse_number(n.strip(".,")) == values[other] for n in _LIMIT.findall(asked))
            else "another_value"
        )
    numbers = {
        "maximum": lambda: max(values.values()),
        "minimum": lambda: min(values.values()),
        "total": lambda: sum(values.values()),
        "mean": lambda: sum(values.values()) / len(values),
        "value": lambda: values[_one(_named(labels, asked))],
        "only_value": lambda: values[_one(_named(labels, asked))],
        "difference": lambda: abs(values[_two(labels, asked)[0]] - values[_two(labels, asked)[1]]),
    }
    if kind in numbers:
        number = parse_number(answer)
        return None if number is not None and abs(float(number) - numbers[kind]()) < 1e-6 else "another_number"
    if kind == "count_above":
        limits = [float(n) for text in _LIMIT.findall(asked) if (n := parse_number(text.strip(".,"))) is not None]
        count = sum(value > _one(limits) for value in values.values())
        return None if count == int(answer) else "another_number"
    if kind in ("compare", "greater", "rose"):
        first, second = _two(labels, asked)
        if kind == "compare":
            higher = first if values[first] > values[second] else second
            return None if _plain(higher) == _plain(answer) else "another_label"
        if kind == "rose":
            first, second = max(first, second), min(first, second)
        return None if (values[first] > values[second]) == (answer in ("yes", "是")) else "the_opposite"
    raise Unchecked(kind)


def _named(names: Sequence[str], asked: str) -> list[str]:
    """The names that a question has, in its order; a name that is a part of another one counts by itself only."""
    rest, places = asked.casefold(), []
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<![a-z0-9]){re.escape(name.casefold())}(?![a-z0-9])"
        if match := re.search(pattern, rest):
            places.append((match.start(), name))
            rest = rest[: match.start()] + " " * len(match[0]) + rest[match.end() :]
    return [name for _, name in sorted(places)]


def _one(found: Sequence[FoundT]) -> FoundT:
    if len(found) != 1:
        raise Unchecked("not_named")
    return found[0]


def _two(labels: Sequence[str], asked: str) -> tuple[str, str]:
    names = _named(labels, asked)
    if len(names) != 2:
        raise Unchecked("not_named")
    return names[0], names[1]
