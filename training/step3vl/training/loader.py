"""Packs of a plan to micro-batches of a rank.

The plan is made from the index before a picture is read, and rank r of w takes the packs whose number leaves r when
divided by w. All that a loader needs to go on is therefore one integer, the number of packs that all ranks together
have taken, and it holds for any number of ranks and any micro-batch.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from step3vl.data.errors import UserError
from step3vl.data.plan import Item, Mixture, Pack, Plan
from step3vl.data.tokens import TokenIds
from step3vl.model import Step3VLImageProcessor
from step3vl.training.batch import Batch, Prepared, collate, prepare


class PackLoader(IterableDataset[Batch | UserError]):
    """The micro-batches of rank `rank`, of `micro_batch` packs each, without end: see `batches`.

    Raises UserError when a dataset was counted with another tokenizer or for other picture sizes.
    """

    def __init__(
        self,
        mixture: Mixture,
        *,
        capacity: int,
        seed: int,
        tokenizer: Tokenizer,
        image_processor: Step3VLImageProcessor,
        micro_batch: int,
        rank: int,
        world: int,
        workers: int = 0,
        cache_mb: int = 0,
    ) -> None:
        self.plan = Plan(mixture, capacity, seed)
        for dataset in self.plan.datasets:
            dataset.check_counting(tokenizer, image_processor.spec)
        self._tokenizer, self._processor = tokenizer, image_processor
        self._pad = TokenIds.of(tokenizer).pad
        self._micro_batch, self._rank, self._world = micro_batch, rank, world
        self._start, self._workers = 0, workers
        self._cache = _Cache(cache_mb * 2**20 // max(workers, 1))

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """From pack `start` of the plan on, in the same order whatever the number of workers."""
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
        packs, together = self.plan.packs(self._start), self._micro_batch * self._world
        number = 0
        while True:
            group = list(islice(packs, together))
            if number % of == mine:
                try:
                    yield self._batch(group)
                except UserError as error:
                    yield error
                    return
            number += 1

    def _batch(self, group: list[Pack]) -> Batch:
        own = [pack for pack in group if pack.number % self._world == self._rank]
        inputs, weight = collate([[self._prepared(item) for item in pack.items] for pack in own], self._pad)
        for pack, row in zip(own, inputs["sequence_ids"], strict=True):
            if int((row > 0).sum()) != pack.length:
                names = ", ".join(sorted({self.plan.datasets[item.source].url for item in pack.items}))
                raise UserError(f"the index of {names} counts other tokens than its samples have; build it again")
        tasks = tuple(tuple(self.plan.task(item) for item in pack.items) for pack in own)
        return Batch(inputs, weight, sum(pack.length for pack in group), tasks)

    def _prepared(self, item: Item) -> Prepared:
        found = self._cache.get(item)
        if found is None:
            sample = self.plan.read(item)
            try:
                found = prepare(sample, self._tokenizer, self._processor)
            except (OSError, ValueError) as error:
                url = self.plan.datasets[item.source].url
                raise UserError(f"sample {sample.id} of {url} cannot be prepared: {error}; build it again") from None
            self._cache.put(item, found)
        return found


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
