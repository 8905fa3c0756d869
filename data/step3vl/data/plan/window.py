"""A window of a stream: rows of neighbouring blocks, shuffled and packed."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from step3vl.data.plan.index_rows import IndexRows
from step3vl.data.plan.mixture import MixtureSource
from step3vl.data.plan.packing import PackPiece, best_fit, cut


class WindowItem(NamedTuple):
    """A sample of a pack, or a piece of one, and where its bytes are. `shard` counts within the source's split."""

    shard: int
    offset: int
    size: int
    length: int
    task: str
    piece: PackPiece | None


class RowRange(NamedTuple):
    """Selected rows `first` to `last` (exclusive) of a shard."""

    shard: int
    rows: IndexRows
    first: int
    last: int


class PackingWindow:
    """Rows of neighbouring blocks of the order, shuffled and packed; the packs are shuffled again.

    It holds copies, about 30 bytes a row: the indexes of their shards are not needed any more. Samples that a request
    excludes have their place in a pack and are none of its items, so the request moves no other sample.

    Attributes:
        lengths: Tokens of each pack, with those of excluded samples.
        oversized: Samples that are longer than a pack.
        lost_tokens: Their tokens that no pack holds.
    """

    def __init__(self, ranges: Sequence[RowRange], source: MixtureSource, capacity: int, seed: Sequence[int]) -> None:
        rng = np.random.default_rng(seed)
        lengths = np.concatenate([part.rows.lengths[part.first : part.last] for part in ranges]).astype(np.int64)
        positions = rng.permutation(len(lengths))
        fitting = positions[lengths[positions] <= capacity]
        pieces: list[PackPiece] = []
        self.oversized, self.lost_tokens = len(positions) - len(fitting), 0
        cut_positions: list[int] = []
        if self.oversized:
            starts = np.cumsum([0, *(part.last - part.first for part in ranges)])
            for position in positions[lengths[positions] > capacity].tolist():
                number = int(np.searchsorted(starts, position, side="right")) - 1
                row = ranges[number].first + position - int(starts[number])
                kept = _cut(ranges[number].rows, row, source, capacity)
                self.lost_tokens += int(lengths[position]) - sum(piece.end - piece.begin for piece in kept)
                cut_positions += [position] * len(kept)
                pieces += kept
        chosen = np.concatenate((fitting, np.array(cut_positions, np.int64)))
        needs = np.concatenate((lengths[fitting], np.array([piece.length for piece in pieces], np.int64)))
        pack_of = best_fit(needs, capacity)
        sizes = np.bincount(pack_of)
        order = rng.permutation(len(sizes))  # best fit sorts by length
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        sequence = np.argsort(place[pack_of], kind="stable")
        self._ends = array("q", np.cumsum(sizes[order]).tobytes())
        self.lengths = array("q", np.bincount(pack_of, needs).astype(np.int64)[order].tobytes())
        self._needs = needs[sequence].astype(np.int32)
        self._pieces = {
            position: pieces[unit - len(fitting)]
            for position, unit in enumerate(sequence.tolist() if pieces else ())
            if unit >= len(fitting)
        }
        self._copy(ranges, chosen[sequence])

    def _copy(self, ranges: Sequence[RowRange], rows: np.ndarray) -> None:
        """Keep what an item says of these rows, numbered through all ranges."""
        slices = [(part.rows, slice(part.first, part.last)) for part in ranges]
        self._offsets = np.concatenate([index.offsets[part] for index, part in slices])[rows].astype(np.int64)
        self._sizes = np.concatenate([index.sizes[part] for index, part in slices])[rows].astype(np.int64)
        counts = [part.last - part.first for part in ranges]
        self._shards = np.repeat(np.array([part.shard for part in ranges], np.int32), counts)[rows]
        names: dict[str, int] = {}
        tasks = []
        for index, part in slices:
            codes = np.array([names.setdefault(name, len(names)) for name in index.names], np.int32)
            tasks.append(codes[index.tasks[part]])
        self._tasks, self._names = np.concatenate(tasks)[rows], list(names)
        kept = [
            np.ones(last - first, bool) if index.forgotten is None else ~index.forgotten[first:last]
            for _, index, first, last in ranges
        ]
        self._kept = np.concatenate(kept)[rows]

    @property
    def is_forgotten(self) -> bool:
        """Whether requests exclude all samples."""
        return not self._kept.any()

    def count(self, pack: int) -> int:
        """The number of samples of a pack, with excluded ones."""
        return self._ends[pack] - (self._ends[pack - 1] if pack else 0)

    def items(self, pack: int) -> tuple[WindowItem, ...]:
        """The samples of a pack in the order of its sequence."""
        first, last = self._ends[pack - 1] if pack else 0, self._ends[pack]
        columns = (self._shards, self._offsets, self._sizes, self._needs, self._tasks, self._kept)
        rows = zip(*(column[first:last].tolist() for column in columns), strict=True)
        return tuple(
            WindowItem(shard, offset, size, length, self._names[task], self._pieces.get(position))
            for position, (shard, offset, size, length, task, kept) in enumerate(rows, start=first)
            if kept
        )


def _cut(rows: IndexRows, row: int, source: MixtureSource, capacity: int) -> list[PackPiece]:
    """What is kept of a sample longer than a pack."""
    if source.oversize == "truncate":
        return [PackPiece(0, capacity, capacity)]
    if source.oversize == "drop" or not rows.documents[row]:
        return []
    return cut(int(rows.lengths[row]), rows.widest.get(row, 0), capacity)
