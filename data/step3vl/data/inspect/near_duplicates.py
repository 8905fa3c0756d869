"""Near-duplicate texts by MinHash and banding, after Broder (1997)."""

from collections.abc import Iterable

import numpy as np

SIMILARITY = 0.8  # of the sets of shingles (Jaccard), from which texts are near-duplicates
SHINGLE = 5  # characters
_HASHES = 64
_ROWS = 4  # of a band: two texts of similarity 0.8 share none of the 16 bands at a probability of 2e-4
_MAX_CHARACTERS = 4000  # of a text that count
_PRIME = np.uint64((1 << 31) - 1)
_RANDOM = np.random.default_rng(0)
_FACTORS = _RANDOM.integers(1, 1 << 31, (_HASHES, 1), dtype=np.uint64)
_OFFSETS = _RANDOM.integers(0, 1 << 31, (_HASHES, 1), dtype=np.uint64)


def signature(text: str) -> np.ndarray:
    """The MinHash of a text, uint32 [64]: the fraction of equal entries estimates the similarity of two texts.

    Args:
        text: At least `SHINGLE` characters long.
    """
    points = np.frombuffer(text[:_MAX_CHARACTERS].encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, SHINGLE)
    shingles = np.zeros(len(windows), np.uint64)
    for column in range(SHINGLE):
        shingles = (shingles * np.uint64(1_000_003) + windows[:, column]) % _PRIME
    hashes = (_FACTORS * np.unique(shingles) + _OFFSETS) % _PRIME
    return hashes.min(1).astype(np.uint32)


def count_near_duplicates(texts: Iterable[str]) -> int:
    """How many texts are near-duplicates of an earlier one.

    Args:
        texts: Each at least `SHINGLE` characters long.
    """
    signatures: list[np.ndarray] = []
    buckets: dict[tuple[int, bytes], list[int]] = {}
    count = 0
    for number, text in enumerate(texts):
        mine = signature(text)
        signatures.append(mine)
        is_new = True
        for band in range(0, _HASHES, _ROWS):
            bucket = buckets.setdefault((band, mine[band : band + _ROWS].tobytes()), [])
            is_new = is_new and not any(np.mean(signatures[other] == mine) >= SIMILARITY for other in bucket)
            if is_new or not bucket:
                bucket.append(number)
        count += not is_new
    return count
