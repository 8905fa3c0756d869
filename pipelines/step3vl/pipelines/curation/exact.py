"""Exact duplicates: equal texts and equal pixels, over all datasets at once.

Each shard first chooses among its own, so that no more than one row a shard travels for any content, however often it
is repeated.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.exchange import Gathered, Packs, deal, read_part, split
from step3vl.pipelines.curation.features import FeatureStore, Records
from step3vl.pipelines.curation.inputs import Nodes, nodes_of, rows_of, shards_of

EXACT = "curate.exact"  # the ledger's name of the step
PAIR = np.dtype([("node", "<u8"), ("kept", "<u8")])


def content_dtype(scores: int) -> np.dtype[np.void]:
    """A row that travels: the content of a sample, and what it is chosen by."""
    return np.dtype(
        [("content", "<u8", 2), ("later", "u1"), ("train", "u1"), ("scores", "<f4", (scores,)), ("node", "<u8")]
    )


def _best_first(rows: NDArray[np.void]) -> NDArray[np.intp]:
    """Rows by content, and of one content in the order of `matching.rank`: what else it looks at is equal."""
    scores = [-rows["scores"][:, number] for number in reversed(range(rows["scores"].shape[1]))]
    return np.lexsort(
        (rows["node"], *scores, rows["train"], rows["later"], rows["content"][:, 1], rows["content"][:, 0])
    )


def _firsts(rows: NDArray[np.void]) -> NDArray[np.intp]:
    """For each row of sorted ones, the index of the first row of its content."""
    content = rows["content"]
    new = np.concatenate([[True], np.any(content[1:] != content[:-1], axis=1)]) if len(rows) else np.zeros(0, bool)
    return np.flatnonzero(new)[np.cumsum(new) - 1]


class ScatterContents:
    """Sends the content of each sample that is not a duplicate within its own shard."""

    def __init__(self, features: FeatureStore, earlier: NDArray[np.bool_], partitions: int, scores: int) -> None:
        self._features, self._earlier, self._partitions, self._scores = features, earlier, partitions, scores

    def __call__(self, number: int) -> Packs:
        samples = self._features.shard(number).samples
        rows = _rows(samples, number, self._scores, later=not self._earlier[number])
        rows = rows[(kept_in_shard(samples, number, self._scores) == rows["node"]) & (samples["live"] == 1)]
        yield from deal(rows, rows["content"][:, 1], self._partitions)


def _rows(samples: Records, number: int, scores: int, *, later: bool) -> NDArray[np.void]:
    rows = np.empty(len(samples), content_dtype(scores))
    rows["content"], rows["scores"] = samples["content"], samples["scores"][:, :scores]
    rows["later"], rows["train"] = later, samples["heldout"] == 0
    rows["node"] = nodes_of(number, np.arange(len(samples)))
    return rows


def kept_in_shard(samples: Records, number: int, scores: int) -> Nodes:
    """Which sample of the shard each live one duplicates: its own node where it is kept, or not live."""
    rows = _rows(samples, number, scores, later=True)
    kept = rows["node"].copy()
    live = rows[samples["live"] == 1]
    live = live[_best_first(live)]
    kept[rows_of(live["node"])] = live["node"][_firsts(live)]
    return kept


def gather_contents(number: int, rows: NDArray[Any]) -> Gathered:
    """Send each duplicate to its shard, with the sample that is kept."""
    rows = rows[_best_first(rows)]
    pairs = np.empty(len(rows), PAIR)
    pairs["node"], pairs["kept"] = rows["node"], rows["node"][_firsts(rows)]
    pairs = pairs[pairs["node"] != pairs["kept"]]
    yield from split(pairs, shards_of(pairs["node"]))


def exact_kept(samples: Records, number: int, scores: int, staging: Staging, folder: str) -> Nodes:
    """Which sample of any shard each sample of a shard duplicates exactly; its own node where it is kept.

    Args:
        samples: Of the shard.
        number: Of the shard.
        scores: How many of the scores decide, the first ones.
        staging: The root.
        folder: Of what the partitions decided.
    """
    kept = kept_in_shard(samples, number, scores)
    decided = read_part(staging, folder, number, PAIR)
    elsewhere = nodes_of(number, np.arange(len(samples)))
    elsewhere[rows_of(decided["node"])] = decided["kept"]
    return elsewhere[rows_of(kept)]
