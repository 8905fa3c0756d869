"""Differences of two datasets."""

from collections.abc import Callable
from pathlib import Path

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.inspect.diff import compare
from step3vl.data.sample.sample import Sample

Build = Callable[..., Dataset]

Make = Callable[..., Sample]


def test_added_removed_and_changed_samples_and_provenance(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    first = build_dataset(tmp_path / "one", [make_sample(number) for number in range(20)])
    assert compare(first, first).is_empty
    moved = [make_sample(number) for number in range(5, 25)]
    source = moved[0].source.model_copy(update={"uri": "test:other"})
    moved.append(make_sample(99).model_copy(update={"source": source}))
    second = build_dataset(tmp_path / "two", [*moved, make_sample(7, with_images=False)])
    difference = compare(first, second)
    assert [tuple(change) for change in difference.tasks] == [
        ("counting.icons", 15, 1, 0, 5),  # 5 of a source were replaced, and another source gained 1
        ("education.sum", 0, 1, 0, 0),
    ]
    assert not difference.is_empty and difference.provenance == ()
    assert len(difference.examples) == 10
    renamed = Dataset(first.url, first.manifest.model_copy(update={"config": {"seed": 1}, "code_version": "new"}))
    assert compare(first, renamed).provenance == ('code_version: "test" -> "new"', "config.seed: 0 -> 1")
