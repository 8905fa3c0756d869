"""Samples in any order and of any number to sorted shards, by way of a scratch folder.

What a shard holds is first written there as rows, and pictures apart from them; then each shard is sorted and written.
In memory are one shard's rows and one sample's pictures. The order in which samples come changes nothing.
"""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self, cast

from step3vl.data.dataset import shard_name, shard_of, write_shard
from step3vl.data.ledger import Step
from step3vl.data.manifest import ShardInfo, Split
from step3vl.data.sample import Image, Pointer, Sample

logger = logging.getLogger(__name__)

STEP = "shards"
DUPLICATE = "duplicate"
_HELD = 1 << 25  # bytes of rows held before they go to their files


class _Line(NamedTuple):
    """A row on its way, in the order of the sort: of one id the held-out one comes first, then the lowest rank."""

    id: str
    split: str
    rank: str
    row: dict[str, Any]


class Spill:
    """A scratch folder that lives as long as the `with` block; `shards` of each split come of it.

    It lies below TMPDIR, and needs the room of all rows and of the pictures that are not files already.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._held: dict[int, list[str]] = {}
        self._bytes = self._pictures = self._rows = 0

    def __enter__(self) -> Self:
        self._scratch = TemporaryDirectory(prefix="step3vl-")
        self._folder = Path(self._scratch.name)
        self._parts = (self._folder / "pictures").open("wb", buffering=1 << 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()
        self._scratch.cleanup()

    def stage(self, picture: Image) -> Image:
        """The picture with its bytes at rest; one that already points to a file stays there."""
        if picture.data is None:
            return picture
        pointer = Pointer(path=self._parts.name, offset=self._pictures, size=len(picture.data))
        self._pictures += self._parts.write(picture.data)
        return picture.pointed(pointer)

    def add(self, sample_id: str, split: Split, rank: str, row: dict[str, Any]) -> None:
        """Keep a row that stands for a sample. Of several with one id, one is written: held-out, lowest rank first."""
        line = json.dumps(_Line(sample_id, split, rank, row), ensure_ascii=False, separators=(",", ":"))
        self._held.setdefault(shard_of(sample_id, self._shards), []).append(line)
        self._bytes += len(line)
        self._rows += 1
        if self._bytes > _HELD:
            self._flush()

    def _flush(self) -> None:
        for number, lines in self._held.items():
            with self._path(number).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._held, self._bytes = {}, 0

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.jsonl"

    def write(self, root: str, name: str, resolve: Callable[[dict[str, Any]], Sample]) -> tuple[list[ShardInfo], Step]:
        """Write every shard that a row falls into. `resolve` gives the sample that a row stands for."""
        self._flush()
        self._parts.flush()
        infos: list[ShardInfo] = []
        for number in range(self._shards):
            path = self._path(number)
            lines = list(_distinct(path)) if path.is_file() else []
            for split in sorted({line.split for line in lines}):
                shard = shard_name(name, cast(Split, split), number, self._shards)
                samples = (resolve(line.row) for line in lines if line.split == split)
                infos.append(write_shard(root, shard, cast(Split, split), samples))
                logger.info("%s: %d samples", shard, infos[-1].samples)
        kept = sum(info.samples for info in infos)
        dropped = {DUPLICATE: self._rows - kept} if self._rows > kept else {}
        return infos, Step(name=STEP, read=self._rows, kept=kept, dropped=dropped)


def _distinct(path: Path) -> Iterator[_Line]:
    """The lines of a file in order, the first of each id."""
    with path.open(encoding="utf-8") as file:
        lines = [_Line(*json.loads(line)) for line in file]
    last = ""
    for line in sorted(lines, key=lambda line: line[:3]):
        if line.id != last:
            last = line.id
            yield line
