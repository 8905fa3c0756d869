"""The group of each sample, by which quotas count: a field of the index, its host, its cluster, or a score."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from step3vl.data.dataset import Dataset
from step3vl.pipelines.curation.features import MEASURES, Records
from step3vl.pipelines.curation.quotas import Quota, intervals

_COLUMNS = {"domain": "domain", "task": "task", "licence": "licence", "source": "source", "host": "source"}


def group_names(
    dataset: Dataset,
    shard: int,
    samples: Records,
    quota: Quota,
    scores: Sequence[str],
    clusters: NDArray[np.uint32] | None,
) -> tuple[list[str], NDArray[np.int64]]:
    """The group of each sample, and how many tokens it has.

    Args:
        dataset: Of the samples.
        shard: Its number in the dataset.
        samples: Their records.
        quota: What makes a group.
        scores: The names of the scores in the records.
        clusters: Of the samples, where they have embeddings.
    """
    column = _COLUMNS.get(quota.by)
    columns = ["offset", "text_tokens", "image_tokens", *([column] if column else [])]
    table = dataset.shard_index(shard, columns)
    offsets = table["offset"].to_numpy()
    order = np.argsort(offsets)
    places = order[np.searchsorted(offsets[order], samples["offset"])]
    tokens = (table["text_tokens"].to_numpy().astype(np.int64) + table["image_tokens"].to_numpy())[places]
    if quota.by == "cluster":
        assert clusters is not None
        return [f"cluster {number}" for number in clusters.tolist()], tokens
    if quota.by == "score":
        return intervals(score_column(samples, quota.score, scores), quota.score, quota.edges), tokens
    assert column is not None
    values = [str(value) for value in table[column].take(places).to_pylist()]
    return ([host_of(value) for value in values] if quota.by == "host" else values), tokens


def score_column(samples: Records, name: str, scores: Sequence[str]) -> NDArray[np.float32]:
    """A score of samples: what filters measured, or else what they came with; minus infinity for none.

    Args:
        samples: Their records.
        name: Of the score.
        scores: The names of those in the records.
    """
    column: NDArray[np.float32] = samples["scores"][:, list(scores).index(name)].copy()
    if name in MEASURES:
        measured = samples["measures"][:, MEASURES.index(name)]
        column = np.where(np.isnan(measured), column, measured)
    return column


def host_of(uri: str) -> str:
    """The host of a URL, or the file of another source."""
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    return host or uri.partition("#")[0]
