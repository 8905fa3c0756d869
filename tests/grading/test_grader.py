"""The dispatch by kind, and sets of acceptable answers."""

import importlib.util
from typing import get_args

import pytest

from step3vl.data.errors import UserError
from step3vl.data.sample import AnyTruth, BoxTruth, CountTruth, MathTruth, NumberTruth, TextTruth, TranscriptTruth
from step3vl.data.sample.truth import SingleTruth
from step3vl.grading import VERDICTS, Grade, grade_answer, verdict_shares
from step3vl.grading import math as math_grading
from step3vl.grading.grader import GRADERS


def test_every_kind_of_truth_has_a_grader() -> None:
    union = get_args(SingleTruth)[0]
    assert set(get_args(union)) == set(GRADERS)


@pytest.mark.parametrize(
    ("truths", "answer", "grade"),
    [
        ((TextTruth(text="lorry"), TextTruth(text="truck")), "Truck", Grade(1.0, "correct")),
        ((TextTruth(text="lorry"), TextTruth(text="truck")), "car", Grade(0.0, "wrong")),
        ((TextTruth(text="two"), CountTruth(count=2)), "There are 2", Grade(1.0, "correct")),
        ((CountTruth(count=2), NumberTruth(value=3)), "none", Grade(0.0, "unparsable")),
        ((CountTruth(count=2), TextTruth(text="two")), "none", Grade(0.0, "wrong")),
        ((TranscriptTruth(text="abcd"), TextTruth(text="x")), "abcx", Grade(0.75, "wrong")),
        ((BoxTruth(boxes=((0, 0, 9, 9),)), TextTruth(text="x")), "x", Grade(1.0, "correct")),
    ],
)
def test_best_grade_of_several_truths_counts(truths: tuple, answer: str, grade: Grade) -> None:
    assert grade_answer(AnyTruth(truths=truths), answer) == grade


def test_timeout_of_one_truth_is_seen_where_no_other_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def call(self, *args: object, seconds: float) -> str:
            raise TimeoutError

    monkeypatch.setattr(math_grading, "_POOL", Pool())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    truth = AnyTruth(truths=(CountTruth(count=2), MathTruth(expression="2")))
    assert grade_answer(truth, "x").verdict == "timeout"


def test_missing_package_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("importlib.import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError(name=name)))
    with pytest.raises(UserError, match=r"step3vl\[grading\]"):
        grade_answer(MathTruth(expression="2"), "2")


def test_verdict_shares_name_every_verdict_and_add_up_to_1() -> None:
    grades = [Grade(1.0, "correct"), Grade(0.0, "truncated"), Grade(0.0, "truncated"), Grade(0.0, "timeout")]
    shares = verdict_shares(grades)
    assert tuple(shares) == VERDICTS
    assert shares == {"correct": 0.25, "wrong": 0, "unparsable": 0, "truncated": 0.5, "timeout": 0.25, "error": 0}
    assert set(verdict_shares([]).values()) == {0.0}
