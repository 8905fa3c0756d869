"""Differences of two datasets."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset.combine import split
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.partitions import Partitions
from step3vl.data.inspect.diff import ROW, SPLITS, compare, count_changes
from step3vl.data.sample.sample import Sample

Build = Callable[..., Dataset]

Make = Callable[..., Sample]

Side = dict[tuple[str, int], tuple[str, str]]
"""Source and split of each sample of a dataset."""


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
        ("counting.icons", 15, 1, 0, 5, 0, 0),  # 5 of a source were replaced, and another source gained 1
        ("education.sum", 0, 1, 0, 0, 0, 0),
    ]
    assert not difference.is_empty and difference.provenance == ()
    assert len(difference.examples) == 10
    renamed = Dataset(first.url, first.manifest.model_copy(update={"config": {"seed": 1}, "code_version": "new"}))
    assert compare(first, renamed).provenance == ('code_version: "test" -> "new"', "config.seed: 0 -> 1")


@pytest.mark.slow
def test_samples_that_moved_to_another_split(dataset: Dataset, tmp_path: Path) -> None:
    other = split(dataset, tmp_path / "out", dataset.manifest.name, heldout=0.5)
    difference = compare(dataset, other, workers=2)
    held = [set(each.index(["id"], split="heldout")["id"].to_pylist()) for each in (dataset, other)]
    moved = held[1] - held[0]
    assert sum(change.to_heldout for change in difference.tasks) == len(moved) > 5
    assert all((change.added, change.removed, change.to_train) == (0, 0, 0) for change in difference.tasks)
    assert {line.split()[1] for line in difference.examples} < moved and len(difference.examples) == 5
    assert all(line.startswith("> ") and line.endswith("  heldout") for line in difference.examples)
    back = compare(other, dataset)
    assert sum(change.to_train for change in back.tasks) == len(moved) and not back.is_empty


TASKS, SOURCES = "ab", "xyz"
rows_of_a_side = st.dictionaries(
    st.tuples(st.sampled_from(TASKS), st.integers(0, 20)),  # an id, from which the task follows
    st.tuples(st.sampled_from(SOURCES), st.sampled_from(SPLITS)),
    max_size=30,
)


@given(old=rows_of_a_side, new=rows_of_a_side, parts=st.integers(1, 4))
def test_counts_are_those_of_sets_in_memory(old: Side, new: Side, parts: int) -> None:
    with Partitions(ROW, parts) as partitions:
        for side, content in enumerate((old, new)):
            rows = np.zeros(len(content), ROW)
            for place, ((task, number), (source, split_name)) in enumerate(content.items()):
                code = TASKS.index(task)
                rows[place] = number, code, SOURCES.index(source), code, 0, place, side, SPLITS.index(split_name)
            partitions.add(rows, rows["low"] + rows["high"])
        counts = count_changes(partitions, len(TASKS)).by_task()
    for task, numbers in zip(TASKS, counts, strict=True):
        lost = Counter(old[key][0] for key in old.keys() - new.keys() if key[0] == task)
        gained = Counter(new[key][0] for key in new.keys() - old.keys() if key[0] == task)
        both = [key for key in old.keys() & new.keys() if key[0] == task]
        moves = Counter(new[key][1] for key in both if old[key][1] != new[key][1])
        changed = (lost & gained).total()
        assert numbers == (
            *(len(both), gained.total() - changed, lost.total() - changed, changed),
            *(moves["heldout"], moves["train"]),
        )
