"""MinHash signatures of texts, by rensa: how similar two texts are, and which texts may be similar at all."""

import numpy as np
from numpy.typing import NDArray

from step3vl.pipelines.curation.config import NearConfig
from step3vl.pipelines.curation.words import U64, Words, mix

Signatures = NDArray[np.uint16]

_SEED = 1
_BATCH = 4096  # signatures that are Python lists at a time, as rensa returns them


def signatures_of(words: Words, config: NearConfig) -> Signatures:
    """The signatures [texts, slots] of texts; all-ones for a text without an n-gram.

    The low 16 bits of each slot are kept: slots of different texts are equal by chance once in 65,536 times.

    Args:
        words: Of the texts.
        config: Of the n-grams and slots.
    """
    from rensa import RMinHash  # of the extra `pipelines`

    ngrams = words.ngrams(config.ngram)
    offsets = ngrams.offsets
    result = np.empty((len(words.counts), config.slots), np.uint16)
    for first in range(0, len(result), _BATCH):
        last = min(first + _BATCH, len(result))
        part = offsets[first : last + 1]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            ngrams.hashes[part[0] : part[-1]], (part - part[0]).astype(np.uint64), num_perm=config.slots, seed=_SEED
        )
        result[first:last] = np.array(matrix.to_rows(), np.uint32).reshape(last - first, -1)  # the low bits
    return result


def band_keys(signatures: Signatures, config: NearConfig) -> U64:
    """The keys [texts, bands] under which similar texts meet, different ones in each band."""
    slots = signatures.astype(np.uint64).reshape(len(signatures), config.bands, config.rows)
    keys = np.broadcast_to(mix(np.arange(1, config.bands + 1, dtype=np.uint64)), slots.shape[:2])
    for row in range(config.rows):
        keys = mix(keys ^ slots[:, :, row]) + np.uint64(1)
    return keys


def similarities(first: Signatures, second: Signatures) -> NDArray[np.float32]:
    """The estimated Jaccard similarity of each pair of signatures; its standard error is sqrt(s (1 - s) / slots)."""
    return np.mean(first == second, axis=-1, dtype=np.float32)
