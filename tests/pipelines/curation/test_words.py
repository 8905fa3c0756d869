"""Words and n-grams, beside a plain implementation that makes every word a Python string."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.curation import words
from step3vl.pipelines.curation.words import hash_words, normalise, numbers

_CHARACTERS = st.text(alphabet="ab1é你好か한\u0301\U00020000 ,.\n-_²", max_size=40)


def plain_words(text: str) -> list[str]:
    """Runs of letters, marks and numbers; each Han character or kana by itself."""
    result: list[str] = []
    inside = False
    for character in text:
        alone = "\u3040" <= character <= "\u30ff" or "\u4e00" <= character <= "\u9fff" or character >= "\U00020000"
        if alone:
            result.append(character)
        elif unicodedata.category(character)[0] in "LMN":
            if inside:
                result[-1] += character
            else:
                result.append(character)
        inside = not alone and unicodedata.category(character)[0] in "LMN"
    return result


@settings(max_examples=30)
@given(st.lists(_CHARACTERS, max_size=6))
def test_equal_words_have_equal_hashes_and_different_words_different_ones(texts: list[str]) -> None:
    expected = [plain_words(text) for text in texts]
    result = hash_words(texts)
    assert result.counts.tolist() == [len(first) for first in expected]
    flat = [word for first in expected for word in first]
    by_word = dict(zip(flat, result.hashes.tolist(), strict=True))
    assert [by_word[word] for word in flat] == result.hashes.tolist()
    assert len(set(by_word.values())) == len(by_word)


@settings(max_examples=30)
@given(st.lists(_CHARACTERS, max_size=5), st.integers(1, 6))
def test_ngrams_are_the_runs_of_words_within_one_text(texts: list[str], size: int) -> None:
    expected = [plain_words(text) for text in texts]
    runs = [tuple(first[i : i + size]) for first in expected for i in range(len(first) - size + 1)]
    result = hash_words(texts).ngrams(size)
    assert result.counts.tolist() == [max(len(first) - size + 1, 0) for first in expected]
    assert len(result.hashes) == len(runs)
    assert len(set(result.hashes.tolist())) == len(set(runs))


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_an_ascii_text_is_normalised_as_any_other(text: str) -> None:
    assert normalise(text) == " ".join(text.casefold().split())


def test_a_text_is_hashed_alike_whatever_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(f"word{number}" for number in range(300)) + " " + "x" * 500 + " end 你好"
    monkeypatch.setattr(words, "_BLOCK", 128)  # so that texts, and a word, are longer than a block
    alone = hash_words([long]).hashes
    together = hash_words(["before " * 7, long, "after"])
    first, last = together.offsets[1:3]
    assert np.array_equal(together.hashes[first:last], alone)
    assert len(alone) == 300 + 4 + 3  # the long word is four blocks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Two\n\twords ", "two words"),
        ("STRASSE straße", "strasse strasse"),
        ("e\u0301 = é", "é = é"),
        ("so\u00adft\u200b", "soft"),
        ("x² + x2", "x² + x2"),  # NFKC would make one of them
    ],
)
def test_normal_form(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_masked_digits_make_exercises_of_one_template_equal() -> None:
    first, second = (hash_words([text], mask_digits=True).hashes for text in ("add 17 and 5", "add 405 and 81"))
    assert np.array_equal(first, second)
    assert numbers("add 17 and 5.25") == " ".join(re.findall(r"\d+", "add 17 and 5.25")) == "17 5 25"
