"""Connected components of any number of nodes, by rounds of Beam: no process holds the graph.

Each round is a large-star and a small-star operation (Kiveris et al., "Connected Components in MapReduce and Beyond",
2014). They keep what is connected and move every node's edges to ever smaller neighbours, until each component is a
star around its smallest node. That takes a number of rounds that grows with the logarithm of the longest path.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.accounts import InputTotal, Report, sum_hashes
from step3vl.pipelines.core.beam import WriteReport, read_report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.candidates import EDGE, edges_of
from step3vl.pipelines.curation.exchange import (
    Exchange,
    Gathered,
    Packs,
    deal,
    distinct,
    groups,
    part_path,
    read_part,
    run_exchanges,
    scatter_from,
)
from step3vl.pipelines.curation.inputs import Nodes
from step3vl.pipelines.curation.words import mix

_log = logging.getLogger(__name__)

HALF = np.dtype([("node", "<u8"), ("other", "<u8")])
_EDGES = "edges"
_MOST_ROUNDS = 100  # of which paths of 10^9 nodes need a fifth


def large_star(halves: NDArray[np.void]) -> NDArray[np.void]:
    """Connect each node's larger neighbours to the smallest of its neighbours and itself.

    Args:
        halves: Records of `HALF`: all neighbours of some nodes.
    """
    halves, smallest = _with_smallest(halves)
    smallest = np.minimum(smallest, halves["node"])
    larger = halves["other"] > halves["node"]
    return _edges(halves["other"][larger], smallest[larger])


def small_star(edges: NDArray[np.void]) -> NDArray[np.void]:
    """Connect each node and its smaller neighbours to the smallest of them.

    Args:
        edges: Records of `EDGE`: all smaller neighbours of some nodes.
    """
    halves, smallest = _with_smallest(_halves(edges["high"], edges["low"]))
    return _edges(np.concatenate([halves["other"], halves["node"]]), np.concatenate([smallest, smallest]))


def _with_smallest(halves: NDArray[np.void]) -> tuple[NDArray[np.void], Nodes]:
    """The rows by node, and the smallest neighbour of the node of each row."""
    halves = distinct(halves)
    starts, sizes = groups(halves["node"])
    return halves, np.repeat(halves["other"][starts], sizes)


def _halves(nodes: Nodes, others: Nodes) -> NDArray[np.void]:
    halves = np.empty(len(nodes), HALF)
    halves["node"], halves["other"] = nodes, others
    return halves


def _edges(first: Nodes, second: Nodes) -> NDArray[np.void]:
    return edges_of(first[first != second], second[first != second])


class _ScatterEdges:
    def __init__(self, staging: Staging, folder: str, partitions: int) -> None:
        self._staging, self._folder, self._partitions = staging, folder, partitions

    def __call__(self, number: int) -> Packs:
        edges = read_part(self._staging, self._folder, number, EDGE)
        halves = np.concatenate([_halves(edges["high"], edges["low"]), _halves(edges["low"], edges["high"])])
        yield from deal(halves, halves["node"], self._partitions)


class _Star:
    def __init__(self, operation: Any, partitions: int) -> None:
        self._operation, self._partitions = operation, partitions

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        edges = self._operation(rows)
        yield from deal(edges, edges["high"], self._partitions)


class _WriteEdges:
    """Writes the edges of a partition, and reports how many there are and a sum of their hashes."""

    def __init__(self, staging: Staging, folder: str) -> None:
        self._staging, self._folder = staging, folder

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        edges = distinct(rows)
        self._staging.open().put(part_path(self._folder, number), edges.tobytes())
        hashes = mix(mix(edges["high"]) ^ edges["low"])
        content = sum_hashes([int(hashes.sum(dtype=np.uint64)), int(mix(hashes).sum(dtype=np.uint64)) << 64])
        yield Report(inputs={_EDGES: InputTotal(count=len(edges), content=content)})


def connect(staging: Staging, folder: str, parts: int, partitions: int, flags: Sequence[str]) -> tuple[str, int]:
    """Turn edges into stars.

    Args:
        staging: The root.
        folder: Of the edges, in `parts` files; what the rounds leave goes into folders beside them.
        parts: See `folder`.
        partitions: Into how many files the stars go.
        flags: Beam's own options.

    Returns:
        The folder of the stars: edges from every other node of a component to its smallest; and the number of rounds.

    Raises:
        InfrastructureError: The machine caused an error.
    """
    before = InputTotal()
    root = staging.open()
    source, inputs = folder, parts
    for number in range(1, _MOST_ROUNDS + 1):
        target = f"{folder}.{number:02d}"
        if not root.exists(_report_path(target)):
            wire = partial(_wire_round, source=source, inputs=inputs, target=target, partitions=partitions)
            run_exchanges(f"components, round {number}", flags, staging, wire)
        after = read_report(staging, _report_path(target)).inputs.get(_EDGES, InputTotal())
        _log.info("components: round %d, %d edges", number, after.count)
        if after == before or not after.count:
            return target, number
        source, inputs, before = target, partitions, after
    raise InfrastructureError(f"the components did not settle in {_MOST_ROUNDS} rounds")


def _report_path(folder: str) -> str:
    return f"{folder}/report.json"


def _wire_round(
    pipeline: beam.Pipeline, staging: Staging, source: str, inputs: int, target: str, partitions: int
) -> None:
    scattered = scatter_from(pipeline, inputs, _ScatterEdges(staging, source, partitions), "edges")
    large = scattered | "large-star" >> Exchange(HALF, _Star(large_star, partitions), partitions, staging)
    small = large.packs | "small-star" >> Exchange(EDGE, _Star(small_star, partitions), partitions, staging)
    done = small.packs | "write" >> Exchange(EDGE, _WriteEdges(staging, target), partitions, staging)
    _ = done.reports | "report" >> WriteReport(staging, _report_path(target))
