"""Texts to words and n-grams as 64-bit hashes, many texts at a time.

Words are runs of letters, marks and digits. A character of a script that is written without spaces (Han, kana, Thai,
Lao, Khmer, Burmese) is a word by itself, so that one rule serves mixed texts. All is vectorised over the code points
of a batch: the hash of a word is a difference of prefix sums of a polynomial, so no word becomes a Python object.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Codes = NDArray[np.uint8] | NDArray[np.uint32]

_SEPARATOR, _LETTER, _ALONE = 0, 1, 2
_BLOCK = 1 << 15  # code points that are hashed at once, so that all arrays stay in the processor's cache
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
_LAST = 0x40000  # behind the last plane that has letters
_INVISIBLE = dict.fromkeys([0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
_LOWER = bytes(ord(" ") if chr(code).isspace() else chr(code).lower().encode()[0] for code in range(128)) + bytes(128)
_NUMBER = re.compile(r"\d+")
_WITH_SEPARATORS = re.compile(r"\d+(?:[.,]\d+)*")


def normalise(text: str) -> str:
    """The text by which samples are equal: case, runs of white space and invisible characters do not count.

    NFC and not NFKC, which would make x² and x2 one text.
    """
    if text.isascii():  # the same by bytes, without an object for every word where no white space repeats
        data = text.encode().translate(_LOWER)
        if b"  " in data:
            return b" ".join(data.split()).decode()
        return data.strip().decode()
    return " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).casefold().split())


def numbers(text: str) -> str:
    """The numbers of a text in order."""
    return " ".join(_NUMBER.findall(text))


class Words(NamedTuple):
    """The words of texts.

    Attributes:
        hashes: Of all words, text by text.
        counts: Words of each text.
    """

    hashes: U64
    counts: NDArray[np.int64]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each text begins in `hashes`, and the end."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def ngrams(self, size: int) -> "Words":
        """The hashes of all runs of `size` words of each text; none of a text with fewer words."""
        total = len(self.hashes)
        counts = np.maximum(self.counts - (size - 1), 0)
        if total < size:
            return Words(np.zeros(0, np.uint64), counts)
        sums = np.zeros(total - size + 1, np.uint64)
        for place in range(size):
            sums += self.hashes[place : total - size + 1 + place] * np.uint64(pow(_BASE, 2 * place + 1, 1 << 64))
        owner = np.repeat(np.arange(len(self.counts)), self.counts)
        inside = owner[: total - size + 1] == owner[size - 1 :]
        return Words(mix(sums[inside]), counts)


def mix(values: U64) -> U64:
    """The finaliser of SplitMix64: a bijection after which every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def high_and_low(value: int) -> tuple[int, int]:
    """A hash of 128 bits as two numbers of 64, the high one first."""
    return value >> 64, value & 0xFFFFFFFFFFFFFFFF


def hash_words(texts: Sequence[str], *, mask_digits: bool = False) -> Words:
    """The words of normalised texts.

    Args:
        texts: See `normalise`.
        mask_digits: Whether every number counts as 0, which makes 17, 4.05 and 12,000 one word.
    """
    if mask_digits:
        texts = [_WITH_SEPARATORS.sub("0", text) for text in texts]
    codes = _codes("\n".join(texts))
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)  # with the line feed between two texts
    starts, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    first = 0
    while first < len(codes):
        stop = _block_end(codes, ends, first)
        block_starts, block_hashes = _hash_block(codes[first:stop])
        starts.append(block_starts + first)
        hashes.append(block_hashes)
        first = stop
    counts = np.diff(np.searchsorted(np.concatenate(starts), ends), prepend=0)
    return Words(np.concatenate(hashes), counts)


def _codes(text: str) -> Codes:
    """The code points, of one byte each where that is enough."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.minimum(codes, np.uint32(_LAST))


def _block_end(codes: Codes, ends: NDArray[np.int64], first: int) -> int:
    """Where a block ends: behind a text, or in one that is longer than a block behind its last separator there.

    It depends on no other text, so that a word longer than a block is divided alike wherever its text stands.
    """
    stop = first + _BLOCK
    whole = int(np.searchsorted(ends, stop, side="right"))
    if stop >= len(codes):
        return len(codes)
    if whole and ends[whole - 1] > first:
        return int(ends[whole - 1])
    separators = _class_table().take(codes[first:stop])[::-1] == _SEPARATOR
    return stop - int(separators.argmax()) if separators.any() else stop


def _hash_block(codes: Codes) -> tuple[NDArray[np.int64], U64]:
    """Where the words of a block begin, and their hashes."""
    classes = np.zeros(len(codes) + 2, np.uint8)  # with a separator at both ends
    _class_table().take(codes, out=classes[1:-1])
    inside = classes == _LETTER
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    starts, stops = changes[::2], changes[1::2]
    alone = np.flatnonzero(classes[1:-1] == _ALONE)
    if len(alone):
        starts, stops = np.sort(np.concatenate([starts, alone])), np.sort(np.concatenate([stops, alone + 1]))
    powers, inverses, values = _powers(), _inverses(), _values()
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(values.take(codes) * powers[: len(codes)], out=sums[1:])
    return starts, mix((sums[stops] - sums[starts]) * inverses[starts])


@cache
def _class_table() -> NDArray[np.uint8]:
    """The class of every code point that may be part of a word; the last entry stands for all beyond."""
    table = np.zeros(_LAST + 1, np.uint8)
    for code in range(0x20000):
        if unicodedata.category(chr(code))[0] in "LMN":
            table[code] = _LETTER
    for low, high in _WITHOUT_SPACES:
        table[low : high + 1] = _ALONE
    return table


@cache
def _values() -> U64:
    """A random-looking coefficient of every code point."""
    return mix(np.arange(1, _LAST + 2, dtype=np.uint64) * np.uint64(_BASE))


@cache
def _powers() -> U64:
    return _geometric(_BASE)


@cache
def _inverses() -> U64:
    return _geometric(pow(_BASE, -1, 1 << 64))


def _geometric(base: int) -> U64:
    series = np.full(_BLOCK + 1, base, np.uint64)
    series[0] = 1
    return np.cumprod(series)
