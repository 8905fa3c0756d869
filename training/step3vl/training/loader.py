"""Packs of a plan to micro-batches of a rank.

The plan is made from the index before a picture is read. The next packs of it are the micro-batch of all ranks, and
each rank takes as many of them, one behind the other, so that every rank has every source. All that a loader needs to
go on is therefore one integer, the number of packs that all ranks together have taken, and it holds for any number of
ranks and any micro-batch. The plan's cursor, which each batch carries, says the same without counting. A sample that
cannot be read leaves its pack shorter, whichever rank meets it.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from PIL.Image import DecompressionBombError
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from step3vl.data.dataset import DamagedSample
from step3vl.data.errors import UserError
from step3vl.data.ledger import DeadLetter
from step3vl.data.mixture import Stretch
from step3vl.data.plan import Cursor, Item, Pack, Plan, Walk
from step3vl.data.rows import DatasetIndex
from step3vl.data.store import DEFAULT, StoreConfig
from step3vl.data.tokens import TokenIds
from step3vl.model import Step3VLImageProcessor
from step3vl.training.batch import Batch, Prepared, collate, prepare

# What is wrong with the one sample that was being read; anything else is wrong with the run.
_DAMAGE = (DamagedSample, OSError, ValueError, SyntaxError, DecompressionBombError)


class Share(NamedTuple):
    """One micro-batch: the packs of one rank in it, and where the plan stands after the packs of all ranks."""

    packs: list[Pack]
    cursor: Cursor


def deal(walk: Walk, micro_batch: int, rank: int, world: int, worker: int = 0, workers: int = 1) -> Iterator[Share]:
    """The micro-batches that one worker of one rank makes. Packs at the end that do not fill one are left out."""
    for number in range(2**63):
        group = list(islice(walk, micro_batch * world))
        if len(group) < micro_batch * world:
            return
        if number % workers == worker:
            yield Share(group[rank * micro_batch : (rank + 1) * micro_batch], walk.cursor)


class PackLoader(IterableDataset[Batch | UserError]):
    """The micro-batches of rank `rank`, of `micro_batch` packs each, over the stretches of a run: see `batches`.

    `group` is the number of packs of an optimiser step, in whose multiples stretches end. Raises UserError when a
    dataset was counted with another tokenizer or for other picture sizes.
    """

    def __init__(
        self,
        stretches: Sequence[Stretch],
        *,
        capacity: int,
        seed: int,
        tokenizer: Tokenizer,
        image_processor: Step3VLImageProcessor,
        micro_batch: int,
        rank: int,
        world: int,
        group: int = 1,
        workers: int = 0,
        cache_mb: int = 0,
        store: StoreConfig = DEFAULT,
    ) -> None:
        self.plan = Plan(stretches, capacity, seed, group=group, open_index=partial(DatasetIndex, store=store))
        for dataset in {dataset.url: dataset for dataset in self.plan.datasets}.values():
            dataset.check_counting(tokenizer, image_processor.spec)
        self._tokenizer, self._processor = tokenizer, image_processor
        self._pad = TokenIds.of(tokenizer).pad
        self._micro_batch, self._rank, self._world = micro_batch, rank, world
        self._start: int | Cursor = 0
        self._workers = workers
        self._cache = _Cache(cache_mb * 2**20 // max(workers, 1))

    def batches(self, start: int | Cursor = 0) -> Iterator[Batch]:
        """From pack `start` of the plan, or from a cursor, on; in the same order whatever the number of workers.

        A worker prepares two batches ahead at most, and hands them over in shared memory.
        """
        self._start = start
        source: Iterator[Batch | UserError] = iter(self)
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

    def __iter__(self) -> Iterator[Batch | UserError]:
        """This worker's share. A UserError is handed over as it is: DataLoader would wrap it in a traceback."""
        worker = get_worker_info()
        mine, of = (worker.id, worker.num_workers) if worker else (0, 1)
        try:
            walk = self.plan.packs(self._start)
            for share in deal(walk, self._micro_batch, self._rank, self._world, mine, of):
                yield self._batch(share)
        except UserError as error:
            yield error

    def _batch(self, share: Share) -> Batch:
        rows: list[list[Prepared]] = []
        tasks: list[tuple[str, ...]] = []
        dead: list[DeadLetter] = []
        lost_tokens = 0
        for pack in share.packs:
            whole: list[tuple[Prepared, str]] = []
            for item in pack.items:
                found = self.prepared(item)
                if isinstance(found, DeadLetter):
                    dead.append(found)
                    lost_tokens += item.length
                else:
                    whole.append((found, item.task))
            rows.append([sample for sample, _ in whole])
            tasks.append(tuple(task for _, task in whole))
        inputs, weight = collate(rows, self._pad)
        tokens = sum(len(sample.ids) for row in rows for sample in row)
        return Batch(inputs, weight, tokens, tuple(tasks), tuple(dead), lost_tokens, share.cursor)

    def prepared(self, item: Item) -> Prepared | DeadLetter:
        """The sample of an item, or what is wrong with it."""
        found = self._cache.get(item)
        if found is None:
            try:
                sample = self.plan.read(item)
                found = prepare(sample, self._tokenizer, self._processor, item.piece)
                _check_length(item, found)
            except _DAMAGE as error:
                place = self.plan.where(item)
                reason = str(error).removeprefix(f"{place}: ")
                return DeadLetter(step="load", error=type(error).__name__, reason=reason, source=place)
            self._cache.put(item, found)
        return found


def _check_length(item: Item, sample: Prepared) -> None:
    """Raises ValueError when a sample is not what the plan counted; a piece may be shorter by less than a picture."""
    found = len(sample.ids)
    if not found:
        raise ValueError("it begins with a picture larger than a pack; raise the capacity, or drop what is oversize")
    if found > item.length or (item.piece is None and found < item.length):
        raise ValueError(f"the index counts {item.length} tokens and the sample has {found}; build the dataset again")


class _Cache:
    """The samples used last, up to a number of bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._samples: OrderedDict[Item, Prepared] = OrderedDict()

    def get(self, item: Item) -> Prepared | None:
        found = self._samples.get(item)
        if found is not None:
            self._samples.move_to_end(item)
        return found

    def put(self, item: Item, sample: Prepared) -> None:
        self._samples[item] = sample
        self._held += sample.nbytes
        while self._held > self._limit:
            _, oldest = self._samples.popitem(last=False)
            self._held -= oldest.nbytes


def _unchanged(batch: Batch | UserError) -> Batch | UserError:
    return batch
