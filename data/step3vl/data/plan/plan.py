"""The plan of a training run: mixture -> order -> packs, before a single image is read.

The sequence of packs is a pure function of the manifests, the phases, the seed, the capacity and the number of
partitions. The ranks of a run share its next packs, so a position in the sequence is all the state that a loader has,
and the number of nodes and ranks may change; which of them reads what is the rule of `step3vl.data.plan.dealing`. A
`Cursor` describes the position in a few integers for each partition of a source, from which a plan resumes at once;
from the bare number of a pack it counts through the packs before it, reading only indexes.

A request to forget is no part of that function. The samples that it excludes keep their place, and what they would
fill of their packs stays empty: a run that resumes after a request meets all other samples where it would have met
them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from pydantic import model_validator

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.plan.dealing import PARTITIONS, partition_of, partition_order
from step3vl.data.plan.index_rows import DatasetIndex, PlanIndex, index_opener
from step3vl.data.plan.mixture import Mixture, MixtureSource, PlanPhase, choose_source
from step3vl.data.plan.packing import PackPiece
from step3vl.data.plan.stream import Stream, StreamState
from step3vl.data.plan.window import PackingWindow
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store_config import DEFAULT_STORE

WINDOW = 4096  # samples that are shuffled and packed together
CURSOR_VERSION = 3
# The field names of version 1, which had no `version`.
_VERSION_1 = {
    "stretch": "phase",  # words: a field of version 1
    "stretch_packs": "phase_packs",  # words: a field of version 1
    "stretch_tokens": "phase_tokens",  # words: a field of version 1
    "drawn": "source_tokens",  # words: a field of version 1
}


class PackItem(NamedTuple):
    """A sample of a plan, or a piece of one: its source, where its bytes are, its tokens and its task."""

    source: int
    shard: int
    offset: int
    size: int
    length: int
    task: str
    piece: PackPiece | None


class Pack:
    """Samples that share one sequence.

    Attributes:
        number: Position in the plan.
        phase: Phase of the plan.
        source: Source of the samples.
        partition: Partition whose turn it is.
        in_partition: Whether the samples are of that partition: it may be exhausted, and have those of others.
        length: Tokens, with those of samples that a request excludes.
    """

    __slots__ = ("_pack", "_window", "in_partition", "length", "number", "partition", "phase", "source")

    def __init__(
        self, number: int, phase: int, source: int, partition: int, length: int, place: tuple[PackingWindow, int, bool]
    ) -> None:
        self.number, self.phase, self.source, self.partition, self.length = number, phase, source, partition, length
        self._window, self._pack, self.in_partition = place

    def __len__(self) -> int:
        return self._window.count(self._pack)

    @property
    def items(self) -> tuple[PackItem, ...]:
        """The samples that no request excludes, built on demand: most packs belong to other ranks."""
        return tuple(PackItem(self.source, *item) for item in self._window.items(self._pack))


class Cursor(Config):
    """A position in a plan."""

    version: int = CURSOR_VERSION
    """Version of these fields. Versions 1 and 2, of plans with a single partition, are still read."""

    partitions: int = 1
    """Partitions of the plan."""

    packs: int = 0
    """Packs before the position."""

    phase: int = 0
    """The phase of the next pack."""

    phase_packs: int = 0
    """Packs of that phase before the position."""

    phase_tokens: int = 0
    """Tokens of that phase before the position."""

    source_tokens: tuple[int, ...]
    """Tokens of each source since the shares were last set: at the phase's start, or when a source was exhausted."""

    streams: tuple[StreamState, ...]
    """The position within each source."""

    @model_validator(mode="before")
    @classmethod
    def _read_version(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        version = values.get("version", 1)
        if isinstance(version, int) and version > CURSOR_VERSION:
            raise ValueError(
                f"the plan cursor has version {version}; this step3vl reads up to {CURSOR_VERSION}: upgrade it"
            )
        return {_VERSION_1.get(name, name): value for name, value in values.items()} | {"version": CURSOR_VERSION}


class Plan:
    """A deterministic sequence of packs over the phases of a run; endless when the last of them is.

    The packs of a source hold its samples only, and sources take turns so that their shares of the tokens follow the
    weights at every moment, never by chance. A slice that several phases name is one source: a later phase continues
    where an earlier one stopped, and `epochs` applies to the whole run. A phase ends at the first multiple of `group`
    packs at which it has reached its tokens or packs, or when all of its sources are exhausted. Memory is bounded by a
    window and the index of a shard for each partition of each source, and by the indexes of 16 shards where a source
    has fewer partitions.

    Args:
        phases: The phases in order.
        capacity: Tokens that fit a pack.
        seed: Seed of orders and packing.
        group: Packs of an optimizer step, in whose multiples phases end.
        window: Rows that are shuffled and packed together.
        partitions: Canonical partitions: the most nodes that have shards of their own.
        open_index: Opens the index of a source; by default that of its dataset.

    Raises:
        UserError: A source has no dataset, or none of its samples fits a pack, or requests to forget exclude all that
            do.
    """

    def __init__(
        self,
        phases: Sequence[PlanPhase],
        capacity: int,
        seed: int,
        *,
        group: int = 1,
        window: int = WINDOW,
        partitions: int = PARTITIONS,
        open_index: Callable[[MixtureSource], PlanIndex] | None = None,
    ) -> None:
        self.capacity, self.seed, self.group, self.window = capacity, seed, group, window
        self.partitions = partitions
        self.phases = tuple(phases)
        slices = [_slice(source) for phase in phases for source in phase.mixture.sources]
        self.sources = tuple(dict.fromkeys(slices))
        open_index = open_index or index_opener(DEFAULT_STORE)
        self._indexes = [open_index(source) for source in self.sources]
        self.weights = [self._weights(phase.mixture) for phase in phases]
        streams = self.streams()
        self.divided = tuple(stream.partitions for stream in streams)
        for stream in streams:
            stream.length()

    def _weights(self, mixture: Mixture) -> list[float]:
        """The weight of each source of the plan, 0 where the mixture does not name it."""
        weights = dict.fromkeys(self.sources, 0.0)
        for source in mixture.sources:
            weights[_slice(source)] += source.weight
        return list(weights.values())

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The dataset of each source."""
        return tuple(index.dataset for index in self._indexes if isinstance(index, DatasetIndex))

    def streams(self, states: Sequence[StreamState] | None = None) -> list[Stream]:
        """The packs of each source by itself, from the beginning or from `states` on."""
        parts = zip(self._indexes, self.sources, states or [StreamState()] * len(self.sources), strict=True)
        return [
            Stream(
                index,
                source,
                state,
                capacity=self.capacity,
                seed=(self.seed, number),
                window=self.window,
                partitions=self.partitions,
            )
            for number, (index, source, state) in enumerate(parts)
        ]

    def packs(self, start: int | Cursor = 0) -> "PlanReader":
        """Iterate over the packs from number `start`, or from a cursor, on.

        Raises:
            UserError: The cursor is one of a plan with other partitions.
        """
        if isinstance(start, Cursor):
            if start.partitions != self.partitions and max(self.divided) > 1:
                raise UserError(
                    f"the position is one of a plan with {start.partitions} partitions, and this plan has "
                    f"{self.partitions}: give it as many (data.partitions={start.partitions}), or start again"
                )
            return PlanReader(self, start)
        reader = PlanReader(self, self.start)
        for _ in islice(reader, start):
            pass
        return reader

    @property
    def start(self) -> Cursor:
        """The position of the first pack."""
        count = len(self.sources)
        return Cursor(partitions=self.partitions, source_tokens=(0,) * count, streams=(StreamState(),) * count)

    def fetch(self, item: PackItem, *, in_blocks: bool = True) -> bytes:
        """Read the bytes of the sample of an item. Arguments and errors are those of `Dataset.fetch`."""
        index = self._index(item)
        return index.dataset.fetch(index.numbers[item.shard], item.offset, item.size, in_blocks=in_blocks)

    def read(self, item: PackItem, data: bytes | None = None) -> Sample:
        """Read the sample of an item, uncut, with its images' bytes. Raises as `Dataset.read` does.

        Args:
            item: The item.
            data: What `fetch` returned, if it was called already.
        """
        index = self._index(item)
        return index.dataset.parse(index.numbers[item.shard], item.offset, self.fetch(item) if data is None else data)

    def open_bytes(self, nodes: int) -> int:
        """About how many bytes of remote datasets the windows have that a node reads at a time."""
        total = 0
        for index, parts in zip(self._indexes, self.divided, strict=True):
            if isinstance(index, DatasetIndex) and not index.dataset.files.local and len(index.rows):
                window = self.window * index.shard_bytes // max(int(index.rows.sum()), 1)
                total += min(-(-parts // nodes) * window, index.shard_bytes)
        return total

    def is_remote(self, source: int) -> bool:
        """Whether reading a source means waiting for a store."""
        index = self._indexes[source]
        return isinstance(index, DatasetIndex) and not index.dataset.files.local

    def where(self, item: PackItem) -> str:
        """The URL of an item's shard and its offset there, for messages."""
        index = self._index(item)
        shard = index.dataset.manifest.shards[index.numbers[item.shard]]
        return f"{index.dataset.url}/{shard.path} at byte {item.offset}"

    def _index(self, item: PackItem) -> DatasetIndex:
        index = self._indexes[item.source]
        assert isinstance(index, DatasetIndex)
        return index


class PlanReader(Iterator[Pack]):
    """An iterator over the packs of a plan that reports its position."""

    def __init__(self, plan: Plan, cursor: Cursor) -> None:
        self._plan = plan
        self._streams = plan.streams(cursor.streams)
        self._packs, self._phase = cursor.packs, cursor.phase
        self._phase_packs, self._phase_tokens = cursor.phase_packs, cursor.phase_tokens
        self._source_tokens = list(cursor.source_tokens)
        self._active: list[int] = []  # sources of the phase that are not exhausted
        self._shares: list[float] = []
        self._partition = 0  # of the next pack
        self._lengths: list[int] = []  # of the next pack of each active source
        self._set_shares()

    @property
    def cursor(self) -> Cursor:
        """The position of the next pack."""
        return Cursor(
            partitions=self._plan.partitions,
            packs=self._packs,
            phase=self._phase,
            phase_packs=self._phase_packs,
            phase_tokens=self._phase_tokens,
            source_tokens=tuple(self._source_tokens),
            streams=tuple(stream.state for stream in self._streams),
        )

    def __next__(self) -> Pack:
        if self._phase == len(self._plan.phases):
            raise StopIteration
        chosen = 0
        if len(self._active) > 1:
            consumed = [self._source_tokens[source] for source in self._active]
            chosen = choose_source(self._shares, consumed, self._lengths, self._plan.capacity)
        source = self._active[chosen]
        length = self._lengths[chosen]
        place = self._streams[source].take(self._partition)
        pack = Pack(self._packs, self._phase, source, self._partition, length, place)
        self._source_tokens[source] += length
        self._packs += 1
        self._phase_packs += 1
        self._phase_tokens += length
        if self._packs % self._plan.group == 0 and self._is_over(self._plan.phases[self._phase]):
            self._next_phase()
        elif not self._look_ahead():
            self._source_tokens = [0] * len(self._source_tokens)
            self._set_shares()
        return pack

    def _is_over(self, phase: PlanPhase) -> bool:
        return (phase.tokens is not None and self._phase_tokens >= phase.tokens) or (
            phase.packs is not None and self._phase_packs >= phase.packs
        )

    def _next_phase(self) -> None:
        self._phase += 1
        self._phase_packs = self._phase_tokens = 0
        self._source_tokens = [0] * len(self._source_tokens)
        self._set_shares()

    def _set_shares(self) -> None:
        """Divide the present phase among those of its sources that are not exhausted."""
        if self._phase == len(self._plan.phases):
            return
        weights = self._plan.weights[self._phase]
        active = [source for source, weight in enumerate(weights) if weight]
        for source in active:
            self._streams[source].prefetch()
        partition = partition_of(self._packs, self._plan.partitions)
        self._active = [source for source in active if self._streams[source].length(partition) is not None]
        if not self._active:
            self._next_phase()
            return
        total = sum(weights[source] for source in self._active)
        self._shares = [weights[source] / total for source in self._active]
        self._look_ahead()

    def _look_ahead(self) -> bool:
        """Measure the next pack of each active source. Returns False when one of them is exhausted."""
        number, place = divmod(self._packs, self._plan.partitions)
        self._partition = partition_order(number, self._plan.partitions)[place]
        self._lengths = []
        for source in self._active:
            length = self._streams[source].length(self._partition)
            if length is None:
                return False
            self._lengths.append(length)
        return True


def _slice(source: MixtureSource) -> MixtureSource:
    """What makes two sources the same."""
    return source.model_copy(update={"weight": 1.0})
