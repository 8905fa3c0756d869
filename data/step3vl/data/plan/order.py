"""The order of one epoch: blocks of neighbouring rows, shuffled so that few shards are open at a time.

Shards are put in a seeded order and opened `OPEN_SHARDS` at a time; the blocks of the open shards are shuffled
together, and rows later among the blocks of a window. A reader therefore reads long runs of few files, and nothing
here grows with the number of samples: a position in the order is one integer.
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
    """

    def __init__(self, rows: np.ndarray, seed: Sequence[int]) -> None:
        self._rows, self._seed = rows, tuple(seed)
        self._shards = np.random.default_rng((*self._seed, 0, 0)).permutation(len(rows))
        blocks = np.cumsum(-(-rows[self._shards] // BLOCK_ROWS))
        self._ends = blocks[OPEN_SHARDS - 1 :: OPEN_SHARDS]  # after each group of open shards
        if len(rows) % OPEN_SHARDS:
            self._ends = np.append(self._ends, blocks[-1])
        self._group: int | None = None
        self._blocks = np.empty((0, 2), np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, position: int) -> Block:
        group = int(np.searchsorted(self._ends, position, side="right"))
        if group != self._group:
            self._group, self._blocks = group, self._shuffled(group)
        shard, number = self._blocks[position - (int(self._ends[group - 1]) if group else 0)].tolist()
        return Block(shard, number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, int(self._rows[shard])))

    def _shuffled(self, group: int) -> np.ndarray:
        """Shard and number of each block of a group, int64 [blocks, 2], in the order of training."""
        shards = self._shards[group * OPEN_SHARDS : (group + 1) * OPEN_SHARDS]
        counts = -(-self._rows[shards] // BLOCK_ROWS)
        numbers = np.concatenate([np.arange(count) for count in counts])
        blocks = np.stack((np.repeat(shards, counts), numbers), axis=1)
        return np.random.default_rng((*self._seed, 1, group)).permutation(blocks)
