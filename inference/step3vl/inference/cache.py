"""What the engine remembers between requests, in bounded memory: encoded pictures, and prompts' keys and values."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from step3vl.inference.cohort import KeyValues

PROMPTS = 128  # prompts that are remembered at most; each lookup compares with all of them


class PictureCache:
    """Features [tokens, H] by picture. The least recently used leave when more than `limit` bytes are held."""

    def __init__(self, limit: int):
        self.limit = limit
        self.held = 0
        self._features: OrderedDict[int, Tensor] = OrderedDict()

    def get(self, picture: int) -> Tensor | None:
        features = self._features.get(picture)
        if features is not None:
            self._features.move_to_end(picture)
        return features

    def put(self, picture: int, features: Tensor) -> None:
        if picture in self._features or features.nbytes > self.limit:
            return
        self._features[picture] = features.clone()  # else one picture's slice would keep its whole batch alive
        self.held += features.nbytes
        while self.held > self.limit:
            self.held -= self._features.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        self._features.clear()
        self.held = 0


class Prefix(NamedTuple):
    """The first `length` tokens of a prompt are known: their keys and values [1, H, length, D] by layer."""

    length: int
    layers: Sequence[KeyValues]


class _Entry(NamedTuple):
    key: np.ndarray
    layers: Sequence[KeyValues]
    size: int


class PrefixCache:
    """Prompts' keys and values by their tokens' keys (`Prompt.key`); bounded like `PictureCache`."""

    def __init__(self, limit: int):
        self.limit = limit
        self.held = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def length(self, key: np.ndarray) -> int:
        """How many of the key's tokens, short of the last, are known; the last one's logits are always needed."""
        return self._best(key)[0]

    def longest(self, key: np.ndarray) -> Prefix | None:
        """The longest known beginning of a prompt, short of its last token."""
        length, name = self._best(key)
        if not length:
            return None
        self._entries.move_to_end(name)
        layers = [KeyValues(*(states[:, :, :length] for states in layer)) for layer in self._entries[name].layers]
        return Prefix(length, layers)

    def put(self, key: np.ndarray, layers: Sequence[KeyValues]) -> None:
        """Remember a prompt's keys and values [1, H, T, D]. An entry that it goes on from is no longer needed."""
        size = sum(states.nbytes for layer in layers for states in layer)
        if size > self.limit:
            return
        covered = [
            name
            for name, entry in self._entries.items()
            if len(entry.key) <= len(key) and np.array_equal(entry.key, key[: len(entry.key)])
        ]
        for name in covered:
            self._drop(name)
        self._entries[key.tobytes()] = _Entry(key, layers, size)
        self.held += size
        while self.held > self.limit or len(self._entries) > PROMPTS:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self.held = 0

    def _drop(self, name: bytes) -> None:
        self.held -= self._entries.pop(name).size

    def _best(self, key: np.ndarray) -> tuple[int, bytes]:
        lengths = ((_common(entry.key, key[:-1]), name) for name, entry in self._entries.items())
        return max(lengths, key=lambda found: found[0], default=(0, b""))


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many tokens two keys begin with in common."""
    length = min(len(one), len(other))
    different = one[:length] != other[:length]
    return int(different.argmax()) if different.any() else length
