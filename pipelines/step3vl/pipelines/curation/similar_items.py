"""Samples that say what benchmark items say, in other words: a list for people to look at. None of them is dropped.

N-grams miss such samples, and embeddings take many for alike that only share a subject.
"""

import io
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import PCollection

from step3vl.data.dataset import LedgerStep
from step3vl.data.storage import Store
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import SemanticConfig
from step3vl.pipelines.curation.decontaminate import QUOTE, BenchmarkIndex
from step3vl.pipelines.curation.features import FeatureStore
from step3vl.pipelines.curation.inputs import InputShard
from step3vl.pipelines.curation.semantic import SemanticSteps

SIMILAR_ITEMS = "similar_items"  # the folder, and what they are counted as
_BLOCK = 1024  # samples that are compared with all items at once
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("item", pa.string()),
        ("similarity", pa.float32()),  # cosine of the embeddings
        ("quote", pa.string()),  # how the item begins
    ]
)


class SimilarItems:
    """Lists the samples whose embedding is near that of a benchmark item.

    Args:
        steps: That have embedded the samples.
        features: Of all shards.
        shards: All of them.
        semantic: The encoder, and how near.
        benchmarks: Path of the index of benchmark items.
        out: URL of the new dataset.
        staging: The root.
    """

    def __init__(
        self,
        steps: SemanticSteps,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        semantic: SemanticConfig,
        benchmarks: str,
        out: str,
        staging: Staging,
    ) -> None:
        self._steps, self._features, self._shards, self._semantic = steps, features, shards, semantic
        self._benchmarks, self._out, self._staging = benchmarks, out, staging
        self._first = sum(shard.earlier for shard in shards)

    def wire(self, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        """Write a part of the list for each shard."""
        numbers = pipeline | "shards" >> beam.Create(range(self._first, len(self._shards)))
        yield numbers | "compare" >> beam.ParDo(_Compare(self, staging)).with_output_types(str)

    def load(self) -> tuple[BenchmarkIndex, np.ndarray]:
        """The items that have a text, and their embeddings as float32 [items, size]."""
        from step3vl.pipelines.models.embeddings import TextEmbedder

        index = BenchmarkIndex.load(self._staging.open().read_all(self._benchmarks))
        embedder = TextEmbedder(self._semantic.folder, self._semantic.tokens)
        vectors = embedder.embed(index.texts).astype(np.float32)
        vectors[[not text for text in index.texts]] = 0
        return index, vectors

    def write(self, number: int, index: BenchmarkIndex, items: np.ndarray) -> int:
        """Write the part of a shard. Returns how many samples it lists."""
        rows, vectors = self._steps.vectors(number)
        ids = self._features.shard(number).samples["id"][rows].tolist()
        table: list[tuple[str, str, str, float, str]] = []
        for first in range(0, len(rows), _BLOCK):
            cosines = vectors[first : first + _BLOCK].astype(np.float32) @ items.T
            best = cosines.argmax(axis=1) if len(items) else np.zeros(len(cosines), np.intp)
            for place, item in enumerate(best.tolist()):
                if len(items) and cosines[place, item] >= self._semantic.similar_items:
                    high, low = ids[first + place]
                    quote = index.texts[item][:QUOTE]
                    cosine = float(cosines[place, item])
                    table.append(
                        (f"{high:016x}{low:016x}", self._shards[number].dataset, index.names[item], cosine, quote)
                    )
        sink = io.BytesIO()
        columns = list(zip(*table, strict=True)) or [()] * len(_SCHEMA)
        pq.write_table(pa.table([list(column) for column in columns], schema=_SCHEMA), sink)
        part, parts = number - self._first, len(self._shards) - self._first
        store = Store(self._out, self._staging.store)
        store.put(f"{SIMILAR_ITEMS}/{part:05d}-of-{parts:05d}.parquet", sink.getvalue())
        return len(table)


class _Compare(beam.DoFn):
    def __init__(self, similar: SimilarItems, staging: Staging) -> None:
        self._similar, self._staging = similar, staging

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._items: tuple[BenchmarkIndex, np.ndarray] | None = None

    def process(self, number: int) -> Iterator[str]:
        with self._staging.heartbeats.working(f"items like samples of shard {number}"):
            if self._items is None:
                self._items = self._similar.load()
            count = self._similar.write(number, *self._items)
        account = LedgerStep(name=SIMILAR_ITEMS, read=count, kept=count)
        yield Report(accounts=(account,)).model_dump_json(exclude_defaults=True)
