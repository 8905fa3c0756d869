"""Sorting into shards: each sample once, whatever the order of arrival."""

from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.sorter import RankedRow, SampleSorter, distinct, duplicate_rank, write_distinct
from step3vl.data.sample.sample import Sample, TokenCount

Make = Callable[..., Sample]


def row(id_: str, split: str = "train", rank: str = "") -> RankedRow:
    return RankedRow(id_, split, rank, {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([row("b"), row("a")], [row("a"), row("b")]),
        ([row("a", rank="2"), row("a", rank="1")], [row("a", rank="1")]),
        ([row("a", "train", "1"), row("a", "heldout", "2")], [row("a", "heldout", "2")]),
        ([], []),
    ],
)
def test_first_row_of_each_id_is_kept(rows: list[RankedRow], kept: list[RankedRow]) -> None:
    assert distinct(rows) == kept
    assert distinct(reversed(rows)) == kept


def test_rank_depends_on_source_and_scores_only(make_sample: Make) -> None:
    stored = make_sample(1).to_row()
    moved = {**stored, "images": [{**stored["images"][0], "at": {"path": "x", "offset": 0, "size": 1}}]}
    assert duplicate_rank(stored) == duplicate_rank(moved)
    assert duplicate_rank(stored) != duplicate_rank({**stored, "scores": {"clip": 0.5}})


def counted(make_sample: Make, number: int) -> Sample:
    return make_sample(number).model_copy(update={"tokens": TokenCount(text=9, image=2)})


def test_sorter_and_direct_writing_give_the_same_shards(tmp_path: Path, make_sample: Make) -> None:
    samples = [counted(make_sample, number % 30) for number in range(40)]
    written = []
    for name, order in (("forward", samples), ("backward", samples[::-1])):
        with SampleSorter(2) as sorter:
            for sample in order:
                staged = sample.model_copy(update={"images": tuple(sorter.stage(image) for image in sample.images)})
                sorter.add(sample.id, "train", duplicate_rank(staged.to_row()), staged.to_row())
            written.append(sorter.write(tmp_path / name, "set"))
    assert written[0] == written[1]
    assert (written[0].step.read, written[0].step.kept, written[0].step.dropped) == (40, 30, {"duplicate": 10})
    images = {sample.id: sample.images for sample in samples}
    rows = [RankedRow(sample.id, "train", "", sample.to_row()) for sample in samples]
    infos = []
    for number in range(2):
        group = [ranked for ranked in rows if int(ranked.id[8:16], 16) % 2 == number]
        infos += write_distinct(
            tmp_path / "direct",
            "set",
            number,
            2,
            group,
            lambda stored: Sample.from_row(stored).model_copy(update={"images": images[stored["id"]]}),
        ).infos
    assert infos == written[0].infos


def test_empty_shard_has_no_file(tmp_path: Path) -> None:
    assert write_distinct(tmp_path, "set", 0, 1, []).infos == []
    assert not (tmp_path / "shards").exists()


def test_committed_dataset_has_no_scratch_files(dataset: Dataset) -> None:
    assert not list(Path(dataset.url).rglob(".*"))
