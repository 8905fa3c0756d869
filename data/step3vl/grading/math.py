r"""Expressions, compared by math-verify in worker processes.

Any answer that math-verify finds equal is correct: `\frac{1}{2}`, `0.5` and `1/2` are the same. What the answer marks
as final (`\boxed{…}`) counts first, then an expression without a mark that `step3vl.grading.expression` reads, and
else the library looks for one itself.

A comparison takes math-verify milliseconds. Equal texts and plain numbers, which are most answers, are decided without
it, as it decides them; and what was compared is remembered, since the responses to a question repeat each other.
"""

import importlib.util
import logging
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from step3vl.data.optional import require
from step3vl.data.sample import MathTruth
from step3vl.grading.expression import SEVERAL, unmarked_expression
from step3vl.grading.extraction import marked_answer
from step3vl.grading.pool import WorkerError, WorkerPool
from step3vl.grading.verdicts import ERROR, TIMEOUT, UNPARSABLE, Grade, Verdict, exact

log = logging.getLogger(__name__)

SECONDS = 5.0
"""The deadline of a comparison."""
MAX_EXPRESSION = 2**12
"""The last characters of an answer that are searched for an expression."""

_POOL = WorkerPool("step3vl.grading.math:compare", warm_up=("1", "1"))


def grade_math(truth: MathTruth, answer: str) -> Grade:
    """Compare an expression in LaTeX.

    Raises:
        UserError: math-verify is not installed.
    """
    if importlib.util.find_spec("math_verify") is None:
        require("math_verify", "grading")
    marked = marked_answer(answer)
    if marked is None:
        marked = unmarked_expression(answer[-MAX_EXPRESSION:])
        if marked == SEVERAL:
            return UNPARSABLE
    if marked is None:
        text = answer[-MAX_EXPRESSION:]
    else:
        text = rf"\boxed{{{marked[-MAX_EXPRESSION:].replace('~', ' ')}}}"  # ~ is a space, which math-verify ignores
    if not text.strip():
        return UNPARSABLE
    if marked is not None and (same := decide_plainly(truth.expression, marked)) is not None:
        return exact(same)
    try:
        verdict = _compare_in_worker(truth.expression, text)
    except TimeoutError:
        return TIMEOUT
    except WorkerError as error:
        log.warning("comparing with %r: %s", truth.expression, error)
        return ERROR
    return UNPARSABLE if verdict == "unparsable" else exact(verdict == "correct")


def decide_plainly(expression: str, answer: str) -> bool | None:
    """Whether an answer is equal to an expression, where that needs no algebra; None where it may.

    Decided are equal texts, and numbers: in digits, as fractions, and mixed. Numbers that differ by less than a
    hundredth are left to math-verify, which rounds.
    """
    expression, answer = expression.strip(), answer.strip()
    if expression == answer and expression and "$" not in expression and len(expression) <= MAX_EXPRESSION:
        return True
    number = _plain_number(expression)
    other = None if number is None else _plain_number(answer)
    if number is None or other is None:
        return None
    if number == other:
        return True
    return None if abs(number - other) <= _ROUNDED else False


_DIGITS = re.compile(r"-?(?:\d{1,3}(?:(?:,|\{,\})\d{3}){1,3}|\d{1,12})(?:\.\d{1,15})?")
_FRACTION = re.compile(
    r"(?P<sign>-?)(?P<whole>[1-9]\d{0,5})?\s?\\[dt]?frac\{(?P<top>\d{1,9})\}\{(?P<bottom>[1-9]\d{0,8})\}"
)
_SLASHED = re.compile(r"(?P<sign>-?)(?P<whole>)(?P<top>\d{1,9})/(?P<bottom>[1-9]\d{0,8})")
_NO_GROUPS = str.maketrans("", "", "{},")
_ROUNDED = Fraction(1, 100)


def _plain_number(text: str) -> Fraction | None:
    if _DIGITS.fullmatch(text):
        return Fraction(text.translate(_NO_GROUPS))
    match = _FRACTION.fullmatch(text) or _SLASHED.fullmatch(text)
    if match is None:
        return None
    whole, value = int(match["whole"] or 0), Fraction(int(match["top"]), int(match["bottom"]))
    if whole and not 0 < value < 1:  # a product, perhaps
        return None
    return -(whole + value) if match["sign"] else whole + value


@lru_cache(maxsize=2**14)
def _compare_in_worker(expression: str, text: str) -> Verdict:
    verdict: Verdict = _POOL.call(expression, text, seconds=SECONDS)
    return verdict


def compare(expression: str, answer: str) -> Verdict:
    """Compare an answer with an expression; runs in a worker, which is what limits its time."""
    from math_verify import parse, verify

    # It reports every comparison that it gives up; for a grader that is an answer like any other.
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    parsed = parse(answer, parsing_timeout=None)
    if not parsed:
        return "unparsable"
    return "correct" if verify(_parse_truth(expression), parsed, timeout_seconds=None) else "wrong"


@lru_cache(maxsize=2**10)
def _parse_truth(expression: str) -> Any:
    """A parsed expression; the responses to a question come one after another."""
    from math_verify import parse

    return parse(f"${expression}$", parsing_timeout=None)
