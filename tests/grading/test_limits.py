"""Grading is total and linear: no text makes it raise, or take more than its time.

`tests/grading/fuzz.py` does the same with 100,000 texts.
"""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import CountTruth, TextTruth, Truth
from step3vl.grading import grade_answer, grader
from step3vl.grading.grader import GRADERS, Grader

sys.path.insert(0, str(Path(__file__).parent))
import fuzz

LIMIT = 10 * fuzz.CPU_SECONDS
"""A busy machine charges a process for what its neighbours do to the caches; quadratic time would exceed this too."""
ATTEMPTS = 5
"""A collection of garbage may fall into one of them."""


def check_time(text: str) -> None:
    calls = (fuzz.slowest_call(text) for _ in range(ATTEMPTS))
    assert any(seconds < LIMIT for seconds, _ in calls), text[:100]


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_part_of_the_time() -> None:
    fuzz.slowest_call('{"bbox_2d": [1, 2, 3, 4]}')


@pytest.mark.parametrize("name", fuzz.ADVERSARIAL)
def test_adversarial_text_of_64_kib(name: str) -> None:
    check_time(fuzz.ADVERSARIAL[name])


def test_random_texts() -> None:
    for text in fuzz.strings(1000, seed=1):
        check_time(text)


@given(st.text())
def test_any_text(text: str) -> None:
    fuzz.slowest_call(text)


def test_random_expressions() -> None:
    pytest.importorskip("math_verify")
    for text in fuzz.strings(100, seed=2):
        fuzz.check(grade_answer(fuzz.MATH, text))


@pytest.mark.parametrize(
    ("truth", "answer"),
    [
        (CountTruth(count=3), "1" + " " * 200_000 + "3"),  # the last number counts: the tail is read
        (TextTruth(text="a" * 2**16), "a" * 200_000),  # a whole text is compared: the head is read
    ],
)
def test_longer_answers_are_cut_at_the_end_that_matters_less(truth: Truth, answer: str) -> None:
    assert grade_answer(truth, answer).verdict == "correct"


def test_fault_of_a_grader_is_an_error_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(truth: Truth, answer: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(grader.GRADERS, CountTruth, Grader(broken, "head"))
    assert grade_answer(CountTruth(count=3), "3") == (0.0, "error")


def test_every_kind_is_among_the_truths_that_are_fuzzed() -> None:
    assert {type(truth) for truth in (*fuzz.TRUTHS.values(), fuzz.MATH)} >= set(GRADERS)
