"""The engine's caches between requests, in bounded memory.

They hold the features of encoded images, what is known of image files, and keys and values of prompts.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from step3vl.data.sample import Size
from step3vl.inference.engine.cohort import KeyValues

MAX_PROMPTS = 128  # each lookup compares with all of them
MAX_FILES = 2**14  # some 200 bytes each


class ImageCache:
    """Features [tokens, H] by image identity. The least recently used are evicted beyond `limit` bytes."""

    def __init__(self, limit: int):
        self.limit = limit
        self.held = 0
        self._features: OrderedDict[int, Tensor] = OrderedDict()

    def get(self, image: int) -> Tensor | None:
        """Return an image's features [tokens, H], None if they are not cached."""
        features = self._features.get(image)
        if features is not None:
            self._features.move_to_end(image)
        return features

    def put(self, image: int, features: Tensor) -> None:
        """Cache an image's features [tokens, H], unless they exceed the limit alone."""
        if image in self._features or features.nbytes > self.limit:
            return
        self._features[image] = features.clone()  # else one image's slice would keep its whole batch alive
        self.held += features.nbytes
        while self.held > self.limit:
            self.held -= self._features.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Evict everything."""
        self._features.clear()
        self.held = 0


class DecodedImage(NamedTuple):
    """What decoding an image file has shown.

    Attributes:
        identity: Of its pixels.
        size: Width and height in pixels, upright.
    """

    identity: int
    size: Size


class DecodedFiles:
    """What is known of the image files decoded last, by the SHA-256 of their bytes. Threads may share it.

    The requests of an agent show all screens so far: of those it has shown before, the pixels are only needed where
    their features are no longer cached.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, DecodedImage] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> DecodedImage | None:
        """What is known of a file; None of one that was not decoded lately."""
        with self._lock:
            decoded = self._known.get(sha256)
            if decoded is not None:
                self._known.move_to_end(sha256)
            return decoded

    def put(self, sha256: str, decoded: DecodedImage) -> None:
        """Remember a file; the least recently used are forgotten beyond `MAX_FILES`."""
        with self._lock:
            self._known[sha256] = decoded
            self._known.move_to_end(sha256)
            if len(self._known) > MAX_FILES:
                self._known.popitem(last=False)


class Prefix(NamedTuple):
    """Cached keys and values [1, H, length, D], by layer, of the first `length` tokens of a prompt."""

    length: int
    layers: Sequence[KeyValues]


class _Entry(NamedTuple):
    key: np.ndarray
    layers: Sequence[KeyValues]
    size: int


class PrefixCache:
    """Keys and values of prompts by `EncodedPrompt.key`; bounded like `ImageCache`."""

    def __init__(self, limit: int):
        self.limit = limit
        self.held = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def length(self, key: np.ndarray) -> int:
        """Return how many of the key's tokens [T] are cached. The last never counts: its logits are always needed."""
        return self._best(key)[0]

    def longest(self, key: np.ndarray) -> Prefix | None:
        """Return the longest cached prefix of a prompt with key [T], short of its last token."""
        length, name = self._best(key)
        if not length:
            return None
        self._entries.move_to_end(name)
        layers = [KeyValues(*(states[:, :, :length] for states in layer)) for layer in self._entries[name].layers]
        return Prefix(length, layers)

    def put(self, key: np.ndarray, layers: Sequence[KeyValues]) -> None:
        """Cache a prompt's keys and values [1, H, T, D] under its key [T], and evict entries that are its prefixes."""
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
        while self.held > self.limit or len(self._entries) > MAX_PROMPTS:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Evict everything."""
        self._entries.clear()
        self.held = 0

    def _drop(self, name: bytes) -> None:
        self.held -= self._entries.pop(name).size

    def _best(self, key: np.ndarray) -> tuple[int, bytes]:
        lengths = ((_common_prefix(entry.key, key[:-1]), name) for name, entry in self._entries.items())
        return max(lengths, key=lambda match: match[0], default=(0, b""))


def _common_prefix(first: np.ndarray, second: np.ndarray) -> int:
    """Return the length of the common prefix of two keys."""
    length = min(len(first), len(second))
    different = first[:length] != second[:length]
    return int(different.argmax()) if different.any() else length
