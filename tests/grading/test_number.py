"""Numbers and counts: what is read of an answer, and when it is correct."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import CountTruth, NumberTruth
from step3vl.grading import grade_answer, last_number


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        # integers and decimals
        ("7", 7),
        ("-3", -3),
        ("x = −3", -3),
        ("x = - 3", -3),
        ("=====\n- 3 stars", 3),
        ("about 2.45", 2.45),
        (".5", 0.5),
        ("１２", 12),
        ("３．５", 3.5),
        ("٣", 3),
        # separators of thousands
        ("1,024 in all", 1024),
        ("1 000", 1000),
        ("1\u202f000\u202f000", 1e6),
        ("1{,}000", 1000),
        (r"1\,000", 1000),
        ("2024 100", 100),
        # exponents and powers
        ("1e3", 1000),
        ("1.234e-5", 1.234e-5),
        ("10^3", 1000),
        ("10³", 1000),
        ("10¹²", 1e12),
        ("2^{10}", 1024),
        ("2**3", 8),
        ("1.5 × 10^3", 1500),
        (r"1.5 \times 10^{3}", 1500),
        # fractions
        ("so it is 3/4", 0.75),
        ("1.5/2", 0.75),
        ("1 1/2", 1.5),
        ("½", 0.5),
        ("1½", 1.5),
        (r"\frac{3}{4}", 0.75),
        (r"-\dfrac{3}{4}", -0.75),
        (r"1\frac{1}{2}", 1.5),
        (r"\frac12", 0.5),
        (r"\cfrac{3}{4}", 0.75),
        ("12/25/2024", 2024),
        # units, percent, currency, multipliers
        ("12 cm^2", 12),
        ("12 cm2", 12),
        ("5 m²", 5),
        (r"12 \text{ cm}^{2}", 12),
        ("4 s^{-1}", 4),
        ("3D", 3),
        ("5 H2O", 5),
        ("H2O", 2),
        ("x_1 = 4", 4),
        ("45%", 45),
        (r"45\%", 45),
        ("$1,000", 1000),
        (r"\$5", 5),
        ("-$5.50", -5.5),
        ("1.2 million people", 1.2e6),
        ("12万", 120_000),
        ("3千万", 3e7),
        ("3千克", 3),
        # the last number, where nothing else is marked
        ("I see 2, no, 3", 3),
        ("10-3=7", 7),
        ("between 2-3", 3),
        ("(3,5)", 5),
        ("第3步得到12个", 12),
        ("**5**", 5),
        # the marked answer first
        (r"\boxed{7} because 3 are red", 7),
        (r"\boxed{x = 7}", 7),
        (r"\boxed{3} then \boxed{\frac{3}{4}}", 0.75),
        (r"\boxed{seven}, that is 7", 7),
        ("<answer>3</answer> 4", 3),
        ("<|begin_of_box|>3<|end_of_box|> 4", 3),
        (r"\boxed{- 5}", -5),
        (r"\boxed{1\text{ million}}", 1e6),
        (r"\boxed{2\pi \approx 6.283}", 6.283),
        (r"\boxed{2\pi}, with r = 1", None),
        (r"\boxed{\frac{\sqrt{3}}{2}}", None),
        # then a phrase
        ("The answer is 2π.", None),
        ("The answer is 3 sqrt(2), or 3√2.", None),
        ("The answer is 2π ≈ 6.28.", 6.28),
        ("The answer is x = - 5", -5),
        ("the answer is 5 (see step 3)", 5),
        ("**Answer:** 5 because 3 are hidden", 5),
        ("The answer is 5 because x = 3", 5),
        ("Answer: 10-3=7", 7),
        ("The answer is 2. No, the answer is 3.", 3),
        ("The answer is clear. I count 4", 4),
        ("答案是5，见第3步", 5),
        ("答案：5", 5),
        # none
        ("four", None),
        ("", None),
        ("1/0", None),
        ("1e999", None),
    ],
)
def test_number_of_an_answer(answer: str, number: float | None) -> None:
    assert last_number(answer) == (None if number is None else pytest.approx(number))


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (NumberTruth(value=1000), "1e3", "correct"),
        (NumberTruth(value=3), "1e3", "wrong"),
        (NumberTruth(value=3), "10^3", "wrong"),
        (NumberTruth(value=0), "1 000", "wrong"),
        (NumberTruth(value=2), "12 cm^2", "wrong"),
        (NumberTruth(value=2.5, tolerance=0.1), "about 2.45", "correct"),
        (NumberTruth(value=2.5), "2.45", "wrong"),
        (NumberTruth(value=200, relative_tolerance=0.05), "209", "correct"),
        (NumberTruth(value=200, relative_tolerance=0.05), "211", "wrong"),
        (NumberTruth(value=-200, relative_tolerance=0.05), "-191", "correct"),
        (NumberTruth(value=45), "45%", "correct"),
        (NumberTruth(value=0.45), "45%", "correct"),
        (NumberTruth(value=45), "0.45", "wrong"),
        (NumberTruth(value=4), "four", "unparsable"),
        (NumberTruth(value=4), "1/0", "wrong"),
        (NumberTruth(value=4), "1/" + "3" * 309, "wrong"),
        (NumberTruth(value=4), "9" * 60_000, "wrong"),
        (NumberTruth(value=4), "9^99999", "wrong"),
        (CountTruth(count=3), "I see 2, no, 3", "correct"),
        (CountTruth(count=3), "3.0", "correct"),
        (CountTruth(count=3), "3.5", "wrong"),
        (CountTruth(count=3), "three", "unparsable"),
    ],
)
def test_verdict_of_a_number(truth: NumberTruth | CountTruth, answer: str, verdict: str) -> None:
    assert grade_answer(truth, answer).verdict == verdict


@given(st.integers(-(10**6), 10**6))
def test_number_is_read_back_from_a_sentence(value: int) -> None:
    assert last_number(f"12 apples, then {value:,} pears") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_is_read_back_as_python_writes_it(value: float) -> None:
    assert last_number(repr(value)) == value


@given(st.integers(0, 999), st.integers(1, 99), st.integers(1, 99))
def test_mixed_number_is_the_sum_of_its_parts(whole: int, above: int, below: int) -> None:
    assert last_number(f"{whole} {above}/{below}") == pytest.approx(whole + above / below)
    assert last_number(rf"{whole}\frac{{{above}}}{{{below}}}") == pytest.approx(whole + above / below)
