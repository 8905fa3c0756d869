"""Open questions: MMMU's rule, and the strict one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.evaluation.extraction.open_answers import matches_mmmu_open, read_mmmu_open, score_strictly


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        ("So the deflection is 1.06 mm.", "1.06", True),
        ("The result = 12,970", "12970", True),
        ("the answer is trans-1-Chloro", "trans", True),
        ("It is 4", "44", False),
        ("3.1e2", "310", True),
        ("The answer is cat", "C", False),  # a letter must stand alone
        ("The answer is vitamin C here", "C", True),
    ],
)
def test_mmmu_takes_the_ends_of_sentences_and_their_numbers(response, answer, right):
    assert matches_mmmu_open(read_mmmu_open(response), [answer]) is right


def test_any_of_several_answers_counts():
    assert matches_mmmu_open(read_mmmu_open("it is 5"), ["4", "5"])


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        ("1.05 was my guess.\nFinal answer: 1.06", "1.06", True),
        ("1.06 was my guess.\nFinal answer: 1.05", "1.06", False),
        (r"\boxed{\frac{1}{2}}", "0.5", True),
        ("Final answer: the hormone", "hormone", True),
        ("Final answer: hormones", "hormone", False),
        ("", "4", False),
    ],
)
def test_the_strict_rule_reads_the_final_part_only(response, answer, right):
    assert (score_strictly(response, [answer]).verdict == "correct") is right


@given(st.text(), st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_neither_rule_raises(response, answers):
    matches_mmmu_open(read_mmmu_open(response), answers)
    score_strictly(response, answers)


@pytest.mark.parametrize("piece", ["1", "1,", ".1", "1e", "is ", "-", "1.1"])
def test_reading_takes_linear_time(piece):
    start = time.process_time()
    read_mmmu_open(piece * (100_000 // len(piece)) + "x")
    assert time.process_time() - start < 1
