"""What a dataset holds, from its index alone and in bounded memory: totals by domain, and distributions."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset.dataset import Dataset

_COLUMNS = ["domain", "licence", "text_tokens", "image_tokens", "size", "image_widths", "image_heights"]
_DISTRIBUTIONS = ("tokens in a sample", "images in a sample", "longer side of an image", "bytes of a sample")


class DomainTotal(NamedTuple):
    """Sums over the samples of a domain; `size` is in bytes of the shards."""

    samples: int = 0
    images: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    size: int = 0


class Distribution(NamedTuple):
    """A histogram over powers of two.

    Attributes:
        name: The quantity.
        bins: Lower bound and count of each bin, which reaches to below the next power of two.
    """

    name: str
    bins: tuple[tuple[int, int], ...]

    def rows(self) -> Iterator[tuple[str, int]]:
        """The range and the count of each bin."""
        for bound, count in self.bins:
            yield str(bound) if bound < 2 else f"{bound:,} to {2 * bound - 1:,}", count


class Summary(NamedTuple):
    """Totals by domain, samples by licence, and distributions."""

    domains: dict[str, DomainTotal]
    licences: dict[str, int]
    distributions: tuple[Distribution, ...]


def summarise(dataset: Dataset) -> Summary:
    """Summarise a dataset in one pass over its index."""
    domains: dict[str, np.ndarray] = {}
    licences: Counter[str] = Counter()
    histograms = {name: np.zeros(64, np.int64) for name in _DISTRIBUTIONS}
    for batch in dataset.index_batches(_COLUMNS):
        licences.update({row["values"]: row["counts"] for row in pc.value_counts(batch["licence"]).to_pylist()})
        images = pc.list_value_length(batch["image_widths"]).to_numpy(zero_copy_only=False)
        text, image, size = (batch[name].to_numpy() for name in ("text_tokens", "image_tokens", "size"))
        sums = np.stack([np.ones(len(batch), np.int64), images, text, image, size], 1).astype(np.int64)
        codes = pc.dictionary_encode(batch["domain"])
        for code, domain in enumerate(codes.dictionary.to_pylist()):
            rows = sums[codes.indices.to_numpy() == code].sum(0)
            domains[domain] = domains[domain] + rows if domain in domains else rows
        columns = (text.astype(np.int64) + image, images, _longer_sides(batch), size)
        for name, values in zip(_DISTRIBUTIONS, columns, strict=True):
            histograms[name] += _histogram(values)
    return Summary(
        {name: DomainTotal(*domains[name].tolist()) for name in sorted(domains)},
        dict(sorted(licences.items())),
        tuple(Distribution(name, _bins(counts)) for name, counts in histograms.items()),
    )


def _longer_sides(batch: pa.RecordBatch) -> np.ndarray:
    widths, heights = (pc.list_flatten(batch[name]).to_numpy() for name in ("image_widths", "image_heights"))
    return np.maximum(widths, heights)


def _histogram(values: np.ndarray) -> np.ndarray:
    """Counts, int64 [64]: of zeros, then of 1, 2 to 3, 4 to 7 and so on."""
    bits = np.frexp(values.astype(np.float64))[1]  # exact below 2**53: the position of the highest bit
    return np.bincount(bits, minlength=64)


def _bins(counts: np.ndarray) -> tuple[tuple[int, int], ...]:
    """The bins from the first that is not empty to the last."""
    (filled,) = np.nonzero(counts)
    if not len(filled):
        return ()
    return tuple((0 if bit == 0 else 2 ** (bit - 1), int(counts[bit])) for bit in range(filled[0], filled[-1] + 1))
