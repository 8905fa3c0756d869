"""The optional judge of visual questions: a model on a server answers, and compares."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import ModelStep
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.domains.vqa_questions.turns import FOLLOW_UPS, Asked, to_sample
from step3vl.pipelines.models.judge import ANSWER_PROMPT, Judge, JudgeConfig
from step3vl.pipelines.models.prompts import check_template

_FIELDS = ("question", "answer")


def check_judge(judge: JudgeConfig | None) -> None:
    """Raises UserError for a prompt that uses an unknown name."""
    if judge is not None:
        check_template(judge.prompt, _FIELDS, "judge")


class JudgeAnswers:
    """Annotator: conversations with the judgements of their answers."""

    def __init__(self, entry: Any) -> None:
        self._judge = Judge(entry.judge, ANSWER_PROMPT, _FIELDS)

    def __call__(self, conversations: Sequence[Asked]) -> list[Asked]:
        items = [
            ((asked.image,), {"question": question, "answer": turn.answer})
            for asked in conversations
            for turn, question in zip(asked.turns, _alone(asked), strict=True)
        ]
        judgements = iter(self._judge(items))
        return [
            asked.model_copy(update={"judgements": tuple(next(judgements) for _ in asked.turns)})
            for asked in conversations
        ]


def _alone(asked: Asked) -> list[str]:
    """The questions as they can be judged alone: one that follows up comes with those before it."""
    questions = [turn.question for turn in asked.turns]
    return [
        " ".join(questions[: number + 1]) if turn.kind in FOLLOW_UPS else turn.question
        for number, turn in enumerate(asked.turns)
    ]


class WriteConversations:
    """Worker: a conversation becomes a sample, unless the judge finds one of its answers wrong."""

    def __init__(self, entry: Any, context: StepContext) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[Asked], rng: random.Random) -> Iterator[Sample]:
        entry, asked = self._entry, record.value
        scores: dict[str, float] = {}
        if entry.judge is not None:
            for judgement in asked.judgements:
                judgement.require(entry.judge)
            scores["judge"] = min(judgement.score for judgement in asked.judgements)
        yield to_sample(asked, entry.kind, entry.name, scores)


def _is_judged(entry: Any) -> bool:
    return entry.judge is not None


JUDGE_STEP = ModelStep("judge", version=1, annotator=JudgeAnswers, output=Asked, batch=16, when=_is_judged)
"""For entries with a field `judge`."""
