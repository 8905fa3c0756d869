"""One mixture source as a sequence of packs, resumable from a few integers for each partition.

A source is divided into partitions, each of which has shards of its own in every epoch; which of them the next pack
comes from is the plan's decision (`step3vl.data.plan.dealing`). Within a partition, rows come in the seeded order of
an epoch, a window of them at a time, and the rows of a window are shuffled and packed. No window reaches into the next
epoch.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import model_validator

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.plan.dealing import divided
from step3vl.data.plan.index_rows import IndexRows, PlanIndex
from step3vl.data.plan.mixture import MixtureSource
from step3vl.data.plan.order import BLOCK_ROWS, OPEN_SHARDS, EpochOrder
from step3vl.data.plan.window import PackingWindow, RowRange

_PARTS_OF_WINDOW = 4  # a partition has at least so large a part of a window in each epoch, and eight blocks


class StreamState(Config):
    """The position of a stream in each of its partitions, and the totals of what it returned.

    The totals have the samples that requests exclude, whose places in packs are counted as if they were read.
    """

    positions: tuple[tuple[int, int, int], ...] = ()
    """For each partition the epoch, the first block of a window in the partition's order of that epoch, and the number
    of the next pack in that window. Empty at the start."""

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

    @model_validator(mode="before")
    @classmethod
    def _read_version_2(cls, values: Any) -> Any:
        """Version 2 of the cursor knew a single partition."""
        if isinstance(values, Mapping) and (names := {"epoch", "block", "pack"}) & values.keys():
            position = tuple(values.get(name, 0) for name in ("epoch", "block", "pack"))
            return {"positions": (position,)} | {name: values[name] for name in values if name not in names}
        return values

    @property
    def epoch(self) -> int:
        """Epochs that every partition has completed."""
        return min((epoch for epoch, _, _ in self.positions), default=0)


class _Partition:
    """Where a stream is in a partition: in a window, if it has been opened."""

    def __init__(self, number: int, position: tuple[int, int, int]) -> None:
        self.number = number
        self.epoch, self.block, self.pack = position
        self.window: PackingWindow | None = None
        self.end = 0  # the block after the window


class Stream:
    """The packs of one source in order, from a state on.

    Args:
        index: Where the rows of the source are found.
        source: The slice of a dataset.
        state: Where to resume.
        capacity: Tokens that fit a pack.
        seed: Integers that seed the order and the packing.
        window: Rows that are shuffled and packed together.
        partitions: Partitions of the plan; a small source has fewer.

    Raises:
        UserError: The state is of another number of partitions.
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
        partitions: int = 1,
    ) -> None:
        self._index, self._source, self._capacity = index, source, capacity
        self._seed, self._window_rows = tuple(seed), window
        least = max(window // _PARTS_OF_WINDOW, 8 * BLOCK_ROWS)
        self.partitions = divided(partitions, min(int(index.rows.sum()), index.samples), least)
        positions = state.positions or ((0, 0, 0),) * self.partitions
        if len(positions) != self.partitions:
            raise UserError(
                f"this position in {source} is of {len(positions)} partitions, and the plan divides it into "
                f"{self.partitions}: give the `partitions` that the plan had (1 before there were any)"
            )
        self._partitions = [_Partition(number, position) for number, position in enumerate(positions)]
        self._packs, self._samples, self._tokens = state.packs, state.samples, state.tokens
        self._oversized, self._lost = state.oversized, state.lost_tokens
        self._orders: dict[int, EpochOrder] = {}  # by epoch
        self._fits = False  # whether a sample is known to fit a pack
        self._open: OrderedDict[int, IndexRows] = OrderedDict()

    @property
    def state(self) -> StreamState:
        """The position of the next packs."""
        return StreamState(
            positions=tuple((part.epoch, part.block, part.pack) for part in self._partitions),
            packs=self._packs,
            samples=self._samples,
            tokens=self._tokens,
            oversized=self._oversized,
            lost_tokens=self._lost,
        )

    def prefetch(self) -> None:
        """Begin to read the indexes that the next packs of every partition need."""
        for part in self._partitions:
            if part.window is None and part.epoch != self._source.epochs:
                self._expect(part, part.block)

    def length(self, partition: int = 0) -> int | None:
        """The number of tokens of the next pack of a partition; None when the source is exhausted.

        A partition that is exhausted before the others continues with theirs.

        Raises:
            UserError: No sample of an epoch fits a pack.
        """
        part = self._partitions[partition % self.partitions]
        if part.window is not None and part.pack < len(part.window.lengths):
            return part.window.lengths[part.pack]
        for number in range(self.partitions):
            if (length := self._next_length(self._partitions[(partition + number) % self.partitions])) is not None:
                return length
        return None

    def take(self, partition: int = 0) -> tuple[PackingWindow, int, bool]:
        """The window of that pack, the pack's number in it, and whether it is of the partition itself.

        Call it after `length` returned a number.
        """
        number = partition % self.partitions
        while (window := self._partitions[number].window) is None:
            number = (number + 1) % self.partitions
        part = self._partitions[number]
        pack = part.pack
        part.pack += 1
        self._packs += 1
        self._samples += window.count(pack)
        self._tokens += window.lengths[pack]
        if part.pack == len(window.lengths):
            self._next_length(part)
        return window, pack, number == partition % self.partitions

    def _next_length(self, part: _Partition) -> int | None:
        """Move a partition to its next pack. Returns the pack's tokens; None when the partition is exhausted."""
        while part.window is None or part.pack >= len(part.window.lengths):
            if part.window is not None:
                self._oversized += part.window.oversized
                self._lost += part.window.lost_tokens
                part.block, part.pack, part.window = part.end, 0, None
            if part.epoch == self._source.epochs:
                return None
            order = self._order(part.epoch)
            if part.block < len(order.positions(part.number)):
                part.window = self._next_window(part, order)
                continue
            if not self._fits:
                self._check_epoch(part.epoch, order)
            part.epoch, part.block = part.epoch + 1, 0
        if not self._fits and part.window.is_forgotten:  # say now what the end of the epoch would say
            self._check_epoch(part.epoch, self._order(part.epoch))
        self._fits = True
        return part.window.lengths[part.pack]

    def _check_epoch(self, epoch: int, order: EpochOrder) -> None:
        """Look for a pack in all partitions of an epoch. Raises UserError when there is none."""
        oversized, packs = 0, 0
        for number in range(self.partitions):
            part = _Partition(number, (epoch, 0, 0))
            while part.block < len(order.positions(number)):
                window = self._next_window(part, order)
                if window is not None and window.lengths and not window.is_forgotten:
                    self._fits = True
                    return
                oversized += window.oversized if window else 0
                packs += len(window.lengths) if window else 0
                part.block = part.end
        if packs:
            raise UserError(
                f"requests to forget exclude every sample of {self._source} that fits a pack: leave it out of the "
                "mixture, which starts another run"
            )
        longer = f" ({oversized} samples are longer)" if oversized else ""
        raise UserError(
            f"no sample of {self._source} fits a pack of {self._capacity} tokens{longer}: correct the source, "
            "or raise the capacity"
        )

    def _order(self, epoch: int) -> EpochOrder:
        """The order of an epoch. Partitions may be in different ones."""
        if epoch not in self._orders:
            oldest = min(part.epoch for part in self._partitions)
            self._orders = {number: order for number, order in self._orders.items() if number >= oldest}
            self._orders[epoch] = EpochOrder(self._index.rows, (*self._seed, epoch), self.partitions)
        return self._orders[epoch]

    def _next_window(self, part: _Partition, order: EpochOrder) -> PackingWindow | None:
        """Collect blocks from `block` on until they fill a window; None where the epoch ends without a row."""
        positions = order.positions(part.number)
        ranges, rows, block = [], 0, part.block
        while rows < self._window_rows and block < len(positions):
            shard, first, last = order.block(part.number, positions[block])
            selected = self._shard(shard)
            begin, end = selected.numbers.searchsorted((first, last)).tolist()
            if end > begin:
                ranges.append(RowRange(shard, selected, begin, end))
                rows += end - begin
            block += 1
        part.end = block
        if not ranges:
            part.block = block
            return None
        self._expect(part, block)
        seed = (*self._seed, part.epoch, 2, positions[part.block])
        return PackingWindow(ranges, self._source, self._capacity, seed)

    def _expect(self, part: _Partition, block: int) -> None:
        """Begin to read the indexes of a partition's window that begins with a block."""
        order = self._order(part.epoch)
        positions = order.positions(part.number)
        ends = {block, block + self._window_rows // BLOCK_ROWS}  # blocks of few selected rows are not foreseen
        shards = {shard for end in ends if end < len(positions) for shard in order.shards(part.number, positions[end])}
        self._index.prefetch(sorted(shards - self._open.keys()), self._capacity)

    def _shard(self, number: int) -> IndexRows:
        """The rows of a shard. The blocks of all partitions come from so many shards at a time."""
        rows = self._open.pop(number, None)
        if rows is None:
            rows = self._index.shard(number, self._capacity)
            if len(self._open) == max(OPEN_SHARDS, self.partitions):
                self._open.popitem(last=False)
        self._open[number] = rows
        return rows
