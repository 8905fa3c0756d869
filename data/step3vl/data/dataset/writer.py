"""Writing a dataset: shards first, each visible only when complete, and `dataset.json` last."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from blake3 import blake3

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.index import index_bytes, index_row, open_index, row_json
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.manifest import MANIFEST, Counting, Manifest, ShardInfo, Split, TaskTotal
from step3vl.data.errors import UserError
from step3vl.data.sample.parts import EXTENSION
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.files import require_local
from step3vl.data.storage.store import DEFAULT_STORE, Store, StoreConfig
from step3vl.data.storage.tar import TarWriter, archive_size

_MAX_LOSSES = 5  # kinds of losses that the error of an empty dataset lists


def write_shard(
    root: Path | str, name: str, split: Split, samples: Iterable[Sample], store: StoreConfig = DEFAULT_STORE
) -> ShardInfo:
    """Write `root/shards/NAME` with its `.idx` and Parquet index in one pass.

    Images are read as they are written, one sample at a time. Nothing is visible under its final name before it is
    complete.

    Args:
        root: Folder or URL of the dataset.
        name: File name of the shard, see `shard_name`.
        split: The split that the samples belong to.
        samples: Samples in strictly ascending order of id, with their tokens counted.
        store: How a remote store is used.

    Returns:
        The shard's entry in the manifest.

    Raises:
        ValueError: The samples are not in order, or a token count is missing.
    """
    files = Store(str(root), store)
    path = f"shards/{name}"
    rows: list[dict[str, Any]] = []
    with files.create(path) as file:
        writer = TarWriter(file)
        for sample in samples:
            if rows and sample.id <= rows[-1]["id"]:
                raise ValueError(f"samples of {name} are not in strictly ascending order of id at {sample.id}")
            encoded = [(EXTENSION[image.format], image.read()) for image in sample.images]
            rows.append(index_row(sample, writer.add(sample.id, row_json(sample.to_row()), encoded)))
        digest, offsets = writer.finish()
        index = index_bytes(rows)
        size = struct.unpack("<Q", offsets[-8:])[0]
        info = ShardInfo(
            path=path,
            split=split,
            samples=len(rows),
            size=archive_size(size),
            blake3=digest,
            index_blake3=blake3(index).hexdigest(),
            text_tokens=sum(row["text_tokens"] for row in rows),
            image_tokens=sum(row["image_tokens"] for row in rows),
        )
        files.put(info.offsets_path, offsets)
        files.put(info.index_path, index)
    return info


def commit(
    root: Path | str,
    *,
    name: str,
    shards: Iterable[ShardInfo],
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
        ledger: What became of every record.
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
    ordered = tuple(sorted(shards, key=lambda shard: shard.path))
    steps = tuple(ledger)
    for step in steps:
        if step.balance:
            raise ValueError(f"the counts of step {step.name} do not reconcile: {step.balance:+d} of {step.read}")
    require_samples(name, sum(shard.samples for shard in ordered), steps)
    manifest = Manifest(
        name=name,
        shards=ordered,
        tasks=tuple(_task_totals(files, ordered)),
        ledger=steps,
        counting=counting,
        config=config,
        code_version=code_version,
    )
    files.sweep("shards")
    files.put(MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
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


def refuse_existing_dataset(root: Path) -> None:
    """Raises UserError when there is a dataset at `root`, for none is overwritten, and when `root` is a URL."""
    require_local(root)
    if (root / MANIFEST).exists():
        raise UserError(f"{root} already holds a dataset; give another folder, or move it away first")


def _task_totals(files: Store, shards: Iterable[ShardInfo]) -> Iterator[TaskTotal]:
    totals: dict[tuple[str, str, str], np.ndarray] = {}
    for shard in shards:
        with files.open(shard.index_path, shard.index_blake3) as file:
            table = open_index(file).read(columns=["task", "kind", "text_tokens", "image_tokens"])
        sums = [("task", "count"), ("text_tokens", "sum"), ("image_tokens", "sum")]
        for row in table.group_by(["task", "kind"]).aggregate(sums).to_pylist():
            key = shard.split, row["task"], row["kind"]
            counts = np.array([row["task_count"], row["text_tokens_sum"], row["image_tokens_sum"]], np.int64)
            totals[key] = totals[key] + counts if key in totals else counts
    for (split, task, kind), counts in sorted(totals.items()):
        samples, text_tokens, image_tokens = counts.tolist()
        yield TaskTotal(
            split=cast(Split, split),
            task=task,
            kind=kind,
            samples=samples,
            text_tokens=text_tokens,
            image_tokens=image_tokens,
        )
