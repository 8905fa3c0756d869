"""The changes between two builds, checked against sets of all samples."""

from collections import Counter

import pytest

from step3vl.data.dataset import Dataset
from step3vl.pipelines.view.viewer.build import Build
from step3vl.pipelines.view.viewer.changes import KINDS, Changes
from step3vl.pipelines.view.viewer.scan import Place


@pytest.fixture(scope="module")
def changes(dataset: Dataset, earlier: Dataset) -> Changes:
    return Changes(earlier, dataset)


def ids_of(changes: Changes, kind: str, earlier: Dataset, dataset: Dataset) -> list[tuple[str | None, str | None]]:
    pages = [changes.page(kind, start, 2) for start in range(0, changes.counts[kind], 2)]
    builds = Build(earlier), Build(dataset)

    def id_at(build: Build, place: Place | None) -> str | None:
        return None if place is None else build.row(place).values["id"]

    return [(id_at(builds[0], before), id_at(builds[1], after)) for page in pages for before, after in page]


def test_every_difference_is_of_one_kind(changes, dataset, earlier, samples):
    before = {sample.id: sample for sample in earlier.samples()}
    after = {sample.id: sample for sample in dataset.samples()}
    splits = [
        {sample.id: split for split in ("train", "heldout") for sample in each.samples(split=split)}
        for each in (earlier, dataset)
    ]
    rows = {kind: ids_of(changes, kind, earlier, dataset) for kind in KINDS}
    assert rows["added"] == [(None, samples["table"].id)]
    [(removed, nothing)] = rows["removed"]
    assert (before[removed].answer(), nothing) == ("60", None)
    [(old, new)] = rows["changed"]
    assert new == samples["html"].id
    assert old in before.keys() - after.keys()
    assert before[old].source.uri == after[new].source.uri
    both = before.keys() & after.keys()
    expected = {(each, each) for each in both if splits[0][each] != splits[1][each]}
    assert expected
    assert Counter(rows["moved"]) == Counter(expected)


def test_a_build_does_not_differ_from_itself(dataset):
    assert set(Changes(dataset, dataset).counts.values()) == {0}


def test_unrelated_builds_have_nothing_in_common(tmp_path, build_dataset, samples):
    chosen = list(samples.values())
    before = build_dataset(tmp_path / "before", chosen[:2])
    after = build_dataset(tmp_path / "after", chosen[2:])
    changes = Changes(before, after)
    assert changes.counts == {"added": len(chosen) - 2, "removed": 2, "moved": 0, "changed": 0}
    assert changes.page("added", 99, 5) == []
