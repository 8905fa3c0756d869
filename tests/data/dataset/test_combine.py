"""Merging and splitting of datasets."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset.combine import merge, split, split_numbers, target_shards
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.exclusions import Exclusion, add_exclusion
from step3vl.data.dataset.partitions import ids_from
from step3vl.data.dataset.sharding import shard_of, split_of
from step3vl.data.errors import UserError
from step3vl.data.inspect.verify import verify
from step3vl.data.sample.sample import Sample

Build = Callable[..., Dataset]

Make = Callable[..., Sample]


def held_out(dataset: Dataset) -> set[str]:
    return set(dataset.index(["id"], split="heldout")["id"].to_pylist())


def test_merge_has_every_sample_once_and_adds_up_the_ledgers(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    first = build_dataset(tmp_path / "one", [make_sample(number) for number in range(40)])
    second = build_dataset(
        tmp_path / "two", [make_sample(number, with_images=number % 2 == 0) for number in range(30, 60)]
    )
    both = merge([first, second], tmp_path / "both", "both", shards=3)
    ids = [set(dataset.index(["id"])["id"].to_pylist()) for dataset in (first, second, both)]
    assert ids[2] == ids[0] | ids[1]
    assert held_out(both) == held_out(first) | held_out(second)
    assert not verify(tmp_path / "both").problems
    for sample in both.samples():
        origin = first if sample.id in ids[0] else second
        assert sample == next(other for other in origin.samples() if other.id == sample.id)
    accounts = {step.name: step for step in both.manifest.ledger}
    assert (accounts["build"].read, accounts["merge"].read, accounts["merge"].kept) == (70, 70, len(ids[2]))
    assert accounts["merge"].dropped == {"duplicate": len(ids[0] & ids[1])}
    assert both.tokenizer.startswith(str(tmp_path / "both")), "it has a copy of the tokenizer"


def test_merge_keeps_heldout_samples_held_out(build_dataset: Build, make_sample: Make, tmp_path: Path) -> None:
    first = build_dataset(tmp_path / "one", [make_sample(number) for number in range(40)])
    all_held = split(first, tmp_path / "held", "held", heldout=1.0)
    for order in ([first, all_held], [all_held, first]):
        both = merge(order, tmp_path / f"both-{order[0].manifest.name}", "both")
        assert len(held_out(both)) == 40 and not len(both.index(["id"], split="train"))


def test_what_any_dataset_must_forget_is_in_no_copy_and_is_counted(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    samples = [make_sample(number) for number in range(20)]
    first, second = build_dataset(tmp_path / "one", samples[:12]), build_dataset(tmp_path / "two", samples[8:])
    forgotten = {samples[3].id, samples[9].id}  # the second of them is in both datasets
    add_exclusion(first.files, Exclusion.of(forgotten, "2026-11-29"))
    first = Dataset.open(first.url)
    copies = [
        (merge([first, second], tmp_path / "both", "both"), 18, 3),
        (split(first, tmp_path / "again", "again", heldout=0.5), 10, 2),
    ]
    for copy, kept, dropped in copies:
        ids = copy.index(["id"])["id"].to_pylist()
        assert len(ids) == kept and forgotten.isdisjoint(ids)
        step = copy.manifest.ledger[-1]
        assert step.dropped["forgotten"] == dropped
        assert step.read == step.kept + sum(step.dropped.values()), "the counts reconcile"
        assert copy.manifest.config["exclusions"] == first.exclusions.digest
        assert not verify(copy.url).problems


def test_split_follows_the_hash_of_the_id(dataset: Dataset, tmp_path: Path) -> None:
    halved = split(dataset, tmp_path / "out", "out", heldout=0.5)
    ids = halved.index(["id"])["id"].to_pylist()
    assert sorted(ids) == sorted(dataset.index(["id"])["id"].to_pylist())
    assert held_out(halved) == {id_ for id_ in ids if split_of(id_, 0.5) == "heldout"}
    assert held_out(dataset) < held_out(halved), "a larger fraction includes the smaller one"
    again = split(halved, tmp_path / "again", "out", heldout=0.2, shards=1)
    assert held_out(again) == held_out(dataset)
    with pytest.raises(UserError, match="already holds a dataset"):
        split(dataset, tmp_path / "out", "out", heldout=0.1)


def test_merge_refuses_datasets_with_different_token_counts(
    build_dataset: Build, make_sample: Make, dataset: Dataset, tmp_path: Path
) -> None:
    counting = dataset.manifest.counting.model_copy(update={"tokenizer_sha256": "0" * 64})
    other = Dataset(dataset.url, dataset.manifest.model_copy(update={"counting": counting}))
    with pytest.raises(UserError, match="token counts for another tokenizer"):
        merge([dataset, other], tmp_path / "out", "out")


@pytest.mark.slow
def test_the_result_is_the_same_with_any_number_of_workers(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    parts = [
        build_dataset(tmp_path / name, [make_sample(number) for number in numbers])
        for name, numbers in (("one", range(30)), ("two", range(20, 50)))
    ]
    results = [merge(parts, tmp_path / f"out{workers}", "out", shards=5, workers=workers) for workers in (1, 2)]
    contents = [
        {path.relative_to(result.url): path.read_bytes() for path in Path(result.url).rglob("*") if path.is_file()}
        for result in results
    ]
    assert contents[0] == contents[1] and len(contents[0]) > 20


def test_a_damaged_sample_ends_a_merge_without_a_dataset(
    build_dataset: Build, make_sample: Make, tmp_path: Path
) -> None:
    source = build_dataset(tmp_path / "one", [make_sample(number) for number in range(10)])
    path = max((tmp_path / "one" / "shards").glob("*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{path} is damaged.*nothing was committed"):
        split(source, tmp_path / "out", "out", heldout=0.5)
    assert not (tmp_path / "out" / "dataset.json").exists()


@given(st.lists(st.uuids(), max_size=10), st.integers(1, 2**20), st.floats(0, 1))
def test_splits_and_shards_are_those_of_single_ids(ids: list[UUID], shards: int, heldout: float) -> None:
    rows = ids_from(b"".join(each.bytes for each in ids))
    assert target_shards(rows, shards).tolist() == [shard_of(each.hex, shards) for each in ids]
    expected = [split_of(each.hex, heldout) == "train" for each in ids]
    assert np.array(split_numbers(rows, heldout), bool).tolist() == expected
