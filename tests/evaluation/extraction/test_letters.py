"""Letters of options: the strict rule, and official parsers with what they do at random left out."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.evaluation.extraction import letters

OPTIONS = ("a dog", "a cat", "The horse", "none of these")


@pytest.mark.parametrize(
    ("response", "letter", "trace"),
    [
        ("It is a cat.\nFinal answer: B", "B", "after an answer phrase"),
        ("Final answer: [C]", "C", "after an answer phrase"),
        (r"A or B? \boxed{B}", "B", "marked as final"),
        ("<answer>D</answer>", "D", "marked as final"),
        ("A cat", "B", "in the whole response"),
        ("The best fit is a dog or a cat.", None, "no option, or several"),
        ("", None, "no option, or several"),
    ],
)
def test_the_strict_rule_reads_what_is_named_and_guesses_nothing(response, letter, trace):
    assert letters.read_option(response, OPTIONS) == (letter, trace)


def test_an_article_is_no_option():
    # The first letter of a response is no answer: "The" is not option T, "A dog" not option A.
    assert letters.read_option("A horse, as far as I see.", OPTIONS[:2]).letter is None
    assert letters.read_option("The second", [""] * 26).letter is None


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Yes.", "Y"),
        ("No, it is not the same; yes I am sure.", "N"),
        ("Final answer: no", "N"),
        ("Unclear.", None),
        ("Yes or no?", None),
        ("No doubt about it: yes.", None),
        ("Yes. Wait: **No**", None),
        ("No. I say no.", "N"),
    ],
)
def test_yes_and_no(response, letter):
    assert letters.read_yes_no(response).letter == letter


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("(A) or (B), so (A)", "A"),
        ("I choose B then C finally", "C"),
        ("it is certainly the horse that I see", "C"),
        ("B", "B"),
        ("the horse", None),  # too short for texts: the official code picks at random
        ("no idea", None),
    ],
)
def test_the_parser_of_mmmu(response, letter):
    assert letters.read_mmmu(response, OPTIONS).letter == letter


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("It may be A.\nAnswer: C", "C"),
        ("Answer: A or B", "B"),  # not unique after "Answer:", so the last that stands between blanks
        ("A. or B., as I see", "A"),  # only " A " tells the last place; where there is none, the first candidate wins
        ("Answer: none", None),
    ],
)
def test_the_parser_of_mmmu_pro(response, letter):
    assert letters.read_mmmu_pro(response, OPTIONS[:3]).letter == letter


def test_the_parser_of_m3gia_takes_a_bracket_or_colon_after_the_letter():
    assert letters.read_m3gia("B) a cat", OPTIONS).letter == "B"
    assert letters.read_mmmu("B) a cat", OPTIONS).letter is None
    # Its last place among several forms can lie beyond the candidates; then it takes the last of them.
    assert letters.read_m3gia("A) or B) but A:", OPTIONS).letter == "B"


@pytest.mark.parametrize(
    ("response", "before", "after"),
    [
        ("B 1\n\nThere is only 1 organ in the image.", "B", None),
        ("The answer is **B**. Here is why I choose it.", "B", "B"),
        ("So I choose B", "B", "B"),
        ("a cat", "B", "B"),
        ("I see a cat on the mat, in front of the red sofa, which is left of the other things", "B", None),
        ("Cannot determine the answer", "Z", "Z"),
        ("Failed to obtain answer via API. B", None, None),
        ("A or B", None, None),
    ],
)
def test_the_matcher_of_vlmevalkit_before_and_after_its_change(response, before, after):
    options = ("dog", "cat", "horse")
    assert letters.read_vlmevalkit(response, options).letter == before
    assert letters.read_vlmevalkit_2026(response, options).letter == after


READERS = (
    letters.read_option, letters.read_mmmu, letters.read_mmmu_pro, letters.read_m3gia, letters.read_vlmevalkit,
    letters.read_vlmevalkit_2026,
)  # fmt: skip
TEXTS = st.text() | st.lists(
    st.sampled_from(["A", "(B)", "C.", " ", "answer is ", "\n", "a cat", "Z", r"\boxed{"])
).map("".join)


@pytest.mark.parametrize("read", READERS)
@given(response=TEXTS, options=st.lists(st.text(max_size=5), max_size=12))
def test_no_reader_raises_and_all_read_a_letter_of_the_options(read, response, options):
    letter = read(response, options).letter
    assert letter is None or letter == "Z" or letter in "ABCDEFGHIJKL"[: len(options)]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("piece", ["A ", "(", "answer is ", r"\boxed{", "*" * 9, "1,"])
def test_readers_take_linear_time(read, piece):
    start = time.process_time()
    read(piece * (200_000 // len(piece)), OPTIONS)
    assert time.process_time() - start < 1
