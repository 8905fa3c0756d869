"""Requests to forget in the middle of a run: what they exclude is no longer read, and all else keeps its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.dataset import Dataset, Exclusion, add_exclusion
from step3vl.data.errors import UserError
from step3vl.data.plan import Cursor, Mixture, MixtureSource, Pack, PackItem, Plan, PlanPhase
from step3vl.data.sample import Sample

NOW = "2026-01-01T00:00:00+00:00"


def plan_of(dataset: Dataset, **options: int) -> Plan:
    """Two slices of a dataset, in packs of three or four samples and windows of ten."""
    sources = tuple(MixtureSource(dataset=dataset.url, modality=modality, epochs=2) for modality in ("text", "image"))
    return Plan([PlanPhase(Mixture(sources=sources))], 100, seed=3, window=10, **options)


def rows(pack: Pack) -> tuple[int, int, int, list[PackItem]]:
    return pack.number, pack.source, pack.length, list(pack.items)


@pytest.fixture
def whole(
    tmp_path: Path, counted_samples: Callable[[int], list[Sample]], build_dataset: Callable[..., Dataset]
) -> Dataset:
    return build_dataset(tmp_path / "whole", counted_samples(60))


def forget(dataset: Dataset, ids: list[str]) -> Dataset:
    """The dataset as it is opened after a request."""
    add_exclusion(dataset.files, Exclusion(requested=NOW, ids=tuple(ids)))
    return Dataset.open(dataset.url)


@pytest.mark.parametrize("start", [0, 3, 11])
def test_run_that_resumes_after_a_request_meets_all_other_samples_in_their_places(whole: Dataset, start: int) -> None:
    reader = plan_of(whole).packs()
    for _ in range(start):
        next(reader)
    cursor = Cursor.model_validate_json(reader.cursor.model_dump_json())
    expected = [(rows(pack), reader.cursor) for pack in reader]
    table = whole.index(["id", "offset"], split="train").to_pylist()
    gone = {row["id"] for row in table[::4]}
    # Shards are numbered within the split, whose shards follow each other in the manifest.
    first = min(row["shard"] for row in table)
    places = {(row["shard"] - first, row["offset"]) for row in table if row["id"] in gone}

    forget(whole, sorted(gone))
    for position in (start, cursor):
        resumed = plan_of(whole).packs(position)
        after = [(rows(pack), resumed.cursor) for pack in resumed]
        assert after == [
            ((number, source, length, [item for item in items if (item.shard, item.offset) not in places]), position)
            for (number, source, length, items), position in expected
        ]
    assert sum(len(items) for (*_, items), _ in after) < sum(len(items) for (*_, items), _ in expected)


@pytest.mark.parametrize("partitions", [1, 2])
def test_source_of_which_everything_is_forgotten_is_refused_at_once(whole: Dataset, partitions: int) -> None:
    texts = whole.index(["id", "image_tokens"], split="train").to_pylist()
    forget(whole, [row["id"] for row in texts if not row["image_tokens"]])
    with pytest.raises(UserError, match=r"requests to forget exclude every sample of .*modality=text"):
        plan_of(whole, partitions=partitions)


def test_source_of_which_only_the_first_window_is_forgotten_is_read(whole: Dataset) -> None:
    reader, first = plan_of(whole).packs(), set()
    while len(first) < 10:  # the rows of a window
        pack = next(reader)
        first |= {(item.shard, item.offset) for item in pack.items} if pack.source == 0 else set()
    table = whole.index(["id", "offset"], split="train").to_pylist()
    origin = min(row["shard"] for row in table)
    forget(whole, [row["id"] for row in table if (row["shard"] - origin, row["offset"]) in first])
    left = [item for pack in plan_of(whole).packs() if pack.source == 0 for item in pack.items]
    assert left
    assert first.isdisjoint((item.shard, item.offset) for item in left)
