"""Packs of a plan to micro-batches of a rank.

The plan is made from the index before an image is read. The next packs of it are the micro-batch of all ranks. They
are dealt to the nodes, so that each reads shards of its own (`step3vl.data.plan.dealing`), and each rank of a node
takes an equal run of the node's packs, so that every rank has every source. The state of a loader is therefore one
integer, the number of packs that all ranks together have taken, and it holds for any number of nodes and ranks and any
micro-batch. The plan's cursor, which each batch carries, is the same position without counting. A sample that cannot
be read leaves its pack shorter, whichever rank meets it.

Samples of remote datasets are requested before it is their turn, many at a time and within a number of bytes.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from PIL.Image import DecompressionBombError
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from step3vl.data.dataset import DamagedSample, DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.plan import (
    PARTITIONS,
    Cursor,
    Pack,
    PackItem,
    Plan,
    PlanPhase,
    PlanReader,
    deal,
    homes,
    index_opener,
)
from step3vl.data.storage import DEFAULT_STORE, StoreConfig
from step3vl.data.storage.read_ahead import RequestPool, read_ahead
from step3vl.data.tokens import TokenIds
from step3vl.model import Step3VLImageProcessor
from step3vl.training.batch import PackedBatch, PreparedSample, collate, prepare_sample

AHEAD = 64 << 20
"""Bytes of samples that a process requests before it is their turn."""

SAMPLE_ERRORS = (DamagedSample, OSError, ValueError, SyntaxError, DecompressionBombError)
"""Errors of the sample that was being read; any other is an error of the run."""


def dead_letter_of(error: Exception, *, step: str, position: str) -> DeadLetter:
    """The dead letter of a sample that could not be read; the reason does not repeat the sample's position."""
    dead_letter = DeadLetter.from_error(error, step=step, source=position)
    return dead_letter.model_copy(update={"reason": dead_letter.reason.removeprefix(f"{position}: ")})


def default_workers(cores: int, ranks: int, gpu: bool) -> int:
    """Processes that decode for a rank: its part of a machine's cores but one, at most 8, and none without a GPU.

    Args:
        cores: Cores that the processes of the machine may use.
        ranks: Ranks on it.
        gpu: Whether the model runs on a GPU. Otherwise it uses the cores itself.
    """
    return min(max(cores // ranks - 1, 1), 8) if gpu else 0


class RankPacks(NamedTuple):
    """The packs of one rank in a micro-batch, and the position in the plan after the packs of all ranks."""

    packs: list[Pack]
    cursor: Cursor


class Ranks(NamedTuple):
    """The ranks of a run, and this one: those of a node follow each other, as many on every node."""

    rank: int = 0
    world: int = 1
    nodes: int = 1

    @property
    def node(self) -> int:
        """The node of this rank."""
        return self.rank * self.nodes // self.world


def rank_packs(
    reader: PlanReader,
    micro_batch: int,
    ranks: Ranks,
    worker: int = 0,
    workers: int = 1,
    partitions: int = PARTITIONS,
) -> Iterator[RankPacks]:
    """Select the micro-batches that one worker of one rank makes.

    Packs at the end of the plan that do not fill a micro-batch of all ranks are left out.

    Args:
        reader: The packs of all ranks.
        micro_batch: Packs of one rank in a micro-batch.
        ranks: The ranks, and this one.
        worker: Number of the worker within its rank.
        workers: Workers of a rank.
        partitions: Partitions of the plan.
    """
    first = ranks.rank % (ranks.world // ranks.nodes) * micro_batch  # among the packs of the node
    for number in range(2**63):
        group = list(islice(reader, micro_batch * ranks.world))
        if len(group) < micro_batch * ranks.world:
            return
        if number % workers == worker:
            dealt = deal([pack.partition for pack in group], partitions, ranks.nodes)[ranks.node]
            yield RankPacks([group[place] for place in dealt[first : first + micro_batch]], reader.cursor)


class PackLoader(IterableDataset[PackedBatch | UserError]):
    """The micro-batches of one rank over the phases of a run: see `batches`.

    Args:
        phases: Mixtures and budgets, in order.
        sequence_length: Tokens of a pack.
        seed: Seed of the order.
        tokenizer: Tokenizer of the model.
        image_processor: Image processor of the model.
        micro_batch: Packs of a batch.
        rank: Number of the rank.
        world: Number of ranks.
        nodes: Number of nodes, each of which has as many ranks.
        group: Packs of an optimizer step over all ranks; phases end at multiples of it.
        partitions: Canonical partitions of the plan: the most nodes that have shards of their own.
        workers: Processes that decode ahead; 0 decodes in this one.
        cache_mb: MiB of decoded samples to keep, over all workers.
        store: How datasets at remote URLs are read.

    Raises:
        UserError: A dataset was counted with another tokenizer or for other image sizes.
    """

    def __init__(
        self,
        phases: Sequence[PlanPhase],
        *,
        sequence_length: int,
        seed: int,
        tokenizer: Tokenizer,
        image_processor: Step3VLImageProcessor,
        micro_batch: int,
        rank: int,
        world: int,
        nodes: int = 1,
        group: int = 1,
        partitions: int = PARTITIONS,
        workers: int = 0,
        cache_mb: int = 0,
        store: StoreConfig = DEFAULT_STORE,
    ) -> None:
        self.plan = Plan(
            phases, sequence_length, seed, group=group, partitions=partitions, open_index=index_opener(store)
        )
        for dataset in {dataset.url: dataset for dataset in self.plan.datasets}.values():
            dataset.check_counting(tokenizer, image_processor.spec)
        self._tokenizer, self._processor = tokenizer, image_processor
        self._pad = TokenIds.of(tokenizer).pad
        self._micro_batch, self._ranks = micro_batch, Ranks(rank, world, nodes)
        self._windows_fit = self.plan.open_bytes(nodes) <= store.cache_bytes * 3 // 4
        self._start: int | Cursor = 0
        self._workers = workers
        self._cache = _SampleCache(cache_mb * 2**20 // max(workers, 1))

    def batches(self, start: int | Cursor = 0) -> Iterator[PackedBatch]:
        """The batches from a position on; in the same order whatever the number of workers.

        A worker prepares two batches ahead at most, and hands them over in shared memory.

        Args:
            start: Number of a pack in the plan, or a cursor.

        Raises:
            UserError: A dataset is missing or broken.
        """
        self._start = start
        source: Iterator[PackedBatch | UserError] = iter(self)
        if self._workers:
            # Forked workers would inherit the threads of the process group in an unknown state.
            source = iter(
                DataLoader(
                    self,
                    batch_size=None,
                    num_workers=self._workers,
                    multiprocessing_context="spawn",
                    collate_fn=_unchanged,  # type: ignore[arg-type]
                    pin_memory=torch.cuda.is_available(),
                )
            )
        for batch in source:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def __iter__(self) -> Iterator[PackedBatch | UserError]:
        """The batches of this worker. A UserError is yielded: DataLoader would wrap a raised one in a traceback."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        pool = RequestPool()
        try:
            reader = self.plan.packs(self._start)
            selected = rank_packs(reader, self._micro_batch, self._ranks, worker, workers, self.plan.partitions)
            for packs, reads in read_ahead(selected, partial(self._begin, pool), _bytes_of, AHEAD):
                yield self._batch(packs, reads)
        except UserError as error:
            yield error
        finally:
            pool.close()

    def _begin(self, pool: RequestPool, selected: RankPacks) -> list["Future[bytes] | None"]:
        """Request the samples of remote datasets that are not in memory."""
        return [
            pool.submit(partial(self.plan.fetch, in_blocks=self._in_blocks(pack)), item)
            if self.plan.is_remote(item.source) and item not in self._cache
            else None
            for pack in selected.packs
            for item in pack.items
        ]

    def _in_blocks(self, pack: Pack) -> bool:
        """Whether what is beside the samples of a pack is read on this node, too, before it leaves the cache."""
        nodes = self._ranks.nodes
        home = self._ranks.node in homes(pack.partition, self.plan.partitions, nodes)
        return self._windows_fit and home and pack.in_partition and nodes <= self.plan.divided[pack.source]

    def _batch(self, selected: RankPacks, reads: Sequence["Future[bytes] | None"]) -> PackedBatch:
        rows: list[list[PreparedSample]] = []
        items: list[tuple[PackItem, ...]] = []
        unreadable: list[DeadLetter] = []
        unreadable_tokens = 0
        begun = iter(reads)
        for pack in selected.packs:
            readable: list[tuple[PreparedSample, PackItem]] = []
            for item in pack.items:
                sample = self.prepare(item, next(begun))
                if isinstance(sample, DeadLetter):
                    unreadable.append(sample)
                    unreadable_tokens += item.length
                else:
                    readable.append((sample, item))
            rows.append([sample for sample, _ in readable])
            items.append(tuple(item for _, item in readable))
        inputs, weight = collate(rows, self._pad)
        tokens = sum(len(sample.ids) for row in rows for sample in row)
        return PackedBatch(
            inputs,
            weight,
            tokens,
            trained_tokens=int((inputs["loss_weights"] > 0).sum()),
            items=tuple(items),
            unreadable=tuple(unreadable),
            unreadable_tokens=unreadable_tokens,
            cursor=selected.cursor,
        )

    def prepare(self, item: PackItem, read: "Future[bytes] | None" = None) -> PreparedSample | DeadLetter:
        """The sample of an item, or the error with which it could not be read.

        Args:
            item: The item.
            read: The read of its bytes, if it has begun.
        """
        prepared = self._cache.get(item)
        if prepared is None:
            try:
                sample = self.plan.read(item, None if read is None else read.result())
                prepared = prepare_sample(sample, self._tokenizer, self._processor, item.piece)
                _check_length(item, prepared)
            except SAMPLE_ERRORS as error:
                return dead_letter_of(error, step="load", position=self.plan.where(item))
            self._cache.put(item, prepared)
        return prepared


def _check_length(item: PackItem, sample: PreparedSample) -> None:
    """Raises ValueError when a sample is not what the plan counted; a piece may be shorter by less than an image."""
    length = len(sample.ids)
    if not length:
        raise ValueError(
            "it begins with an image larger than a pack; raise data.sequence_length, or drop oversize samples"
        )
    if length > item.length or (item.piece is None and length < item.length):
        raise ValueError(f"the index counts {item.length} tokens and the sample has {length}; build the dataset again")


class _SampleCache:
    """The most recently used samples, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._samples: OrderedDict[PackItem, PreparedSample] = OrderedDict()

    def __contains__(self, item: PackItem) -> bool:
        return item in self._samples

    def get(self, item: PackItem) -> PreparedSample | None:
        sample = self._samples.get(item)
        if sample is not None:
            self._samples.move_to_end(item)
        return sample

    def put(self, item: PackItem, sample: PreparedSample) -> None:
        self._samples[item] = sample
        self._size += sample.nbytes
        while self._size > self._limit:
            _, oldest = self._samples.popitem(last=False)
            self._size -= oldest.nbytes


def _bytes_of(selected: RankPacks) -> int:
    return sum(item.size for pack in selected.packs for item in pack.items)


def _unchanged(batch: PackedBatch | UserError) -> PackedBatch | UserError:
    return batch
