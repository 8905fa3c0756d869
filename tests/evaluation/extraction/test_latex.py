"""Equality of answers in LaTeX, by the rules of MathVision and of Qwen2.5-Math."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.evaluation.extraction.latex import clean_latex, equal_rounded, math_equal


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{ \dfrac{1}{2} }", r"\frac{1}{2}"),
        (r"\boxed{x = 12}", "12"),
        (r"\boxed{5 km}", "5"),
        (r"\boxed{30^{\circ}}", "30"),
        (r"\boxed{\text{(A)}}", "{(a)}"),
        (r"\boxed{\sqrt3}", r"\sqrt{3}"),
        (r"\boxed{\frac12\sqrt5}", r"\frac{1}{2}\sqrt{5}"),
        ("0.5", r"\frac{1}{2}"),
        ("-3/4", r"\frac{-3}{4}"),
        ("03/4", "03/4"),
        ("$.25$", "0.25"),
        ("", ""),
    ],
)
def test_an_answer_is_cleaned_up(text: str, answer: str) -> None:
    assert clean_latex(text) == answer


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("12", "12.004", True),
        ("12", "12.01", False),
        (r"\frac{4}{3}", "4/3", True),
        (r"$10 \sqrt{2}$", r"10\sqrt{2}", True),
        ("1:2", "0.5", True),
        ("(1,2)", "(1.0,2.001)", True),
        ("(1,2)", "(2,1)", False),
        (r"30^{\circ}", "30", False),
        ("2π", r"2\pi", False),
        ("x+1", "1+x", False),
        ("A", "a", True),
        ("", "", False),
        ("5 apples", "5 oranges", False),
        (r"\frac{1}{0}", "1", False),
    ],
)
def test_values_are_compared_in_two_decimals(first: str, second: str, equal: bool) -> None:
    assert equal_rounded(first, second) is equal


@pytest.mark.parametrize(
    ("prediction", "reference", "equal"),
    [
        ("1,000", "1000", True),
        ("50%", "0.5", True),
        ("50", "0.5", True),
        ("0.33333", "0.33334", True),
        ("0.333", "0.334", False),
        ("The answer is (B).", "B", True),
        ("(3,4)", "(3.0, 4)", True),
        ("(3,4)", "[4,3]", False),
        (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}", True),
        ("x=5", "5", True),
        ("y = 2x + 1", "2x - y + 1 = 0", True),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1 & 2\\ 3 & 4\end{bmatrix}", True),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", False),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("", "5", False),
    ],
)
def test_answers_are_equal_as_in_qwen_math(prediction: str, reference: str, equal: bool) -> None:
    assert math_equal(prediction, reference) is equal


def test_code_in_an_answer_is_not_executed(tmp_path) -> None:
    target = tmp_path / "file"
    attack = f"__import__('pathlib').Path('{target}').touch()"
    assert not math_equal(attack, "5")
    assert not equal_rounded(attack, "5")
    assert not target.exists()


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="01aA+-=.,%$(){}[]\\ frcqtπ", max_size=40), st.sampled_from(["5", "(1,2)", "x+1", "B"]))
def test_comparing_never_raises(text: str, reference: str) -> None:
    assert math_equal(text, reference) in (True, False)
    assert equal_rounded(clean_latex(text), reference) in (True, False)
