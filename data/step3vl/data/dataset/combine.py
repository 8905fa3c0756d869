"""Merging datasets without duplicates, and splitting one again. Images are copied from shard to shard unchanged.

The places of all samples are sorted on disk by the shard that they go to, in parts that fit in memory; each part is
written by one process.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from step3vl.data.dataset.dataset import Dataset, parse_sample, read_shard_index
from step3vl.data.dataset.exclusions import FORGOTTEN, Exclusions
from step3vl.data.dataset.ledger import Ledger, LedgerStep
from step3vl.data.dataset.manifest import Counting
from step3vl.data.dataset.partitions import ID, PART, Partitions, ids_of, without_repeats
from step3vl.data.dataset.provenance import code_version
from step3vl.data.dataset.sharding import shard_name
from step3vl.data.dataset.shards import ShardInfo, Split
from step3vl.data.dataset.sorter import DUPLICATE
from step3vl.data.dataset.writer import WrittenShard, commit, refuse_dataset_in, write_shard
from step3vl.data.errors import UserError, infrastructure_errors
from step3vl.data.processes import map_in_processes, workers_for
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.slices import FileSlice
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig
from step3vl.data.tokens.vocabulary import TOKENIZER, load_tokenizer

_WINDOW = 1 << 25  # bytes of samples that are read together
_PARTS = 4  # of each worker, at least, so that all end at about the same time
_SPLITS: tuple[Split, ...] = ("heldout", "train")  # of equal samples a held-out one is kept
_PLACE = np.dtype(
    [
        *ID.descr,
        ("dataset", "<u2"),
        ("shard", "<u4"),
        ("split", "u1"),  # that it goes to: its place in _SPLITS
        ("offset", "<i8"),
        ("size", "<i8"),
        ("xxh3", "<u8"),
    ]
)


def merge(
    datasets: Sequence[Dataset],
    out: Path | str,
    name: str,
    shards: int | None = None,
    *,
    store: StoreConfig = DEFAULT_STORE,
    workers: int | None = 1,
) -> Dataset:
    """Merge datasets, each sample once; a sample that any of them held out stays held out.

    Samples that any of them must forget are left out, and counted in the ledger.
    Of equal samples the first dataset's is kept, held-out ones first. The ledger is the sum of theirs and the counts
    of the merge. The result is the same with any number of workers. Memory: three parts of 12 MB and a window of 32 MB
    of samples for each worker. Below TMPDIR are 47 bytes for each sample.

    Args:
        datasets: At least one dataset; all with token counts for the same tokenizer and image sizes.
        out: Folder or URL of the new dataset.
        name: Name of the new dataset.
        shards: Shards of each split; by default as many as the datasets have together.
        store: How the store of `out` is used.
        workers: Number of processes; None is one for each core, see `workers_for`.

    Raises:
        UserError: The token counts are not for the same tokenizer and sizes, or `out` holds a dataset.
        StoreError: A store does not answer, or a sample is damaged.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if (other.manifest.counting.tokenizer_sha256, other.manifest.counting.image) != (
            first.manifest.counting.tokenizer_sha256,
            first.manifest.counting.image,
        ):
            raise UserError(
                f"{other.url} has token counts for another tokenizer or other image sizes than {first.url}: "
                "convert it with those of the other first"
            )
    config = {"merge": [{"name": part.manifest.name, "fingerprint": part.fingerprint} for part in datasets]}
    return _rewrite(datasets, _Target(str(out), store, name, _count(datasets, shards)), None, config, workers)


def split(
    dataset: Dataset,
    out: Path | str,
    name: str,
    heldout: float,
    shards: int | None = None,
    *,
    store: StoreConfig = DEFAULT_STORE,
    workers: int | None = 1,
) -> Dataset:
    """Copy a dataset with another split by the hash of the id. Memory and disk are those of `merge`.

    Args:
        dataset: The dataset.
        out: Folder or URL of the new dataset.
        name: Name of the new dataset.
        heldout: Fraction of the samples to hold out.
        shards: Shards of each split; by default as many as the dataset has.
        store: How the store of `out` is used.
        workers: Number of processes; None is one for each core, see `workers_for`.

    Raises:
        UserError: `out` holds a dataset.
        StoreError: A store does not answer, or a sample is damaged.
    """
    origin = {"name": dataset.manifest.name, "fingerprint": dataset.fingerprint, "heldout": heldout}
    target = _Target(str(out), store, name, _count([dataset], shards))
    return _rewrite([dataset], target, heldout, {"split": origin}, workers)


class _Target(NamedTuple):
    """The new dataset, with so many shards of each split."""

    url: str
    store: StoreConfig
    name: str
    shards: int


class _Places(NamedTuple):
    """The rows of a shard, without those that must be forgotten, of which there are so many."""

    rows: NDArray[Any]
    forgotten: int


class _WrittenPart(NamedTuple):
    """The shards of a part, and how many samples it had before and after duplicates were dropped."""

    shards: list[WrittenShard]
    read: int
    kept: int


def _count(datasets: Sequence[Dataset], shards: int | None) -> int:
    return shards or sum(
        max(sum(shard.split == "train" for shard in dataset.manifest.shards), 1) for dataset in datasets
    )


def _rewrite(
    datasets: Sequence[Dataset], target: _Target, heldout: float | None, config: dict[str, Any], workers: int | None
) -> Dataset:
    files = Store(target.url, target.store)
    processes = workers_for((target.url, *(dataset.url for dataset in datasets)), workers)
    refuse_dataset_in(files)
    samples = sum(total.samples for dataset in datasets for total in dataset.manifest.tasks)
    exclusions = sum((dataset.exclusions for dataset in datasets), Exclusions())
    step = next(iter(config))
    if exclusions:
        config = {**config, "exclusions": exclusions.digest}
    parts = min(target.shards, max(-(-samples // PART), _PARTS * processes))
    counts: Counter[str] = Counter()
    with infrastructure_errors(f"writing {target.url}"), Partitions(_PLACE, parts) as places:
        for number, dataset in enumerate(datasets):
            read = partial(_read_places, dataset.files, exclusions, number, heldout)
            for rows, forgotten in map_in_processes(read, enumerate(dataset.manifest.shards), processes):
                places.add(rows, target_shards(rows, target.shards))
                counts["forgotten"] += forgotten

        def written() -> Iterator[WrittenShard]:
            write = partial(_write_part, datasets, target)
            for part in map_in_processes(write, places, processes):
                counts.update(read=part.read, kept=part.kept)
                yield from part.shards

        def ledger() -> Iterator[LedgerStep]:
            yield from Ledger.join(dataset.manifest.ledger for dataset in datasets).steps
            reasons = {DUPLICATE: counts["read"] - counts["kept"], FORGOTTEN: counts["forgotten"]}
            read = counts["read"] + counts["forgotten"]
            dropped = {reason: count for reason, count in reasons.items() if count}
            yield LedgerStep(name=step, read=read, kept=counts["kept"], dropped=dropped)

        counting = copy_counting(datasets[0], files)
        return commit(
            target.url,
            name=target.name,
            shards=written(),
            ledger=ledger(),
            counting=counting,
            config=config,
            code_version=code_version("step3vl.data"),
            store=target.store,
        )


def _read_places(
    files: Store, exclusions: Exclusions, dataset: int, heldout: float | None, numbered: tuple[int, ShardInfo]
) -> _Places:
    """Where the samples of a shard are, and which split they go to: that of the shard, or by the hash of the id."""
    number, shard = numbered
    columns = dict.fromkeys(["id", "offset", "size", "xxh3", *exclusions.columns])
    everything = read_shard_index(files, shard, list(columns))
    table = everything.filter(pa.array(exclusions.keep(everything))) if exclusions else everything
    rows = np.zeros(len(table), _PLACE)
    ids = ids_of(table["id"])
    rows["high"], rows["low"], rows["dataset"], rows["shard"] = ids["high"], ids["low"], dataset, number
    for name in ("offset", "size", "xxh3"):
        rows[name] = table[name].to_numpy()
    if heldout is None:
        rows["split"] = _SPLITS.index(shard.split)
    else:
        rows["split"] = split_numbers(ids, heldout)
    return _Places(rows, len(everything) - len(table))


def copy_counting(dataset: Dataset, files: Store) -> Counting:
    """What the token counts of a dataset depend on, for another one: a tokenizer of its own is saved there, too.

    Args:
        dataset: Whose counts stay valid.
        files: Of the new dataset.

    Raises:
        StoreError: A store does not answer.
    """
    counting = dataset.manifest.counting
    if counting.tokenizer == "qwen3":
        return counting
    tokenizer = load_tokenizer(dataset.tokenizer, dataset.files.config)
    files.put(TOKENIZER, tokenizer.to_str(pretty=True).encode())
    return counting.model_copy(update={"tokenizer": TOKENIZER})


def split_numbers(ids: NDArray[Any], heldout: float) -> NDArray[np.bool_]:
    """The place in `_SPLITS` of each sample's split by its id alone, as `split_of`."""
    train: NDArray[np.bool_] = (ids["high"] >> 32) >= heldout * 2**32
    return train


def target_shards(ids: NDArray[Any], shards: int) -> NDArray[np.uint64]:
    """The number of each sample's shard within its split, as `shard_of`."""
    numbers: NDArray[np.uint64] = (ids["high"] & np.uint64(0xFFFFFFFF)) % np.uint64(shards)
    return numbers


def _write_part(datasets: Sequence[Dataset], target: _Target, rows: NDArray[Any]) -> _WrittenPart:
    """Write the shards whose samples a part has, sorted by id, each sample once."""
    rows = rows[np.lexsort((rows["dataset"], rows["split"], rows["low"], rows["high"]))]
    distinct = rows[without_repeats(rows)]
    keys = target_shards(distinct, target.shards) * len(_SPLITS) + distinct["split"]
    shards = []
    for key in np.unique(keys).tolist():
        number, split_number = divmod(key, len(_SPLITS))
        split_name = _SPLITS[split_number]
        name = shard_name(target.name, split_name, number, target.shards)
        samples = _samples(datasets, distinct[keys == key])
        shards.append(write_shard(target.url, name, split_name, samples, target.store))
    return _WrittenPart(shards, len(rows), len(distinct))


def _samples(datasets: Sequence[Dataset], rows: NDArray[Any]) -> Iterator[Sample]:
    """The samples in the order of the rows; those of a window are read together."""
    windows = np.cumsum(rows["size"]) // _WINDOW
    for window in np.split(rows, np.flatnonzero(np.diff(windows)) + 1):
        data = [b""] * len(window)
        for number in np.unique(window["dataset"]).tolist():
            places = np.flatnonzero(window["dataset"] == number)
            shards = datasets[number].manifest.shards
            slices = [
                FileSlice(shards[shard].path, offset, size, f"{xxh3:016x}")
                for shard, offset, size, xxh3 in window[places][["shard", "offset", "size", "xxh3"]].tolist()
            ]
            for place, part in zip(places.tolist(), datasets[number].files.read_many(slices), strict=True):
                data[place] = part
        yield from map(parse_sample, data)
