"""Writing a dataset: shards first, each visible only when complete, and `dataset.json` last."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.index import IndexWriter, ShardRow, index_row
from step3vl.data.dataset.ledger import Ledger, LedgerStep
from step3vl.data.dataset.manifest import (
    MANIFEST,
    MAX_LISTED,
    Counting,
    Manifest,
    ShardInfo,
    Split,
    TaskTotal,
    format_of,
    write_manifest,
)
from step3vl.data.dataset.shards import ShardTable
from step3vl.data.errors import UserError
from step3vl.data.sample.parts import EXTENSION
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig
from step3vl.data.storage.tar import TarWriter, archive_size

_MAX_LOSSES = 5  # kinds of losses that the error of an empty dataset lists
# Samples, text tokens and image tokens by split, task and kind.
_Sums = dict[tuple[Split, str, str], list[int]]


class WrittenShard(Config):
    """A shard that was written."""

    info: ShardInfo
    """Its entry in the manifest."""

    totals: tuple[TaskTotal, ...]
    """Totals of its samples by task and kind."""


def write_shard(
    root: Path | str, name: str, split: Split, samples: Iterable[Sample], store: StoreConfig = DEFAULT_STORE
) -> WrittenShard:
    """Write `root/shards/NAME` with its `.idx` and Parquet index in one pass.

    Images are read as they are written, one sample at a time; besides, about 100 bytes a sample are in memory. Nothing
    is visible under its final name before it is complete.

    Args:
        root: Folder or URL of the dataset.
        name: File name of the shard, see `shard_name`.
        split: The split that the samples belong to.
        samples: Samples in strictly ascending order of id, with their tokens counted.
        store: How a remote store is used.

    Returns:
        The shard's entry in the manifest, and the totals of its tasks.

    Raises:
        ValueError: The samples are not in order, or a token count is missing.
    """
    return write_rows(root, name, split, map(ShardRow.of, samples), store)


def write_rows(
    root: Path | str, name: str, split: Split, rows: Iterable[ShardRow], store: StoreConfig = DEFAULT_STORE
) -> WrittenShard:
    """As `write_shard`, of samples that were encoded before."""
    files = Store(str(root), store)
    path = f"shards/{name}"
    index_writer = IndexWriter()
    sums: _Sums = {}
    last = ""
    with files.create(path) as file:
        writer = TarWriter(file)
        for row in rows:
            if row.id <= last:
                raise ValueError(f"samples of {name} are not in strictly ascending order of id at {row.id}")
            encoded = [(EXTENSION[image.format], image.read()) for image in row.images]
            index_writer.add(index_row(row, writer.add(row.id, row.json, encoded)))
            _add(sums, (split, row.task, row.kind), (1, row.text_tokens, row.image_tokens))
            last = row.id
        digest, offsets = writer.finish()
        index = index_writer.finish()
        samples_count, text_tokens, image_tokens = map(sum, zip(*sums.values(), strict=True)) if sums else (0, 0, 0)
        info = ShardInfo(
            path=path,
            split=split,
            samples=samples_count,
            size=archive_size(struct.unpack("<Q", offsets[-8:])[0]),
            blake3=digest,
            index_blake3=blake3(index).hexdigest(),
            text_tokens=text_tokens,
            image_tokens=image_tokens,
        )
        files.put(info.offsets_path, offsets)
        files.put(info.index_path, index)
    return WrittenShard(info=info, totals=_task_totals(sums))


def commit(
    root: Path | str,
    *,
    name: str,
    shards: Iterable[WrittenShard],
    ledger: Iterable[LedgerStep],
    counting: Counting,
    config: dict[str, Any],
    code_version: str,
    store: StoreConfig = DEFAULT_STORE,
) -> Dataset:
    """Write `dataset.json`, which makes the shards a dataset.

    Args:
        root: Folder or URL of the dataset.
        name: Name of the dataset.
        shards: What `write_shard` returned, in any order.
        ledger: What became of every record; read after the shards, which may be written as they are read.
        counting: What the token counts depend on.
        config: The configuration of the build.
        code_version: Hash of the code, for information.
        store: How a remote store is used.

    Returns:
        The dataset.

    Raises:
        UserError: There is no sample.
        ValueError: The counts of a ledger step do not reconcile.
    """
    files = Store(str(root), store)
    sums: _Sums = {}
    table = ShardTable.of(_added(shards, sums)).sorted()
    steps = tuple(ledger)
    Ledger(steps=steps).check()
    require_samples(name, sum(samples for samples, _, _ in sums.values()), steps)
    manifest = Manifest(
        format=format_of(table),
        sample_version=2 if any(kind == "preference" for _, _, kind in sums) else 1,
        name=name,
        shards=tuple(table) if len(table) <= MAX_LISTED else table,
        tasks=_task_totals(sums),
        ledger=steps,
        counting=counting,
        config=config,
        code_version=code_version,
    )
    files.sweep("shards")
    write_manifest(files, manifest)
    return Dataset(str(root), manifest, store)


def require_samples(name: str, samples: int, ledger: Iterable[LedgerStep]) -> None:
    """Raises UserError when no sample is left; the message says what became of the records."""
    if samples:
        return
    losses = [
        f"{step.name}: {count} {reason}"
        for step in ledger
        for reason, count in (Counter(step.dropped) + Counter(step.failed)).most_common(3)
    ]
    became = f" ({', '.join(losses[:_MAX_LOSSES])})" if losses else ""
    raise UserError(f"the dataset {name} would be empty: no sample is left{became}; nothing was committed")


def refuse_dataset_in(files: Store) -> None:
    """Raises UserError when there is a dataset in a store, for none is overwritten."""
    if files.exists(MANIFEST):
        raise UserError(f"{files.url} already holds a dataset; give another folder, or move it away first")


def _added(shards: Iterable[WrittenShard], sums: _Sums) -> Iterator[ShardInfo]:
    """The manifest's entries of shards, whose totals are added to the sums."""
    for shard in shards:
        for total in shard.totals:
            counts = total.samples, total.text_tokens, total.image_tokens
            _add(sums, (total.split, total.task, total.kind), counts)
        yield shard.info


def _add(sums: _Sums, key: tuple[Split, str, str], counts: tuple[int, int, int]) -> None:
    total = sums.setdefault(key, [0, 0, 0])
    for position, count in enumerate(counts):
        total[position] += count


def _task_totals(sums: _Sums) -> tuple[TaskTotal, ...]:
    return tuple(
        TaskTotal(split=split, task=task, kind=kind, samples=samples, text_tokens=text, image_tokens=image)
        for (split, task, kind), (samples, text, image) in sorted(sums.items())
    )
