"""One mixture source as a sequence of packs, resumable from a few integers.

Rows come in the seeded order of an epoch, a window of them at a time; the rows of a window are shuffled and packed,
and its packs are shuffled again, because best fit sorts by length. No window reaches into the next epoch.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.plan.index_rows import IndexRows, PlanIndex
from step3vl.data.plan.mixture import MixtureSource
from step3vl.data.plan.order import OPEN_SHARDS, EpochOrder
from step3vl.data.plan.packing import PackPiece, best_fit, cut


class StreamState(Config):
    """The position of a stream, and the totals of what it returned.

    The next pack is number `pack` of the window that begins with block `block` of the order of epoch `epoch`.
    """

    epoch: int = 0
    """Epoch of the next pack."""

    block: int = 0
    """First block of its window in the order of the epoch."""

    pack: int = 0
    """Number of the pack in its window."""

    packs: int = 0
    """Packs returned so far."""

    samples: int = 0
    """Samples returned so far; every piece of a sample counts."""

    tokens: int = 0
    """Tokens returned so far."""

    oversized: int = 0
    """Samples of finished windows that are longer than a pack."""

    lost_tokens: int = 0
    """Tokens of those samples that no pack holds."""


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
    """Rows of neighbouring blocks of the order, shuffled and packed. `lengths` has the tokens of each pack."""

    def __init__(self, ranges: Sequence[RowRange], source: MixtureSource, capacity: int, seed: Sequence[int]) -> None:
        rng = np.random.default_rng(seed)
        self._ranges = ranges
        self._starts = np.cumsum([0, *(part.last - part.first for part in ranges)])
        lengths = np.concatenate([part.rows.lengths[part.first : part.last] for part in ranges])
        positions = rng.permutation(len(lengths))
        fitting = positions[lengths[positions] <= capacity]
        self._uncut, self._pieces = len(fitting), []
        self.oversized, self.lost_tokens = len(positions) - len(fitting), 0
        cut_positions: list[int] = []
        if self.oversized:
            for position in positions[lengths[positions] > capacity].tolist():
                pieces = self._cut(position, source, capacity)
                self.lost_tokens += int(lengths[position]) - sum(piece.end - piece.begin for piece in pieces)
                cut_positions += [position] * len(pieces)
                self._pieces += pieces
        self._positions = np.concatenate((fitting, np.array(cut_positions, np.int64)))
        needs = np.concatenate((lengths[fitting], np.array([piece.length for piece in self._pieces], np.int64)))
        pack_of = best_fit(needs, capacity)
        sizes = np.bincount(pack_of)
        ends = np.cumsum(sizes)
        order = rng.permutation(len(sizes))
        self._by_pack = np.argsort(pack_of, kind="stable")
        self._first, self._last = (ends - sizes)[order].tolist(), ends[order].tolist()
        self.lengths: list[int] = np.bincount(pack_of, needs).astype(np.int64)[order].tolist()

    def _cut(self, position: int, source: MixtureSource, capacity: int) -> list[PackPiece]:
        """What is kept of a sample longer than a pack."""
        if source.oversize == "truncate":
            return [PackPiece(0, capacity, capacity)]
        part, row = self._row(position)
        if source.oversize == "drop" or not part.rows.documents[row]:
            return []
        return cut(int(part.rows.lengths[row]), part.rows.widest.get(row, 0), capacity)

    def _row(self, position: int) -> tuple[RowRange, int]:
        number = int(np.searchsorted(self._starts, position, side="right")) - 1
        part = self._ranges[number]
        return part, part.first + position - int(self._starts[number])

    def count(self, pack: int) -> int:
        """The number of samples of a pack."""
        return self._last[pack] - self._first[pack]

    def items(self, pack: int) -> tuple[WindowItem, ...]:
        """The samples of a pack in the order of its sequence."""
        return tuple(self._item(unit) for unit in self._by_pack[self._first[pack] : self._last[pack]].tolist())

    def _item(self, unit: int) -> WindowItem:
        part, row = self._row(int(self._positions[unit]))
        rows = part.rows
        piece = self._pieces[unit - self._uncut] if unit >= self._uncut else None
        return WindowItem(
            shard=part.shard,
            offset=int(rows.offsets[row]),
            size=int(rows.sizes[row]),
            length=piece.length if piece else int(rows.lengths[row]),
            task=rows.names[rows.tasks[row]],
            piece=piece,
        )


class Stream:
    """The packs of one source in order, from a state on.

    Args:
        index: Where the rows of the source are found.
        source: The slice of a dataset.
        state: Where to resume.
        capacity: Tokens that fit a pack.
        seed: Integers that seed the order and the packing.
        window: Rows that are shuffled and packed together.
    """

    def __init__(
        self,
        index: PlanIndex,
        source: MixtureSource,
        state: StreamState,
        *,
        capacity: int,
        seed: Sequence[int],
        window: int,
    ) -> None:
        self._index, self._source, self._capacity = index, source, capacity
        self._seed, self._window_rows = tuple(seed), window
        self._epoch, self._block, self._pack = state.epoch, state.block, state.pack
        self._packs, self._samples, self._tokens = state.packs, state.samples, state.tokens
        self._oversized, self._lost = state.oversized, state.lost_tokens
        self._order: EpochOrder | None = None
        self._window: PackingWindow | None = None
        self._end = 0  # the block after the window
        self._open: OrderedDict[int, IndexRows] = OrderedDict()

    @property
    def state(self) -> StreamState:
        """The position of the next pack."""
        return StreamState(
            epoch=self._epoch,
            block=self._block,
            pack=self._pack,
            packs=self._packs,
            samples=self._samples,
            tokens=self._tokens,
            oversized=self._oversized,
            lost_tokens=self._lost,
        )

    def length(self) -> int | None:
        """The number of tokens of the next pack; None when the source is exhausted.

        Raises:
            UserError: No sample of an epoch fits a pack.
        """
        empty_epoch = False
        while self._window is None or self._pack >= len(self._window.lengths):
            if self._window is not None:
                self._oversized += self._window.oversized
                self._lost += self._window.lost_tokens
                self._block, self._pack, self._window = self._end, 0, None
            if self._order is None:
                if self._epoch == self._source.epochs:
                    return None
                self._order = EpochOrder(self._index.rows, (*self._seed, self._epoch))
            if self._block < len(self._order):
                self._window = self._next_window(self._order)
                continue
            if empty_epoch or not self._packs:
                longer = f" ({self._oversized} samples are longer)" if self._oversized else ""
                raise UserError(
                    f"no sample of {self._source} fits a pack of {self._capacity} tokens{longer}: correct the source, "
                    "or raise the capacity"
                )
            self._epoch, self._block, self._order, empty_epoch = self._epoch + 1, 0, None, True
        return self._window.lengths[self._pack]

    def take(self) -> tuple[PackingWindow, int]:
        """The window of the next pack and the pack's number in it. Call it after `length` returned a number."""
        window, pack = self._window, self._pack
        assert window is not None
        self._pack += 1
        self._packs += 1
        self._samples += window.count(pack)
        self._tokens += window.lengths[pack]
        return window, pack

    def _next_window(self, order: EpochOrder) -> PackingWindow | None:
        """Collect blocks from `_block` on until they fill a window; None where the epoch ends without a row."""
        ranges, rows, block = [], 0, self._block
        while rows < self._window_rows and block < len(order):
            shard, first, last = order[block]
            selected = self._shard(shard)
            begin, end = np.searchsorted(selected.numbers, (first, last)).tolist()
            if end > begin:
                ranges.append(RowRange(shard, selected, begin, end))
                rows += end - begin
            block += 1
        self._end = block
        if not ranges:
            self._block = block
            return None
        return PackingWindow(ranges, self._source, self._capacity, (*self._seed, self._epoch, 2, self._block))

    def _shard(self, number: int) -> IndexRows:
        """The rows of a shard. The blocks of an order come from at most OPEN_SHARDS shards at a time."""
        rows = self._open.pop(number, None)
        if rows is None:
            rows = self._index.shard(number, self._capacity)
            if len(self._open) == OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open[number] = rows
        return rows
