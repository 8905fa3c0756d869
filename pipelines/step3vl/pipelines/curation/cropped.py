"""Samples with the same text whose images are crops of one another's: found by tiles, and the largest is kept.

Only samples of equal text are compared, for an image with another caption is another sample. Those without any text
are left alone: they would all have to be compared with each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray

from step3vl.data.dataset import LedgerStep
from step3vl.data.sample.crops import ImageError
from step3vl.data.storage import split_sample
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.exchange import (
    Exchange,
    Gathered,
    Packs,
    WriteParts,
    deal,
    groups,
    scatter_from,
    split,
)
from step3vl.pipelines.curation.features import FeatureStore
from step3vl.pipelines.curation.image_hashes import decode
from step3vl.pipelines.curation.inputs import InputShard, Nodes, nodes_of, open_dataset, shards_of
from step3vl.pipelines.curation.matching import rank
from step3vl.pipelines.curation.resolve import DROP
from step3vl.pipelines.curation.tiles import Tiles, match_tiles, tiles_of
from step3vl.pipelines.curation.writing import Outcomes

_TILES = 128  # of an image
_CAPTIONED = np.dtype([("text", "<u8", 2), ("node", "<u8")])


class CropSteps:
    """The pipeline that drops crops.

    Args:
        features: Of all shards.
        shards: All of them.
        outcomes: Of the steps before.
        config: Of the curation.
        staging: The root.
        folder: Of the decisions, relative to the root.
        partitions: Over which texts are dealt.
    """

    def __init__(
        self,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        outcomes: Outcomes,
        config: CurationConfig,
        staging: Staging,
        folder: str,
        partitions: int,
    ) -> None:
        self._features, self._shards, self._outcomes, self._config = features, shards, outcomes, config
        self._staging, self._folder, self._partitions = staging, folder, partitions

    def wire(self, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        """Compare the images of samples of equal text."""
        texts = scatter_from(pipeline, len(self._shards), self._scatter, "texts")
        decided = texts | "compare" >> Exchange(_CAPTIONED, self._gather, self._partitions, staging)
        write = Exchange(DROP, WriteParts(staging, self._folder), len(self._shards), staging)
        yield decided.reports
        yield (decided.packs | "write" >> write).reports

    def _scatter(self, number: int) -> Packs:
        samples = self._features.shard(number).samples
        candidates = self._outcomes.candidates(number) & (samples["images"] > 0) & (samples["characters"] > 0)
        rows = np.flatnonzero(candidates)
        captioned = np.empty(len(rows), _CAPTIONED)
        captioned["text"], captioned["node"] = samples["text"][rows], nodes_of(number, rows)
        yield from deal(captioned, captioned["text"][:, 0], self._partitions)

    def _gather(self, number: int, rows: NDArray[Any]) -> Gathered:
        rows = rows[np.lexsort((rows["node"], rows["text"][:, 1], rows["text"][:, 0]))]
        _, keys = np.unique(rows["text"], axis=0, return_inverse=True)
        starts, sizes = groups(keys.ravel())
        compared = 0
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            if size > 1:
                with self._staging.heartbeats.working(f"crops of partition {number}"):
                    drops = self._decide(rows["node"][start : start + size])
                compared += size
                yield from split(drops, shards_of(drops["node"]))
        yield Report(accounts=(LedgerStep(name="compared_for_crops", read=compared, kept=compared),))

    def _decide(self, nodes: Nodes) -> NDArray[np.void]:
        """Which of some samples of equal text are dropped: each for a kept one whose images all share a part with its.

        Each is compared with at most `max_leaders` kept ones, so that a text that very many images have costs no more.
        """
        features = self._features.gather(nodes)
        earlier = np.array([self._shards[shard].earlier for shard in shards_of(nodes).tolist()], bool)
        order = rank(features.samples, nodes, earlier, len(self._config.prefer))
        kept: list[tuple[int, list[Tiles]]] = []
        drops: list[tuple[int, int, float, int, int]] = []
        for index in order.tolist():
            tiles = self._tiles(nodes[index])
            match = next((other for other, theirs in kept if _share(theirs, tiles)), None)
            if match is not None and not earlier[index]:
                drops.append((int(nodes[index]), int(nodes[match]), 1.0, 0, 0))
            elif len(kept) < self._config.max_leaders:
                kept.append((index, tiles))
        return np.array(drops, DROP)

    def _tiles(self, node: np.uint64) -> list[Tiles]:
        """The tiles of the images of a sample; none of one that cannot be decoded."""
        nodes = np.array([node], np.uint64)
        shard = self._shards[int(shards_of(nodes)[0])]
        sample = self._features.gather(nodes).samples[0]
        dataset = open_dataset(shard.dataset, self._staging.store)
        _, images = split_sample(dataset.fetch(shard.number, int(sample["offset"]), int(sample["size"])))
        try:
            return [tiles_of(decode(image), _TILES) for image in images]
        except ImageError:  # where no step before had to decode it
            return []


def _share(first: Sequence[Tiles], second: Sequence[Tiles]) -> bool:
    """Whether all images of two samples share a part, one by one."""
    pairs: Iterator[tuple[Tiles, Tiles]] = zip(first, second, strict=False)
    return bool(first) and len(first) == len(second) and all(match_tiles(*pair) is not None for pair in pairs)
