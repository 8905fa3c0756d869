"""What a run would read from a remote store, computed from its plan: no sample is read, and no time passes.

The plan says which node reads which bytes (`step3vl.data.plan.dealing`), and the reader's rule which requests that
takes: with a cache whole blocks, each kept on the node until others push it out, and exact ranges where a node reads
what is not its own; without one, a request for each sample. Bytes and requests are therefore exact. Seconds follow
from a simple model of the network: a request takes the latency, so many are in flight at a time, and all bytes of a
node share its bandwidth. Planning and decoding take time of their own, which is not counted.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, Self

import pyarrow.parquet as pq
from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.manifest import MANIFEST, SHARDS
from step3vl.data.errors import UserError
from step3vl.data.plan.dealing import PARTITIONS, deal, homes
from step3vl.data.plan.index_rows import DatasetIndex, IndexRows
from step3vl.data.plan.mixture import MixtureSource, PlanPhase
from step3vl.data.plan.plan import Pack, Plan
from step3vl.data.storage.cache import MIN_BLOCKS
from step3vl.data.storage.read_ahead import REQUESTS_IN_FLIGHT
from step3vl.data.storage.slices import ByteRange
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

_INTERVALS = 60  # of the time series, at most
_WAITS = 3  # requests for an index that follow each other: size, description, columns


class Cluster(Config):
    """The machines that read, and the network between them and the store."""

    nodes: int = Field(default=1, ge=1)
    """Machines, each with a cache and a network of its own."""

    ranks: int = Field(default=8, ge=1)
    """Ranks of a node."""

    workers: int = Field(default=4, ge=0)
    """Processes of a rank that read ahead."""

    micro_batch: int = Field(default=1, ge=1)
    """Packs of a rank in a batch."""

    cache_bytes: int | None = Field(default=None, ge=1)
    """Bytes that the cache of a node holds; None without a cache."""

    block: int = Field(default=StoreConfig().block, ge=1)
    """Bytes that are fetched at once to fill it."""

    bandwidth: float = Field(default=1.25e9, gt=0)
    """Bytes a second from the store to a node."""

    latency: float = Field(default=0.03, ge=0)
    """Seconds until the store answers a request."""

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        if self.cache_bytes is not None and self.block > self.cache_bytes // MIN_BLOCKS:
            raise ValueError(f"a cache of {self.cache_bytes:,} bytes holds no {MIN_BLOCKS} blocks of {self.block:,}")
        return self

    def seconds(self, requests: float, size: float, in_flight: int) -> float:
        """How long requests of so many bytes in all take, so many of them at a time."""
        return max(requests / in_flight * self.latency, size / self.bandwidth)


class Reads(NamedTuple):
    """Samples' bytes that were needed and fetched, the requests for them, and tokens."""

    needed: int = 0
    fetched: int = 0
    requests: int = 0
    tokens: int = 0

    @property
    def amplification(self) -> float:
        """Bytes fetched over bytes needed."""
        return self.fetched / self.needed if self.needed else 0.0

    def plus(self, other: "Reads") -> "Reads":
        """The sums of both."""
        return Reads(*(a + b for a, b in zip(self, other, strict=True)))


class Interval(NamedTuple):
    """Consecutive batches: the number of the first, what all nodes read, tokens by task, and caches at the end."""

    first: int
    batches: int
    reads: Reads
    tasks: dict[str, int]
    cached: int
    """Bytes in the fullest cache."""


class IndexReads(NamedTuple):
    """What a node reads before and beside the samples: manifests and columns of the indexes, about."""

    shards: int
    """Shards whose index the simulated batches need."""
    requests: int
    size: int
    first_shards: int
    """Those of them that are needed, or begun, before the first batch."""
    first_size: int
    """Bytes before the first batch, those of the manifests included."""


class Simulation(NamedTuple):
    """What was computed: by node, over time, and for the first batch."""

    cluster: Cluster
    batches: int
    complete: bool
    """Whether the plan ended within the batches."""
    nodes: tuple[Reads, ...]
    intervals: tuple[Interval, ...]
    indexes: IndexReads
    first_batch: Reads
    """Of the node that needs longest for it."""
    first_seconds: float
    samples: int

    @property
    def total(self) -> Reads:
        """What all nodes read."""
        total = Reads()
        for node in self.nodes:
            total = total.plus(node)
        return total

    @property
    def slowest_seconds(self) -> float:
        """Seconds of reading of the node that takes longest, if nothing else is waited for."""
        in_flight = REQUESTS_IN_FLIGHT * self.cluster.ranks * max(self.cluster.workers, 1)
        return max(self.cluster.seconds(node.requests, node.fetched, in_flight) for node in self.nodes)

    @property
    def cached(self) -> int:
        """The most bytes in the cache of any node."""
        return max(interval.cached for interval in self.intervals)

    @property
    def tasks(self) -> dict[str, int]:
        """Tokens by task, the largest first."""
        total: Counter[str] = Counter()
        for interval in self.intervals:
            total.update(interval.tasks)
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def simulate(
    phases: Sequence[PlanPhase],
    cluster: Cluster,
    *,
    sequence_length: int,
    batches: int,
    seed: int = 0,
    group: int = 1,
    partitions: int = PARTITIONS,
    store: StoreConfig = DEFAULT_STORE,
) -> Simulation:
    """Compute what all nodes read for the first batches of a plan.

    Args:
        phases: Mixtures and budgets, in order.
        cluster: The machines and their network.
        sequence_length: Tokens of a pack.
        batches: Micro-batches of all ranks, at most.
        seed: Seed of the order.
        group: Packs of an optimizer step.
        partitions: Canonical partitions of the plan.
        store: How the indexes are read.

    Raises:
        UserError: A source has no dataset, none of its samples fits a pack, or no batch of all ranks can be filled.
        StoreError: The store does not answer.
    """
    indexes = _Indexes(store)
    plan = Plan(phases, sequence_length, seed, group=group, partitions=partitions, open_index=indexes.open)
    nodes = [_Node(cluster) for _ in range(cluster.nodes)]
    readers = [_Reader(index) for index in indexes.opened]
    size = cluster.micro_batch * cluster.ranks * cluster.nodes
    packs, step = plan.packs(), max(1, -(-batches // _INTERVALS))
    intervals: list[Interval] = []
    first: list[Reads] = []
    samples = number = 0
    before, tasks = Reads(), Counter[str]()
    while number < batches and len(selected := list(islice(packs, size))) == size:
        for node, places in enumerate(deal([pack.partition for pack in selected], plan.partitions, cluster.nodes)):
            for place in places:
                pack = selected[place]
                samples += _read_pack(nodes[node], readers[pack.source], pack, _in_blocks(pack, node, plan, cluster))
        for pack in selected:
            for item in pack.items:
                tasks[item.task] += item.length
        number += 1
        if number == 1:
            first, first_index = [node.reads for node in nodes], indexes.read()
        if number % step == 0 or number == batches:
            before = _close(intervals, number, before, nodes, tasks)
    if not first:
        raise UserError(
            f"the plan has fewer packs than the {size} that all ranks take at a time: give fewer nodes or ranks, or "
            "more samples"
        )
    if not intervals or intervals[-1].first + intervals[-1].batches < number:
        _close(intervals, number, before, nodes, tasks)
    slowest = max(first, key=lambda reads: _first_seconds(cluster, reads))
    index = indexes.summary(first_index)
    return Simulation(
        cluster=cluster,
        batches=number,
        complete=number < batches,
        nodes=tuple(node.reads for node in nodes),
        intervals=tuple(intervals),
        indexes=index,
        first_batch=slowest,
        first_seconds=_index_seconds(cluster, index, indexes) + _first_seconds(cluster, slowest),
        samples=samples,
    )


def _in_blocks(pack: Pack, node: int, plan: Plan, cluster: Cluster) -> bool:
    """Whether a node reads whole blocks for a pack, as `PackLoader` decides."""
    return node in homes(pack.partition, plan.partitions, cluster.nodes) and cluster.nodes <= plan.divided[pack.source]


def _read_pack(node: "_Node", reader: "_Reader", pack: Pack, in_blocks: bool) -> int:
    items = pack.items
    for item in items:
        node.read(reader.span(item.shard, item.offset, item.size), item.length, in_blocks)
    return len(items)


def _close(
    intervals: list[Interval], number: int, before: Reads, nodes: Sequence["_Node"], tasks: Counter[str]
) -> Reads:
    """Add the interval that ends after so many batches. Returns what was read until then."""
    first = intervals[-1].first + intervals[-1].batches if intervals else 0
    total = Reads()
    for node in nodes:
        total = total.plus(node.reads)
    reads = Reads(*(a - b for a, b in zip(total, before, strict=True)))
    cached = max(node.cached for node in nodes)
    intervals.append(Interval(first, number - first, reads, dict(tasks), cached))
    tasks.clear()
    return total


def _first_seconds(cluster: Cluster, reads: Reads) -> float:
    """Of the first batch, which one process of each rank reads, and nothing was read ahead."""
    in_flight = REQUESTS_IN_FLIGHT * cluster.ranks
    return -(-reads.requests // in_flight) * cluster.latency + reads.fetched / cluster.bandwidth


def _index_seconds(cluster: Cluster, index: IndexReads, indexes: "_Indexes") -> float:
    """Of what comes before the samples: manifests one after another, then the indexes, many at a time."""
    waits = indexes.manifest_requests + _WAITS * -(-index.first_shards // REQUESTS_IN_FLIGHT)
    return waits * cluster.latency + index.first_size / cluster.bandwidth


class _Node:
    """What a machine has read and keeps."""

    def __init__(self, cluster: Cluster) -> None:
        self.reads = Reads()
        self.cached = 0
        self._limit, self._block = cluster.cache_bytes, cluster.block
        self._blocks: OrderedDict[tuple[str, int], int] = OrderedDict()  # version and first byte -> bytes

    def read(self, span: ByteRange, tokens: int, in_blocks: bool) -> None:
        """Read a sample, as `Store.read` does."""
        size = span.stop - span.start
        fetched, requests = size, 1
        if self._limit is not None:
            blocks = {(span.version, first): last - first for first, last in span.blocks(self._block)}
            missing = [block for block in blocks if block not in self._blocks]
            if in_blocks or not missing:
                fetched, requests = sum(blocks[block] for block in missing), len(missing)
                for block, length in blocks.items():
                    self._keep(block, length)
        self.reads = self.reads.plus(Reads(size, fetched, requests, tokens))

    def _keep(self, block: tuple[str, int], length: int) -> None:
        assert self._limit is not None
        if block in self._blocks:
            self._blocks.move_to_end(block)
            return
        self._blocks[block] = length
        self.cached += length
        while self.cached > self._limit:
            self.cached -= self._blocks.popitem(last=False)[1]


class _Reader:
    """Where the samples of a source are."""

    def __init__(self, index: "_LoggedIndex") -> None:
        self._numbers, self._shards = index.numbers, index.dataset.manifest.shards
        self._known: dict[int, tuple[str, int, str]] = {}

    def span(self, shard: int, offset: int, size: int) -> ByteRange:
        """The bytes of a sample. `shard` counts within the source's split."""
        if shard not in self._known:
            info = self._shards[self._numbers[shard]]
            self._known[shard] = info.path, info.size, info.blake3
        path, file_size, version = self._known[shard]
        return ByteRange(path, offset, offset + size, file_size=file_size, version=version)


class _LoggedIndex(DatasetIndex):
    """An index that says which of its shards were read, or begun to be."""

    def __init__(self, source: MixtureSource, store: StoreConfig, dataset: Dataset) -> None:
        super().__init__(source, store, dataset)
        self.used: dict[int, None] = {}

    def prefetch(self, numbers: list[int], capacity: int) -> None:
        self.used.update(dict.fromkeys(numbers))
        super().prefetch(numbers, capacity)

    def shard(self, number: int, capacity: int) -> IndexRows:
        self.used[number] = None
        return super().shard(number, capacity)

    def row_bytes(self) -> float:
        """Bytes of a row in the columns that a plan reads, by the description of the first shard that was used."""
        number = self.numbers[next(iter(self.used))]
        shard = self.dataset.manifest.shards[number]
        metadata = pq.read_metadata(self.dataset.files.open_ranges(shard.index_path))
        columns = set(self.columns)
        size = sum(
            chunk.total_compressed_size
            for group in range(metadata.num_row_groups)
            for number in range(metadata.num_columns)
            if (chunk := metadata.row_group(group).column(number)).path_in_schema.partition(".")[0] in columns
        )
        return float(size / max(metadata.num_rows, 1))


class _Indexes:
    """The indexes of all sources, and what is read of them. Each dataset is opened once."""

    def __init__(self, store: StoreConfig) -> None:
        self.opened: list[_LoggedIndex] = []
        self._store = store
        self._datasets: dict[str, Dataset] = {}

    def open(self, source: MixtureSource) -> _LoggedIndex:
        if source.dataset not in self._datasets:
            self._datasets[source.dataset] = Dataset.open(source.dataset, self._store)
        self.opened.append(_LoggedIndex(source, self._store, self._datasets[source.dataset]))
        return self.opened[-1]

    @property
    def manifest_requests(self) -> int:
        """`dataset.json`, the requests to forget, and the table of very many shards, of each dataset."""
        return sum(2 + dataset.files.exists(SHARDS) for dataset in self._datasets.values())

    def read(self) -> list[set[int]]:
        """The shards of each source that were read so far."""
        return [set(index.used) for index in self.opened]

    def summary(self, first: Sequence[set[int]]) -> IndexReads:
        """What is read of the indexes in all, and before the first batch."""
        manifests = 0
        for dataset in self._datasets.values():
            files = dataset.files
            manifests += files.size(MANIFEST) + (files.size(SHARDS) if files.exists(SHARDS) else 0)
        # Slices of a dataset that need the same columns share them.
        read: dict[tuple[str, ...], tuple[_LoggedIndex, set[int], set[int]]] = {}
        for index, early in zip(self.opened, first, strict=True):
            key = index.dataset.url, *index.columns
            _, used, begun = read.setdefault(key, (index, set(), set()))
            used.update(index.numbers[number] for number in index.used)
            begun.update(index.numbers[number] for number in early)
        shards, sizes = [0, 0], [float(manifests)] * 2
        for index, *numbers in read.values():
            row = index.row_bytes()
            for place, part in enumerate(numbers):
                shards[place] += len(part)
                sizes[place] += row * sum(index.dataset.manifest.shards[number].samples for number in part)
        requests = self.manifest_requests + _WAITS * shards[0]
        return IndexReads(shards[0], requests, int(sizes[0]), shards[1], int(sizes[1]))
