"""Exam questions from tables: one reading of the columns that public exam sets use.

Rows come from JSON Lines, Parquet, or a JSON file that holds a list, or an object with one list.

    column                                             as in
    question | problem | query | question_text         all; `<image 1>` marks an image's place (MMMU, MathVision)
    passage | context | hint | background              before the question (AGIEval, ScienceQA)
    options | choices | candidates                     a list, its text (MMMU: "['a', 'b']"), {"A": ...}, or texts with
                                                       labels (ARC, CommonsenseQA)
    A, B, C, D, ... | option_a ...                     a column each (C-Eval, CMMLU)
    none, but "A. ... B. ..." in the question          GAOKAO-Bench
    answer | answerKey | label | gold | ...            a label, a list of them, an index (ScienceQA, MMLU), a text
    solution | explanation | analysis | rationale      worked solution; the part of a GSM8K answer before `####`
    image | images | image_1 ... | decoded_image       {"bytes", "path"}, bytes, base64, data URL, path beside the file
    level | grade | difficulty | subject | category | subfield | topic | task | skill    kept as traits
"""

import ast
import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.data.sample import Image
from step3vl.data.storage import store_of
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.sources.option_numbers import options_of_number, whole
from step3vl.pipelines.sources.text.corpora import CorpusError, read_rows, split_file

_QUESTION = ("question", "problem", "query", "question_text", "stem")
_BEFORE = ("passage", "context", "hint", "background")
_OPTIONS = ("options", "choices", "candidates")
_ANSWER = ("answer", "label", "gold", "standard_answer", "correct_answer", "answerKey", "target", "ground_truth")
_SOLUTION = ("solution", "explanation", "analysis", "rationale")
_IMAGES = ("decoded_image", "image", "images", "picture", "figure_path")  # words: columns
_LEVEL = ("level", "grade", "difficulty", "topic_difficulty")
_SUBJECT = ("subject", "subfield", "category", "topic", "skill", "task")
_LISTS = ("example", "examples", "questions", "data", "items")
_LABELS = "ABCDEFGHIJ"
_MAX_FILE = 64 << 20  # bytes of a JSON file that is read as a whole
_MAX_TRAIT = 40  # characters of a level or a subject
_MARK = re.compile(r"<image[ _]?(\d{1,2})>|<image>", re.IGNORECASE)
_INLINE = re.compile(r"(?<![A-Za-z0-9])([A-J])\s*[.．、:：)）]\s*")
_OWN_LABEL = re.compile(r"\s*[(（]?([A-J])[.．、:：)）]\s*")  # at the beginning of an option
_NUMBERED_IMAGE = re.compile(r"image_?(\d{1,2})")

Option = str | int | float
"""As a row has it: sets that ask for numbers may have numbers."""


class ExamError(ValueError):
    """A question that cannot be read."""


class ExamQuestion(Config):
    """A question of an exam."""

    text: str
    """With `<image N>` where the images stand, counted from 1; images without a mark stand before it."""
    options: tuple[str, ...] = ()
    correct: tuple[int, ...] = ()
    """Which options are right."""
    answer: str = ""
    """Of a question without options."""
    solution: str = ""
    images: tuple[Image, ...] = ()
    level: str = ""
    subject: str = ""
    licence: str
    problem: str = ""
    """Why the question cannot be used; empty for a good one."""


def read_exam(path: Path, file: InputFile) -> Iterator[ExamQuestion]:
    """The questions of a table, in order. A row that cannot be read has a `problem`.

    Args:
        path: The file on this machine.
        file: What it was listed as; images lie beside it.

    Raises:
        CorpusError: The file is damaged.
        Dropped: It is a JSON file of another kind.
    """
    for row in _rows(path, file.key):
        try:
            yield question_of(row, file)
        except (ValueError, FileNotFoundError, RecursionError) as error:
            yield ExamQuestion(text="", licence=file.licence, problem=problem_of(error))


def problem_of(error: Exception) -> str:
    """A short word for why a question cannot be read."""
    if isinstance(error, ExamError):
        return str(error)
    if isinstance(error, CorpusError):
        return "damaged_file"
    return "image_missing" if isinstance(error, FileNotFoundError) else "unreadable"


def _rows(path: Path, name: str) -> Iterator[Any]:
    if name.lower().endswith(".json"):
        if path.stat().st_size > _MAX_FILE:
            raise Dropped("json_too_large")
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            content = next((content[key] for key in _LISTS if isinstance(content.get(key), list)), None)
        if not isinstance(content, list):
            raise Dropped("json_without_questions")
        yield from content
        return
    for part in split_file(path, name):
        for row in read_rows(path, name, part):
            try:
                yield json.loads(row) if isinstance(row, str) else row
            except (ValueError, RecursionError):
                yield None


def question_of(row: Any, file: InputFile) -> ExamQuestion:
    """A row as a question.

    Raises:
        ExamError: A column is missing or says what cannot be.
        FileNotFoundError: An image is not there.
        ValueError: An image is damaged.
    """
    if isinstance(row, CorpusError):
        raise row
    if not isinstance(row, Mapping):
        raise ExamError("no_object")
    text = _text(row, _QUESTION)
    if not text:
        raise ExamError("no_question")
    options, labels = _options(row)
    if not options:
        text, options = split_inline(text)
    raw = next((row[name] for name in _ANSWER if row.get(name) not in (None, "")), None)
    solution = _text(row, _SOLUTION)
    if isinstance(raw, str) and "####" in raw:
        solution, _, raw = (part.strip() for part in raw.partition("####"))
    if raw is None:
        raise ExamError("no_answer")
    correct: tuple[int, ...] = ()
    if options:
        correct = (labels.index(str(raw)),) if str(raw) in labels else correct_options(raw, options)
    before = "\n".join(part for name in _BEFORE if (part := _text(row, (name,))))
    references = _references(row)
    return ExamQuestion(
        text=_numbered(f"{before}\n{text}" if before and before not in text else text),
        options=tuple(_numbered(str(option)) for option in options),
        correct=correct,
        answer="" if options else _answer_text(raw),
        solution=solution,
        images=tuple(load_image(reference, file) for reference in references),
        level=_text(row, _LEVEL)[:_MAX_TRAIT],
        subject=_text(row, _SUBJECT)[:_MAX_TRAIT],
        licence=file.licence,
    )


def _text(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = next((row[name] for name in names if row.get(name) not in (None, "", [])), "")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _answer_text(raw: Any) -> str:
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if not isinstance(raw, str | int | float):
        raise ExamError("answer_is_no_text")
    return str(raw).strip()


def _options(row: Mapping[str, Any]) -> tuple[tuple[Option, ...], tuple[str, ...]]:
    """The options of a row, and their labels where it has some of its own. Raises ExamError."""
    value = next((row[name] for name in _OPTIONS if row.get(name)), None)
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value) if len(value) < 20_000 else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise ExamError("unreadable_options") from None
    if isinstance(value, list | tuple) and all(isinstance(option, Mapping) for option in value):  # CommonsenseQA
        value = {"text": [option.get("text") for option in value], "label": [option.get("label") for option in value]}
    labels: Sequence[Any] = ()
    if isinstance(value, Mapping):
        if isinstance(value.get("text"), list):  # ARC
            labels, value = value.get("label") or (), value["text"]
        else:
            keys = [key for key in value if value[key] is not None]
            labels = sorted(keys, key=lambda key: (len(str(key)), str(key)))
            value = [value[key] for key in labels]
    if isinstance(value, list | tuple):
        options = _texts(value)
        return options, tuple(map(str, labels)) if len(labels) == len(options) else ()
    columns = {str(name).upper(): str(option).strip() for name, option in row.items() if option not in (None, "")}
    for prefix in ("", "OPTION_"):
        names = [label for label in _LABELS if f"{prefix}{label}" in columns]
        if len(names) > 1 and "".join(names) == _LABELS[: len(names)]:
            return tuple(columns[f"{prefix}{label}"] for label in names), ()
    return (), ()


def _texts(options: Sequence[Any]) -> tuple[Option, ...]:
    """Options without labels of their own; numbers stay numbers where all of them are. Raises ExamError."""
    if not all(isinstance(option, str | int | float) for option in options):
        raise ExamError("unreadable_options")
    if all(isinstance(option, int | float) for option in options):
        return tuple(options)
    texts = [str(option) for option in options]
    if _is_labelled(texts):
        texts = [_OWN_LABEL.sub("", option, count=1) for option in texts]
    return tuple(option.strip() for option in texts)


def _is_labelled(options: list[str]) -> bool:
    """Whether every option begins with its label, as in `(A) a dog`."""
    starts = map(_OWN_LABEL.match, options)
    return all(start and start[1] == label for start, label in zip(starts, _LABELS, strict=False))


def split_inline(text: str) -> tuple[str, tuple[str, ...]]:
    """A question and the options that stand in its text, `A. ... B. ... C. ...`; the text alone without them."""
    matches: list[re.Match[str]] = []
    for match in _INLINE.finditer(text):
        if match[1] == "A":
            matches = [match]
        elif matches and match[1] == _LABELS[len(matches)]:
            matches.append(match)
    if len(matches) < 3:
        return text, ()
    ends = [*(match.start() for match in matches[1:]), len(text)]
    options = tuple(text[match.end() : end].strip() for match, end in zip(matches, ends, strict=True))
    stem = text[: matches[0].start()].rstrip("(（ \n\t")
    return (stem, options) if stem and all(options) else (text, ())


def correct_options(raw: Any, options: Sequence[Option]) -> tuple[int, ...]:
    """Which options an answer names: by index, label, labels, text, or as a number where the options are numbers.

    Raises:
        ExamError: `answer_is_no_option`, or `ambiguous_answer` where two of these say different options.
    """
    if isinstance(raw, list):
        indices = tuple(sorted({index for item in raw for index in correct_options(item, options)}))
        if not indices:
            raise ExamError("answer_is_no_option")
        return indices
    raw = whole(raw)
    readings: set[tuple[int, ...]] = {(index,) for index in options_of_number(raw, options)}
    readings = readings or _named_options(str(raw).strip(), tuple(map(str, options)))
    if len(readings) > 1:
        raise ExamError("ambiguous_answer")
    if not readings:
        raise ExamError("answer_is_no_option")
    return readings.pop()


def _named_options(text: str, options: tuple[str, ...]) -> set[tuple[int, ...]]:
    """What a text may name: an option of that text, or options by their labels."""
    readings: set[tuple[int, ...]] = set()
    labels = re.sub(r"[\s,，、;()（）.．和与及]|and", "", text)
    if text in options:
        readings.add((options.index(text),))
        labels = labels if labels == text else ""  # a text such as "A and B" is no list of labels
    if labels and all(label in _LABELS[: len(options)] for label in labels) and len(set(labels)) == len(labels):
        readings.add(tuple(sorted(_LABELS.index(label) for label in labels)))
    stripped = _OWN_LABEL.sub("", text, count=1).strip()
    if not readings and stripped in options:
        readings.add((options.index(stripped),))
    return readings


def _references(row: Mapping[str, Any]) -> list[Any]:
    numbered = [
        (int(match[1]), value)
        for name, value in row.items()
        if (match := _NUMBERED_IMAGE.fullmatch(str(name))) and value not in (None, "")
    ]
    if numbered:
        return [value for _, value in sorted(numbered, key=lambda item: item[0])]
    value: Any = next((row[name] for name in _IMAGES if row.get(name) not in (None, "", [])), [])
    return value if isinstance(value, list) else [value]


def _numbered(text: str) -> str:
    """Marks of images in one spelling."""
    count = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"<image {match[1] or count}>"

    return _MARK.sub(mark, text)


def load_image(reference: Any, file: InputFile) -> Image:
    """An image that a row holds, or that lies beside its file.

    Raises:
        ExamError: It is of another kind, or elsewhere.
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    if isinstance(reference, Mapping):
        reference = reference.get("bytes") or reference.get("path")
    if isinstance(reference, bytes):
        return Image.from_bytes(reference)
    if not isinstance(reference, str):
        raise ExamError("unreadable_image")
    if reference.startswith("data:") or len(reference) > 1000:
        try:
            return Image.from_bytes(base64.b64decode(reference.rpartition(",")[2], validate=True))
        except binascii.Error:
            raise ExamError("unreadable_image") from None
    if "://" in reference or reference.startswith("/") or ".." in reference.split("/"):
        raise ExamError("image_elsewhere")
    store, path = store_of(f"{file.url.rpartition('/')[0]}/{reference}")
    return Image.from_bytes(store.read_all(path))
