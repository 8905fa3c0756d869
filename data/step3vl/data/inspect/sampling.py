"""A seeded sample of each task of a dataset of any size, from one pass over its index."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.slices import ByteRange, FileSlice
from step3vl.data.storage.store_config import StoreError
from step3vl.data.storage.tar import BLOCK

_READERS = 8  # samples that are read at a time, from a remote store
_ROWS = 256  # samples whose JSON is read at a time
_COLUMNS = ["id", "task", "offset", "size", "json_size"]


class Place(Protocol):
    """Where a sample is, as `Dataset.read` takes it."""

    @property
    def shard(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...


class Located(NamedTuple):
    """A sample of a dataset: where it is, and its rank, by which a sample of the dataset is chosen."""

    rank: int
    shard: int
    offset: int
    size: int
    json_size: int


def sample_tasks(
    dataset: Dataset, number: int, seed: int = 0, task: str | None = None, where: RowFilter | None = None
) -> dict[str, list[Located]]:
    """At most `number` random samples of each task.

    Ids are hashes of the content, so those nearest to a random point are a random sample. It is the same one
    however the dataset is sharded. Memory is that of the samples chosen and of one batch of the index.

    Args:
        dataset: The dataset.
        number: Of samples of each task.
        seed: Of the random point.
        task: Only tasks that match this shell pattern.
        where: Only samples that an expression selects.

    Returns:
        By task, in order of their names.
    """
    chosen: dict[str, list[Located]] = {}
    for batch in dataset.index_batches(_COLUMNS, task=task, where=where):
        ranks = _ranks(batch["id"], seed)
        for name in pc.unique(batch["task"]).to_pylist():
            rows = chosen.setdefault(name, [])
            mask = pc.equal(batch["task"], name).to_numpy(zero_copy_only=False)
            if len(rows) == number:
                mask &= ranks < rows[-1].rank
            (places,) = np.nonzero(mask)
            places = places[np.argsort(ranks[places], kind="stable")[:number]]
            columns = [batch[column].to_numpy()[places].tolist() for column in ("shard", *_COLUMNS[2:])]
            rows += map(Located, ranks[places].tolist(), *columns)
            rows.sort()
            del rows[number:]
    return {name: chosen[name] for name in sorted(chosen)}


def _ranks(ids: pa.Array, seed: int) -> np.ndarray:
    """How far ids are from the random point of a seed, uint64."""
    digits = np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").astype(np.uint64)
    point = np.random.default_rng(seed).integers(1 << 64, dtype=np.uint64)
    return digits[1::2] ^ point  # the first half of an id decides its shard


def read_rows(dataset: Dataset, located: Sequence[Located]) -> Iterator[dict[str, Any]]:
    """The JSON rows of samples, without reading their images; those of neighbouring samples are read together."""
    for start in range(0, len(located), _ROWS):
        yield from _read_rows(dataset, located[start : start + _ROWS])


def _read_rows(dataset: Dataset, located: Sequence[Located]) -> list[dict[str, Any]]:
    shards = dataset.manifest.shards
    slices = [FileSlice(shards[sample.shard].path, sample.offset + BLOCK, sample.json_size) for sample in located]
    try:
        return [json.loads(data) for data in dataset.files.read_many(slices)]
    except (FileNotFoundError, ValueError, StoreError):
        return [_read_row(dataset, sample) for sample in located]  # one by one, which tells the damaged sample


def _read_row(dataset: Dataset, sample: Located) -> dict[str, Any]:
    shard = dataset.manifest.shards[sample.shard]
    start = sample.offset + BLOCK
    span = ByteRange(shard.path, start, start + sample.json_size, file_size=shard.size, version=shard.blake3)
    try:
        row: dict[str, Any] = json.loads(dataset.files.read(span))
    except (FileNotFoundError, ValueError) as error:
        raise DamagedSample(
            f"{dataset.url}/{shard.path} at byte {sample.offset}: {error}; `step3vl corpus verify` lists all damage"
        ) from None
    return row


def read_samples(dataset: Dataset, places: Sequence[Place]) -> Iterator[Sample]:
    """Samples with their images' bytes, a few of which are read at a time from a remote store."""
    with ThreadPoolExecutor(1 if dataset.files.local else _READERS) as pool:
        for start in range(0, len(places), _READERS):
            batch = places[start : start + _READERS]
            yield from pool.map(lambda place: dataset.read(place.shard, place.offset, place.size), batch)
