import random
from fractions import Fraction

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import MathTruth, NumberTruth
from step3vl.grading import grade_answer
from step3vl.grading.math import compare
from step3vl.pipelines.render.exercises.exercise import plausible
from step3vl.pipelines.render.exercises.exercise_values import bracket, latex, rounded, show, show_root, to_number


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (Fraction(25, 2), "cm", "12.5 cm"),
        (Fraction(-1, 3), "", "−1/3"),
        (5 * sympy.sqrt(3), "m", "5√3 m"),
        (sympy.sqrt(3) / 2, "", "√3/2"),
        (sympy.Rational(13, 4) * sympy.pi, "cm", "3.25π cm"),
        (sympy.pi / 3, "", "π/3"),
        (24 * sympy.pi - 48, "", "24π − 48"),
        (35, "°", "35°"),
    ],
)
def test_values_are_written_as_people_do(value: object, unit: str, text: str) -> None:
    assert show(value, unit) == text  # type: ignore[arg-type]


def test_a_root_is_simplified_where_it_can_be() -> None:
    assert [show_root(square) for square in (25, 8, 7)] == ["√25 = 5", "√8 = 2√2", "√7"]


def test_negative_operands_stand_in_brackets() -> None:
    assert [bracket(number) for number in (-3, 0, 3)] == ["(−3)", "0", "3"]


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=400))
def test_a_fraction_is_graded_as_it_is_written(value: Fraction) -> None:
    assert grade_answer(NumberTruth(value=float(value)), show(value, "cm")).verdict == "correct"
    assert grade_answer(NumberTruth(value=float(value)), show(value + 1)).verdict == "wrong"


@given(st.fractions(min_value=-100, max_value=100, max_denominator=5000), st.integers(0, 3))
def test_rounding_agrees_with_decimal_arithmetic(value: Fraction, digits: int) -> None:
    result = rounded(value, digits)
    assert abs(result - value) <= Fraction(1, 2 * 10**digits)
    assert float(show(value, "", digits).replace("−", "-")) == float(result)


@pytest.mark.parametrize(
    "value", [5 * sympy.sqrt(3), 24 * sympy.pi - 48, sympy.sqrt(57), sympy.Rational(34, 9) * sympy.pi]
)
def test_exact_values_are_graded_by_equality(value: sympy.Expr) -> None:
    truth = MathTruth(expression=latex(value))
    assert compare(truth.expression, f"${latex(value)}$ cm") == "correct"
    assert compare(truth.expression, f"${latex(value + 1)}$ cm") == "wrong"


def test_options_differ_from_the_answer_and_from_one_another() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        answer = Fraction(rng.randint(1, 60), rng.choice((1, 1, 2, 3)))
        options = plausible(answer, [answer, answer * 2, answer * 2], (), "cm", None, rng)
        numbers = [to_number(answer), *map(to_number, options)]
        assert len(options) == 3
        assert len({round(number, 9) for number in numbers}) == 4
        assert all(number > 0 for number in numbers)
