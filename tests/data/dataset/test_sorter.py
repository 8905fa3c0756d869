"""Sorting into shards: each sample once, whatever the order of arrival."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.index import ShardRow
from step3vl.data.dataset.manifest import Split
from step3vl.data.dataset.sharding import shard_of
from step3vl.data.dataset.sorter import SampleSorter, SplitRow, distinct, duplicate_rank
from step3vl.data.sample.sample import Sample, TokenCount

Make = Callable[..., Sample]


def row(id_: str, split: Split = "train", uri: str = "") -> SplitRow:
    content = json.dumps({"source": {"uri": uri}, "scores": {}}).encode()
    return SplitRow(split, ShardRow(id_, "maps", "maps.read", "document", uri, "MIT", 1, 0, (), content))


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([row("b"), row("a")], [row("a"), row("b")]),
        ([row("a", uri="2"), row("a", uri="1")], [row("a", uri="1")]),
        ([row("a", "train", "1"), row("a", "heldout", "2")], [row("a", "heldout", "2")]),
        ([], []),
    ],
)
def test_of_each_id_the_lowest_row_is_kept(rows: list[SplitRow], kept: list[SplitRow]) -> None:
    assert distinct(rows) == kept
    assert distinct(reversed(rows)) == kept


def test_rank_depends_on_source_and_scores_only(make_sample: Make) -> None:
    stored = make_sample(1).to_row()
    moved = {**stored, "images": [{**stored["images"][0], "at": {"path": "x", "offset": 0, "size": 1}}]}
    assert duplicate_rank(stored) == duplicate_rank(moved)
    assert duplicate_rank(stored) != duplicate_rank({**stored, "scores": {"clip": 0.5}})


def counted(make_sample: Make, number: int) -> Sample:
    return make_sample(number).model_copy(update={"tokens": TokenCount(text=9, image=2)})


def test_the_order_of_arrival_changes_nothing(tmp_path: Path, make_sample: Make) -> None:
    samples = [counted(make_sample, number % 30) for number in range(40)]
    written = []
    for name, order in (("forward", samples), ("backward", samples[::-1])):
        with SampleSorter(2) as sorter:
            for sample in order:
                staged = sample.model_copy(update={"images": tuple(sorter.stage(image) for image in sample.images)})
                sorter.add(staged, "train")
            written.append(sorter.write(tmp_path / name, "set"))
    assert written[0] == written[1]
    step = written[0].step
    assert (step.name, step.read, step.kept, step.dropped) == ("shards", 40, 30, {"duplicate": 10})


def test_samples_lie_in_the_shards_of_their_ids_with_their_images(tmp_path: Path, make_sample: Make) -> None:
    samples = {sample.id: sample for sample in (counted(make_sample, number) for number in range(30))}
    with SampleSorter(2) as sorter:
        for sample in samples.values():
            image = sorter.stage(sample.images[0])
            assert sorter.stage(image) is image, "an image with a pointer is returned unchanged"
            sorter.add(sample.model_copy(update={"images": (image,)}), "train")
        shards = sorter.write(tmp_path, "set").shards
    for number, shard in enumerate(shards):
        ids = [id_ for id_ in sorted(samples) if shard_of(id_, 2) == number]
        with tarfile.open(tmp_path / shard.info.path) as archive:
            assert [name for name in archive.getnames() if name.endswith(".json")] == [f"{id_}.json" for id_ in ids]
            for id_ in ids:
                member = next(name for name in archive.getnames() if name.startswith(f"{id_}.0."))
                content = archive.extractfile(member)
                assert content is not None
                assert content.read() == samples[id_].images[0].data


def test_no_file_without_samples(tmp_path: Path) -> None:
    with SampleSorter(3) as sorter:
        assert sorter.write(tmp_path, "set").shards == []
    assert list(tmp_path.iterdir()) == []


def test_committed_dataset_has_no_scratch_files(dataset: Dataset) -> None:
    assert not list(Path(dataset.url).rglob(".*"))
