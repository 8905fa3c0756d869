"""Writing of shards and the manifest."""

import hashlib
import json
import os
import struct
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import webdataset

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.sharding import shard_name
from step3vl.data.dataset.writer import commit, write_shard
from step3vl.data.sample.sample import Sample

Build = Callable[..., Dataset]

Make = Callable[..., Sample]


def files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_tarfile_and_webdataset_read_a_shard(dataset: Dataset) -> None:
    shard = dataset.manifest.shards[-1]
    path = f"{dataset.url}/{shard.path}"
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert all(member.mtime == 0 and member.isreg() for member in members)
    assert members[0].name.endswith(".json")
    read = list(webdataset.WebDataset(path, shardshuffle=False))
    assert len(read) == shard.samples
    assert all(json.loads(sample["json"])["id"] == sample["__key__"] for sample in read)


def test_idx_has_the_offset_of_every_sample_and_of_the_trailer(dataset: Dataset) -> None:
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
    build_dataset(tmp_path / "first", samples)
    build_dataset(tmp_path / "second", samples[::-1])
    assert files(tmp_path / "first") == files(tmp_path / "second")


def test_failed_shard_is_not_visible(tmp_path: Path, make_sample: Make) -> None:
    with pytest.raises(ValueError, match="without a token count"):
        write_shard(tmp_path, "x-train-00000-of-00001.tar", "train", [make_sample(1)])
    assert not (tmp_path / "shards" / "x-train-00000-of-00001.tar").exists()


def test_ledger_that_does_not_reconcile_is_not_committed(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match=r"do not reconcile in filter \(\+2 of 5\)"):
        commit(
            tmp_path,
            name="x",
            shards=[],
            ledger=[LedgerStep(name="filter", read=5, kept=2, dropped={"small": 1})],
            counting=dataset.manifest.counting,
            config={},
            code_version="x",
        )
    assert not (tmp_path / "dataset.json").exists()


def test_memory_of_writing_a_shard_is_that_of_a_few_samples(
    tmp_path: Path, counted_samples: Callable[[int], list[Sample]]
) -> None:
    plain = counted_samples(90)
    with_images = [sample for sample in plain if sample.images]

    def large() -> Iterator[Sample]:
        for sample in with_images:
            heavy = sample.images[0].model_copy(update={"data": os.urandom(2**20)})
            yield sample.model_copy(update={"images": (heavy,)})

    write_shard(
        tmp_path, shard_name("light", "train", 0, 1), "train", with_images
    )  # so that late imports are not measured
    tracemalloc.start()
    try:
        info = write_shard(tmp_path, shard_name("heavy", "train", 0, 1), "train", large()).info
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert info.samples == len(with_images) == 60 and info.size > 60 * 2**20
    assert peak < 12 * 2**20
