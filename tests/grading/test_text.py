"""Exact texts and transcripts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import TextTruth, TranscriptTruth
from step3vl.grading import final_answer, grade_answer, normalise
from step3vl.grading.text import MAX_TRANSCRIPT


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("K7", "correct"),
        (" k7. ", "correct"),
        ("Ｋ７", "correct"),
        ("K7。", "correct"),
        (r"It is \boxed{K7}, as seen.", "correct"),
        ("The plate is dirty. Answer: K7", "correct"),
        ("The answer is **K7**.", "correct"),
        ("答案是K7", "correct"),
        ('"K7"', "correct"),
        ("`K7`", "correct"),
        ("<answer>K7</answer>", "correct"),
        ("K8", "wrong"),
        ("K7 or K8", "wrong"),
        (r"\boxed{K8}, not K7", "wrong"),
        ("  ", "unparsable"),
        ("", "unparsable"),
    ],
)
def test_exact_text(answer: str, verdict: str) -> None:
    assert grade_answer(TextTruth(text="K7"), answer).verdict == verdict


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("  New \n York. ", "new york"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("１２", "12"),
        ("e\u0301", "é"),
        ("你好。", "你好"),
    ],
)
def test_normalised_text(text: str, normalised: str) -> None:
    assert normalise(text) == normalised


@given(st.text(max_size=300))
def test_normalising_twice_changes_only_what_folding_uncovers(text: str) -> None:
    assert normalise(text) == normalise(f"  {text}\n")


def test_long_texts_are_compared_to_their_end() -> None:
    text = "é" * 10_000
    assert grade_answer(TextTruth(text=text + "a"), text + "a").verdict == "correct"
    assert grade_answer(TextTruth(text=text + "a"), text + "b").verdict == "wrong"


@pytest.mark.parametrize(
    ("answer", "value", "verdict"),
    [
        ("abcdefghij", 1.0, "correct"),
        (" abcdefghij\n", 1.0, "correct"),
        ("abcdefghix", 0.9, "wrong"),
        ("abcde", 0.5, "wrong"),
        ("ABCDEFGHIJ", 0.0, "wrong"),
        ("", 0.0, "unparsable"),
    ],
)
def test_transcript_is_worth_its_share_of_correct_characters(answer: str, value: float, verdict: str) -> None:
    grade = grade_answer(TranscriptTruth(text="abcdefghij"), answer)
    assert grade.value == pytest.approx(value)
    assert grade.verdict == verdict


def test_long_transcript_counts_what_lies_beyond_the_limit_as_wrong() -> None:
    truth = TranscriptTruth(text="a" * MAX_TRANSCRIPT + "b" * 1000)
    assert grade_answer(truth, truth.text) == (1.0, "correct")
    copied = grade_answer(truth, "a" * MAX_TRANSCRIPT + "b" * 999 + "c")
    assert copied.value == pytest.approx(MAX_TRANSCRIPT / (MAX_TRANSCRIPT + 1000))
    assert copied.verdict == "wrong"
    endless = grade_answer(TranscriptTruth(text="abc"), "abc" * 20_000)
    assert endless.value == pytest.approx(3 / 60_000)


@pytest.mark.parametrize(
    ("answer", "final"),
    [
        ("so it is 7", "so it is 7"),
        (r"\boxed{A} … \boxed{ B. }", "b"),
        (r"\boxed{never closed", r"\boxed{never closed"),
    ],
)
def test_final_answer_that_answers_are_compared_by(answer: str, final: str) -> None:
    assert final_answer(answer) == final
