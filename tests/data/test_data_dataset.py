"""Shards and datasets: readable by others, reproducible to the byte, never half visible, damage named."""

import hashlib
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from step3vl.data.dataset import Dataset, commit, write_shard
from step3vl.data.errors import UserError
from step3vl.data.ledger import Ledger, Step
from step3vl.data.sample import Sample

Build = Callable[..., Dataset]
Make = Callable[..., Sample]


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_every_sample_comes_back_whole(dataset: Dataset) -> None:
    samples = list(dataset.samples())
    assert len(samples) == 120
    assert all(sample.content_id() == sample.id for sample in samples)
    assert all(hashlib.sha256(i.read()).hexdigest() == i.sha256 for sample in samples for i in sample.images)
    assert sum(shard.samples for shard in dataset.manifest.shards) == 120


def test_selection_by_split_kind_and_task(dataset: Dataset) -> None:
    heldout = dataset.index(["id"], split="heldout")
    train = dataset.index(["id"], split="train")
    assert len(heldout) + len(train) == 120
    assert not set(heldout["id"].to_pylist()) & set(train["id"].to_pylist())
    assert len(dataset.index(["id"], task="counting.*")) == 80
    assert len(dataset.index(["id"], kind="document")) == 0


def test_tarfile_and_webdataset_read_a_shard(dataset: Dataset) -> None:
    shard = dataset.manifest.shards[-1]
    path = f"{dataset.url}/{shard.path}"
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert all(member.mtime == 0 and member.isreg() for member in members)
    assert members[0].name.endswith(".json")
    read = list(webdataset.WebDataset(path, shardshuffle=False))
    assert len(read) == shard.samples
    assert all(json.loads(one["json"])["id"] == one["__key__"] for one in read)


def test_idx_holds_the_offset_of_every_sample_and_the_trailer(dataset: Dataset) -> None:
    shard = dataset.manifest.shards[-1]
    data = Path(f"{dataset.url}/{shard.path}.idx").read_bytes()
    offsets = struct.unpack(f"<{len(data) // 8}Q", data)
    with tarfile.open(f"{dataset.url}/{shard.path}") as archive:
        starts = [member.offset for member in archive if member.name.endswith(".json")]
        end = archive.offset
    assert list(offsets[:-1]) == starts
    assert offsets[-1] == end, "the last offset is that of the trailer"


def test_same_samples_give_the_same_bytes(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    samples = [make_sample(number) for number in range(30)]
    build_dataset(tmp_path / "one", samples)
    build_dataset(tmp_path / "two", samples[::-1])
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_nothing_exists_before_the_manifest(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(5)])
    Path(built.url, "dataset.json").unlink()
    with pytest.raises(UserError, match="nothing was committed"):
        Dataset.open(built.url)


def test_failed_shard_leaves_no_final_name(tmp_path: Path, make_sample: Make) -> None:
    with pytest.raises(ValueError, match="without a token count"):
        write_shard(tmp_path, "x-train-00000-of-00001.tar", "train", [make_sample(1)])
    assert not (tmp_path / "shards" / "x-train-00000-of-00001.tar").exists()


def test_unbalanced_ledger_is_not_committed(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"step filter does not balance: \+2 of 5"):
        commit(
            tmp_path,
            name="x",
            shards=[],
            ledger=[Step(name="filter", read=5, kept=2, dropped={"small": 1})],
            counting=dataset.manifest.counting,
            config={},
            code_version="x",
        )
    assert not (tmp_path / "dataset.json").exists()


def test_ledger_adds_up_accounts_of_equal_name() -> None:
    ledger = Ledger.merge(
        [
            Step(name="b", read=3, kept=1, dropped={"x": 1}, dead={"ValueError": 1}),
            Step(name="a", read=1, kept=1),
            Step(name="b", read=2, kept=1, dropped={"x": 1}),
        ]
    )
    ledger.check()
    assert ledger.steps[1] == Step(name="b", read=5, kept=2, dropped={"x": 2}, dead={"ValueError": 1})


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damage_is_found_and_named(tmp_path: Path, build_dataset: Build, make_sample: Make, damage: str) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    shard = next(shard for shard in built.manifest.shards if shard.samples)
    path = Path(built.url, shard.path)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:700])
    elif damage == "flipped":
        data[600] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    assert any(shard.path in problem for problem in built.verify())
    if damage != "flipped":
        with pytest.raises(UserError, match=shard.path):
            list(built.samples())


def test_damaged_manifest_names_the_field(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(1)])
    path = Path(built.url, "dataset.json")
    content = json.loads(path.read_text())
    content["shards"][0]["samples"] = "many"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"damaged at shards\.0\.samples"):
        Dataset.open(built.url)
