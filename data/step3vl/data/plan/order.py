"""The order of one epoch: blocks of neighbouring rows, shuffled so that few shards are open at a time.

Shards are put in a seeded order, which is divided into equal runs of blocks, one for each partition: a shard at the
end of a run is shared with the next. In each partition the shards are opened a few at a time, 16 in all partitions
together where there are no more; the blocks of the open shards are shuffled together, and rows later among the blocks
of a window. A reader therefore reads long runs of few files, and nothing here grows with the number of samples: a
position in the order is one integer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCK_ROWS = 128  # at 118 KB a sample a run of 15 MB
OPEN_SHARDS = 16


class Block(NamedTuple):
    """Rows `first` to `last` (exclusive) of a shard, counted from its start."""

    shard: int
    first: int
    last: int


class EpochOrder:
    """The blocks of an epoch by their position in its order; a pure function of the shards' rows and the seed.

    Args:
        rows: Rows of each shard, int64 [shards].
        seed: Integers that seed the order.
        partitions: Number of partitions, each of which has a run of positions.
    """

    def __init__(self, rows: np.ndarray, seed: Sequence[int], partitions: int = 1) -> None:
        self._rows, self._seed, self._partitions = rows, tuple(seed), partitions
        self._shards = np.random.default_rng((*self._seed, 0, 0)).permutation(len(rows))
        self._ends = np.cumsum(-(-rows[self._shards] // BLOCK_ROWS))  # the block after each shard
        self._open_shards = max(OPEN_SHARDS // partitions, 1)
        self._group: tuple[int, int] | None = None
        self._blocks = np.empty((0, 2), np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def positions(self, partition: int) -> range:
        """The positions of the blocks of a partition."""
        return range(partition * len(self) // self._partitions, (partition + 1) * len(self) // self._partitions)

    def shards(self, partition: int, position: int) -> list[int]:
        """The shards that are open at a position of a partition."""
        first, shard, _ = self._places(partition, position)
        opened = shard - (shard - first) % self._open_shards
        end = int(np.searchsorted(self._ends, self.positions(partition).stop - 1, side="right"))
        return self._shards[opened : min(opened + self._open_shards, end + 1)].tolist()

    def block(self, partition: int, position: int) -> Block:
        """The block at a position of a partition."""
        first, shard, run = self._places(partition, position)
        group = (shard - first) // self._open_shards
        if self._group != (partition, group):
            self._group, self._blocks = (partition, group), self._shuffled(partition, first, group)
        start = max(run.start, self._start(first + group * self._open_shards))
        number, block = self._blocks[position - start].tolist()
        return Block(number, block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, int(self._rows[number])))

    def _places(self, partition: int, position: int) -> tuple[int, int, range]:
        """Places among the shards of a partition's first one and of that at a position, and all its positions."""
        run = self.positions(partition)
        first, shard = self._ends.searchsorted((run.start, position), side="right").tolist()
        return first, shard, run

    def _start(self, shard: int) -> int:
        """The first block of a shard, by its place among the shards."""
        return int(self._ends[shard - 1]) if shard else 0

    def _shuffled(self, partition: int, first: int, group: int) -> np.ndarray:
        """Shard and number of each block of a group, int64 [blocks, 2], in the order of training.

        Args:
            partition: The partition.
            first: Place of its first shard among the shards.
            group: Number of the group in the partition.
        """
        run, opened = self.positions(partition), first + group * self._open_shards
        places = range(opened, min(opened + self._open_shards, len(self._shards)))
        parts = []
        for place in places:
            start = self._start(place)
            numbers = np.arange(max(run.start, start), min(run.stop, int(self._ends[place]))) - start
            parts.append(np.stack((np.full(len(numbers), self._shards[place]), numbers), axis=1))
        seed = (*self._seed, 1, group, partition) if self._partitions > 1 else (*self._seed, 1, group)
        return np.random.default_rng(seed).permutation(np.concatenate(parts))
