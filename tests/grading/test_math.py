"""Expressions, compared by math-verify in worker processes."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.sample import MathTruth
from step3vl.grading import grade_answer
from step3vl.grading import math as math_grading

pytest.importorskip("math_verify")


@pytest.mark.parametrize(
    ("expression", "answer", "verdict"),
    [
        ("x^2+2x+1", r"so it is \boxed{(x+1)^2}", "correct"),
        (r"\frac{1}{2}", "the answer is 0.5", "correct"),
        (r"\frac{1}{2}", r"\boxed{\dfrac{2}{4}}, which is not 3", "correct"),
        (r"\frac{1}{2}", "<answer>1/2</answer>", "correct"),
        (r"\frac{1}{2}", "$2/3$", "wrong"),
        ("12", r"\boxed{12 \text{ cm}^2}", "correct"),
        ("10{,}000", r"\boxed{10000}", "correct"),
        ("2", "nothing of the kind", "unparsable"),
        ("2", "", "unparsable"),
        ("2", "\ud800", "unparsable"),
        ("2", "3" * 60_000, "wrong"),
    ],
)
def test_verdict(expression: str, answer: str, verdict: str) -> None:
    assert grade_answer(MathTruth(expression=expression), answer).verdict == verdict


@settings(max_examples=30)
@given(st.integers(-999, 999), st.integers(1, 99))
def test_expression_equals_itself_written_in_another_way(numerator: int, denominator: int) -> None:
    truth = MathTruth(expression=rf"\frac{{{numerator}}}{{{denominator}}}")
    doubled = rf"\boxed{{\frac{{{2 * numerator}}}{{{2 * denominator}}}}}"
    assert grade_answer(truth, doubled).verdict == "correct"
    assert grade_answer(truth, rf"\boxed{{\frac{{{numerator}}}{{{denominator}}}+1}}").verdict == "wrong"


def test_comparison_without_end_is_a_timeout_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_grading, "SECONDS", 1.0)
    grade_answer(MathTruth(expression="2"), "2")  # the worker has started
    verdicts: list[str] = []
    endless = MathTruth(expression="2")
    thread = threading.Thread(
        target=lambda: verdicts.append(grade_answer(endless, r"\boxed{9^{9^{9^{9}}}}").verdict), daemon=True
    )
    began = time.monotonic()
    thread.start()
    thread.join(20)
    assert verdicts == ["timeout"]
    assert time.monotonic() - began < 5
    assert grade_answer(MathTruth(expression="2"), "2").verdict == "correct"
