import random

import pytest

from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.sources.education.problems import _equal, make_problem, plain_maths


def test_a_wrong_answer_is_not_verified() -> None:
    assert _equal(r"\frac{6}{5}\div\frac{8}{5}", r"\frac{3}{4}")
    assert not _equal("16+28", "45")
    assert not _equal("16+28", r"\infty")


def test_a_problem_leaves_the_global_random_numbers_alone() -> None:
    random.seed(7)
    expected = random.Random(7).random()
    make_problem("mathgenerator.addition", {}, 0, rng_for(0))
    assert random.random() == expected


@pytest.mark.parametrize(
    ("latex", "plain_text"),
    [
        (r"16+28", "16 + 28"),
        (r"|4--52|", "|4 - -52|"),
        (r"\frac{2}{8}\cdot\frac{6}{7}", "2/8 × 6/7"),
        (r"\sqrt{49}", "√49"),
        (r"15^12", "15¹²"),
        (r"144\div18", "144 ÷ 18"),
    ],
)
def test_formulas_become_plain_text(latex: str, plain_text: str) -> None:
    assert plain_maths(latex) == plain_text
