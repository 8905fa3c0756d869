"""Open sets of visual questions, as Parquet or JSON Lines: rows by slices, and the question that a row asks.

Rows are known by their columns, whose names and types the common sets share in part:

    image | images | decoded_image           {"bytes", "path"}, bytes, a data URL or a path beside the file
    question | query | problem               text
    answers | direct_answers                 texts (DocVQA, TextVQA, OK-VQA), or objects with `answer` (VQAv2)
    answer | label | multiple_choice_answer  a text, a list of them (ChartQA), or which of the choices
    choices | options                        texts (A-OKVQA, ScienceQA, AI2D)
    correct_choice_idx | answer | label      their index, or its label, or the text of the right one
    rationales | solution | rationale        reasoning (A-OKVQA, ScienceQA)
    hint | context                           text that is shown before the question (ScienceQA)
"""

import json
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.data.convert.image_loader import ImageLoader
from step3vl.data.sample import Image
from step3vl.data.storage import store_of
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.option_numbers import options_of_number, whole
from step3vl.pipelines.sources.pairs.parquet_rows import RowReader, is_parquet, open_parquet

_SLICE = 64  # rows
_MAX_LINE = 64 * 2**20  # bytes of a row of JSON Lines
_START = 4096  # bytes by which JSON Lines are told
_IMAGES = ("image", "images", "decoded_image", "img")
_QUESTIONS = ("question", "query", "problem")
_SEVERAL = ("answers", "direct_answers")
_ONE = ("multiple_choice_answer", "answer", "label", "ground_truth")
_CHOICES = ("choices", "options")
_INDEX = ("correct_choice_idx", "answer", "label", "answer_idx")
_REASONS = ("rationales", "solution", "rationale")
_CONTEXT = ("hint", "context")
_NO_ANSWER = frozenset({"unanswerable", "unsuitable", "unsuitable image", "not answerable", ""})


class RowSlice(Config):
    """Rows of a file."""

    file: InputFile
    start: int
    """The first row; in JSON Lines also the number of its line, from 0."""
    stop: int
    offset: int = 0
    """First byte of the first line, in JSON Lines."""


class RawRow(Config):
    """A row: its images, and its other columns as JSON."""

    columns: str
    images: tuple[Image, ...]
    problem: str
    """Why it cannot be used; empty for a good one."""
    licence: str


class OpenQuestion(Config):
    """What a row asks."""

    question: str
    answers: tuple[str, ...]
    """Accepted ones, the commonest first."""
    agreement: float
    """The share of the annotators who gave the first answer; 1 where there is one."""
    choices: tuple[str, ...] = ()
    reasoning: str = ""


def slices_of(path: Path, file: InputFile) -> Iterator[RowSlice]:
    """The slices of a file.

    Raises:
        Dropped: It is neither Parquet nor JSON Lines.
        ParquetError: It is damaged.
    """
    if is_parquet(path):
        rows = open_parquet(path).metadata.num_rows
        for start in range(0, rows, _SLICE):
            yield RowSlice(file=file, start=start, stop=min(start + _SLICE, rows))
        return
    with path.open("rb") as lines:
        if not lines.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            raise Dropped("not_parquet_or_jsonl")
        lines.seek(0)
        number = start = offset = 0
        while lines.readline(_MAX_LINE):
            number += 1
            if number - start == _SLICE:
                yield RowSlice(file=file, start=start, stop=number, offset=offset)
                start, offset = number, lines.tell()
        if number > start:
            yield RowSlice(file=file, start=start, stop=number, offset=offset)


class OpenReader:
    """Reads slices of rows with their images."""

    def __init__(self) -> None:
        self._rows = RowReader(batch=16)

    def read(self, part: RowSlice, path: Path) -> Iterator[tuple[int, RawRow]]:
        """The rows of a slice with their numbers; one that cannot be read says why.

        Raises:
            ParquetError: The file is damaged.
            InfrastructureError: An image beside the file cannot be read for a reason of the machine.
        """
        rows = self._parquet(part, path) if is_parquet(path) else _lines(part, path)
        for number, row in rows:
            yield number, _raw_row(row, part.file)

    def _parquet(self, part: RowSlice, path: Path) -> Iterator[tuple[int, Any]]:
        columns = open_parquet(path).schema_arrow.names
        yield from enumerate(self._rows.read(path, columns, part.start, part.stop), part.start)


def _lines(part: RowSlice, path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a slice by the numbers of their lines; empty lines have none."""
    with path.open("rb") as lines:
        lines.seek(part.offset)
        for number in range(part.start, part.stop):
            line = lines.readline(_MAX_LINE)
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, ValueError(f"the line is no JSON: {error}")


def _raw_row(row: Any, file: InputFile) -> RawRow:
    problem = ""
    images: tuple[Image, ...] = ()
    try:
        if isinstance(row, ValueError):
            raise row
        if not isinstance(row, dict):
            raise ValueError("the row is no object")
        columns = {name: value for name, value in row.items() if name not in _IMAGES}
        images = tuple(_image(value, file) for value in _references(row))
        encoded = json.dumps(columns, ensure_ascii=False, default=str)
    except (ValueError, FileNotFoundError) as error:
        problem, encoded = str(error) or type(error).__name__, "{}"
    return RawRow(columns=encoded, images=images, problem=problem, licence=file.licence)


def _references(row: Mapping[str, Any]) -> list[Any]:
    value = _first(row, _IMAGES)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _image(reference: Any, file: InputFile) -> Image:
    """An image in the row, or beside the file. Raises ValueError, or FileNotFoundError where there is none."""
    if isinstance(reference, bytes):
        return Image.from_bytes(reference)
    if isinstance(reference, dict) and reference.get("bytes") is None:
        reference = reference.get("path")
    if isinstance(reference, str) and not reference.startswith("data:"):
        if reference.startswith("/") or "://" in reference or ".." in reference.split("/"):
            raise ValueError(f"{reference[:80]!r} is no path beside the file")
        store, path = store_of(f"{file.url.rpartition('/')[0]}/{reference}")
        return Image.from_bytes(store.read_all(path))
    loader = ImageLoader(None)
    loader.show(reference)
    return loader.images[0]


def question_of(row: RawRow) -> OpenQuestion:
    """What a row asks, and what answers it.

    Raises:
        Dropped: The annotators found it unanswerable.
        ValueError: The row cannot be read, or its columns are not those of a known set.
    """
    if row.problem:
        raise ValueError(row.problem)
    columns = json.loads(row.columns)
    question = _first(columns, _QUESTIONS)
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"its columns {', '.join(columns)} have no question")
    context = _first(columns, _CONTEXT)
    asked = (
        f"{context.strip()}\n{question.strip()}" if isinstance(context, str) and context.strip() else question.strip()
    )
    reasons = _first(columns, _REASONS)
    reasoning = reasons[0] if isinstance(reasons, list) and reasons else reasons
    reasoning = reasoning.strip() if isinstance(reasoning, str) else ""
    choices = _first(columns, _CHOICES)
    if isinstance(choices, str):
        choices = json.loads(choices)
    if isinstance(choices, list) and len(choices) > 1:
        options = tuple(str(choice).strip() for choice in choices)
        right = options[_right_choice(_first(columns, _INDEX), choices, options)]
        return OpenQuestion(question=asked, answers=(right,), agreement=1, choices=options, reasoning=reasoning)
    texts = _answers(columns)
    counts = Counter(texts)
    ranked = sorted(counts, key=lambda answer: (-counts[answer], texts.index(answer)))
    if ranked[0].casefold() in _NO_ANSWER:
        raise Dropped("unanswerable")
    accepted = [answer for answer in ranked if answer and (counts[answer] > 1 or len(texts) <= 3)] or ranked[:1]
    agreement = counts[ranked[0]] / len(texts) if len(texts) > 3 else 1.0
    return OpenQuestion(question=asked, answers=tuple(accepted), agreement=round(agreement, 3), reasoning=reasoning)


def _first(columns: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((columns[name] for name in names if columns.get(name) is not None), None)


def _answers(columns: Mapping[str, Any]) -> list[str]:
    value = _first(columns, _SEVERAL)
    value = _first(columns, _ONE) if value is None or value == [] else value
    values = value if isinstance(value, list) else [value]
    values = [each.get("answer") if isinstance(each, dict) else each for each in values]
    texts = [str(each).strip() for each in values if isinstance(each, str | int | float)]
    if not texts:
        raise ValueError(f"its columns {', '.join(columns)} have no answer")
    return texts


def _right_choice(value: Any, choices: Sequence[Any], options: tuple[str, ...]) -> int:
    """Which choice is right, by index, label or text, or as a number where the choices are numbers.

    Args:
        value: What the row says.
        choices: Its choices.
        options: The same as texts.

    Raises:
        ValueError: No choice is, or one by its index or label and another one by its text.
    """
    if len(set(options)) != len(options):
        raise ValueError("two of its choices are equal")
    value = whole(value)
    readings = options_of_number(value, choices)
    if isinstance(value, str):
        text = value.strip()
        if text in options:
            readings.add(options.index(text))
        if len(text) == 1 and text.upper() in string.ascii_uppercase[: len(options)]:
            readings.add(string.ascii_uppercase.index(text.upper()))
        if text.isdecimal() and int(text) < len(options):
            readings.add(int(text))
    if len(readings) > 1:
        raise ValueError(f"{value!r} is the index or label of one choice and the text of another one")
    if not readings:
        raise ValueError(f"it does not say which of {len(options)} choices is right")
    return readings.pop()
