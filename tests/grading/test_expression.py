"""Expressions that an answer does not mark, read as math-verify reads them where they are marked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.sample import MathTruth
from step3vl.grading import grade_answer
from step3vl.grading.expression import SEVERAL, unmarked_expression


@pytest.mark.parametrize(
    ("answer", "expression"),
    [
        (r"The answer is 2\sqrt{3}.", r"2\sqrt{3}"),
        (r"2\sqrt{3}", r"2\sqrt{3}"),
        ("**Answer:** \\frac{3}{4}", r"\frac{3}{4}"),
        ("答案是2\\sqrt{3}。", r"2\sqrt{3}"),
        ("(1,2)", "(1,2)"),
        ("The answer is [1, 2).", "[1, 2)"),
        (r"The answer is (-\infty, 2].", r"(-\infty, 2]"),
        (r"\{1, 2\}", r"\{1, 2\}"),
        ("the answer is x^2+1, because x > 0", "x^2+1"),
        (r"The answer is 2\sqrt{3} (about 3.46).", r"2\sqrt{3}"),
        (r"The answer is 2\sqrt{3}. A square has 4 sides.", r"2\sqrt{3}"),
        ("The answer is 1/2 or 3.", "1/2 or 3"),
        ("The answer is the point (1, 2).", "(1, 2)"),
        (r"The answer is \frac{3}{4} of it", r"\frac{3}{4}"),
        (r"It is a 2\sqrt{3} by now", r"2\sqrt{3}"),
        (r"Answer: \begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        ("We have 5 of them.\nx = \\frac{1}{2}", r"x = \frac{1}{2}"),
        (r"As 3 < 4, it is \sqrt{25}.", r"\sqrt{25}"),
        ("The answer is 12 apples.", "12"),
        ("Answer: 5 (since 3 = 5 - 2)", "5"),
        ("The answer is - 5.\n\n2 of 3 are negative", "- 5"),
        ("The answer is 45%.", r"45\%"),
        ("The answer is 1,000, not 100.", "1,000"),
    ],
)
def test_reads(answer: str, expression: str) -> None:
    assert unmarked_expression(answer) == expression


@pytest.mark.parametrize(
    "answer",
    [
        "", "5", "1,000", "2 3", "1/2", "-0.5", "The answer is 2 3", "I have 2, and a dog", "x", "A or B",
        "The answer is $2$", r"Since \(x = 1\), 2", r"\boxed{2", r"\sqrt{2} is 1.41", "The answer is (1, 2", "2xy",
        ")(", "a (small) thing = no",
    ],
)  # fmt: skip
def test_leaves_to_math_verify(answer: str) -> None:
    assert unmarked_expression(answer) is None


@pytest.mark.parametrize(
    "answer", [r"The answer is 3 times \sqrt{2}.", r"The answer is \sqrt{2} times the side, which is 4"]
)
def test_several_expressions_are_no_answer(answer: str) -> None:
    assert unmarked_expression(answer) == SEVERAL
    assert grade_answer(MathTruth(expression=r"\sqrt{2}"), answer).verdict == "unparsable"


_ATOMS = st.sampled_from(["x", "2", "17", r"\pi", "0.5", "a", r"\theta"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-"), inner).map("".join),
        inner.map(r"\sqrt{{{}}}".format),
        st.tuples(inner, inner).map(lambda pair: r"\frac{{{}}}{{{}}}".format(*pair)),
        st.tuples(inner, st.integers(2, 5)).map(lambda pair: r"({})^{}".format(*pair)),
        st.tuples(inner, inner).map(lambda pair: r"\sin({})\cdot {}".format(*pair)),
    ),
    max_leaves=6,
)
_ANSWERS = st.one_of(
    _EXPRESSIONS,
    st.tuples(st.sampled_from("(["), _EXPRESSIONS, st.just(", "), _EXPRESSIONS, st.sampled_from(")]")).map("".join),
    _EXPRESSIONS.map(r"\left({}, 1\right)".format),
    st.lists(_EXPRESSIONS, min_size=1, max_size=3).map(lambda members: rf"\{{{', '.join(members)}\}}"),
).filter(lambda text: "\\" in text or "," in text)
_SENTENCES = st.sampled_from(
    ["{}", "So it is {}.", "The answer is {}.", "Answer: {}", "As was to be shown,\n{}", "**Answer:** **{}**",
     "The answer is {}, which was to be shown", "The answer is {} (by the rule of sines).", "the answer is {} cm"]
)  # fmt: skip


@given(_ANSWERS, _SENTENCES)
def test_an_expression_in_any_sentence_is_read_whole(expression: str, sentence: str) -> None:
    assert unmarked_expression(sentence.format(expression)) == expression


_SHORT_ANSWERS = st.sampled_from(
    [r"2\sqrt{3}", r"\sqrt{12}", r"\frac{3}{4}", r"\frac{6}{8}", "(1, 2)", r"\left(1,2\right)", "(2, 1)", "[1, 2)",
     r"\{1, 2\}", r"\{2, 1\}", r"\frac{\pi}{6}", r"45^\circ"]
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(_SHORT_ANSWERS, _SHORT_ANSWERS, _SENTENCES)
def test_an_expression_without_a_mark_has_the_verdict_of_the_marked_one(
    truth: str, expression: str, sentence: str
) -> None:
    math_verify = pytest.importorskip("math_verify")
    for text in (truth, expression):
        gold, marked = (math_verify.parse(f"${each}$", parsing_timeout=None) for each in (truth, text))
        verdict = "correct" if math_verify.verify(gold, marked, timeout_seconds=None) else "wrong"
        assert grade_answer(MathTruth(expression=truth), sentence.format(text)).verdict == verdict


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (r"2\sqrt{3}", r"The answer is 2\sqrt{3}.", "correct"),
        ("2", r"The answer is 2\sqrt{3}.", "wrong"),
        (r"2\sqrt{3}", r"So x = \sqrt{12}.", "correct"),
        ("(1,2)", "(1, 2)", "correct"),
        ("(1,2)", "(2, 1)", "wrong"),
        ("2", "[1, 2)", "wrong"),
        ("[1,2)", "The answer is [1, 2).", "correct"),
        ("[1,2)", "The answer is [1, 2].", "wrong"),
        (r"\{1,2\}", "2, 1", "correct"),
        ("24", "24π", "wrong"),
        ("1/2", "The answer is 1/2 or 3", "wrong"),
        (r"\{1/2, 3\}", "The answer is 1/2 or 3", "correct"),
    ],
)
def test_verdict(truth: str, answer: str, verdict: str) -> None:
    pytest.importorskip("math_verify")
    assert grade_answer(MathTruth(expression=truth), answer).verdict == verdict
