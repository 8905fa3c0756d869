"""Text that is encoded word by word has the ids that the tokenizer itself gives."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from step3vl.data.tokens.vocabulary import train_bpe
from step3vl.data.tokens.words import WordEncoder

ASCII = st.characters(max_codepoint=127)
COMMON = st.sampled_from([*" \t\n\r'’sStTdDlLvVeE09_-.,;:<>|/é好\u0301\x0b\x1c\x85\u2028½", "\r\n", "  ", "I'll"])


@settings(max_examples=300, deadline=None)
@given(st.lists(COMMON | ASCII | st.characters(codec="utf-8"), max_size=30).map("".join))
@example("It's 12 o'CLOCK;\r\n\r\n  don'T  \n\tgo  \x1c\x1f x\n")
@example("plain line\n好 line\ncafe\u0301\n\u0301x\n <|im_end|> x" + "y" * 100)
def test_words_give_the_ids_of_the_text(qwen3: Tokenizer, text: str) -> None:
    expected = qwen3.encode(text, add_special_tokens=False).ids
    encoder = WordEncoder(qwen3)
    for _ in range(2):  # without and with the words in the cache
        assert encoder.encode(text) == expected and encoder.count(text) == len(expected)


def test_tokenizers_that_cut_otherwise_encode_themselves() -> None:
    trained = train_bpe(["some words and more words"], 400)
    assert WordEncoder(trained)._by_word, "those of a corpus build cut as Qwen's does"
    text = "some words\n12 and <tool> it's"
    assert WordEncoder(trained).encode(text) == trained.encode(text, add_special_tokens=False).ids
    for change in ("pre_tokenizer", "added", "special"):
        other = train_bpe(["some words and more words"], 400)
        if change == "pre_tokenizer":
            other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        elif change == "added":
            other.add_tokens(["some words"])
        else:
            other.encode_special_tokens = False
        assert not WordEncoder(other)._by_word
        assert WordEncoder(other).encode(text) == other.encode(text, add_special_tokens=False).ids


def test_published_tokenizer_is_encoded_by_word(qwen3: Tokenizer) -> None:
    assert WordEncoder(qwen3)._by_word
