"""What becomes of a graded answer: a value in 0..1 and a verdict."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

Verdict = Literal["correct", "wrong", "unparsable", "truncated", "timeout", "error"]
"""What became of an answer.

- ``correct``: what an accuracy counts.
- ``wrong``: read, and not what was asked for; its value may still lie above 0 (a transcript, boxes).
- ``unparsable``: nothing of the kind asked for could be read (no number, no box, reasoning that was never closed).
- ``truncated``: cut off by the limit of tokens, whatever it says. A rising share asks for a higher limit.
- ``timeout``: the comparison took longer than its deadline.
- ``error``: the comparison failed, or the reply ended for a reason that is not the model's.
"""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Grade(NamedTuple):
    """A value in 0..1 and the verdict; only a ``correct`` or ``wrong`` answer has a value above 0."""

    value: float
    verdict: Verdict


CORRECT = Grade(1.0, "correct")
WRONG = Grade(0.0, "wrong")
UNPARSABLE = Grade(0.0, "unparsable")
TRUNCATED = Grade(0.0, "truncated")
TIMEOUT = Grade(0.0, "timeout")
ERROR = Grade(0.0, "error")


def exact(correct: bool) -> Grade:
    """The grade of an answer that is either correct or worth nothing."""
    return CORRECT if correct else WRONG


def verdict_shares(grades: Iterable[Grade]) -> dict[str, float]:
    """The share of each verdict, every verdict named; the shares of a non-empty batch add up to 1."""
    counts: Counter[str] = Counter(grade.verdict for grade in grades)
    total = max(counts.total(), 1)
    return {verdict: counts[verdict] / total for verdict in VERDICTS}
