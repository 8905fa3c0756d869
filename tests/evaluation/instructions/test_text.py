"""Sentences, tokens, syllables and languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.evaluation.instructions.text import is_emoji, language, sentences, syllables, tokens


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ("One\n\nstill one.", 1),  # line breaks end none
        ("Dr. Smith met J. Doe at 5 p.m. in the U.S. capital.", 1),
        ("He met Dr. He left.", 2),  # a common word with a capital starts a sentence
        ('She said "Go." Then she left.', 2),
        ("Wait... what?", 1),
        ("Wait... What?", 2),
        ("It costs 3.50 dollars.", 1),
        ("Really?! Yes.", 2),
        ("1. First\n2. Second", 3),  # as NLTK has it
    ],
)
def test_sentences_are_counted_as_nltk_does(text, count):
    assert len(sentences(text)) == count


@given(st.text(max_size=200))
def test_sentences_keep_everything_but_white_space(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_tokens_take_contractions_apart():
    assert tokens("It's well-known: don't go.") == ["It", "'s", "well-known", ":", "do", "n't", "go", "."]


@pytest.mark.parametrize(
    ("word", "count"), [("cat", 1), ("water", 2), ("make", 1), ("table", 2), ("rhythm", 1), ("banana", 3), ("", 0)]
)
def test_syllables(word, count):
    assert syllables(word) == count


def test_languages_are_the_same_in_every_run():
    assert [language("cat was too busy chasing a mouse.") for _ in range(3)] == ["en"] * 3
    assert language("12345 !!!") is None


def test_emoji_are_recognised():
    assert is_emoji("😀") and is_emoji("☀")
    assert not any(map(is_emoji, "a1é猫."))
