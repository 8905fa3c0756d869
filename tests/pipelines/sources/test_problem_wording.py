import re

import pytest

from step3vl.pipelines.core.steps import Dropped, rng_for
from step3vl.pipelines.sources.education.problem_wording import reword, tidy_formula
from step3vl.pipelines.sources.education.problems import REASONING_GYM, make_problem

_FAULTS = re.compile(r"\ba [aeio](?!ne\b|u)\w+|  |\s[?.,]|\b(?:sheeps|deers|fireflys|leechs)\b")
_NO_PROSE = (
    "course_schedule",
    "spell_backward",
    "letter_counting",  # words: the name that reasoning-gym gives it
    "largest_island",
    "isomorphic_strings",
)


@pytest.mark.parametrize(
    ("family", "question", "answer", "reworded"),
    [
        ("leg_counting", "Count them.\n\nNow, how many legs do 2 fireflys and 2 praying mantiss have?", "24",
         "How many legs do 2 fireflies and 2 praying mantises have?"),
        ("aiw", "Ann has 1 brothers and she also has 2 sisters. How many sisters does Ann's brother have?", "3",
         "Ann has 1 brother and she also has 2 sisters. How many sisters does Ann's brother have?"),
        ("color_cube_rotation", "- a indigo top\n- a gold side", "gold", "- an indigo top\n- a gold side"),
        ("gsm_symbolic", "She rents a apartment. green balls cost 4. I spill 4 liter of it.", "4",
         "She rents an apartment. Green balls cost 4. I spill 4 liters of it."),
        ("count_primes", "Count how many prime numbers there are between 3 and 11 (inclusive) ?", "4",
         "How many prime numbers are there between 3 and 11, both included?"),
        ("number_sequence", "8, 14, 20, 26, 32, ?", "38",
         "What number comes next in the sequence 8, 14, 20, 26, 32, …?"),
    ],
)  # fmt: skip
def test_broken_english_is_corrected(family: str, question: str, answer: str, reworded: str) -> None:
    assert reword(family, question, answer) == reworded


@pytest.mark.parametrize(
    ("family", "question", "answer"),
    [
        ("aiw", "Sarah has 5 sisters and she also has 1 brothers. How many sisters does Tom's brother have?", "6"),
        ("number_sequence", "4, 6, 12, 20, ?", "34"),
        ("number_sequence", "8, 14, 20, 26, 32, ?", "39"),
        ("number_sequence", "-2, 1, 1, 0, 0, 0, 0, 0, ?", "0"),
        ("time_intervals", "What is the duration between 13:31:16.310 and 15:00:43.656?", "01:29:27.345"),
    ],
)
def test_what_is_unclear_or_wrong_is_dropped(family: str, question: str, answer: str) -> None:
    with pytest.raises(Dropped):
        reword(family, question, answer)


def test_formulas_are_printed_unambiguously() -> None:
    assert tidy_formula("divide_fractions", "9/3 ÷ 8/2") == "(9/3) ÷ (8/2)"
    assert tidy_formula("absolute_difference", "| - 80 - 89|") == "|-80 - 89|"
    assert tidy_formula("addition", "7 + 16") == "7 + 16"


@pytest.mark.parametrize("family", [name for name in REASONING_GYM if name not in _NO_PROSE])
def test_the_texts_of_a_family_have_no_known_faults(family: str) -> None:
    made = 0
    for number in range(3000, 3030):
        try:
            question = make_problem(family, {}, number, rng_for(family, number)).question
        except Dropped:
            continue
        made += 1
        assert not _FAULTS.search(" ".join(question.split("\n\n")).replace("\n", " ")), question
    assert made >= 5
