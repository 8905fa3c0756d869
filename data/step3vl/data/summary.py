"""What a dataset holds, from its index alone and in bounded memory: totals by domain, and how samples are spread."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset import Dataset

_COLUMNS = ["domain", "licence", "text_tokens", "image_tokens", "size", "image_widths", "image_heights"]


class DomainTotal(NamedTuple):
    """Sums over the samples of a domain; `size` is in bytes of the shards."""

    samples: int = 0
    images: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    size: int = 0


class Spread(NamedTuple):
    """How many fall into each bin. A bin holds what lies from its number to below the next power of two."""

    name: str
    bins: tuple[tuple[int, int], ...]  # the bin's lower bound, and how many

    def rows(self) -> Iterator[tuple[str, int]]:
        """Each bin in words, and how many."""
        for bound, count in self.bins:
            yield str(bound) if bound < 2 else f"{bound:,} to {2 * bound - 1:,}", count


class Summary(NamedTuple):
    domains: dict[str, DomainTotal]
    licences: dict[str, int]
    spreads: tuple[Spread, ...]


def summarise(dataset: Dataset) -> Summary:
    """Read the index once."""
    domains: dict[str, np.ndarray] = {}
    licences: Counter[str] = Counter()
    names = ("tokens in a sample", "pictures in a sample", "longer side of a picture", "bytes of a sample")
    spreads = {name: np.zeros(64, np.int64) for name in names}
    for batch in dataset.index_batches(_COLUMNS):
        licences.update({one["values"]: one["counts"] for one in pc.value_counts(batch["licence"]).to_pylist()})
        images = pc.list_value_length(batch["image_widths"]).to_numpy(zero_copy_only=False)
        text, image, size = (batch[name].to_numpy() for name in ("text_tokens", "image_tokens", "size"))
        sums = np.stack([np.ones(len(batch), np.int64), images, text, image, size], 1).astype(np.int64)
        codes = pc.dictionary_encode(batch["domain"])
        for code, domain in enumerate(codes.dictionary.to_pylist()):
            rows = sums[codes.indices.to_numpy() == code].sum(0)
            domains[domain] = domains[domain] + rows if domain in domains else rows
        values = (text.astype(np.int64) + image, images, _longer_sides(batch), size)
        for name, one in zip(names, values, strict=True):
            spreads[name] += _binned(one)
    return Summary(
        {name: DomainTotal(*domains[name].tolist()) for name in sorted(domains)},
        dict(sorted(licences.items())),
        tuple(Spread(name, _filled(counts)) for name, counts in spreads.items()),
    )


def _longer_sides(batch: pa.RecordBatch) -> np.ndarray:
    widths, heights = (pc.list_flatten(batch[name]).to_numpy() for name in ("image_widths", "image_heights"))
    return np.maximum(widths, heights)


def _binned(values: np.ndarray) -> np.ndarray:
    """Counts [64]: of zeros, then of 1, 2 to 3, 4 to 7 and so on."""
    bits = np.frexp(values.astype(np.float64))[1]  # exact below 2**53: the position of the highest bit
    return np.bincount(bits, minlength=64)


def _filled(counts: np.ndarray) -> tuple[tuple[int, int], ...]:
    """From the first bin that holds something to the last."""
    (held,) = np.nonzero(counts)
    if not len(held):
        return ()
    return tuple((0 if bin == 0 else 2 ** (bin - 1), int(counts[bin])) for bin in range(held[0], held[-1] + 1))
