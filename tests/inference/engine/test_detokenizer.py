"""Incremental text: complete characters, stop strings across tokens, and nothing lost at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from step3vl.data.tokens import train_bpe
from step3vl.inference.engine.detokenizer import IncrementalDetokenizer, decode_reply

TEXTS = ["the end of the reasoning", "stop here, stop there", "né à Zürich 數學 👩‍🔬", "aaab aab ab"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(TEXTS * 3, 360)


def pieces(
    tokenizer: Tokenizer, tokens: list[int], stop: tuple[str, ...] = ()
) -> tuple[list[str], IncrementalDetokenizer]:
    detokenizer = IncrementalDetokenizer(tokenizer, stop)
    parts = []
    for token in tokens:
        parts.append(detokenizer.add(token))
        if detokenizer.stopped:
            break
    return [*parts, detokenizer.finish()], detokenizer


@given(st.lists(st.integers(0, 359), max_size=40))
def test_the_pieces_of_any_tokens_join_to_the_decoded_text(tokenizer, tokens) -> None:
    parts, detokenizer = pieces(tokenizer, tokens)
    assert "".join(parts) == detokenizer.text == decode_reply(tokenizer, tokens)


@given(st.text(max_size=30))
def test_no_piece_of_a_text_has_a_broken_character(tokenizer, text) -> None:
    tokens = tokenizer.encode(text).ids
    parts, _ = pieces(tokenizer, tokens)
    assert "".join(parts) == decode_reply(tokenizer, tokens)
    assert not any("\ufffd" in piece for piece in parts) or "\ufffd" in text


def test_an_incomplete_character_is_dropped(tokenizer) -> None:
    tokens = tokenizer.encode("né").ids[:-1] + tokenizer.encode("數").ids[:1]
    parts, detokenizer = pieces(tokenizer, tokens)
    assert "\ufffd" not in detokenizer.text
    assert detokenizer.text == "".join(parts) == decode_reply(tokenizer, tokens)


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "aa", "é", " the", "end"]), max_size=25).map("".join),
    st.lists(st.sampled_from(["ab", "aab", "b", "é", "the end", "aaa"]), min_size=1, max_size=3).map(tuple),
)
def test_a_text_ends_before_the_first_stop_string(tokenizer, text, stop) -> None:
    parts, detokenizer = pieces(tokenizer, tokenizer.encode(text).ids, stop)
    starts = [text.find(string) for string in stop if string in text]
    assert detokenizer.text == "".join(parts)
    assert detokenizer.stopped == bool(starts)
    # A token may complete several stop strings at once; the text ends before the one that begins first by then.
    if starts:
        assert min(starts) <= len(detokenizer.text)
        assert text.startswith(detokenizer.text)
        assert any(text[len(detokenizer.text) :].startswith(string) for string in stop)
        assert not any(string in detokenizer.text for string in stop)
    else:
        assert detokenizer.text == text


def test_only_a_possible_start_of_a_stop_string_is_held_back(tokenizer) -> None:
    detokenizer = IncrementalDetokenizer(tokenizer, ("aab",))
    ids = {character: tokenizer.encode(character).ids[0] for character in "abc"}
    assert [detokenizer.add(ids[character]) for character in "caaac"] == ["c", "", "", "a", "aac"]
    assert [detokenizer.add(ids[character]) for character in "aab"] == ["", "", ""]
    assert (detokenizer.stopped, detokenizer.text, detokenizer.finish()) == (True, "caaac", "")
