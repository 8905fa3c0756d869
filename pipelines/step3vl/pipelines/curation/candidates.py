"""Candidates for near-duplicates: samples that share a key, each pair compared before it becomes an edge.

Texts meet under the bands of their signatures. Images meet under chunks of their hash, together with the text where
there is one, for near images are duplicates only under equal texts where these are short.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from step3vl.data.dataset import LedgerStep
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.exact import exact_kept
from step3vl.pipelines.curation.exchange import Gathered, Packs, deal, distinct, groups, part_path, split
from step3vl.pipelines.curation.features import Features, FeatureStore
from step3vl.pipelines.curation.image_hashes import chunk_keys
from step3vl.pipelines.curation.inputs import Nodes, nodes_of, shards_of
from step3vl.pipelines.curation.matching import match
from step3vl.pipelines.curation.signatures import band_keys
from step3vl.pipelines.curation.words import U64, mix

CANDIDATES = "candidates"  # the name under which pairs are counted
HOT_BUCKETS = "hot_buckets"
KEY = np.dtype([("key", "<u8"), ("node", "<u8")])
EDGE = np.dtype([("high", "<u8"), ("low", "<u8")])
_BATCH = 10_000  # pairs that are compared at once


def keys_of(features: Features, config: CurationConfig) -> tuple[NDArray[np.intp], U64]:
    """Under which keys samples meet: the index of a sample and one of its keys, for all of them."""
    samples = features.samples
    everything = np.arange(len(samples))
    long = np.zeros(len(samples), bool)
    rows: list[tuple[NDArray[np.intp], U64]] = [(everything[:0], np.zeros(0, np.uint64))]
    # What has to be equal anyway is part of the key, so that it makes no candidates.
    alike = mix(samples["images"].astype(np.uint64) << np.uint64(1) | samples["conversation"])
    if config.near:
        long = samples["words"] >= config.near.min_words
        if config.near.match_numbers:
            alike = alike ^ samples["numbers"]
        rows.append(_spread(everything[long], band_keys(samples["signature"][long], config.near), alike[long]))
    if config.images:
        with_images = (samples["images"] > 0) & ~long
        wordless = samples["characters"] == 0
        hashes = features.images[samples["image"][with_images].astype(np.intp)]  # of the first image, which must match
        structured = hashes["quality"] >= config.images.pdq_quality
        text = mix(samples["text"][:, 0] ^ samples["text"][:, 1] ^ samples["images"])[with_images]
        where = everything[with_images]
        for part, selective in (
            (structured & ~wordless[with_images], False),
            (structured & wordless[with_images], True),
        ):
            rows.append(_spread(where[part], chunk_keys(hashes["phash"][part], selective=selective), text[part]))
        flat = ~structured
        rows.append(_spread(where[flat], hashes["pixels"][flat][:, :1].astype(np.uint64), text[flat]))
    indices, keys = zip(*rows, strict=True)
    return np.concatenate(indices), np.concatenate(keys)


def _spread(where: NDArray[np.intp], keys: U64, alike: U64) -> tuple[NDArray[np.intp], U64]:
    """Keys [samples, keys] as one row for each key."""
    return np.repeat(where, keys.shape[1]), mix(keys ^ alike[:, None]).ravel()


class ScatterKeys:
    """Sends the keys of each sample that is no exact duplicate.

    Of a key that many samples of the shard have, only some are sent: the others become candidates here.
    """

    def __init__(
        self, features: FeatureStore, staging: Staging, exact: str, config: CurationConfig, partitions: int
    ) -> None:
        self._features, self._staging, self._exact = features, staging, exact
        self._config, self._partitions = config, partitions

    def keys(self, number: int) -> NDArray[np.void]:
        """All keys of a shard, sorted."""
        features = self._features.shard(number)
        nodes = nodes_of(number, np.arange(len(features.samples)))
        kept = exact_kept(features.samples, number, len(self._config.prefer), self._staging, self._exact)
        indices = np.flatnonzero((kept == nodes) & (features.samples["live"] == 1))
        where, keys = keys_of(features.take(indices), self._config)
        rows = np.empty(len(keys), KEY)
        rows["key"], rows["node"] = keys, nodes[indices[where]]
        return distinct(rows)

    def __call__(self, number: int) -> Packs:
        rows = self.keys(number)
        rows = rows[_places(rows) < self._config.hot_bucket]
        yield from deal(rows, rows["key"], self._partitions)


class ScatterHotPairs:
    """Sends the pairs of the samples that `ScatterKeys` does not send: each with the one before it and the first."""

    def __init__(self, keys: ScatterKeys, earlier: NDArray[np.bool_], hot: int) -> None:
        self._keys, self._earlier, self._hot = keys, earlier, hot

    def __call__(self, number: int) -> Packs:
        if not self._earlier[number]:
            rows = self._keys.keys(number)
            places = _places(rows)
            yield number, _star(rows["node"], places, np.flatnonzero(places >= self._hot))


def _places(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """The place of each row among those of its key."""
    starts, sizes = groups(rows["key"])
    return np.arange(len(rows)) - np.repeat(starts, sizes)


def _star(nodes: Nodes, places: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.void]:
    """Edges from members of buckets to the one before each and to the first of its bucket."""
    others = np.concatenate([members - 1, members - places[members]])
    return edges_of(nodes[others], nodes[np.concatenate([members, members])])


def bucket_pairs(rows: NDArray[np.void], hot: int) -> tuple[NDArray[np.void], int]:
    """The pairs of samples that share a key, each once, and how many keys were hot.

    Args:
        rows: Records of `KEY`.
        hot: Members up to which all pairs are formed. Of more, each is paired with the one before it and the first.
    """
    rows = distinct(rows)
    nodes = rows["node"]
    starts, sizes = groups(rows["key"])
    firsts, seconds = [nodes[:0]], [nodes[:0]]
    for size in range(2, hot + 1):
        of_size = starts[sizes == size]
        first, second = np.triu_indices(size, 1)
        firsts.append(nodes[of_size[:, None] + first].ravel())
        seconds.append(nodes[of_size[:, None] + second].ravel())
    places = _places(rows)
    large = np.repeat(sizes > hot, sizes)
    star = _star(nodes, places, np.flatnonzero(large & (places > 0)))
    pairs = edges_of(np.concatenate(firsts), np.concatenate(seconds))
    return distinct(np.concatenate([pairs, star])), int((sizes > hot).sum())


def edges_of(first: Nodes, second: Nodes) -> NDArray[np.void]:
    """Distinct edges between nodes."""
    edges = np.empty(len(first), EDGE)
    edges["high"], edges["low"] = np.maximum(first, second), np.minimum(first, second)
    return distinct(edges)


class GatherKeys:
    """Makes pairs of the samples that share a key, and sends each to the shard of its higher node."""

    def __init__(self, earlier: NDArray[np.bool_], hot: int) -> None:
        self._earlier, self._hot = earlier, hot

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        pairs, hot = bucket_pairs(rows, self._hot)
        # Earlier samples come first, so that a pair whose higher node is earlier is of two that are not dropped.
        shards = shards_of(pairs["high"])
        new = ~self._earlier[shards]
        yield from split(pairs[new], shards[new])
        yield Report(accounts=(LedgerStep(name=HOT_BUCKETS, read=hot, kept=hot),))


class VerifyPairs:
    """Compares pairs, and writes those that are duplicates as the edges of a shard."""

    def __init__(self, features: FeatureStore, staging: Staging, folder: str, config: CurationConfig) -> None:
        self._features, self._staging, self._folder, self._config = features, staging, folder, config

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        pairs = distinct(rows)
        edges = [pairs[:0]]
        for first in range(0, len(pairs), _BATCH):
            batch = pairs[first : first + _BATCH]
            high, low = self._features.gather(batch["high"]), self._features.gather(batch["low"])
            edges.append(batch[match(high, low, self._config).is_match])
        verified = np.concatenate(edges)
        self._staging.open().put(part_path(self._folder, number), verified.tobytes())
        different = len(pairs) - len(verified)
        dropped = {"different": different} if different else {}
        yield Report(accounts=(LedgerStep(name=CANDIDATES, read=len(pairs), kept=len(verified), dropped=dropped),))
