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


_FRACTIONS = st.tuples(st.sampled_from(["", "-"]), st.integers(0, 60), st.integers(1, 60))
_NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.integers(0, 10**9).map("{:,}".format),
    st.integers(0, 10**9).map(lambda number: f"{number:,}".replace(",", "{,}")),
    st.decimals(-100, 100, places=2).map("{:f}".format),
    _FRACTIONS.map(lambda parts: rf"{parts[0]}\frac{{{parts[1]}}}{{{parts[2]}}}"),
    _FRACTIONS.map(lambda parts: f"{parts[0]}{parts[1]}/{parts[2]}"),
    _FRACTIONS.map(lambda parts: rf"{parts[0]}3\dfrac{{{parts[1]}}}{{{parts[2]}}}"),
    _FRACTIONS.map(lambda parts: rf"{parts[1] + 1} \frac{{{parts[1]}}}{{{parts[2]}}}"),
    st.sampled_from(["007", "-0", "0.50", "1,000.5", "10000.00"]),
)


@settings(max_examples=100)
@given(_NUMBERS, _NUMBERS)
def test_what_is_decided_without_math_verify_is_decided_as_it_does(expression: str, answer: str) -> None:
    for text in (answer, expression):
        plainly = math_grading.decide_plainly(expression, text)
        if plainly is not None:
            verdict = math_grading.compare(expression, rf"\boxed{{{text}}}")
            assert verdict == ("correct" if plainly else "wrong")


@pytest.mark.parametrize(
    ("expression", "answer"),
    [("x", "y"), ("1.001", "1.002"), ("$x$", "$x$"), ("1,00", "100"), ("5", "5%"), ("", ""), ("50", "50.0.0")],
)
def test_what_may_need_algebra_is_left_to_math_verify(expression: str, answer: str) -> None:
    assert math_grading.decide_plainly(expression, answer) is None


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
