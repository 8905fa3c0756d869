"""When two samples are duplicates, and which of several is kept.

Two samples are duplicates when their texts match and all their images match, one by one and in order. So one image
with two captions is no duplicate, and neither is one caption on two images.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from step3vl.pipelines.curation.config import CurationConfig, ImagesConfig
from step3vl.pipelines.curation.features import Features, FeatureStore, Records
from step3vl.pipelines.curation.image_hashes import ImageHashes, distances
from step3vl.pipelines.curation.inputs import Nodes, shards_of
from step3vl.pipelines.curation.signatures import similarities


class Match(NamedTuple):
    """How alike the samples of pairs are; arrays of one entry for each pair.

    Attributes:
        is_match: Whether they are duplicates.
        similarity: Of the texts; 1 where they are equal.
        phash: The largest distance of an image from its counterpart, in bits of 64; 0 where pixels are equal.
        pdq: The same in bits of 256.
    """

    is_match: NDArray[np.bool_]
    similarity: NDArray[np.float32]
    phash: NDArray[np.uint8]
    pdq: NDArray[np.uint16]


def match(first: Features, second: Features, config: CurationConfig) -> Match:
    """Compare pairs of samples.

    Args:
        first: One of each pair.
        second: The other of each pair.
        config: The bounds.
    """
    first_samples, second_samples = first.samples, second.samples
    is_match, similarity = _match_texts(first_samples, second_samples, config)
    is_match &= first_samples["images"] == second_samples["images"]
    phash, pdq = np.zeros(len(first_samples), np.uint8), np.zeros(len(first_samples), np.uint16)
    for pair in np.flatnonzero(
        is_match
        & (first_samples["images"] > 0)
        & np.any(first_samples["content"] != second_samples["content"], axis=1)
    ):
        is_match[pair], phash[pair], pdq[pair] = match_images(first, second, int(pair), config)
    return Match(is_match, similarity, phash, pdq)


def _match_texts(
    first_samples: Records, second_samples: Records, config: CurationConfig
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    equal = np.all(first_samples["text"] == second_samples["text"], axis=1)
    similarity = equal.astype(np.float32)
    if config.near is None:
        return equal, similarity
    long = (first_samples["words"] >= config.near.min_words) & (second_samples["words"] >= config.near.min_words)
    comparable = long & (first_samples["conversation"] == second_samples["conversation"])
    if config.near.match_numbers:
        comparable &= first_samples["numbers"] == second_samples["numbers"]
    estimated = similarities(first_samples["signature"], second_samples["signature"])
    near = comparable & (estimated >= config.near.similarity)
    return equal | near, np.where(equal, np.float32(1), np.where(comparable, estimated, np.float32(0)))


def image_distances(first: ImageHashes, second: ImageHashes, bounds: ImagesConfig | None) -> tuple[int, int] | None:
    """By how many bits the DCT and the PDQ hashes of two images that match differ; None where they do not match.

    Args:
        first: The hashes of one image.
        second: Those of the other.
        bounds: None compares the pixels alone.
    """
    if np.array_equal(first["pixels"], second["pixels"]):
        return 0, 0
    if bounds is None or min(first["quality"], second["quality"]) < bounds.pdq_quality:
        return None
    near, far = distances(first, second)
    return (near, far) if near <= bounds.phash_radius and far <= bounds.pdq_radius else None


def match_images(first: Features, second: Features, pair: int, config: CurationConfig) -> tuple[bool, int, int]:
    """Whether all images of a pair match, and the largest distances.

    Args:
        first: One of each pair.
        second: The other of each pair.
        pair: The number of the pair.
        config: The bounds.
    """
    largest = (0, 0)
    for first_image, second_image in zip(first.images_of(pair), second.images_of(pair), strict=True):
        apart = image_distances(first_image, second_image, config.images)
        if apart is None:
            return False, 0, 0
        largest = max(largest[0], apart[0]), max(largest[1], apart[1])
    return True, *largest


def rank(samples: Records, nodes: Nodes, earlier: NDArray[np.bool_], scores: int | None = None) -> NDArray[np.intp]:
    """The order of samples, the one to be kept first.

    A sample of an earlier dataset comes before all others, for it is not dropped any more; then what is held out, so
    that no copy of it is trained on; then the preferred scores, more pixels, longer text and the lower node.

    Args:
        samples: Their records.
        nodes: Theirs.
        earlier: Whether each is of an earlier dataset.
        scores: How many of the scores count, the first ones; None for all.
    """
    columns = samples["scores"][:, :scores]
    keys = [nodes, -samples["characters"].astype(np.int64), -samples["area"].astype(np.float64)]
    keys += [-columns[:, number] for number in reversed(range(columns.shape[1]))]
    return np.lexsort((*keys, samples["heldout"] == 0, ~earlier))


class Decision(NamedTuple):
    """What became of the samples of a component; arrays of one entry for each.

    Attributes:
        kept: The node that each one duplicates; its own where it is kept.
        match: How alike the two are.
        complete: Whether every sample that is kept was compared with all others.
    """

    kept: Nodes
    match: Match
    complete: bool


class Chooser:
    """Chooses which samples of a connected component are kept.

    Duplication is not transitive: of a chain of ever less similar samples several are kept, and each dropped one is a
    duplicate of a kept one that it was compared with, and not merely linked to it. The cost is linear in the members:
    each is compared with at most `max_leaders` kept ones.

    Args:
        features: Of all shards.
        earlier: Whether each shard is of an earlier dataset.
        config: The bounds.
    """

    def __init__(self, features: FeatureStore, earlier: NDArray[np.bool_], config: CurationConfig) -> None:
        self._features, self._earlier, self._config = features, earlier, config

    def choose(self, nodes: Nodes) -> Decision:
        """Decide on the members of a component of any size.

        Args:
            nodes: In ascending order.
        """
        size = self._config.max_component
        chunks = [nodes[first : first + size] for first in range(0, len(nodes), size)]
        leaders = self._best(chunks) if len(chunks) > 1 else nodes[:0]
        decisions = []
        for chunk in chunks:
            decision, leaders = self._decide(chunk, leaders)
            decisions.append(decision)
        columns = zip(*(decision.match for decision in decisions), strict=True)
        return Decision(
            np.concatenate([decision.kept for decision in decisions]),
            Match(*map(np.concatenate, columns)),
            all(decision.complete for decision in decisions),
        )

    def choose_of_two(self, first: Nodes, second: Nodes) -> Iterator[tuple[Nodes, Decision]]:
        """Decide on many components of two members, which most are, all at once.

        Args:
            first: The lower node of each.
            second: The higher one.
        """
        step = self._config.max_component
        for start in range(0, len(first), step):
            pair = first[start : start + step], second[start : start + step]
            lower, higher = (self._features.gather(nodes) for nodes in pair)
            result = match(lower, higher, self._config)
            nodes = np.concatenate(pair)
            order = self._rank(Features.concatenate([lower, higher]), nodes)
            place = np.empty(len(order), np.intp)
            place[order] = np.arange(len(order))
            size = len(pair[0])
            better = np.where(place[:size] < place[size:], pair[0], pair[1])
            kept = np.concatenate([better, better])
            alike = Match(*(np.concatenate([column, column]) for column in result))
            yield nodes, Decision(kept, alike, complete=True)

    def _best(self, chunks: Sequence[Nodes]) -> Nodes:
        """The first of all members in the order of `rank`, as an array of one."""
        best = chunks[0][:0]
        for chunk in chunks:
            nodes = np.concatenate([best, chunk])
            best = nodes[self._rank(self._features.gather(nodes), nodes)[:1]]
        return best

    def _rank(self, features: Features, nodes: Nodes) -> NDArray[np.intp]:
        return rank(features.samples, nodes, self._earlier[shards_of(nodes)], len(self._config.prefer))

    def _decide(self, nodes: Nodes, leaders: Nodes) -> tuple[Decision, Nodes]:
        """Decide on some members, given those that are kept already; and all that are kept after them."""
        features = self._features.gather(nodes)
        known = self._features.gather(leaders)
        kept = nodes.copy()
        size = len(nodes)
        best = Match(
            np.ones(size, bool), np.ones(size, np.float32), np.zeros(size, np.uint8), np.zeros(size, np.uint16)
        )
        left = self._rank(features, nodes)
        left = left[~np.isin(nodes[left], leaders)]

        def drop_duplicates_of(leader: Features, node: np.uint64) -> None:
            nonlocal left
            result = match(leader.take(np.zeros(len(left), np.intp)), features.take(left), self._config)
            result.is_match[self._earlier[shards_of(nodes[left])]] = False
            dropped = left[result.is_match]
            kept[dropped] = node
            best.similarity[dropped] = result.similarity[result.is_match]
            best.phash[dropped] = result.phash[result.is_match]
            best.pdq[dropped] = result.pdq[result.is_match]
            left = left[~result.is_match]

        for index, node in enumerate(leaders):
            drop_duplicates_of(known.take(np.array([index])), node)
        while len(left) and len(leaders) < self._config.max_leaders:
            first, left = left[:1], left[1:]
            leaders = np.append(leaders, nodes[first])
            drop_duplicates_of(features.take(first), nodes[first[0]])
        return Decision(kept, best, not len(left)), leaders
