"""The plan of a training run: mixture -> order -> packs, before a single picture is read.

The sequence of packs is a pure function of the manifests, the stretches, the seed and the capacity. The ranks of a run
share its next packs, so a position in the sequence is all the state that a loader has, and the number of ranks may
change. A `Cursor` says the same position in a few integers for each source, from which a plan goes on at once; from
the bare number of a pack it counts through the packs before it, reading only indexes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset
from step3vl.data.mixture import Mixture, MixtureSource, Stretch, choose
from step3vl.data.packing import Piece
from step3vl.data.rows import DatasetIndex, Index
from step3vl.data.sample import Sample
from step3vl.data.stream import Stream, StreamState, Window

WINDOW = 4096  # samples that are shuffled and packed together


class Item(NamedTuple):
    """One sample of a plan, or a piece of one: its source, where its bytes are, its tokens and its task."""

    source: int
    shard: int
    offset: int
    size: int
    length: int
    task: str
    piece: Piece | None


class Pack:
    """Samples that share one sequence of `length` tokens; `number` is its place in the plan."""

    __slots__ = ("_pack", "_window", "length", "number", "source", "stretch")

    def __init__(self, number: int, stretch: int, source: int, length: int, window: Window, pack: int) -> None:
        self.number, self.stretch, self.source, self.length = number, stretch, source, length
        self._window, self._pack = window, pack

    def __len__(self) -> int:
        return self._window.count(self._pack)

    @property
    def items(self) -> tuple[Item, ...]:
        """Made when asked for: most packs belong to other ranks."""
        return tuple(Item(self.source, *member) for member in self._window.members(self._pack))


class Cursor(Config):
    """A position in a plan: `packs` were taken, `stretch_packs` and `stretch_tokens` of them in the present stretch.

    `drawn` are the tokens of each source since its share was last set: at the start of the stretch, or when another
    source was spent.
    """

    packs: int = 0
    stretch: int = 0
    stretch_packs: int = 0
    stretch_tokens: int = 0
    drawn: tuple[int, ...]
    streams: tuple[StreamState, ...]


class Plan:
    """A deterministic sequence of packs over the stretches of a run; endless when the last of them is.

    The packs of a source hold its samples only, in windows of `window` rows, and sources take turns so that their
    shares of the tokens follow the weights at every moment, never by chance. A slice that several stretches name is
    one source: a later stretch goes on where an earlier one stopped, and `epochs` holds for the whole run. A stretch
    ends at the first multiple of `group` packs with which it has what it asks for, or when all of its sources are
    spent. Memory is bounded by the window and the indexes of 16 shards for each source.
    """

    def __init__(
        self,
        stretches: Sequence[Stretch],
        capacity: int,
        seed: int,
        *,
        group: int = 1,
        window: int = WINDOW,
        open_index: Callable[[MixtureSource], Index] = DatasetIndex,
    ) -> None:
        """Raises UserError when a source has no dataset, or none of its samples fits."""
        self.capacity, self.seed, self.group, self.window = capacity, seed, group, window
        self.stretches = tuple(stretches)
        named = [_slice(source) for stretch in stretches for source in stretch.mixture.sources]
        self.sources = tuple(dict.fromkeys(named))
        self._indexes = [open_index(source) for source in self.sources]
        self.weights = [self._weights(stretch.mixture) for stretch in stretches]
        for stream in self.streams():
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
            Stream(index, source, state, capacity=self.capacity, seed=(self.seed, number), window=self.window)
            for number, (index, source, state) in enumerate(parts)
        ]

    def packs(self, start: int | Cursor = 0) -> "Walk":
        """The packs from number `start`, or from a cursor, on."""
        if isinstance(start, Cursor):
            return Walk(self, start)
        walk = Walk(self, self.start)
        for _ in islice(walk, start):
            pass
        return walk

    @property
    def start(self) -> Cursor:
        return Cursor(drawn=(0,) * len(self.sources), streams=(StreamState(),) * len(self.sources))

    def read(self, item: Item) -> Sample:
        """The sample of an item, whole, with its pictures' bytes. Raises as `Dataset.read` does."""
        index = self._index(item)
        return index.dataset.read(index.numbers[item.shard], item.offset, item.size)

    def where(self, item: Item) -> str:
        """The place of an item's bytes, for messages."""
        index = self._index(item)
        shard = index.dataset.manifest.shards[index.numbers[item.shard]]
        return f"{index.dataset.url}/{shard.path} at byte {item.offset}"

    def _index(self, item: Item) -> DatasetIndex:
        index = self._indexes[item.source]
        assert isinstance(index, DatasetIndex)
        return index


class Walk(Iterator[Pack]):
    """An iterator over the packs of a plan that knows where it stands."""

    def __init__(self, plan: Plan, cursor: Cursor) -> None:
        self._plan = plan
        self._streams = plan.streams(cursor.streams)
        self._packs, self._stretch = cursor.packs, cursor.stretch
        self._stretch_packs, self._stretch_tokens = cursor.stretch_packs, cursor.stretch_tokens
        self._drawn = list(cursor.drawn)
        self._active: list[int] = []  # sources of the stretch that are not spent
        self._shares: list[float] = []
        self._lengths: list[int] = []  # of the next pack of each of them
        self._enter()

    @property
    def cursor(self) -> Cursor:
        """Where the next pack is taken from."""
        return Cursor(
            packs=self._packs,
            stretch=self._stretch,
            stretch_packs=self._stretch_packs,
            stretch_tokens=self._stretch_tokens,
            drawn=tuple(self._drawn),
            streams=tuple(stream.state for stream in self._streams),
        )

    def __next__(self) -> Pack:
        if self._stretch == len(self._plan.stretches):
            raise StopIteration
        place = 0
        if len(self._active) > 1:
            drawn = [self._drawn[source] for source in self._active]
            place = choose(self._shares, drawn, self._lengths, self._plan.capacity)
        source = self._active[place]
        length = self._lengths[place]
        window, pack = self._streams[source].take()
        taken = Pack(self._packs, self._stretch, source, length, window, pack)
        self._drawn[source] += length
        self._packs += 1
        self._stretch_packs += 1
        self._stretch_tokens += length
        if self._packs % self._plan.group == 0 and self._is_over(self._plan.stretches[self._stretch]):
            self._turn()
        else:
            following = self._streams[source].length()
            if following is None:
                self._drawn = [0] * len(self._drawn)
                self._enter()
            else:
                self._lengths[place] = following
        return taken

    def _is_over(self, stretch: Stretch) -> bool:
        return (stretch.tokens is not None and self._stretch_tokens >= stretch.tokens) or (
            stretch.packs is not None and self._stretch_packs >= stretch.packs
        )

    def _turn(self) -> None:
        self._stretch += 1
        self._stretch_packs = self._stretch_tokens = 0
        self._drawn = [0] * len(self._drawn)
        self._enter()

    def _enter(self) -> None:
        """Share the present stretch among those of its sources that are not spent."""
        if self._stretch == len(self._plan.stretches):
            return
        weights = self._plan.weights[self._stretch]
        following = [
            (source, weight, length)
            for source, weight in enumerate(weights)
            if weight and (length := self._streams[source].length()) is not None
        ]
        if not following:
            self._turn()
            return
        total = sum(weight for _, weight, _ in following)
        self._active = [source for source, _, _ in following]
        self._shares = [weight / total for _, weight, _ in following]
        self._lengths = [length for _, _, length in following]


def _slice(source: MixtureSource) -> MixtureSource:
    """What makes two sources the same."""
    return source.model_copy(update={"weight": 1.0})
