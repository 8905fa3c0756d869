"""Samples that say the same in other words: embeddings, clusters, cosines in them (SemDeDup, Abbas et al., 2023).

embeddings   texts of the samples that are left -> vectors, by a sentence encoder
centroids    a sample of the vectors -> k-means on the sphere, in the process that curates
clusters     vectors -> the nearest centroid of each
semantic     clusters -> which samples are kept

A dropped sample has been compared with the kept one that its evidence names. Pairs in different clusters are not
compared. The vectors of a cluster are in the memory of one worker, `max_component` at a time, and the comparisons grow
with the square of its members: for N samples, clusters in proportion to N keep both constant. k-means over a sample of
fixed size then has fewer points for each centroid, and assigning a sample costs a product with all centroids: 10^5
clusters of 10^4 samples are 10^9 samples, at 4 x 10^7 multiplications each; beyond that, clusters of clusters would
be needed. Vectors are rounded differently by other processors, so byte-identical results are those of one kind.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray

from step3vl.data.dataset import LedgerStep
from step3vl.data.storage import FileSlice
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import CurationConfig, SemanticConfig
from step3vl.pipelines.curation.exchange import (
    Exchange,
    Gathered,
    Packs,
    WriteParts,
    part_path,
    scatter_from,
    split,
)
from step3vl.pipelines.curation.features import FeatureStore
from step3vl.pipelines.curation.inputs import InputShard, nodes_of, open_dataset, rows_of, shards_of
from step3vl.pipelines.curation.matching import match_images, rank
from step3vl.pipelines.curation.reading import texts_of_rows
from step3vl.pipelines.curation.resolve import DROP
from step3vl.pipelines.curation.words import mix
from step3vl.pipelines.curation.writing import Outcomes

_log = logging.getLogger(__name__)

NO_CLUSTER = np.uint32(0xFFFFFFFF)
_SAMPLED = 100_000  # vectors for k-means
_ROUNDS = 12  # of k-means
_HEADER = 16  # bytes of a file of vectors, with their size
_BLOCK = 2048  # samples that are compared at once
_MEMBER = np.dtype([("cluster", "<u4"), ("node", "<u8")])
Vectors = NDArray[np.float32]


class SemanticSteps:
    """The pipelines of semantic duplicates and of clusters.

    Args:
        features: Of all shards.
        shards: All of them.
        outcomes: Of the steps before.
        config: Of the curation.
        staging: The root.
        folder: Of what the steps leave, relative to the root.
    """

    def __init__(
        self,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        outcomes: Outcomes,
        config: CurationConfig,
        staging: Staging,
        folder: str,
    ) -> None:
        assert config.semantic is not None
        self._features, self._shards, self._outcomes = features, shards, outcomes
        self._config, self._semantic, self._staging, self._folder = config, config.semantic, staging, folder

    @property
    def clusters(self) -> str:
        """The folder of the clusters of samples, in a part of `<u4` for each shard."""
        return f"{self._folder}/clusters"

    @property
    def drops(self) -> str:
        """The folder of the decisions; empty where none is made."""
        return f"{self._folder}/semantic" if self._semantic.similarity is not None else ""

    def wire_embeddings(self, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        """Embed the samples that are left."""
        numbers = pipeline | "shards" >> beam.Create(range(len(self._shards)))
        yield numbers | "embed" >> beam.ParDo(_Embed(self, staging)).with_output_types(str)

    def fit(self, vectors: int) -> None:
        """Fit the centroids, unless they are there. `vectors` is the number of all."""
        root = self._staging.open()
        if root.exists(self._centroids):
            return
        share = min(1.0, _SAMPLED / max(1, vectors))
        parts = []
        for number in range(len(self._shards)):
            rows, part = self.vectors(number)
            ids = self._features.shard(number).samples["id"][rows]
            chosen = (mix(ids[:, 0] ^ ids[:, 1]) >> np.uint64(11)) * 2.0**-53 < share
            parts.append(part[chosen].astype(np.float32))
        sample = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
        centroids = k_means(sample, min(self._semantic.clusters, max(1, len(sample))))
        root.put(self._centroids, json.dumps(centroids.shape).encode() + b"\n" + centroids.tobytes())

    @property
    def _centroids(self) -> str:
        return f"{self._folder}/centroids.bin"

    def centroids(self) -> Vectors:
        """Those that were fitted, [clusters, size]."""
        shape, _, data = self._staging.open().read_all(self._centroids).partition(b"\n")
        return np.frombuffer(data, np.float32).reshape(json.loads(shape))

    def vectors(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """The rows of a shard that have vectors, and these."""
        data = self._staging.open().read_all(self.vector_path(number))
        size = int(data[:_HEADER])
        vectors = np.frombuffer(data[_HEADER:], "<f2").reshape(-1, size)
        rows = np.flatnonzero(vectors.any(axis=1))
        return rows, vectors[rows]

    def vector_path(self, number: int) -> str:
        """Where the vectors of a shard are."""
        return part_path(f"{self._folder}/embeddings", number)

    def wire_clusters(self, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        """Find the cluster of each sample, and then what is dropped."""
        count = self._semantic.clusters
        members = scatter_from(pipeline, len(self._shards), self._scatter, "clusters")
        decided = members | "compare" >> Exchange(_MEMBER, self._gather, count, staging)
        write = Exchange(DROP, WriteParts(staging, f"{self._folder}/semantic"), len(self._shards), staging)
        yield decided.reports
        yield (decided.packs | "write" >> write).reports

    def _scatter(self, number: int) -> Packs:
        rows, vectors = self.vectors(number)
        samples = self._features.shard(number).samples
        clusters = np.full(len(samples), NO_CLUSTER, "<u4")
        clusters[rows] = nearest(vectors.astype(np.float32), self.centroids())
        self._staging.open().put(part_path(self.clusters, number), clusters.tobytes())
        members = np.empty(len(rows), _MEMBER)
        members["cluster"], members["node"] = clusters[rows], nodes_of(number, rows)
        yield from split(members, members["cluster"].astype(np.int64))

    def _gather(self, number: int, rows: NDArray[Any]) -> Gathered:
        if self._semantic.similarity is None or len(rows) < 2:
            return
        nodes = np.sort(rows["node"])
        size = self._config.max_component
        for first in range(0, len(nodes), size):
            drops = self._decide(nodes[first : first + size], self._semantic.similarity)
            yield from split(drops, shards_of(drops["node"]))
        large = int(len(nodes) > size)
        yield Report(accounts=(LedgerStep(name="large_clusters", read=large, kept=large),))

    def _decide(self, nodes: NDArray[np.uint64], similarity: float) -> NDArray[np.void]:
        """Which of some samples are dropped: each for a kept one that is at least so alike, the best kept first."""
        features = self._features.gather(nodes)
        samples = features.samples
        earlier = np.array([self._shards[shard].earlier for shard in shards_of(nodes).tolist()], bool)
        order = rank(samples, nodes, earlier, len(self._config.prefer))
        vectors = self._gather_vectors(nodes)
        kept: list[int] = []
        drops: list[tuple[int, int, float, int, int]] = []
        for index in order.tolist():
            if kept and not earlier[index]:
                candidates = np.array(kept)
                cosines = vectors[candidates] @ vectors[index]
                for place in np.flatnonzero(cosines >= similarity).tolist():
                    other = int(candidates[place])
                    if self._may_match(samples, other, index):
                        pair = features.take(np.array([other])), features.take(np.array([index]))
                        same, phash, pdq = match_images(*pair, 0, self._config)
                        if same:
                            drops.append((int(nodes[index]), int(nodes[other]), float(cosines[place]), phash, pdq))
                            break
                else:
                    kept.append(index)
            else:
                kept.append(index)
        return np.array(drops, DROP)

    def _may_match(self, samples: NDArray[np.void], first: int, second: int) -> bool:
        """Whether two samples are of one kind, with as many images, and conversations with the same numbers."""
        names = ["conversation", "images"]
        if self._config.near is None or self._config.near.match_numbers:
            names.append("numbers")
        return all(samples[name][first] == samples[name][second] for name in names)

    def _gather_vectors(self, nodes: NDArray[np.uint64]) -> Vectors:
        """The vectors of samples of any shards, in their order."""
        size = 2 * self.centroids().shape[1]
        places = zip(shards_of(nodes).tolist(), rows_of(nodes).tolist(), strict=True)
        slices = [FileSlice(self.vector_path(shard), _HEADER + row * size, size) for shard, row in places]
        data = b"".join(self._staging.open().read_many(slices))
        return np.frombuffer(data, "<f2").reshape(len(nodes), -1).astype(np.float32)

    def embed(self, number: int, embedder: Any) -> None:
        """Embed the samples of a shard, and write the vectors."""
        shard = self._shards[number]
        samples = self._features.shard(number).samples
        rows = np.flatnonzero(self._outcomes.candidates(number) if not shard.earlier else samples["live"] == 1)
        rows = rows[samples["words"][rows] >= self._semantic.min_words] if self._config.near else rows
        dataset = open_dataset(shard.dataset, self._staging.store)
        texts = list(texts_of_rows(dataset, shard.number, samples[rows]))
        # A row for each sample, so that the vector of any is one small read; those that are not compared have zeros.
        vectors = np.zeros((len(samples), embedder.size), "<f2")
        vectors[rows] = embedder.embed(texts)
        header = f"{embedder.size:<{_HEADER}}".encode()
        self._staging.open().put(self.vector_path(number), header + vectors.tobytes())


class _Embed(beam.DoFn):
    def __init__(self, steps: SemanticSteps, staging: Staging) -> None:
        self._steps, self._staging = steps, staging
        self._semantic: SemanticConfig = steps._semantic

    def setup(self) -> None:
        self._staging.heartbeats.start()
        self._embedder: Any = None

    def process(self, number: int) -> Iterator[str]:
        if not self._staging.open().exists(self._steps.vector_path(number)):
            if self._embedder is None:
                from step3vl.pipelines.models.embeddings import TextEmbedder

                self._embedder = TextEmbedder(self._semantic.folder, self._semantic.tokens)
            with self._staging.heartbeats.working(f"embeddings of shard {number}"):
                self._steps.embed(number, self._embedder)
        count = len(self._steps.vectors(number)[0])
        account = LedgerStep(name="embedded", read=count, kept=count)
        yield Report(accounts=(account,)).model_dump_json(exclude_defaults=True)


def k_means(vectors: Vectors, count: int) -> Vectors:
    """Centroids on the sphere, [count, size]: from points all over the sample, by rounds of Lloyd's algorithm.

    Args:
        vectors: Of length 1, [n, size].
        count: At most n.
    """
    if not len(vectors):
        return np.zeros((1, vectors.shape[1] if vectors.ndim > 1 else 1), np.float32)
    centroids = vectors[np.linspace(0, len(vectors) - 1, count).astype(np.intp)].copy()
    for _ in range(_ROUNDS):
        labels = nearest(vectors, centroids)
        sums = np.zeros_like(centroids)
        np.add.at(sums, labels, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        updated = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centroids)
        if np.allclose(updated, centroids, atol=1e-5):
            break
        centroids = updated.astype(np.float32)
    return centroids


def nearest(vectors: Vectors, centroids: Vectors) -> NDArray[np.uint32]:
    """The centroid of the largest cosine of each vector; of equal ones the first."""
    parts = [np.zeros(0, np.intp)]
    for first in range(0, len(vectors), _BLOCK):
        parts.append(np.argmax(vectors[first : first + _BLOCK] @ centroids.T, axis=1))
    return np.concatenate(parts).astype(np.uint32)
