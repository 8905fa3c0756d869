"""The step of a curation that keeps only so much of each group of samples, by one quota after the other.

No process ever holds a group, which may be most of the corpus. A group's samples have an order, see `priorities`, and
the place in it where its quota ends is found by rounds: each one adds up, over all shards, what the samples of every
group take by the next 16 bits of their priorities, and goes into the one interval in which the sum passes the quota.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset import LedgerStep
from step3vl.pipelines.core.accounts import Report
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.exchange import (
    Exchange,
    Gathered,
    Packs,
    deal,
    groups,
    part_path,
    read_part,
    scatter_from,
)
from step3vl.pipelines.curation.features import FeatureStore, Records
from step3vl.pipelines.curation.groups import group_names, score_column
from step3vl.pipelines.curation.inputs import InputShard, open_dataset
from step3vl.pipelines.curation.quotas import Quota, priorities
from step3vl.pipelines.curation.words import U64

_log = logging.getLogger(__name__)

BALANCE = "curate.balance"  # the ledger's name of the step
_BITS = 16  # of a priority that a round looks at
_ROUNDS = 64 // _BITS
_SUM = np.dtype([("group", "<u8"), ("bucket", "<u2"), ("amount", "<i8"), ("samples", "<i8"), ("budget", "<f8")])
BOUND = np.dtype(
    [
        ("group", "<u8"),
        ("round", "u1"),
        ("settled", "u1"),
        ("bound", "<u8"),  # samples of a lower priority are kept; the others are dropped once it is settled
        ("left", "<f8"),  # of the budget, for the interval that begins at the bound
        ("amount", "<i8"),  # of the whole group
        ("budget", "<f8"),
    ]
)
Run = Callable[[str, Callable[[beam.Pipeline, Staging], Iterable[PCollection[str]]]], Report]


class Excess(NamedTuple):
    """What quotas dropped of a shard; arrays of an entry for each sample.

    Attributes:
        quota: The number of the quota, from 1; 0 for a sample that none dropped.
        amount: Of the group.
        budget: The most that is kept of it.
        group: Names.
    """

    quota: NDArray[np.uint8]
    amount: NDArray[np.float64]
    budget: NDArray[np.float64]
    group: list[str]


class Balancer:
    """What quotas decide, shard by shard.

    Args:
        features: Of all shards.
        shards: All of them.
        candidates: Which samples of a shard the steps before have kept.
        config: Of the curation.
        staging: The root.
        folder: Of what the rounds leave, relative to the root.
        clusters: Folder of the clusters of samples, where there are embeddings.
        partitions: Over which groups are dealt.
    """

    def __init__(
        self,
        features: FeatureStore,
        shards: tuple[InputShard, ...],
        candidates: Callable[[int], NDArray[np.bool_]],
        config: CurationConfig,
        staging: Staging,
        folder: str,
        clusters: str,
        partitions: int,
    ) -> None:
        self._features, self._shards, self._candidates = features, shards, candidates
        self._config, self._staging, self._folder, self._partitions = config, staging, folder, partitions
        self._clusters = clusters
        self._bounds: dict[int, NDArray[np.void]] = {}

    def run(self, run: Run) -> None:
        """Find the bounds of all quotas by pipelines.

        Args:
            run: Runs a named one, unless it was run to its end, and returns its report.
        """
        for number, quota in enumerate(self._config.balance):
            budgets: Mapping[str, float] = {}
            if quota.total is not None:
                sizes = run(f"balance.{number}.sizes", partial(self._wire_sizes, number))
                amounts = {step.name: step.read for step in sizes.accounts}
                budgets = quota.budgets(amounts)
            for place in range(_ROUNDS):
                report = run(f"balance.{number}.{place}", partial(self._wire_round, number, place, budgets))
                if not any(step.read for step in report.accounts):
                    break
            _log.info("balance by %s: %d rounds", quota.by, place + 1)

    def _wire_sizes(self, number: int, pipeline: beam.Pipeline, staging: Staging) -> Iterable[PCollection[str]]:
        numbers = pipeline | "shards" >> beam.Create(range(len(self._shards)))
        yield numbers | "sizes" >> beam.Map(self._sizes, number).with_output_types(str)

    def _sizes(self, shard: int, number: int) -> str:
        """What a shard has of each group."""
        rows = self.rows(shard, number)
        amounts: dict[str, int] = {}
        for name, amount in zip(rows.names, rows.amounts.tolist(), strict=True):
            amounts[name] = amounts.get(name, 0) + amount
        accounts = tuple(LedgerStep(name=name, read=count, kept=count) for name, count in sorted(amounts.items()))
        return Report(accounts=accounts).model_dump_json(exclude_defaults=True)

    def _wire_round(
        self, number: int, place: int, budgets: Mapping[str, float], pipeline: beam.Pipeline, staging: Staging
    ) -> Iterable[PCollection[str]]:
        before = self._read_bounds(number, place)
        scatter = _ScatterSums(self, number, self._config.balance[number], place, budgets, before, self._partitions)
        sums = scatter_from(pipeline, len(self._shards), scatter, "sums")
        gather = _GatherSums(staging, self._round_folder(number, place), place, before)
        yield (sums | "bounds" >> Exchange(_SUM, gather, self._partitions, staging)).reports

    def _round_folder(self, number: int, place: int) -> str:
        return f"{self._folder}/{number}.{place}"

    def _read_bounds(self, number: int, rounds: int) -> NDArray[np.void]:
        """The last bound of each group after some rounds, by group; fewer were run where all were settled."""
        root = self._staging.open()
        parts = [np.zeros(0, BOUND)]
        for place in range(rounds):
            folder = self._round_folder(number, place)
            if not root.exists(part_path(folder, 0)):
                break
            parts += [read_part(self._staging, folder, part, BOUND) for part in range(self._partitions)]
        bounds = np.concatenate(parts)
        bounds = bounds[np.lexsort((bounds["round"], bounds["group"]))]
        last = np.append(bounds["group"][1:] != bounds["group"][:-1], True) if len(bounds) else np.zeros(0, bool)
        return bounds[last]

    def excess(self, shard: int, quotas: int | None = None) -> Excess:
        """What the first quotas drop of a shard; all of them by default."""
        samples = self._features.shard(shard).samples
        excess = Excess(
            np.zeros(len(samples), np.uint8), np.zeros(len(samples)), np.zeros(len(samples)), [""] * len(samples)
        )
        for number in range(len(self._config.balance) if quotas is None else quotas):
            rows = self._rows_after(shard, number, samples, excess.quota == 0)
            if number not in self._bounds:
                self._bounds[number] = self._read_bounds(number, _ROUNDS)
            if not len(self._bounds[number]):
                continue
            known, where = look_up(self._bounds[number], rows.groups)
            bounds = self._bounds[number][where]
            dropped = known & (rows.priorities >= bounds["bound"])
            places = rows.places[dropped]
            excess.quota[places] = number + 1
            excess.amount[places], excess.budget[places] = bounds["amount"][dropped], bounds["budget"][dropped]
            for row in np.flatnonzero(dropped).tolist():
                excess.group[int(rows.places[row])] = rows.names[row]
        return excess

    def rows(self, shard: int, number: int) -> "Rows":
        """The samples of a shard that the quotas before this one have kept."""
        samples = self._features.shard(shard).samples
        return self._rows_after(shard, number, samples, self.excess(shard, number).quota == 0)

    def _rows_after(self, shard: int, number: int, samples: Records, kept: NDArray[np.bool_]) -> "Rows":
        quota = self._config.balance[number]
        info = self._shards[shard]
        places = np.zeros(0, np.intp)
        if not info.earlier and info.split == "train":
            places = np.flatnonzero(self._candidates(shard) & kept)
        if not len(places):
            return Rows(places, [], np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
        chosen = samples[places]
        dataset = open_dataset(info.dataset, self._staging.store)
        clusters = None
        if quota.by == "cluster":
            clusters = read_part(self._staging, self._clusters, shard, "<u4")[places]
        names, tokens = group_names(dataset, info.number, chosen, quota, self._config.scores, clusters)
        scores = score_column(chosen, quota.prefer, self._config.scores) if quota.prefer else None
        amounts = np.maximum(1, tokens) if quota.unit == "tokens" else np.ones(len(places), np.int64)
        hashes = {name: xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) for name in set(names)}
        groups_ = np.array([hashes[name] for name in names], np.uint64)
        return Rows(places, names, groups_, priorities(chosen["id"], scores, quota.seed), amounts)


class Rows(NamedTuple):
    """Samples as a quota sees them: their places in the shard, the names and hashes of their groups, and so on."""

    places: NDArray[np.intp]
    names: list[str]
    groups: U64
    priorities: U64
    amounts: NDArray[np.int64]


def look_up(bounds: NDArray[np.void], keys: U64) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which groups have a bound, and its place.

    Args:
        bounds: Records of `BOUND`, by group.
        keys: Groups.
    """
    if not len(bounds):
        return np.zeros(len(keys), bool), np.zeros(len(keys), np.intp)
    places = np.minimum(np.searchsorted(bounds["group"], keys), len(bounds) - 1)
    return bounds["group"][places] == keys, places


class _ScatterSums:
    """Sends what a shard's samples take, by group and by the next bits of their priorities."""

    def __init__(
        self,
        balancer: Balancer,
        number: int,
        quota: Quota,
        place: int,
        budgets: Mapping[str, float],
        before: NDArray[np.void],
        partitions: int,
    ) -> None:
        self._balancer, self._number, self._quota, self._place = balancer, number, quota, place
        self._budgets, self._before, self._partitions = budgets, before, partitions

    def __call__(self, shard: int) -> Packs:
        rows = self._balancer.rows(shard, self._number)
        shift = np.uint64(64 - _BITS * (self._place + 1))
        if self._place:
            known, where = look_up(self._before, rows.groups)
            bounds = self._before[where] if len(self._before) else np.zeros(len(rows.groups), BOUND)
            above = shift + np.uint64(_BITS)
            chosen = known & (bounds["settled"] == 0) & (rows.priorities >> above == bounds["bound"] >> above)
        else:
            chosen = np.ones(len(rows.groups), bool)
        sums = np.zeros(int(chosen.sum()), _SUM)
        sums["group"] = rows.groups[chosen]
        sums["bucket"] = (rows.priorities[chosen] >> shift).astype(np.uint64) & np.uint64((1 << _BITS) - 1)
        sums["amount"], sums["samples"] = rows.amounts[chosen], 1
        if not self._place:
            limits = {name: self._budgets.get(name, self._quota.cap_of(name)) for name in set(rows.names)}
            sums["budget"] = [limits[name] for name in rows.names]
            sums = sums[np.isfinite(sums["budget"])]
        sums = add_up(sums)
        yield from deal(sums, sums["group"], self._partitions)


def add_up(sums: NDArray[np.void]) -> NDArray[np.void]:
    """Records of `_SUM` by group and bucket, each once."""
    sums = sums[np.lexsort((sums["bucket"], sums["group"]))]
    if not len(sums):
        return sums
    new = np.append(True, (sums["group"][1:] != sums["group"][:-1]) | (sums["bucket"][1:] != sums["bucket"][:-1]))
    starts = np.flatnonzero(new)
    result = sums[starts]
    for field in ("amount", "samples"):
        result[field] = np.add.reduceat(sums[field], starts)
    return result


class _GatherSums:
    """Finds the interval in which the budget of each group ends, and writes it; groups within theirs have none."""

    def __init__(self, staging: Staging, folder: str, place: int, before: NDArray[np.void]) -> None:
        self._staging, self._folder, self._place, self._before = staging, folder, place, before

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        sums = add_up(rows)
        bounds = find_bounds(sums, self._place, self._before)
        self._staging.open().put(part_path(self._folder, number), bounds.tobytes())
        unsettled = int((bounds["settled"] == 0).sum())
        yield Report(accounts=(LedgerStep(name="unsettled", read=unsettled, kept=unsettled),))


def find_bounds(sums: NDArray[np.void], place: int, before: NDArray[np.void]) -> NDArray[np.void]:
    """The bounds of groups after a round.

    Args:
        sums: Records of `_SUM`, as `add_up` gives them.
        place: The number of the round, from 0.
        before: Records of `BOUND` of the round before, by group.
    """
    starts, sizes = groups(sums["group"])
    shift = np.uint64(64 - _BITS * (place + 1))
    bounds = []
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        part = sums[start : start + size]
        if place:
            at = int(np.searchsorted(before["group"], part["group"][0]))
            first, left = before["bound"][at], float(before["left"][at])
            amount, budget = before["amount"][at], before["budget"][at]
        else:
            first, amount, budget = np.uint64(0), part["amount"].sum(), float(part["budget"][0])
            left = budget
        totals = np.cumsum(part["amount"])
        over = np.flatnonzero(totals > left)
        if not len(over):
            continue
        index = int(over[0])
        used = int(totals[index - 1]) if index else 0
        settled = part["samples"][index] == 1 or place == _ROUNDS - 1 or left - used < 1
        bound = first | np.uint64(part["bucket"][index]) << shift
        bounds.append((part["group"][0], place, settled, bound, left - used, amount, budget))
    return np.array(bounds, BOUND)
