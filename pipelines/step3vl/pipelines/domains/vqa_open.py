"""Open sets of visual questions by converter: Parquet and JSON Lines in the layouts that the common sets share.

After the VQA data of the STEP3-VL-10B report, section 2.2: curated open sets. Their labels are other people's. What
can be checked is: that an image decodes, that a choice is one of the choices, that annotators agree, and that the
grader accepts the answer. A judge on a server may look at the rest.
"""

import random
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from step3vl.data.sample import AnyTruth, Sample, TextTruth, Truth
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, Inputs
from step3vl.pipelines.core.inputs import InputFile
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains.vqa_questions.judging import JUDGE_STEP, WriteConversations, check_judge
from step3vl.pipelines.domains.vqa_questions.turns import Asked, Language, Turn, offer
from step3vl.pipelines.models.judge import JudgeConfig
from step3vl.pipelines.sources.open_vqa import OpenQuestion, OpenReader, RawRow, RowSlice, question_of, slices_of

_SECONDS = 120.0  # for a slice of rows with their images


class OpenVqaEntry(DomainEntry):
    """Questions of open sets."""

    INPUT_FIELDS = frozenset({"sources"})

    domain: Literal["vqa.open"]
    sources: tuple[FileSource, ...] = Field(min_length=1)
    """Parquet and JSON Lines files; images are in them, or beside them. A change of an image beside an unchanged file
    is not noticed."""
    task: str = Field(default="vqa.open", pattern=r"^vqa\.[a-z0-9_]+(\.[a-z0-9_]+)*$")
    """Of the samples."""
    min_agreement: float = Field(default=0.3, ge=0, le=1)
    """The share of annotators who gave the commonest answer, at least, where there are more than three."""
    judge: JudgeConfig | None = None
    """A model that looks at each question; answers that it finds wrong are dropped."""

    def inputs(self) -> Inputs:
        return Files(self.sources)

    def check(self, context: StepContext) -> None:
        super().check(context)
        check_judge(self.judge)


class SliceFiles:
    """Worker: a file becomes slices of rows."""

    def __init__(self, entry: OpenVqaEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[InputFile], rng: random.Random) -> Iterator[Record[RowSlice]]:
        for part in slices_of(self._context.local_path(record.value), record.value):
            yield Record(f"{record.key}#{part.start + 1}-{part.stop}", part)


class ReadRows:
    """Worker: a slice becomes its rows."""

    def __init__(self, entry: OpenVqaEntry, context: StepContext) -> None:
        self._context = context

    def setup(self) -> None:
        self._reader = OpenReader()

    def process(self, record: Record[RowSlice], rng: random.Random) -> Iterator[Record[RawRow]]:
        part = record.value
        for number, row in self._reader.read(part, self._context.local_path(part.file)):
            yield Record(f"{part.file.key}#{number + 1}", row)


class AskAsGiven:
    """Worker: a row becomes a conversation of its question and answer."""

    def __init__(self, entry: OpenVqaEntry, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[RawRow], rng: random.Random) -> Iterator[Record[Asked]]:
        row = record.value
        asked = question_of(row)
        if len(row.images) != 1:
            raise Dropped("not_one_image")
        if asked.agreement < self._entry.min_agreement:
            raise Dropped("annotators_disagree")
        turn = _turn(asked, rng)
        yield Record(
            record.key,
            Asked(
                image=row.images[0],
                turns=(turn,),
                task=self._entry.task,
                language=_language(asked.question),
                licence=row.licence,
                origin=record.key,
            ),
        )


def _turn(asked: OpenQuestion, rng: random.Random) -> Turn:
    """The question with its choices, if it has some. Raises ValueError for an answer that the grader refuses."""
    question, answer = asked.question, asked.answers[0]
    truth: Truth
    if asked.choices:
        question, truth = offer(question, asked.choices, answer, _language(question), rng)
        answer = truth.option[0]
    elif len(asked.answers) > 1:
        truth = AnyTruth(truths=tuple(TextTruth(text=text) for text in asked.answers))
    else:
        truth = TextTruth(text=answer)
    if grade_answer(truth, answer).verdict != "correct":
        raise ValueError(f"the grader does not accept the answer {answer!r}")
    return Turn(
        kind="given",
        style="choice" if asked.choices else "free",
        question=question,
        answer=answer,
        truth=truth,
        reasoning=asked.reasoning,
    )


def _language(text: str) -> Language:
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"


DOMAIN = Domain(
    OpenVqaEntry,
    steps=(
        BeamStep("slice", version=2, worker=SliceFiles, output=RowSlice),
        BeamStep("read", version=2, worker=ReadRows, output=RawRow, spread=True, time_limit=_SECONDS),
        BeamStep("ask", version=2, worker=AskAsGiven, output=Asked),
        JUDGE_STEP,
        BeamStep("build", version=1, worker=WriteConversations, output=Sample),
    ),
    example={"sources": [{"files": ["data/samples/vqa/*.jsonl"], "licence": "CC0-1.0"}]},
)
