"""Random samples of each task."""

from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.inspect.sampling import read_rows, read_samples, sample_tasks
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.store_config import request_count


def test_a_sample_has_its_size_and_depends_on_the_seed(dataset: Dataset) -> None:
    chosen = sample_tasks(dataset, 10)
    assert {task: len(located) for task, located in chosen.items()} == {"counting.icons": 10, "education.sum": 10}
    assert sample_tasks(dataset, 10) == chosen != sample_tasks(dataset, 10, seed=1)
    assert len(sample_tasks(dataset, 1000)["counting.icons"]) == 80
    assert list(sample_tasks(dataset, 5, task="education.*")) == ["education.sum"]


def test_the_rows_of_a_sample_are_those_of_its_samples(dataset: Dataset) -> None:
    for located in sample_tasks(dataset, 7).values():
        assert [row["id"] for row in read_rows(dataset, located)] == [s.id for s in read_samples(dataset, located)]


def test_the_rows_of_neighbouring_samples_are_read_together(dataset: Dataset) -> None:
    (located,) = sample_tasks(dataset, 80, task="counting.*").values()
    before = request_count()
    assert len(list(read_rows(dataset, located))) == 80
    assert request_count() - before <= 2 * len(dataset.manifest.shards)


def test_a_truncated_shard_is_told_by_its_sample(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]
) -> None:
    built = build_dataset(tmp_path / "a", [make_sample(number) for number in range(20)], 1)
    (located,) = sample_tasks(built, 20).values()
    last = max(located, key=lambda sample: sample.offset)
    for shard in built.manifest.shards:
        path = Path(built.url) / shard.path
        path.write_bytes(path.read_bytes()[: last.offset + 600])
    with pytest.raises(DamagedSample, match=rf"at byte {last.offset}: "):
        list(read_rows(built, located))


def test_a_sample_is_the_same_however_the_dataset_is_read_or_sharded(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(60)]
    ids = []
    for name, order, shards in (("a", samples, 2), ("b", samples[::-1], 3)):
        built = build_dataset(tmp_path / name, order, shards)
        (located,) = sample_tasks(built, 12).values()
        ids.append([sample.id for sample in read_samples(built, located)])
    assert ids[0] == ids[1] and len(set(ids[0])) == 12


def test_every_sample_is_chosen_about_equally_often(dataset: Dataset) -> None:
    counts: dict[tuple[int, int], int] = {}
    for seed in range(200):
        for located in sample_tasks(dataset, 10, seed, "counting.icons").values():
            for place in located:
                key = place.shard, place.offset
                counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 80 and sum(counts.values()) == 2000
    assert max(counts.values()) < 3 * 2000 / 80
