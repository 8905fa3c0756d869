"""The search for n-grams of benchmark items in samples, many samples at a time."""

import numpy as np
from numpy.typing import NDArray

from step3vl.pipelines.curation.exchange import distinct, groups
from step3vl.pipelines.curation.words import U64, Words

ENTRY = np.dtype([("hash", "<u8"), ("item", "<u4")])
_SHARED = np.dtype([("sample", "<u4"), ("hash", "<u8")])
_SPARSE = 16  # places of a table for each hash in it


def ngram_entries(words: Words, ngram: int, max_items: int) -> tuple[NDArray[np.void], int]:
    """The n-grams of items, and how many were left out because too many items have them.

    Args:
        words: Of the items.
        ngram: Words of an n-gram.
        max_items: That may have an n-gram.

    Returns:
        Records of `ENTRY`, each n-gram once an item, by hash; and the number.
    """
    ngrams = words.ngrams(ngram)
    entries = np.empty(len(ngrams.hashes), ENTRY)
    entries["hash"], entries["item"] = ngrams.hashes, np.repeat(np.arange(len(ngrams.counts)), ngrams.counts)
    entries = distinct(entries)
    _, sizes = groups(entries["hash"])
    common = sizes > max_items
    return entries[np.repeat(~common, sizes)], int(common.sum())


class HashTable:
    """Whether hashes are in a set: nearly all are not, which a sparse table of bytes tells at once.

    Args:
        hashes: Sorted.
    """

    def __init__(self, hashes: U64) -> None:
        self.hashes = hashes
        bits = max(10, (len(hashes) * _SPARSE).bit_length())
        self._shift = np.uint64(64 - bits)
        self._marks = np.zeros(1 << bits, np.bool_)
        self._marks[hashes >> self._shift] = True

    def find(self, hashes: U64) -> NDArray[np.intp]:
        """The places of the hashes that are in the set."""
        if not len(self.hashes):
            return np.zeros(0, np.intp)
        maybe = np.flatnonzero(self._marks[hashes >> self._shift])
        places = np.searchsorted(self.hashes, hashes[maybe])
        return maybe[self.hashes[np.minimum(places, len(self.hashes) - 1)] == hashes[maybe]]


class NgramSearch:
    """Finds the samples that have enough n-grams of an item.

    Args:
        ngram: Words of an n-gram.
        entries: Records of `ENTRY`, by hash.
        sizes: N-grams of each item.
        fewest: N-grams of an item that a sample has at least.
        share: The same as a share of the item's.
    """

    def __init__(
        self,
        ngram: int,
        entries: NDArray[np.void],
        sizes: NDArray[np.int64],
        fewest: int = 1,
        share: float = 0.0,
    ) -> None:
        self._ngram, self._entries, self._sizes = ngram, entries, sizes
        self._fewest, self._share = fewest, share
        self._table = HashTable(entries["hash"])

    def find(self, words: Words) -> dict[int, tuple[int, float]]:
        """The item of which a sample has the largest share, and the share, by the number of the sample."""
        if not len(self._entries):
            return {}
        ngrams = words.ngrams(self._ngram)
        places = self._table.find(ngrams.hashes)
        rows = np.empty(len(places), _SHARED)
        rows["sample"] = np.searchsorted(ngrams.offsets, places, side="right") - 1
        rows["hash"] = ngrams.hashes[places]
        rows = distinct(rows)
        first, last = (np.searchsorted(self._entries["hash"], rows["hash"], side=side) for side in ("left", "right"))
        repeats = last - first
        entries = np.repeat(first - (np.cumsum(repeats) - repeats), repeats) + np.arange(repeats.sum())
        pairs = np.repeat(rows["sample"].astype(np.uint64) << np.uint64(32), repeats) | self._entries["item"][entries]
        pairs, counts = np.unique(pairs, return_counts=True)
        samples, items = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        shares = counts / self._sizes[items]
        enough = (counts >= self._fewest) & (shares >= self._share)
        matches = zip(samples[enough].tolist(), items[enough].tolist(), shares[enough].tolist(), strict=True)
        best: dict[int, tuple[int, float]] = {}
        for sample, item, share in matches:
            if sample not in best or share > best[sample][1]:
                best[sample] = item, share
        return best
