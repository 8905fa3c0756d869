r"""Expressions, compared by math-verify in worker processes.

Any answer that math-verify finds equal is correct: `\frac{1}{2}`, `0.5` and `1/2` are the same. What the answer marks
as final (`\boxed{…}`) counts first, else the library looks for an expression itself.
"""

import importlib.util
import logging

from step3vl.data.optional import require
from step3vl.data.sample import MathTruth
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
    text = answer[-MAX_EXPRESSION:] if marked is None else rf"\boxed{{{marked[-MAX_EXPRESSION:]}}}"
    if not text.strip():
        return UNPARSABLE
    try:
        verdict: Verdict = _POOL.call(truth.expression, text, seconds=SECONDS)
    except TimeoutError:
        return TIMEOUT
    except WorkerError as error:
        log.warning("comparing with %r: %s", truth.expression, error)
        return ERROR
    return UNPARSABLE if verdict == "unparsable" else exact(verdict == "correct")


def compare(expression: str, answer: str) -> Verdict:
    """Compare an answer with an expression; runs in a worker, which is what limits its time."""
    from math_verify import parse, verify

    # It reports every comparison that it gives up; for a grader that is an answer like any other.
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    parsed = parse(answer, parsing_timeout=None)
    if not parsed:
        return "unparsable"
    return (
        "correct" if verify(parse(f"${expression}$", parsing_timeout=None), parsed, timeout_seconds=None) else "wrong"
    )
