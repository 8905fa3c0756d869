"""Text while it is drawn: whole characters, stop strings wherever tokens break them, and nothing lost at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from step3vl.data.tokens import train_bpe
from step3vl.inference.stops import Spelling, whole_text

TEXTS = ["the end of the thought", "stop here, stop there", "né à Zürich 數學 👩‍🔬", "aaab aab ab"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(TEXTS * 3, 360)


def pieces(tokenizer: Tokenizer, tokens: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], Spelling]:
    spelling = Spelling(tokenizer, stop)
    found = []
    for token in tokens:
        found.append(spelling.take(token))
        if spelling.stopped:
            break
    return [*found, spelling.finish()], spelling


@given(st.lists(st.integers(0, 359), max_size=40))
def test_any_tokens_join_to_the_whole_text(tokenizer, tokens) -> None:
    found, spelling = pieces(tokenizer, tokens)
    assert "".join(found) == spelling.text == whole_text(tokenizer, tokens)


@given(st.text(max_size=30))
def test_no_piece_of_a_real_text_is_broken(tokenizer, written) -> None:
    tokens = tokenizer.encode(written).ids
    found, _ = pieces(tokenizer, tokens)
    assert "".join(found) == whole_text(tokenizer, tokens)
    assert not any("\ufffd" in piece for piece in found) or "\ufffd" in written


def test_an_unfinished_character_is_left_out(tokenizer) -> None:
    tokens = tokenizer.encode("né").ids[:-1] + tokenizer.encode("數").ids[:1]
    found, spelling = pieces(tokenizer, tokens)
    assert "\ufffd" not in spelling.text
    assert spelling.text == "".join(found) == whole_text(tokenizer, tokens)


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "aa", "é", " the", "end"]), max_size=25).map("".join),
    st.lists(st.sampled_from(["ab", "aab", "b", "é", "the end", "aaa"]), min_size=1, max_size=3).map(tuple),
)
def test_a_text_ends_before_the_first_stop_string(tokenizer, written, stop) -> None:
    found, spelling = pieces(tokenizer, tokenizer.encode(written).ids, stop)
    places = [written.find(one) for one in stop if one in written]
    assert spelling.text == "".join(found)
    assert spelling.stopped == bool(places)
    # A token may complete several stop strings at once; the text ends before the one that begins first by then.
    if places:
        assert min(places) <= len(spelling.text)
        assert written.startswith(spelling.text)
        assert any(written[len(spelling.text) :].startswith(one) for one in stop)
        assert not any(one in spelling.text for one in stop)
    else:
        assert spelling.text == written


def test_what_may_begin_a_stop_string_is_held_back_and_no_more(tokenizer) -> None:
    spelling = Spelling(tokenizer, ("aab",))
    letters = {letter: tokenizer.encode(letter).ids[0] for letter in "abc"}
    assert [spelling.take(letters[letter]) for letter in "caaac"] == ["c", "", "", "a", "aac"]
    assert [spelling.take(letters[letter]) for letter in "aab"] == ["", "", ""]
    assert (spelling.stopped, spelling.text, spelling.finish()) == (True, "caaac", "")
