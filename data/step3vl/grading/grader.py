"""The grade of an answer by the kind of its truth, and the grade of a whole reply.

Grading is total (no text makes it raise), linear in the length of the text (64 KiB in under 50 ms; longer text is cut)
and killable (what a library computes has a hard deadline in a worker process, see `step3vl.grading.pool`).
"""

import logging
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from step3vl.data.errors import UserError
from step3vl.data.sample import (
    ActionTruth,
    AnyTruth,
    BoxTruth,
    ChecksTruth,
    CountTruth,
    MathTruth,
    NumberTruth,
    OptionTruth,
    PointsTruth,
    PointTruth,
    TextTruth,
    TranscriptTruth,
    Truth,
)
from step3vl.grading.action import grade_action
from step3vl.grading.boxes import grade_boxes, grade_point, grade_points
from step3vl.grading.checks import grade_checks
from step3vl.grading.extraction import MAX_CHARS, split_reply
from step3vl.grading.math import grade_math
from step3vl.grading.number import grade_count, grade_number
from step3vl.grading.option import grade_option
from step3vl.grading.text import grade_text, grade_transcript
from step3vl.grading.verdicts import ERROR, TRUNCATED, UNPARSABLE, Grade, Verdict

log = logging.getLogger(__name__)


class Grader(NamedTuple):
    """The function that grades a kind of truth, and which end of an answer longer than `MAX_CHARS` it reads."""

    grade: Callable[[Any, str], Grade]
    reads: Literal["head", "tail"]


# The head is read where the whole answer or the first of several things is compared, the tail where the last counts.
GRADERS: dict[type, Grader] = {
    TextTruth: Grader(grade_text, "head"),
    TranscriptTruth: Grader(grade_transcript, "head"),
    NumberTruth: Grader(grade_number, "tail"),
    CountTruth: Grader(grade_count, "tail"),
    OptionTruth: Grader(grade_option, "tail"),
    PointTruth: Grader(grade_point, "head"),
    PointsTruth: Grader(grade_points, "head"),
    BoxTruth: Grader(grade_boxes, "head"),
    ActionTruth: Grader(grade_action, "tail"),
    MathTruth: Grader(grade_math, "tail"),
    ChecksTruth: Grader(grade_checks, "head"),
}
"""One line for each kind."""

FINISHED = ("stop", "tool_calls")
"""The finish reasons of a reply that the model ended itself."""

_RANKS: tuple[Verdict, ...] = ("unparsable", "error", "timeout", "wrong", "correct")


def grade_answer(truth: Truth, answer: str) -> Grade:
    """Grade an answer from which the reasoning has been split off.

    Args:
        truth: what makes the answer verifiable. Of an `AnyTruth` the best grade counts.
        answer: any text; of more than `MAX_CHARS` characters the head or the tail is read, as fits the kind.

    Raises:
        UserError: the kind needs a package that is not installed. Nothing else is raised for any text.
    """
    if isinstance(truth, AnyTruth):
        grades = [grade_answer(alternative, answer) for alternative in truth.truths]
        return max(grades, key=lambda grade: (grade.verdict == "correct", grade.value, _RANKS.index(grade.verdict)))
    grader = GRADERS[type(truth)]
    try:
        return grader.grade(truth, answer[:MAX_CHARS] if grader.reads == "head" else answer[-MAX_CHARS:])
    except UserError:
        raise
    except Exception:
        # A fault of ours must not end a training run that is hours old; its share is seen among the verdicts.
        log.exception("grading an answer of %d characters by a truth of kind %s failed", len(answer), truth.kind)
        return ERROR


def grade_reply(truth: Truth, reply: str, finish_reason: str) -> Grade:
    """Grade a whole sampled reply, by the one rule for its reasoning and its end (see `step3vl.grading.extraction`).

    Args:
        truth: what makes the answer verifiable.
        reply: the sampled text, reasoning included, without the end-of-turn token.
        finish_reason: of the engine or the server. "length" makes the reply truncated, whatever it says; one that
            ended neither so nor by itself (cancelled, filtered) is an error.

    Raises:
        UserError: the kind needs a package that is not installed.
    """
    if finish_reason == "length":
        return TRUNCATED
    if finish_reason not in FINISHED:
        return ERROR
    _, answer, closed = split_reply(reply)
    return grade_answer(truth, answer) if closed else UNPARSABLE
