"""Samples in any order to shards: sorted by id, each sample once, whatever the order of arrival.

Rows are sorted on the disk of one machine. The shard writer of a corpus build does the same for samples that lie in a
store, and shares `duplicate_rank`, which decides between samples of one id.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple, Self

from xxhash import xxh3_64_hexdigest

from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.manifest import Split
from step3vl.data.dataset.sharding import shard_name, shard_of
from step3vl.data.dataset.writer import WrittenShard, write_shard
from step3vl.data.sample.parts import Image, Pointer
from step3vl.data.sample.sample import Sample

logger = logging.getLogger(__name__)

SHARDS_STEP = "shards"
DUPLICATE = "duplicate"
_BUFFER = 1 << 25  # bytes of rows held in memory
_IMAGE_BUFFER = 1 << 20  # bytes of images that are written at once


class RankedRow(NamedTuple):
    """A row of a sample, in sort order: of equal ids the held-out row comes first, then the one of lowest rank."""

    id: str
    split: Split
    rank: str
    row: dict[str, Any]


class WrittenShards(NamedTuple):
    """The shards that were written, and the counts of the step."""

    shards: list[WrittenShard]
    step: LedgerStep


def duplicate_rank(row: dict[str, Any]) -> str:
    """The rank of a row of `Sample.to_row` among rows of equal id.

    It depends on source and scores, and not on where the images are stored, which differs between runs.
    """
    return json.dumps([row["source"], row.get("scores")], sort_keys=True)


def distinct(rows: Iterable[RankedRow]) -> list[RankedRow]:
    """The rows sorted by id, the first of each id."""
    kept: list[RankedRow] = []
    for row in sorted(rows, key=lambda row: row[:3]):
        if not kept or row.id != kept[-1].id:
            kept.append(row)
    return kept


class SampleSorter:
    """Sorts any number of samples into the shards of each split, by way of a scratch folder.

    Use it in a `with` block, after which the folder is gone. Rows are distributed to one file for each shard; then
    each file is sorted and written. In memory are one shard's rows and one sample's images. The folder is below
    TMPDIR, and needs the space of all rows and of the images that are not files already.

    Args:
        shards: Number of shards of each split.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._lines: dict[int, list[str]] = {}
        self._bytes = 0

    def __enter__(self) -> Self:
        self._scratch = TemporaryDirectory(prefix="step3vl-")
        self._folder = Path(self._scratch.name)
        self._images = (self._folder / "images").open("wb", buffering=_IMAGE_BUFFER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._images.close()
        finally:
            self._scratch.cleanup()

    def stage(self, image: Image) -> Image:
        """Write an image's bytes to the scratch folder; an image that already has a pointer is returned unchanged."""
        data = image.data
        if data is None:
            return image
        offset = self._images.tell()
        self._images.write(data)
        path = str(self._folder / "images")
        return image.stored_at(Pointer(path=path, offset=offset, size=len(data), xxh3=xxh3_64_hexdigest(data)))

    def add(self, sample_id: str, split: Split, rank: str, row: dict[str, Any]) -> None:
        """Add a row that stands for a sample.

        Args:
            sample_id: Id of the sample.
            split: Its split. Of several rows with one id a held-out one is kept.
            rank: Of several rows with one id and split the one of lowest rank is kept, see `duplicate_rank`.
            row: A JSON-able dict, from which `write` restores the sample.
        """
        line = json.dumps(RankedRow(sample_id, split, rank, row), ensure_ascii=False, separators=(",", ":"))
        self._lines.setdefault(shard_of(sample_id, self._shards), []).append(line)
        self._bytes += len(line)
        if self._bytes > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        for number, lines in self._lines.items():
            with self._path(number).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._lines, self._bytes = {}, 0

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.jsonl"

    def _rows(self, number: int) -> Iterator[RankedRow]:
        if self._path(number).is_file():
            with self._path(number).open(encoding="utf-8") as file:
                for line in file:
                    yield RankedRow(*json.loads(line))

    def write(
        self, root: Path, name: str, resolve: Callable[[dict[str, Any]], Sample] = Sample.from_row
    ) -> WrittenShards:
        """Write every shard that a row belongs to; a split without rows gets no file.

        Args:
            root: Folder of the dataset.
            name: Name of the dataset.
            resolve: Returns the sample of a row; called as it is written.

        Returns:
            The shards, and the counts of the step `shards`: duplicates are dropped.
        """
        self._flush()
        self._images.flush()
        shards: list[WrittenShard] = []
        read = kept = 0
        for number in range(self._shards):
            rows = list(self._rows(number))
            unique = distinct(rows)
            read, kept = read + len(rows), kept + len(unique)
            for split in sorted({row.split for row in unique}):
                shard = shard_name(name, split, number, self._shards)
                samples = (resolve(row.row) for row in unique if row.split == split)
                shards.append(write_shard(root, shard, split, samples))
                logger.info("%s: %d samples", shard, shards[-1].info.samples)
        dropped = {DUPLICATE: read - kept} if read > kept else {}
        return WrittenShards(shards, LedgerStep(name=SHARDS_STEP, read=read, kept=kept, dropped=dropped))
