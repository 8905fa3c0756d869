"""One source of a mixture as a row of packs, and the few integers from which it goes on.

Rows come in the seeded order of an epoch, a window of them at a time; the rows of a window are shuffled and packed,
and its packs are shuffled again, because best fit sorts by length. No window reaches into the next epoch.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.mixture import MixtureSource
from step3vl.data.order import OPEN, EpochOrder
from step3vl.data.packing import Piece, best_fit, cut
from step3vl.data.rows import Index, Rows


class StreamState(Config):
    """Where a stream stands, and what it has given.

    The next pack is number `pack` of the window that begins with block `block` of the order of epoch `epoch`.
    `samples` counts a piece of a sample as one. `oversized` are the samples longer than a pack, `lost_tokens` those of
    their tokens that no pack holds; both count finished windows.
    """

    epoch: int = 0
    block: int = 0
    pack: int = 0
    packs: int = 0
    samples: int = 0
    tokens: int = 0
    oversized: int = 0
    lost_tokens: int = 0


class Member(NamedTuple):
    """One sample of a pack, or a piece of it, and where its bytes are. `shard` counts those of the source's split."""

    shard: int
    offset: int
    size: int
    length: int
    task: str
    piece: Piece | None


class Slice(NamedTuple):
    """Selected rows `first` to `last` (exclusive) of a shard."""

    shard: int
    rows: Rows
    first: int
    last: int


class Window:
    """Rows of neighbouring blocks of the order, shuffled and packed. `lengths` has the tokens of each pack."""

    def __init__(self, parts: Sequence[Slice], source: MixtureSource, capacity: int, seed: Sequence[int]) -> None:
        rng = np.random.default_rng(seed)
        self._parts = parts
        self._starts = np.cumsum([0, *(part.last - part.first for part in parts)])
        lengths = np.concatenate([part.rows.lengths[part.first : part.last] for part in parts])
        places = rng.permutation(len(lengths))
        whole = places[lengths[places] <= capacity]
        self._whole, self._pieces = len(whole), []
        self.oversized, self.lost_tokens = len(places) - len(whole), 0
        cut_places: list[int] = []
        if self.oversized:
            for place in places[lengths[places] > capacity].tolist():
                pieces = self._cut(place, source, capacity)
                self.lost_tokens += int(lengths[place]) - sum(piece.end - piece.begin for piece in pieces)
                cut_places += [place] * len(pieces)
                self._pieces += pieces
        self._places = np.concatenate((whole, np.array(cut_places, np.int64)))
        needs = np.concatenate((lengths[whole], np.array([piece.length for piece in self._pieces], np.int64)))
        pack_of = best_fit(needs, capacity)
        sizes = np.bincount(pack_of)
        ends = np.cumsum(sizes)
        order = rng.permutation(len(sizes))
        self._members = np.argsort(pack_of, kind="stable")
        self._first, self._last = (ends - sizes)[order].tolist(), ends[order].tolist()
        self.lengths: list[int] = np.bincount(pack_of, needs).astype(np.int64)[order].tolist()

    def _cut(self, place: int, source: MixtureSource, capacity: int) -> list[Piece]:
        """What is kept of a sample longer than a pack."""
        if source.oversize == "truncate":
            return [Piece(0, capacity, capacity)]
        part, row = self._row(place)
        if source.oversize == "drop" or not part.rows.documents[row]:
            return []
        return cut(int(part.rows.lengths[row]), part.rows.widest.get(row, 0), capacity)

    def _row(self, place: int) -> tuple[Slice, int]:
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        part = self._parts[number]
        return part, part.first + place - int(self._starts[number])

    def count(self, pack: int) -> int:
        """Samples of a pack."""
        return self._last[pack] - self._first[pack]

    def members(self, pack: int) -> tuple[Member, ...]:
        return tuple(self._member(unit) for unit in self._members[self._first[pack] : self._last[pack]].tolist())

    def _member(self, unit: int) -> Member:
        part, row = self._row(int(self._places[unit]))
        rows = part.rows
        piece = self._pieces[unit - self._whole] if unit >= self._whole else None
        return Member(
            shard=part.shard,
            offset=int(rows.offsets[row]),
            size=int(rows.sizes[row]),
            length=piece.length if piece else int(rows.lengths[row]),
            task=rows.names[rows.tasks[row]],
            piece=piece,
        )


class Stream:
    """The packs of one source, one after another, from a state on."""

    def __init__(
        self,
        index: Index,
        source: MixtureSource,
        state: StreamState,
        *,
        capacity: int,
        seed: Sequence[int],
        window: int,
    ) -> None:
        self._index, self._source, self._capacity = index, source, capacity
        self._seed, self._rows = tuple(seed), window
        self._epoch, self._block, self._pack = state.epoch, state.block, state.pack
        self._packs, self._samples, self._tokens = state.packs, state.samples, state.tokens
        self._oversized, self._lost = state.oversized, state.lost_tokens
        self._order: EpochOrder | None = None
        self._window: Window | None = None
        self._end = 0  # the block after the window
        self._open: OrderedDict[int, Rows] = OrderedDict()

    @property
    def state(self) -> StreamState:
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
        """Tokens of the next pack; None when the source is spent.

        Raises UserError when a whole epoch has no sample that fits.
        """
        barren = False
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
            if barren or not self._packs:
                longer = f", although {self._oversized} longer ones are there" if self._oversized else ""
                raise UserError(
                    f"no sample of {self._source} fits a pack of {self._capacity} tokens{longer}: correct the source, "
                    "or raise the capacity"
                )
            self._epoch, self._block, self._order, barren = self._epoch + 1, 0, None, True
        return self._window.lengths[self._pack]

    def take(self) -> tuple[Window, int]:
        """The window of the next pack and the pack's number in it. Call it after `length` gave a number."""
        window, pack = self._window, self._pack
        assert window is not None
        self._pack += 1
        self._packs += 1
        self._samples += window.count(pack)
        self._tokens += window.lengths[pack]
        return window, pack

    def _next_window(self, order: EpochOrder) -> Window | None:
        """Blocks from `_block` on until they have a window of rows; None where the epoch ends without a row."""
        parts, rows, block = [], 0, self._block
        while rows < self._rows and block < len(order):
            shard, first, last = order[block]
            selected = self._shard(shard)
            begin, end = np.searchsorted(selected.numbers, (first, last)).tolist()
            if end > begin:
                parts.append(Slice(shard, selected, begin, end))
                rows += end - begin
            block += 1
        self._end = block
        if not parts:
            self._block = block
            return None
        return Window(parts, self._source, self._capacity, (*self._seed, self._epoch, 2, self._block))

    def _shard(self, number: int) -> Rows:
        """The blocks of an order come from at most OPEN shards at a time."""
        found = self._open.pop(number, None)
        if found is None:
            found = self._index.shard(number, self._capacity)
            if len(self._open) == OPEN:
                self._open.popitem(last=False)
        self._open[number] = found
        return found
