"""Ids of plain text, word by word from a cache; English text is encoded several times as fast as by the tokenizer.

Byte-level BPE cuts a text into words by a pattern, and encodes each word on its own. For ASCII the pattern can be
written for Python's `re`, and most words were seen before; other text is cut at its spaces. Tokenizers that cut by
another pattern encode their texts themselves. A property test compares the two.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from typing import Generic, TypeVar

from tokenizers import Tokenizer

from step3vl.data.tokens.vocabulary import PLAIN_TOKENS, SPLIT

T = TypeVar("T")

# `SPLIT` for ASCII: letters, digits and white space are written out, for Python has other classes of them.
_WORD = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.ASCII,
)
_CHUNK = re.compile(r"(?= \S)|(?<=\n)(?=\S)")  # before a space and after a line's end always begins a word
# A space begins a word unless it is inside or at the end of white space; of ASCII's, what may begin such a run.
_RUN = re.compile(r"\s (?:\s|\Z)")
_BREAKS = "\n\t\r\v\f"
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

        def ids_of(word: str) -> list[int]:
            ids: list[int] = tokenizer.encode(word, add_special_tokens=False).ids
            return ids

        def joined(parts: Iterable[list[int]]) -> list[int]:
            return list(chain.from_iterable(parts))

        self._ids = _TextParts(self._by_word, ids_of, joined)
        # Counts have caches of their own: a dictionary of texts and numbers costs the garbage collector nothing.
        self._counts: _TextParts[int] = _TextParts(self._by_word, lambda word: len(ids_of(word)), sum)

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which no name of an added token is to be seen as that token."""
        return list(self._ids.of(text))  # what the caches hold must not change

    def count(self, text: str) -> int:
        """How many ids `encode` gives."""
        return self._counts.of(text)


class _Cache(dict[str, T]):
    """What a function returns for texts. They are looked up without a call of Python's where they were seen before."""

    def __init__(self, function: Callable[[str], T]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> T:
        value = self._function(text)
        if len(text) <= _LONGEST:
            if len(self) >= _WORDS:
                self.clear()
            self[text] = value
        return value


class _TextParts(Generic[T]):
    """The value of texts, their ids or how many these are, joined from the cached values of their words.

    Args:
        by_word: Whether texts are cut into words.
        of_word: The value of a word, or of a text that is not cut.
        join: The value of a text from the values of its parts.
    """

    def __init__(self, by_word: bool, of_word: Callable[[str], T], join: Callable[[Iterable[T]], T]) -> None:
        self._by_word, self._join = by_word, join
        words = _Cache(of_word)

        def of_words(text: str) -> T:
            return join(map(words.__getitem__, _words(text)))

        self._whole = (_Cache(of_words) if by_word else words).__getitem__
        self._after_space = _Cache(lambda text: of_words(f" {text}")).__getitem__

    def of(self, text: str) -> T:
        """The value of a text, which is cut at its spaces where each of them surely begins a word."""
        if len(text) <= _SHORT or not self._by_word or (_may_have_run(text) if text.isascii() else _RUN.search(text)):
            return self._whole(text)
        words = text.split(" ")
        return self._join((self._whole(words.pop(0)), self._join(map(self._after_space, words))))


def _may_have_run(text: str) -> bool:
    if "  " in text:
        return True
    for space in _BREAKS:  # noqa: SIM110  (a generator takes twice as long, for each text)
        if space in text and f"{space} " in text:  # a single character is found several times as fast
            return True
    return False


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
