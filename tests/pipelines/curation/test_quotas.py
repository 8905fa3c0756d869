"""Quotas: of each group as many as fit, the best first, whatever the shards; and every drop says why."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.account import account
from step3vl.pipelines.curation.balancing import _BITS, _SUM, BOUND, add_up, find_bounds, look_up
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.quotas import Quota, intervals, priorities


def select(groups: np.ndarray, order: np.ndarray, amounts: np.ndarray, budget: float) -> np.ndarray:
    """Which rows are kept, by the rounds of a curation on one shard."""
    last = np.zeros(0, BOUND)
    for place in range(4):
        shift = np.uint64(64 - _BITS * (place + 1))
        chosen = np.ones(len(groups), bool)
        if place:
            known, where = look_up(last, groups)
            bounds, above = last[where], shift + np.uint64(_BITS)
            chosen = known & (bounds["settled"] == 0) & (order >> above == bounds["bound"] >> above)
        sums = np.zeros(int(chosen.sum()), _SUM)
        sums["group"], sums["amount"], sums["samples"] = groups[chosen], amounts[chosen], 1
        sums["bucket"], sums["budget"] = (order[chosen] >> shift) & np.uint64(0xFFFF), budget
        new = find_bounds(add_up(sums), place, last)
        last = np.sort(np.concatenate([last[~np.isin(last["group"], new["group"])], new]), order="group")
        if not (last["settled"] == 0).any():
            break
    if not len(last):
        return np.ones(len(groups), bool)
    known, where = look_up(last, groups)
    return ~(known & (order >= last[where]["bound"]))


def expected(groups: np.ndarray, order: np.ndarray, amounts: np.ndarray, budget: float) -> np.ndarray:
    """The same by sorting."""
    kept = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        used, left = 0, sorted({int(p) for p in order[groups == group]})
        for priority in left:
            rows = (groups == group) & (order == np.uint64(priority))
            if used + int(amounts[rows].sum()) > budget:
                break
            used += int(amounts[rows].sum())
            kept |= rows
    return kept


@given(st.integers(0, 2**32), st.integers(1, 60), st.floats(0, 200), st.sampled_from([2, 40, 2**20, 2**64 - 1]))
@settings(max_examples=200, deadline=None)
def test_rounds_find_what_sorting_finds(seed: int, count: int, budget: float, spread: int) -> None:
    rng = random.Random(seed)
    groups = np.array([rng.randrange(4) for _ in range(count)], np.uint64)
    order = np.array([rng.randrange(spread) * (2**64 // spread) % 2**64 for _ in range(count)], np.uint64)
    amounts = np.array([rng.choice([1, 1, 7, 90]) for _ in range(count)], np.int64)
    assert select(groups, order, amounts, budget).tolist() == expected(groups, order, amounts, budget).tolist()


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=2, max_size=40))
def test_better_scores_come_first_and_missing_ones_last(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    ids = np.arange(2 * len(values), dtype=np.uint64).reshape(-1, 2)
    order = priorities(ids, scores, 0)
    finite = np.where(np.isfinite(scores), scores, -np.inf)
    for first in range(len(values)):
        for second in range(len(values)):
            if finite[first] > finite[second]:
                assert order[first] < order[second]


def test_intervals_of_a_score() -> None:
    values = np.array([0.1, 0.2, 0.5, 0.9, np.nan, -np.inf], np.float32)
    assert intervals(values, "d", (0.2, 0.8)) == [
        *("d < 0.2", "0.2 <= d < 0.8", "0.2 <= d < 0.8", "d >= 0.8", "no d", "no d")
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": "host"}, "give a cap"),
        ({"by": "host", "total": 5}, "too many"),
        ({"by": "task", "cap": 1, "temperature": 0.5}, "divide a total"),
        ({"by": "score", "cap": 1}, "edges"),
        ({"by": "score", "score": "s", "edges": [2, 1], "cap": 1}, "ascending"),
        ({"by": "task", "total": 1, "shares": {"a": 2}}, "from 0 to 1"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Quota.model_validate(fields)


def test_a_total_is_shared_by_temperature_within_what_there_is() -> None:
    quota = Quota(by="domain", total=300, temperature=0, shares={"c": 0.1}, caps={"b": 60})
    assert quota.budgets({"a": 1000, "b": 1000, "c": 1000, "d": 20}) == {"a": 190, "b": 60, "c": 30, "d": 20}


@pytest.mark.slow
def test_a_curation_keeps_the_best_of_each_group_and_accounts_for_the_rest(
    tmp_path: Path,
    words: Callable[..., list[str]],
    document: Callable[..., Sample],
    build: Callable[..., Dataset],
    digest: Callable[[Path], dict[str, str]],
) -> None:
    samples = [
        document(" ".join(words(f"quota {n}", 60)), uri=f"https://h{n % 3}.org/{n}", scores={"q": n / 100, "d": n % 5})
        for n in range(60)
    ]
    first_part, second_part = build(tmp_path / "one", samples[:30]), build(tmp_path / "two", samples[30:], shards=3)
    config = CurationConfig(
        balance=(
            Quota(by="host", cap=12, caps={"h1.*": 5}, prefer="q"),
            Quota(by="score", score="d", edges=(1, 2), cap=4),
            Quota(by="domain", total=90, unit="tokens"),
        )
    )
    curated = curate([first_part.url, second_part.url], tmp_path / "out", config)
    kept = [sample.source.uri for sample in curated.samples()]
    steps = {step.name: step for step in curated.manifest.ledger}
    dropped = steps["curate.balance"].dropped
    assert dropped["quota_host"] == 60 - 12 - 12 - 5
    first = {
        n for host, cap in ((0, 12), (1, 5), (2, 12)) for n in sorted(n for n in range(60) if n % 3 == host)[-cap:]
    }
    assert {int(uri.rpartition("/")[2]) for uri in kept} <= first
    assert len(kept) == 10  # of 9 tokens each
    rows = pq.read_table(tmp_path / "out" / "evidence").to_pylist()
    assert Counter(row["reason"] for row in rows) == dropped
    assert {(row["detail"], row["value"], row["limit"]) for row in rows if row["reason"] == "quota_host"} == {
        ("samples of h0.org", 20, 12),
        ("samples of h1.org", 20, 5),
        ("samples of h2.org", 20, 12),
    }
    assert all(group.samples["unaccounted"] == 0 for group in account(curated, "source"))
    curate([first_part.url, second_part.url], tmp_path / "again", config)
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
