"""Which samples of each connected component are kept."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from step3vl.data.dataset import LedgerStep
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.candidates import EDGE
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.exchange import Gathered, Packs, deal, groups, read_part, split
from step3vl.pipelines.curation.features import FeatureStore
from step3vl.pipelines.curation.inputs import Nodes, shards_of
from step3vl.pipelines.curation.matching import Chooser, Decision

NEAR = "curate.near"  # the ledger's name of the step
CROPPED = "curate.crops"
SEMANTIC = "curate.semantic"
COMPONENTS, LARGE, INCOMPLETE, LARGEST = "components", "large_components", "incomplete_components", "largest_component"
DROP = np.dtype([("node", "<u8"), ("kept", "<u8"), ("similarity", "<f4"), ("phash", "u1"), ("pdq", "<u2")])


class ScatterStars:
    """Sends each member of a component to the partition of its smallest node."""

    def __init__(self, staging: Staging, folder: str, partitions: int) -> None:
        self._staging, self._folder, self._partitions = staging, folder, partitions

    def __call__(self, number: int) -> Packs:
        edges = read_part(self._staging, self._folder, number, EDGE)
        yield from deal(edges, edges["low"], self._partitions)


class GatherComponents:
    """Decides on the components of a partition, and sends each dropped sample to its shard."""

    def __init__(self, features: FeatureStore, earlier: NDArray[np.bool_], config: CurationConfig) -> None:
        self._chooser = Chooser(features, earlier, config)
        self._config = config

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        rows = rows[np.lexsort((rows["high"], rows["low"]))]
        starts, sizes = groups(rows["low"])
        counts = {COMPONENTS: len(starts), LARGE: int((sizes >= self._config.max_component).sum()), INCOMPLETE: 0}
        drops = [np.zeros(0, DROP)]
        for nodes, decision in self._decisions(rows, starts, sizes):
            counts[INCOMPLETE] += not decision.complete
            drops.append(_dropped(nodes, decision))
        dropped = np.concatenate(drops)
        yield from split(dropped, shards_of(dropped["node"]))
        yield Report(accounts=tuple(LedgerStep(name=name, read=n, kept=n) for name, n in counts.items()))

    def _decisions(
        self, rows: NDArray[Any], starts: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> Iterator[tuple[Nodes, Decision]]:
        pairs = starts[sizes == 1]
        yield from self._chooser.choose_of_two(rows["low"][pairs], rows["high"][pairs])
        for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
            nodes = np.concatenate([rows["low"][start : start + 1], rows["high"][start : start + size]])
            yield nodes, self._chooser.choose(nodes)


def _dropped(nodes: Nodes, decision: Decision) -> NDArray[np.void]:
    gone = decision.kept != nodes
    drops = np.empty(int(gone.sum()), DROP)
    drops["node"], drops["kept"] = nodes[gone], decision.kept[gone]
    for name in ("similarity", "phash", "pdq"):
        drops[name] = getattr(decision.match, name)[gone]
    return drops
