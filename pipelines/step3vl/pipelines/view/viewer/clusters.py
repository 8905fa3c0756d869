"""The clusters of duplicates that a curation found: the samples that most others were dropped for."""

from heapq import nlargest
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from step3vl.data.dataset import Dataset
from step3vl.data.dataset.partitions import ID, Partitions, ids_of
from step3vl.pipelines.curation.evidence import evidence_tables

_LISTED = 10_000


class Cluster(NamedTuple):
    """Samples that were dropped for one.

    Attributes:
        dropped: How many.
        id: Of the one that they match.
    """

    dropped: int
    id: str


class Clusters(NamedTuple):
    """The clusters of a curation.

    Attributes:
        total: How many there are.
        dropped: Samples that were dropped in them.
        largest: The first of them by size.
    """

    total: int
    dropped: int
    largest: list[Cluster]


def find_clusters(dataset: Dataset) -> Clusters:
    """Group the evidence of a curation by the sample that decided.

    Memory is that of a part of the evidence, and of the largest clusters. 16 bytes of each dropped sample are below
    TMPDIR meanwhile.

    Args:
        dataset: That was curated.

    Raises:
        StoreError: The store does not answer.
    """
    losses = sum(sum(step.dropped.values()) for step in dataset.manifest.ledger)
    total = dropped = 0
    largest: list[Cluster] = []
    with Partitions.for_rows(ID, losses) as parts:
        for table in evidence_tables(dataset.files, ("matched_id", "matched_dataset")):
            ids = ids_of(table.filter(pc.not_equal(table["matched_dataset"], ""))["matched_id"])
            parts.add(ids, ids["low"])
        for part in parts:
            ids, sizes = np.unique(part, return_counts=True)
            total, dropped = total + len(ids), dropped + len(part)
            clusters = (
                Cluster(size, f"{high:016x}{low:016x}")
                for size, (high, low) in zip(sizes.tolist(), ids.tolist(), strict=True)
            )
            largest = nlargest(_LISTED, (*largest, *clusters))
    return Clusters(total, dropped, largest)
