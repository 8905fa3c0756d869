"""The samples that questions were made from, found by their ids in the datasets of an entry."""

from collections.abc import Sequence
from functools import lru_cache

import pyarrow.compute as pc

from step3vl.data.dataset import Dataset
from step3vl.data.dataset.sharding import may_hold
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.inputs import absolute_pattern

_COLUMNS = ["id", "offset", "size"]


class Parents:
    """Finds samples by their ids.

    Args:
        datasets: Folders or URLs of committed datasets; those that are gone hold nothing.
        context: Of the build.
    """

    def __init__(self, datasets: Sequence[str], context: StepContext) -> None:
        self._datasets: list[Dataset] = []
        for url in datasets:
            try:
                self._datasets.append(Dataset.open(absolute_pattern(url, context.base), context.store))
            except UserError:
                continue
        self._places = lru_cache(maxsize=8)(self._read_places)

    def __call__(self, sample_id: str) -> Sample:
        """A sample.

        Raises:
            Unchecked: No dataset has it.
        """
        for number, dataset in enumerate(self._datasets):
            for shard, info in enumerate(dataset.manifest.shards):
                if may_hold(info.path, sample_id) and (place := self._places(number, shard).get(sample_id)):
                    return dataset.read(shard, *place)
        raise Unchecked("no_parent")

    def _read_places(self, number: int, shard: int) -> dict[str, tuple[int, int]]:
        """The offsets and sizes of a shard's samples."""
        index = self._datasets[number].shard_index(shard, _COLUMNS)
        offsets, sizes = index["offset"].to_pylist(), index["size"].to_pylist()
        return dict(zip(pc.cast(index["id"], "string").to_pylist(), zip(offsets, sizes, strict=True), strict=True))
