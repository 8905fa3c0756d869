"""Ids of plain text, word by word from a cache; English text is encoded several times as fast as by the tokenizer.

Byte-level BPE cuts a text into words by a pattern, and encodes each word on its own. For ASCII the pattern can be
written for Python's `re`, and most words were seen before; other text is cut at its spaces. Tokenizers that cut by
another pattern encode their texts themselves. A property test compares the two.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain

from tokenizers import Tokenizer

from step3vl.data.tokens.vocabulary import PLAIN_TOKENS, SPLIT

# `SPLIT` for ASCII: letters, digits and white space are written out, for Python has other classes of them.
_WORD = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.ASCII,
)
_CHUNK = re.compile(r"(?= \S)|(?<=\n)(?=\S)")  # before a space and after a line's end always begins a word
# A space begins a word unless it is inside or at the end of white space; of ASCII's, what may be such a run.
_RUN = re.compile(r"\s (?:\s|\Z)")
_RUNS = ("  ", "\n ", "\t ", "\r ", "\v ", "\f ")
_SHORT = 16  # characters of a text that is likely to come again as a whole, as those of a template do
_LONGEST = 64  # characters of a word that is kept
_WORDS = 1 << 17  # texts that a cache keeps; it then starts again


class WordEncoder:
    """Encodes plain text as a tokenizer does.

    Args:
        tokenizer: A tokenizer, which must not change afterwards.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._by_word = _cuts_by_word(tokenizer)
        words = _Cache(lambda word: tokenizer.encode(word, add_special_tokens=False).ids)

        def encode_words(text: str) -> list[int]:
            return list(chain.from_iterable(map(words.__getitem__, _words(text))))

        self._ids_of = (_Cache(encode_words) if self._by_word else words).__getitem__
        self._ids_after_space = _Cache(lambda text: encode_words(f" {text}")).__getitem__

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which no name of an added token is to be seen as that token."""
        return list(chain.from_iterable(self._ids_by_part(text)))

    def count(self, text: str) -> int:
        """How many ids `encode` gives."""
        if len(text) <= _SHORT:
            return len(self._ids_of(text))
        return sum(map(len, self._ids_by_part(text)))

    def _ids_by_part(self, text: str) -> Iterator[list[int]]:
        """The ids of the parts of a text, cut at its spaces where each of them surely begins a word."""
        if not self._by_word or (any(map(text.__contains__, _RUNS)) if text.isascii() else _RUN.search(text)):
            return iter([self._ids_of(text)])
        first, *rest = text.split(" ")
        return chain([self._ids_of(first)], map(self._ids_after_space, rest))


class _Cache(dict[str, list[int]]):
    """What a function returns for texts. They are looked up without a call of Python's where they were seen before."""

    def __init__(self, function: Callable[[str], list[int]]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> list[int]:
        ids = self._function(text)
        if len(text) <= _LONGEST:
            if len(self) >= _WORDS:
                self.clear()
            self[text] = ids
        return ids


def _words(text: str) -> list[str]:
    """What is encoded by itself: words, or what is between two spaces and has other letters than ASCII's."""
    if text.isascii():
        return _WORD.findall(text)
    words: list[str] = []
    for chunk in _CHUNK.split(text):
        words += _WORD.findall(chunk) if chunk.isascii() else [chunk]
    return words


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
