"""Writing one shard from the places of its samples: sorted, without duplicates, and only when it has changed."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from step3vl.data.dataset import (
    DUPLICATE,
    SHARDS_STEP,
    LedgerStep,
    ShardTarget,
    Split,
    duplicate_rank,
    shard_name,
    write_shard,
)
from step3vl.data.sample import Sample, TokenCount
from step3vl.data.storage import DEFAULT_STORE, FileSlice, Store, StoreConfig, read_slices, request_count
from step3vl.pipelines.core.blocks import unpack_sample
from step3vl.pipelines.core.commits import COMMIT_REQUESTS, read_model
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.kept_shard import KeptShard
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import read_counts

_log = logging.getLogger(__name__)

SINK_VERSION = 1  # raised with every change that changes the bytes of shards
_WINDOW = 64 * 2**20  # bytes of samples in memory
_OBJECT = 8 * 2**10  # bytes that a sample in memory takes besides its texts and images: 4.4 kB measured, and lists

Rows = NDArray[Any]
_ROW = np.dtype(
    [
        ("high", "<u8"),  # of the id
        ("low", "<u8"),
        ("xxh3", "<u8"),  # of the block
        ("offset", "<i8"),
        ("size", "<i8"),
        ("archived", "<i8"),
        ("text", "<i4"),
        ("image", "<i4"),
    ]
)
_CONTENT = ["high", "low", "xxh3", "size", "text", "image"]  # the rest does not change the bytes of a shard


class Sharding(NamedTuple):
    """Where shards go, a folder or any URL of fsspec; how many each split gets; and the fraction held out."""

    root: Path | str
    name: str
    shards: int | ShardTarget
    heldout: float
    store: StoreConfig = DEFAULT_STORE

    def file_name(self, key: "ShardKey") -> str:
        """The file name of a shard."""
        return shard_name(self.name, key.split, key.number, key.total)


class ShardKey(NamedTuple):
    """Shard `number` of `total` of a split."""

    split: Split
    number: int
    total: int

    def dump(self) -> str:
        """As a key whose coder is the same on every runner."""
        return "/".join(map(str, self))

    @classmethod
    def load(cls, text: str) -> Self:
        """The inverse of `dump`."""
        split, number, total = text.split("/")
        return cls(cast(Split, split), int(number), int(total))


class SampleTable(NamedTuple):
    """Ids, places and tokens of samples of one fragment.

    Attributes:
        path: Of the fragment, relative to the root and without an ending.
        rows: An array of `_ROW`.
    """

    path: str
    rows: Rows

    @classmethod
    def read(cls, staging: Staging, counts: str, samples: str) -> Self:
        """The samples of a counted fragment.

        Args:
            staging: Where the fragments are.
            counts: Path of the counts.
            samples: Path of the samples.
        """
        table = read_counts(staging, counts)
        rows = np.empty(len(table), _ROW)
        ids = np.frombuffer(b"".join(table.column("id").to_pylist()), ">u8").reshape(-1, 2)
        rows["high"], rows["low"] = ids[:, 0], ids[:, 1]
        for name in ("xxh3", "offset", "size", "archived"):
            rows[name] = table.column(name).to_numpy()
        for name in ("text", "image"):
            rows[name] = table.column(f"{name}_tokens").to_numpy()
        return cls(samples, rows)

    def by_split(self, heldout: float) -> dict[Split, Rows]:
        """The rows of each split that has any; see `step3vl.data.dataset.split_of`."""
        is_heldout = (self.rows["high"] >> np.uint64(32)).astype(np.float64) < heldout * 2**32
        splits: dict[Split, Rows] = {"train": self.rows[~is_heldout], "heldout": self.rows[is_heldout]}
        return {split: rows for split, rows in splits.items() if len(rows)}

    def by_shard(self, heldout: float, counts: Mapping[str, int]) -> Iterator[tuple[ShardKey, Self]]:
        """The rows of each shard that has any; see `step3vl.data.dataset.shard_of`."""
        for split, rows in self.by_split(heldout).items():
            numbers = (rows["high"] & np.uint64(0xFFFFFFFF)) % np.uint64(counts[split])
            for number in np.unique(numbers):
                part = rows[numbers == number]
                yield ShardKey(split, int(number), counts[split]), type(self)(self.path, part)

    def pack(self) -> bytes:
        """As bytes, for a shuffle."""
        return self.path.encode() + b"\0" + self.rows.tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The inverse of `pack`."""
        path, _, rows = data.partition(b"\0")
        return cls(path.decode(), np.frombuffer(rows, _ROW))


class ShardRecord(KeptShard):
    """A shard that was written, and what it took."""

    step: LedgerStep
    seconds: float
    cpu_seconds: float
    read_bytes: int
    written_bytes: int
    requests: int


@dataclass(frozen=True)
class _Samples:
    """All samples of a shard, in order of their ids.

    Attributes:
        paths: Of the fragments.
        files: Index into `paths` of each row.
        rows: An array of `_ROW`.
    """

    paths: list[str]
    files: NDArray[np.intp]
    rows: Rows

    @classmethod
    def merge(cls, tables: Sequence[SampleTable]) -> Self:
        tables = sorted(tables, key=lambda table: table.path)
        rows = np.concatenate([table.rows for table in tables])
        files = np.repeat(np.arange(len(tables)), [len(table.rows) for table in tables])
        order = np.lexsort((rows["offset"], files, rows["xxh3"], rows["low"], rows["high"]))
        return cls([table.path for table in tables], files[order], rows[order])

    def digest(self, *depends: object) -> str:
        digest = blake3(repr(depends).encode())
        for name in _CONTENT:
            digest.update(self.rows[name].tobytes())
        return digest.hexdigest()


class ShardWriter:
    """Writes shards in this process.

    Args:
        sharding: Where they go.
        staging: Where the samples are, and what is remembered of the shards.
    """

    def __init__(self, sharding: Sharding, staging: Staging) -> None:
        self._sharding = sharding
        self._staging = staging
        self._store = staging.open()
        self._out = Store(str(sharding.root), sharding.store)

    def write(self, key: ShardKey, tables: Sequence[SampleTable]) -> ShardRecord:
        """Write a shard, unless it is there already with the same content.

        Of the samples with one id the one of the lowest `duplicate_rank` is kept.

        Args:
            key: Which shard it is.
            tables: All its samples, in any order.

        Raises:
            InfrastructureError: The machine or a store caused an error, or a staged block is damaged.
        """
        name = self._sharding.file_name(key)
        samples = _Samples.merge(tables)
        digest = samples.digest(SINK_VERSION, name, key.split)
        record = self._kept(name, digest)
        if record is None:
            with cpu_time() as cpu_seconds:
                record = self._write(name, key.split, samples, digest, cpu_seconds)
            self._store.put(_record_path(name), record.model_dump_json().encode())
            _log.info("%s: %d samples", name, record.step.kept)
        return record

    def _kept(self, name: str, digest: str) -> ShardRecord | None:
        """What is remembered of a shard of this content that is there, complete."""
        record = read_model(self._store, _record_path(name), ShardRecord)
        return record if record is not None and record.is_intact(self._out, digest) else None

    def _write(
        self, name: str, split: Split, samples: _Samples, digest: str, cpu_seconds: Callable[[], float]
    ) -> ShardRecord:
        start, requests = time.perf_counter(), request_count()
        distinct = self._distinct(samples)
        written = write_shard(self._sharding.root, name, split, self._read(samples, distinct), self._sharding.store)
        duplicates = len(samples.rows) - len(distinct)
        return ShardRecord(
            digest=digest,
            written=written,
            offsets_blake3=self._out.hash(written.info.offsets_path),
            step=LedgerStep(
                name=SHARDS_STEP,
                read=len(samples.rows),
                kept=len(distinct),
                dropped={DUPLICATE: duplicates} if duplicates else {},
            ),
            seconds=time.perf_counter() - start,
            cpu_seconds=cpu_seconds(),
            read_bytes=int(samples.rows["size"][distinct].sum()),
            written_bytes=written.info.size,
            requests=request_count() - requests + COMMIT_REQUESTS,
        )

    def _distinct(self, samples: _Samples) -> NDArray[np.intp]:
        """The indices of the samples that are kept, in order of their ids; only repeated ones are read for it."""
        rows = samples.rows
        repeats = (rows["high"][1:] == rows["high"][:-1]) & (rows["low"][1:] == rows["low"][:-1])
        follows = np.concatenate([[False], repeats])  # has the id of the sample before
        tied = np.flatnonzero(follows | np.concatenate([repeats, [False]]))
        best: dict[str, tuple[str, int]] = {}
        for window in self._windows(samples, tied, "size"):
            for index, block in zip(window.tolist(), self._blocks(samples, window), strict=True):
                candidate = duplicate_rank(block.to_row()), index
                best[block.id] = min(best.get(block.id, candidate), candidate)
        kept = np.ones(len(rows), bool)
        kept[tied] = False
        kept[[index for _, index in best.values()]] = True
        return np.flatnonzero(kept)

    def _read(self, samples: _Samples, indices: NDArray[np.intp]) -> Iterator[Sample]:
        """Samples with their images in memory and their tokens, in the order of the indices."""
        for window in self._windows(samples, indices, "archived"):
            blocks = self._blocks(samples, window)
            for index, sample in zip(window.tolist(), self._with_images(blocks), strict=True):
                row = samples.rows[index]
                tokens = TokenCount(text=int(row["text"]), image=int(row["image"]))
                yield sample.model_copy(update={"tokens": tokens})

    def _windows(self, samples: _Samples, indices: NDArray[np.intp], weight: str) -> list[NDArray[np.intp]]:
        """The indices in parts of about `_WINDOW` bytes of memory.

        Args:
            samples: All of the shard.
            indices: Of those to read, in order.
            weight: What a sample takes: the `size` of its block, or `archived` with images that lie elsewhere.
        """
        sizes = np.cumsum(samples.rows[weight][indices] + _OBJECT)
        return np.split(indices, np.flatnonzero(np.diff(sizes // _WINDOW)) + 1)

    def _blocks(self, samples: _Samples, indices: NDArray[np.intp]) -> list[Sample]:
        """Samples as they were staged: an image that lies elsewhere is still a pointer."""
        slices = [
            FileSlice(
                f"{samples.paths[samples.files[index]]}.bin",
                int(samples.rows["offset"][index]),
                int(samples.rows["size"][index]),
                f"{samples.rows['xxh3'][index]:016x}",
            )
            for index in indices
        ]
        return [unpack_sample(block, self._store.url) for block in self._store.read_many(slices)]

    def _with_images(self, samples: list[Sample]) -> Iterator[Sample]:
        """The samples, with the bytes of the images that lie elsewhere, which are read all at once."""
        pointers = [image.at for sample in samples for image in sample.images if image.at is not None]
        data = iter(read_slices(pointers, self._staging.store))
        for sample in samples:
            images = tuple(
                image if image.at is None else image.model_copy(update={"at": None, "data": next(data)})
                for image in sample.images
            )
            yield sample.model_copy(update={"images": images})


def _record_path(name: str) -> str:
    return f"shards/{name.removesuffix('.tar')}.json"
