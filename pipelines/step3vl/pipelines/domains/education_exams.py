"""Exams of schools, universities and professions, from JSON Lines, Parquet, JSON and web pages.

After the exam data of the STEP3-VL-10B report, section 2.2. One reading serves the public layouts, which
`sources/education/exams.py` lists. What does not fit together is dropped with its reason: an answer that is no option,
options that are equal, a question about a figure that is not there, a solution that names another answer.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from step3vl.data.sample import (
    ImagePart,
    MathTruth,
    NumberTruth,
    OptionTruth,
    Parts,
    Sample,
    Source,
    TextPart,
    TextTruth,
    TranscriptTruth,
    Truth,
    conversation,
    image,
    text,
)
from step3vl.grading import grade_answer, last_number
from step3vl.grading.extraction import phrased_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, IntRange
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.phrasings import Language
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.education_answers import instruction, styled_options
from step3vl.pipelines.render.exercises.exercise import say
from step3vl.pipelines.sources.education.exam_html import read_exam_page
from step3vl.pipelines.sources.education.exams import ExamQuestion, read_exam

_OPEN_SECONDS = 3600.0  # for a file of a million questions
_LABELS = "ABCDEFGHIJ"
_SHORT = 80  # characters of an answer that is compared as a whole
_FIGURE = re.compile(
    r"如(?:下)?图|(?:见|看)(?:下)?图|图中|图示|in the (?:figure|image|diagram|picture|graph)|"  # words: of questions
    r"(?:figure|diagram|graph) (?:below|above)|"
    r"as shown|shown (?:below|above)|<image",
    re.IGNORECASE,
)
_SHOWS = re.compile(r"<image[ _]?\d*>", re.IGNORECASE)  # in an answer, which has no images
_CHINESE = re.compile("[\u4e00-\u9fff]")
_NUMBER = re.compile(r"[-−+]?[\d,]*\.?\d+(?:\s*/\s*\d+)?\s*(?:%|[A-Za-z°²³/]{0,6})")
_FINAL_EN = ("Answer: {x}", "The answer is {x}.", "So the answer is {x}.", "Therefore, the answer is {x}.")
_FINAL_ZH = ("答案：{x}", "答案是{x}。", "故答案为{x}。", "所以答案是{x}。")

Level = Literal["k12", "university", "adult"]


class ExamsEntry(DomainEntry):
    """Questions of exams."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["education.exams"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Files of questions: `.jsonl`, `.json`, `.parquet` (JSON Lines also compressed), `.html`. Their images lie beside
    them."""
    level: Level = "k12"
    """For whom the exams of these sources are."""
    solutions: float = Field(default=0.7, ge=0, le=1)
    """The fraction of answers that give the solution, where there is one."""
    shuffle: bool = True
    """Whether options are put in a random order; never where one refers to another, or the solution to a label."""
    image_sides: IntRange = (16, 8000)
    """The shortest and the longest side of an image, in pixels."""
    characters: IntRange = (4, 20000)
    """Of a question with its options."""

    def inputs(self) -> Files:
        return Files(self.sources)


class OpenExams:
    """Worker: a file becomes its questions."""

    def __init__(self, entry: ExamsEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[ExamQuestion]]:
        file = record.value
        path = self._context.local_path(file)
        page = file.key.lower().endswith((".html", ".htm", ".xhtml"))
        questions = (read_exam_page if page else read_exam)(path, file)
        for number, question in enumerate(questions):
            yield Record(f"{record.key}#{number}", question)


_REFERS = re.compile(
    r"\b(?:all|none|both|neither|either) of (?:the )?(?:above|these|them)|\b[A-D] and [A-D]\b|"
    r"以上|上述|[①-⑩]|[A-D]和[A-D]|前述",
    re.IGNORECASE,
)


class BuildExams:
    """Worker: a question becomes a sample."""

    def __init__(self, entry: ExamsEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[ExamQuestion], rng: random.Random) -> Iterator[Sample]:
        entry, question = self._entry, record.value
        self._check(question)
        language: Language = "zh" if _CHINESE.search(question.text) else "en"
        options, correct = self._ordered(question, rng)
        labelled = [f"{label}. {option}" for label, option in zip(_LABELS, options, strict=False)]
        truth = _truth(labelled, correct, question.answer)
        has_steps = bool(question.solution) and not _SHOWS.search(question.solution)
        with_steps = has_steps and rng.random() < entry.solutions
        if question.solution and _contradicts(truth, question.solution, options == list(question.options)):
            raise Dropped("solution_disagrees")
        final = "".join(_LABELS[i] for i in correct) if options else question.answer
        request = instruction("choice" if options else "free", with_steps, language, rng, several=len(correct) > 1)
        lines = [question.text, *styled_options(labelled, rng)]
        asked = "\n".join(lines) + ("\n" + request if request else "")
        answer = final
        if with_steps:
            answer = f"{question.solution}\n{say(language, rng, _FINAL_EN, _FINAL_ZH).format(x=final)}"
            if grade_answer(truth, answer).verdict != "correct" and not isinstance(truth, TranscriptTruth):
                raise Dropped("solution_disagrees")
        parts = _parts(asked, len(question.images))
        conversing = entry.kind == "conversation"
        traits = {"level": entry.level, "language": language, "form": "choice" if options else "free"}
        if question.subject:
            traits["subject"] = question.subject
        if question.level:
            traits["grade"] = question.level
        yield Sample.make(
            domain="education",
            task="education.exams",
            images=question.images,
            truth=truth,
            source=Source(
                uri=record.key, licence=question.licence, collected_by=f"step3vl/{entry.name}", traits=traits
            ),
            messages=conversation(parts, answer) if conversing else None,
            content=None if conversing else _document(parts, answer),
        )

    def _check(self, question: ExamQuestion) -> None:
        entry = self._entry
        if question.problem:
            raise Dropped(question.problem)
        size = len(question.text) + sum(map(len, question.options))
        if not entry.characters[0] <= size <= entry.characters[1]:
            raise Dropped("text_length")
        if not question.images and _FIGURE.search(question.text):
            raise Dropped("figure_missing")
        if question.options and len({" ".join(option.split()).casefold() for option in question.options}) < len(
            question.options
        ):
            raise Dropped("equal_options")
        if len(question.options) == 1 or len(question.options) > len(_LABELS):
            raise Dropped("number_of_options")
        if _SHOWS.search(question.answer):
            raise Dropped("answer_is_no_text")
        low, high = entry.image_sides
        if any(min(i.width, i.height) < low or max(i.width, i.height) > high for i in question.images):
            raise Dropped("image_size")
        marks = [int(n) for part in (question.text, *question.options) for n in re.findall(r"<image (\d+)>", part)]
        if any(not 1 <= mark <= len(question.images) for mark in marks):
            raise Dropped("image_missing")

    def _ordered(self, question: ExamQuestion, rng: random.Random) -> tuple[list[str], tuple[int, ...]]:
        """The options in the order of the sample, and which are right."""
        options = list(question.options)
        names_labels = re.search(r"(?<![A-Za-z])[A-J](?![A-Za-z])", question.solution)
        if not self._entry.shuffle or names_labels or any(map(_REFERS.search, options)):
            return options, question.correct
        order = list(range(len(options)))
        rng.shuffle(order)
        return [options[i] for i in order], tuple(sorted(order.index(i) for i in question.correct))


def _truth(labelled: Sequence[str], correct: Sequence[int], answer: str) -> Truth:
    """What grades an answer: an option with its label, several labels, a number, an expression or a text."""
    if labelled:
        if len(correct) == 1:
            return OptionTruth(option=labelled[correct[0]], options=tuple(labelled))
        return TextTruth(text="".join(_LABELS[i] for i in correct))
    stripped = answer.strip().strip("$").strip()
    if _NUMBER.fullmatch(stripped) and (value := last_number(stripped)) is not None:
        return NumberTruth(value=value)
    if "\\" in answer or "$" in answer:
        return MathTruth(expression=stripped)
    if len(answer) <= _SHORT:
        return TextTruth(text=answer)
    return TranscriptTruth(text=answer)


def _contradicts(truth: Truth, solution: str, same_order: bool) -> bool:
    """Whether a solution states another answer than the truth, where it states one at all."""
    if isinstance(truth, OptionTruth):
        stated = re.findall(
            r"(?:故选|选择?|答案[是为]?|answer is|option)\s*[:：]?\s*[(（]?([A-J])(?![A-Za-z])", solution
        )
        return same_order and bool(stated) and stated[-1] != truth.option[0]
    if isinstance(truth, NumberTruth) and phrased_answer(solution) is not None:
        return grade_answer(truth, solution).verdict == "wrong"
    return False


def _parts(asked: str, images: int) -> Parts:
    """Text and images: those that the text marks in their places, the others before it."""
    pieces = re.split(r"<image (\d+)>", asked)
    marked = {int(n) - 1 for n in pieces[1::2]}
    parts: list[TextPart | ImagePart] = [image(i) for i in range(images) if i not in marked]
    placed_images: set[int] = set()
    for k, piece in enumerate(pieces):
        if k % 2 == 0:
            if piece.strip():
                parts.append(text(piece.strip()))
        elif int(piece) - 1 not in placed_images:
            placed_images.add(int(piece) - 1)
            parts.append(image(int(piece) - 1))
        else:  # shown before: its number stands for it
            parts.append(text(f"(image {piece})"))
    return tuple(parts)


def _document(parts: Parts, answer: str) -> Parts:
    """Question and answer as running text, as in all documents."""
    first = next(i for i, part in enumerate(parts) if isinstance(part, TextPart))
    framed = [
        text(f"Question: {part.text}") if i == first and isinstance(part, TextPart) else part
        for i, part in enumerate(parts)
    ]
    return (*framed, text(f" Answer: {answer}"))


DOMAIN = Domain(
    ExamsEntry,
    steps=(
        BeamStep("open", version=2, worker=OpenExams, output=ExamQuestion, time_limit=_OPEN_SECONDS),
        BeamStep("build", version=3, worker=BuildExams, output=Sample, spread=True),
    ),
    example={"sources": [{"files": ["data/samples/exams/exam.jsonl"], "licence": "CC0-1.0"}]},
)
