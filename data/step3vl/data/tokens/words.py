"""Ids of plain text, word by word from a cache; English text is encoded several times as fast as by the tokenizer.

Byte-level BPE cuts a text into words by a pattern, and encodes each word on its own. For ASCII the pattern can be
written for Python's `re`, and most words were seen before; other text is cut at its spaces. Tokenizers that cut by
another pattern encode their texts themselves. A property test compares the two.
"""

import json
import re
from functools import lru_cache

from tokenizers import Tokenizer

from step3vl.data.tokens.vocabulary import PLAIN_TOKENS, SPLIT

# `SPLIT` for ASCII: letters, digits and white space are written out, for Python has other classes of them.
_WORD = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.ASCII,
)
_CHUNK = re.compile(r"(?= \S)|(?<=\n)(?=\S)")  # before a space and after a line's end always begins a word
_LONGEST = 64  # characters of a word that is kept
_WORDS = 1 << 19  # words that are kept; the cache then starts again


class WordEncoder:
    """Encodes plain text as a tokenizer does.

    Args:
        tokenizer: A tokenizer, which must not change afterwards.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        self._by_word = _cuts_by_word(tokenizer)

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which no name of an added token is to be seen as that token."""
        if not self._by_word:
            return self._encode(text)
        if text.isascii():
            return self._join(_WORD.findall(text))
        ids: list[int] = []
        for chunk in _CHUNK.split(text):
            ids += self._join(_WORD.findall(chunk) if chunk.isascii() else [chunk])
        return ids

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _join(self, words: list[str]) -> list[int]:
        """The ids of words one after another."""
        ids: list[int] = []
        cache = self._ids
        for word in words:
            word_ids = cache.get(word)
            if word_ids is None:
                word_ids = self._encode(word)
                if len(word) <= _LONGEST:
                    if len(cache) >= _WORDS:
                        cache.clear()
                    cache[word] = word_ids
            ids += word_ids
        return ids


@lru_cache(maxsize=4)
def word_encoder(tokenizer: Tokenizer) -> WordEncoder:
    """The encoder of a tokenizer, which keeps its words from call to call."""
    return WordEncoder(tokenizer)


def _cuts_by_word(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer cuts text by `SPLIT`, encodes words alike wherever they are, and knows no other tokens."""
    if tokenizer.pre_tokenizer is None or tokenizer.truncation or tokenizer.padding:
        return False
    split, byte_level = [*json.loads(tokenizer.pre_tokenizer.__getstate__()).get("pretokenizers", []), {}, {}][:2]
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        split.get("pattern") == {"Regex": SPLIT}
        and (split.get("behavior"), split.get("invert")) == ("Isolated", False)
        and (byte_level.get("type"), byte_level.get("add_prefix_space")) == ("ByteLevel", False)
        and type(tokenizer.normalizer).__name__ in ("NoneType", "NFC")
        and getattr(tokenizer.model, "dropout", 1.0) is None
        and tokenizer.encode_special_tokens
        and all(token.special or token.content in PLAIN_TOKENS for token in added)
    )
