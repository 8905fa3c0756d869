"""Samples in any order to shards: sorted by id, each sample once, whatever the order of arrival.

Samples are sorted on the disk of one machine, by any number of its processes: each writes its rows in runs, grouped by
shard and, within that, by range of ids; then each shard is merged range by range. The shard writer of a corpus build
does the same for samples that lie in a store, and shares `duplicate_rank`, which decides between samples of one id.
"""

import io
import json
import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_hexdigest

from step3vl.data.dataset.index import ShardRow
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.manifest import Split
from step3vl.data.dataset.sharding import shard_name, shard_of
from step3vl.data.dataset.writer import WrittenShard, write_rows
from step3vl.data.processes import map_in_processes
from step3vl.data.sample.parts import Image, Pointer
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

logger = logging.getLogger(__name__)

SHARDS_STEP = "shards"
DUPLICATE = "duplicate"
_BUFFER = 1 << 25  # bytes of rows that a process holds before it writes a run
_MERGED = 1 << 25  # bytes of rows that are merged at once
_ROW = 400  # bytes of a row beside its JSON, about
_RANGES = 256  # of ids, by their first byte; fewer for many shards
_SEGMENTS = 4096  # of a run: its shards times their ranges, about
_IMAGE_BUFFER = 1 << 20  # bytes of images that are written at once


class SplitRow(NamedTuple):
    """A row of a sample, and its split."""

    split: Split
    row: ShardRow


class SortedRun(NamedTuple):
    """Rows that were written together, grouped by shard and range of ids.

    Attributes:
        path: The file.
        table: Byte of the file at which the table of its segments begins.
        splits: The splits of the rows.
    """

    path: str
    table: int
    splits: frozenset[Split]


class WrittenShards(NamedTuple):
    """The shards that were written, and the counts of the step."""

    shards: list[WrittenShard]
    step: LedgerStep


def duplicate_rank(row: dict[str, Any]) -> str:
    """The rank of a row of `Sample.to_row` among rows of equal id.

    It depends on source and scores, and not on where the images are stored, which differs between runs.
    """
    return _encode([row["source"], row.get("scores")])


_encode = json.JSONEncoder(sort_keys=True).encode


def distinct(rows: Iterable[SplitRow]) -> list[SplitRow]:
    """The rows sorted by id, one of each: of equal ids a held-out row is kept, and of these one of lowest rank."""
    kept: list[SplitRow] = []
    for row in sorted(rows, key=lambda row: (row.row.id, row.split)):
        if not kept or row.row.id != kept[-1].row.id:
            kept.append(row)
        elif row.split == kept[-1].split and _rank(row) < _rank(kept[-1]):
            kept[-1] = row
    return kept


def _rank(row: SplitRow) -> str:
    return duplicate_rank(json.loads(row.row.json))


class RunWriter:
    """What one process has of the samples of a `SampleSorter`.

    Args:
        folder: The sorter's folder.
        shards: Number of shards of each split.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        self._folder, self._shards, self._ranges = folder, shards, _ranges(shards)
        # Plain tuples, which pickle does not give a class, and which the garbage collector forgets.
        self._rows: dict[int, list[tuple[Split, tuple[Any, ...]]]] = {}
        self._splits: set[Split] = set()
        self._bytes = 0
        self._runs: list[SortedRun] = []
        name = uuid4().hex  # processes of several machines write to a shared folder
        self._path, self._image_path = str(folder / f"{name}.rows"), str(folder / f"{name}.images")
        self._images: BinaryIO | None = None

    def stage(self, image: Image) -> Image:
        """Write an image's bytes to the folder; an image that already has a pointer is returned unchanged."""
        data = image.data
        if data is None:
            return image
        if self._images is None:
            self._images = Path(self._image_path).open("ab", buffering=_IMAGE_BUFFER)  # noqa: SIM115
        offset = self._images.tell()
        self._images.write(data)
        pointer = Pointer(path=self._image_path, offset=offset, size=len(data), xxh3=xxh3_64_hexdigest(data))
        return image.stored_at(pointer)

    def add(self, split: Split, row: ShardRow) -> None:
        """Add the row of a sample; see `SampleSorter.add`."""
        position = shard_of(row.id, self._shards) * self._ranges + int(row.id[:2], 16) * self._ranges // 256
        self._rows.setdefault(position, []).append((split, tuple(row)))
        self._splits.add(split)
        self._bytes += len(row.json) + _ROW
        if self._bytes > _BUFFER:
            self._write_run()

    def _write_run(self) -> None:
        sizes = np.zeros(self._shards * self._ranges + 1, "<u8")
        with Path(self._path).open("ab") as file:
            sizes[0] = file.tell()
            for position in sorted(self._rows):
                sizes[position + 1] = file.write(pickle.dumps(self._rows[position], pickle.HIGHEST_PROTOCOL))
            table = file.tell()
            file.write(np.cumsum(sizes, dtype="<u8").tobytes())
        self._runs.append(SortedRun(self._path, table, frozenset(self._splits)))
        self._rows, self._bytes, self._splits = {}, 0, set()

    def finish(self) -> list[SortedRun]:
        """Write what is in memory. Returns the runs since the last call."""
        if self._rows:
            self._write_run()
        if self._images is not None:
            self._images.flush()
        runs, self._runs = self._runs, []
        return runs


class SampleSorter:
    """Sorts any number of samples into the shards of each split, by way of a scratch folder.

    Use it in a `with` block, after which the folder is gone. In memory are 64 MiB of rows and one sample's images for
    each process. The folder is below TMPDIR, and needs the space of all rows and of the images that are not files
    already.

    Args:
        shards: Number of shards of each split.
    """

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self._runs: list[SortedRun] = []

    def __enter__(self) -> Self:
        self._scratch = TemporaryDirectory(prefix="step3vl-")
        self.folder = Path(self._scratch.name)
        self._writer = RunWriter(self.folder, self.shards)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scratch.cleanup()

    def stage(self, image: Image) -> Image:
        """Write an image's bytes to the scratch folder; an image that already has a pointer is returned unchanged."""
        return self._writer.stage(image)

    def add(self, sample: Sample, split: Split) -> None:
        """Add a sample, whose tokens are counted and whose images have pointers.

        Args:
            sample: The sample.
            split: Its split. Of several samples with one id a held-out one is kept, and of these the one of lowest
                `duplicate_rank`.
        """
        self._writer.add(split, ShardRow.of(sample))

    def add_runs(self, runs: Iterable[SortedRun]) -> None:
        """Add what the `RunWriter` of another process wrote."""
        self._runs += runs

    def write(
        self, root: Path | str, name: str, *, store: StoreConfig = DEFAULT_STORE, workers: int = 1
    ) -> WrittenShards:
        """Write every shard that a sample belongs to; a split without samples gets no file.

        Args:
            root: Folder or URL of the dataset.
            name: Name of the dataset.
            store: How a remote store is used.
            workers: Number of processes.

        Returns:
            The shards, and the counts of the step `shards`: duplicates are dropped.
        """
        self.add_runs(self._writer.finish())
        splits = sorted(frozenset(chain.from_iterable(run.splits for run in self._runs)))
        tasks = [(number, split) for number in range(self.shards) for split in splits]
        merge = partial(_write_shard, self._runs, self.shards, str(root), name, store)
        shards: list[WrittenShard] = []
        read = kept = 0
        for merged in map_in_processes(merge, tasks, min(workers, max(len(tasks), 1))):
            read, kept = read + merged.read, kept + merged.kept
            if merged.shard is not None:
                shards.append(merged.shard)
                logger.info("%s: %d samples", merged.shard.info.path, merged.shard.info.samples)
        dropped = {DUPLICATE: read - kept} if read > kept else {}
        return WrittenShards(shards, LedgerStep(name=SHARDS_STEP, read=read, kept=kept, dropped=dropped))


class _MergedShard(NamedTuple):
    """A shard, unless it has no sample, and how many rows it had before and after duplicates were dropped."""

    shard: WrittenShard | None
    read: int
    kept: int


def _write_shard(
    runs: Sequence[SortedRun], shards: int, root: str, name: str, store: StoreConfig, task: tuple[int, Split]
) -> _MergedShard:
    """Write the shard of a number and split."""
    number, split = task
    counts = [0, 0]

    def rows() -> Iterator[ShardRow]:
        for part in _parts(runs, number, _ranges(shards)):
            counts[0] += sum(row.split == split for row in part)
            for row in distinct(part):
                if row.split == split:
                    counts[1] += 1
                    yield row.row

    merged = rows()
    first = next(merged, None)
    if first is None:
        return _MergedShard(None, *counts)
    shard = write_rows(root, shard_name(name, split, number, shards), split, chain([first], merged), store)
    return _MergedShard(shard, *counts)


def _parts(runs: Sequence[SortedRun], shard: int, ranges: int) -> Iterator[list[SplitRow]]:
    """The rows of a shard in parts, each of ids that are greater than those of the part before."""
    tables = np.zeros((len(runs), ranges + 1), np.uint64)
    for number, run in enumerate(runs):
        data = _read(run.path, run.table + 8 * shard * ranges, 8 * (ranges + 1))
        tables[number] = np.frombuffer(data, "<u8")
    sizes: NDArray[np.uint64] = np.diff(tables, axis=1).sum(axis=0)
    for first, stop in _windows(sizes.tolist()):
        part: list[SplitRow] = []
        for run, start, end in zip(runs, tables[:, first].tolist(), tables[:, stop].tolist(), strict=True):
            segments = io.BytesIO(_read(run.path, start, end - start))
            while segments.tell() < end - start:
                part += (SplitRow(split, ShardRow(*row)) for split, row in pickle.load(segments))
        yield part


def _windows(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the end of adjacent ranges that are merged together, by the bytes of each range."""
    first = total = 0
    for number, size in enumerate(sizes):
        if total and total + size > _MERGED:
            yield first, number
            first, total = number, 0
        total += size
    yield first, len(sizes)


def _read(path: str, offset: int, size: int) -> bytes:
    with Path(path).open("rb", buffering=0) as file:
        return os.pread(file.fileno(), size, offset)


def _ranges(shards: int) -> int:
    """The ranges of ids within a shard."""
    return max(1, min(_RANGES, _SEGMENTS // shards))
