"""Prompts: instructions of the families, options as lines, and images where they belong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.prompts import FAMILIES, ask, interleaved_message, options_text, user_message


def shape(message) -> list:
    """Texts, and the indexes of images, in reading order."""
    return [part.text if part.type == "text" else part.image for part in message.content]


def test_the_instruction_of_the_family_follows_the_question():
    assert ask("bare", " How many? ") == "How many?"
    question = ask("final-option", "Which?\nA. cat")
    assert question.startswith("Which?\nA. cat\n") and "Final answer: [the correct option]" in question


def test_an_unknown_family_names_those_that_there_are():
    with pytest.raises(UserError, match="no prompt family 'boxes'; there are bare, "):
        ask("boxes", "Which?")


def test_options_are_lines_with_letters():
    assert options_text(["cat", "dog"]) == "A. cat\nB. dog"
    assert options_text(["cat", "dog"], "({letter}) {option}") == "(A) cat\n(B) dog"


def test_images_precede_the_question_or_follow_it():
    assert shape(user_message("Which?", 2)) == [0, 1, "Which?"]
    assert shape(user_message("Which?", 1, images_last=True)) == ["Which?", 0]


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("See <image 1> and <image 2>.", 2, ["See", 0, "and", 1, "."]),
        ("<image2> against <image1>", 2, [1, "against", 0]),
        ("First <image>, then <image>.", 2, ["First", 0, ", then", 1, "."]),
        ("No mark", 2, [0, 1, "No mark"]),
        ("Only <image 2>", 2, [0, "Only", 1]),
        ("There is no <image 3>", 1, [0, "There is no <image 3>"]),
        ("<image 1> again <image 1>", 1, [0, "again", 0]),
    ],
)
def test_marks_say_where_images_belong(text, images, expected):
    assert shape(interleaved_message(text, images)) == expected


@given(
    st.lists(st.sampled_from(["<image>", "<image 1>", "<image 2>", "<image_3>", "text ", "<image "])),
    st.integers(1, 3),
)
def test_every_image_is_in_the_message(pieces, images):
    content = shape(interleaved_message("".join(pieces), images))
    assert {piece for piece in content if isinstance(piece, int)} == set(range(images))


def test_every_family_has_an_instruction_but_those_that_need_none():
    assert {name for name, instruction in FAMILIES.items() if not instruction} == {"bare", "official"}
