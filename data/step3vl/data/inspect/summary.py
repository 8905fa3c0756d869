"""What a dataset holds, from its index alone and in bounded memory: totals, and distributions."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.row_filter import RowFilter

_COLUMNS = [
    *("domain", "task", "source", "licence", "text_tokens", "image_tokens", "size", "image_widths", "image_heights"),
]
_DISTRIBUTIONS = ("tokens in a sample", "images in a sample", "longer side of an image", "bytes of a sample")
_MAX_SOURCES = 20_000  # that are told apart
OTHER_SOURCES = "(other sources)"
# In this order: the host of a web page; the bucket and first folder of a store; the name before a number, as of a
# generator; the folder of a file.
_COLLECTION = r"(?s)^(?:(https?://[^/]*).*|([A-Za-z][A-Za-z0-9+.-]*://[^/]*(?:/[^/]+)?)/.*|(.*?)/[0-9]+(?:/.*)?|(.+)/[^/]*|(.*))$"


class Total(NamedTuple):
    """Sums over samples; `size` is in bytes of the shards."""

    samples: int = 0
    images: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    size: int = 0

    @property
    def tokens(self) -> int:
        """Text and image tokens."""
        return self.text_tokens + self.image_tokens


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
    """Totals by domain, by domain and task, and by collection and licence; distributions.

    A collection is what `collections_of` makes of a source. Of more than twenty thousand the smallest are added up.
    `left_out` has, by domain and task, what an expression left out of all the others.
    """

    domains: dict[str, Total]
    tasks: dict[tuple[str, str], Total]
    sources: dict[tuple[str, str], Total]
    distributions: tuple[Distribution, ...]
    left_out: dict[tuple[str, str], Total]

    @property
    def licences(self) -> dict[str, Total]:
        """Totals by licence."""
        sums: dict[str, list[int]] = {}
        for (_, licence), total in self.sources.items():
            sums[licence] = [a + b for a, b in zip(sums.get(licence, Total()), total, strict=True)]
        return {licence: Total(*sums[licence]) for licence in sorted(sums)}


def summarise(dataset: Dataset, where: RowFilter | None = None) -> Summary:
    """Summarise a dataset, or the samples of it that an expression selects, in one pass over its index."""
    sums: dict[tuple[str, ...], dict[tuple[str, ...], np.ndarray]] = {
        keys: {} for keys in (("domain",), ("domain", "task"), ("source", "licence"))
    }
    left_out: dict[tuple[str, ...], np.ndarray] = {}
    histograms = {name: np.zeros(64, np.int64) for name in _DISTRIBUTIONS}
    columns = [*dict.fromkeys([*_COLUMNS, *(where.columns if where else ())])]
    for batch in dataset.index_batches(columns):
        if where is not None:
            kept = where.keep(batch)
            _add_up(_quantities(batch.filter(pa.array(~kept))), ("domain", "task"), left_out)
            batch = batch.filter(pa.array(kept))
        table = _quantities(batch)
        for keys, totals in sums.items():
            _add_up(table, keys, totals)
        _limit(sums["source", "licence"])
        text, image, images, size = (table[name].to_numpy() for name in ("text", "image", "images", "size"))
        for name, quantity in zip(_DISTRIBUTIONS, (text + image, images, _longer_sides(batch), size), strict=True):
            histograms[name] += _histogram(quantity)
    domains, tasks, sources, rest = (
        {key: Total(*totals[key].tolist()) for key in sorted(totals)} for totals in (*sums.values(), left_out)
    )
    return Summary(
        {domain: total for (domain,), total in domains.items()},
        {(domain, task): total for (domain, task), total in tasks.items()},
        {(source, licence): total for (source, licence), total in sources.items()},
        tuple(Distribution(name, _bins(counts)) for name, counts in histograms.items()),
        {(domain, task): total for (domain, task), total in rest.items()},
    )


def collections_of(sources: pa.Array) -> pa.Array:
    """What the samples of sources are listed under: the host of a web page, the folder of a file, a generator's name.

    Args:
        sources: `Source.uri` of samples, such as `scans/a.pdf#3/7`, `s3://bucket/laws/1/2.pdf` and `icons/712`.

    Returns:
        For these: `scans`, `s3://bucket/laws` and `icons`.
    """
    files = pc.replace_substring_regex(sources, r"[#?].*$", "")
    return pc.replace_substring_regex(files, _COLLECTION, r"\1\2\3\4\5")


def _quantities(batch: pa.RecordBatch) -> pa.Table:
    """What rows are added up by, and the quantities of `Total` in its order."""
    names = {name: batch[name] for name in ("domain", "task", "licence")}
    quantities = {
        "samples": np.ones(len(batch), np.int64),
        "images": pc.list_value_length(batch["image_widths"]).to_numpy(zero_copy_only=False),
        "text": batch["text_tokens"].to_numpy().astype(np.int64),
        "image": batch["image_tokens"].to_numpy().astype(np.int64),
        "size": batch["size"].to_numpy().astype(np.int64),
    }
    return pa.table({**names, "source": collections_of(batch["source"]), **quantities})


def _add_up(table: pa.Table, keys: tuple[str, ...], totals: dict[tuple[str, ...], np.ndarray]) -> None:
    values = table.column_names[-len(Total._fields) :]
    grouped = table.group_by(list(keys)).aggregate([(value, "sum") for value in values])
    counts = np.stack([grouped[f"{value}_sum"].to_numpy() for value in values], 1).astype(np.int64)
    for key, row in zip(zip(*(grouped[name].to_pylist() for name in keys), strict=True), counts, strict=True):
        totals[key] = totals[key] + row if key in totals else row


def _limit(totals: dict[tuple[str, ...], np.ndarray]) -> None:
    """Add the smallest sources up when there are too many; a page on a million hosts tells nothing."""
    if len(totals) <= _MAX_SOURCES:
        return
    for key in sorted(totals, key=lambda key: (-totals[key][0], key))[_MAX_SOURCES // 2 :]:
        row, other = totals.pop(key), (OTHER_SOURCES, *key[1:])
        totals[other] = totals[other] + row if other in totals else row


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
