"""Reading of a committed dataset: selection, random access, and damage that is named."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.index import SCHEMA
from step3vl.data.errors import UserError
from step3vl.data.inspect.verify import verify
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.tar import split_sample

Build = Callable[..., Dataset]

Make = Callable[..., Sample]


def test_every_sample_is_read_back(dataset: Dataset) -> None:
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


def test_shards_without_a_manifest_are_not_a_dataset(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(5)])
    Path(built.url, "dataset.json").unlink()
    with pytest.raises(UserError, match="nothing was committed"):
        Dataset.open(built.url)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damaged_shard_is_named(tmp_path: Path, build_dataset: Build, make_sample: Make, damage: str) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    shard = next(shard for shard in built.manifest.shards if shard.samples)
    path = Path(built.url, shard.path)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:700])
    elif damage == "flipped":
        data[600] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()
    assert any(shard.path in problem.file for problem in verify(built.url).problems)
    if damage != "flipped":
        with pytest.raises(UserError, match=shard.path):
            list(built.samples())


def test_damaged_manifest_names_the_field(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(1)])
    path = Path(built.url, "dataset.json")
    content = json.loads(path.read_text())
    content["shards"][0]["samples"] = "many"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"cannot be read: shards\.0\.samples"):
        Dataset.open(built.url)


def test_index_access_tarfile_and_webdataset_agree(dataset: Dataset) -> None:
    for number, shard in enumerate(dataset.manifest.shards):
        path = f"{dataset.url}/{shard.path}"
        data = Path(path).read_bytes()
        with tarfile.open(path) as archive:
            members = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        streamed = {sample["__key__"]: sample for sample in webdataset.WebDataset(path, shardshuffle=False)}
        rows = [row for row in dataset.index().to_pylist() if row["shard"] == number]
        assert [row["id"] for row in rows] == list(streamed)
        for row in rows[::-1]:
            key = row["id"]
            meta, images = split_sample(data[row["offset"] : row["offset"] + row["size"]])
            slices = [
                data[start : start + size]
                for start, size in zip(row["image_offsets"], row["image_sizes"], strict=True)
            ]
            assert images == slices
            assert meta == json.loads(members.pop(f"{key}.json")) == json.loads(streamed[key]["json"])
            for at, image in enumerate(images):
                assert image == members.pop(f"{key}.{at}.png") == streamed[key][f"{at}.png"]
        assert members == {}


def test_index_batches_concatenate_to_the_index(dataset: Dataset) -> None:
    for selection in ({}, {"split": "train"}, {"task": "counting.*"}, {"kind": "document"}, {"task": "education.*"}):
        for columns in (None, ["id"], ["task", "offset"]):
            batches = list(dataset.index_batches(columns, rows=7, **selection))
            assert all(0 < len(batch) <= 7 for batch in batches)
            table = dataset.index(columns, **selection)
            assert pa.Table.from_batches(batches, table.schema) == table
            assert table.schema.names == [*(columns or SCHEMA.names), "shard"]


def test_fingerprint_depends_on_bytes_and_counting_only(
    tmp_path: Path, build_dataset: Build, make_sample: Make
) -> None:
    samples = [make_sample(number) for number in range(10)]
    first = build_dataset(tmp_path / "first", samples)
    assert build_dataset(tmp_path / "second", samples[::-1]).fingerprint == first.fingerprint
    assert build_dataset(tmp_path / "third", samples[1:]).fingerprint != first.fingerprint
    assert build_dataset(tmp_path / "fourth", samples, shards=3).fingerprint != first.fingerprint
    renamed = first.manifest.model_copy(update={"name": "other", "code_version": "2", "config": {"a": 1}})
    assert Dataset(first.url, renamed).fingerprint == first.fingerprint
    spec = first.manifest.counting.image.model_copy(update={"max_side": 300})
    counting = first.manifest.counting.model_copy(update={"image": spec})
    other = first.manifest.model_copy(update={"counting": counting})
    assert Dataset(first.url, other).fingerprint != first.fingerprint


def test_flipped_bit_in_a_sample_is_detected_on_reading(
    tmp_path: Path, build_dataset: Build, make_sample: Make
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    rows = built.index(["offset", "size"], split="train").to_pylist()
    row = rows[3]
    location = row["shard"], row["offset"], row["size"]
    path = Path(built.url, built.manifest.shards[row["shard"]].path)
    original = path.read_bytes()
    for at in (0, 130, 600, row["size"] - 1):  # name, size, JSON, and unused padding
        data = bytearray(original)
        data[row["offset"] + at] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedSample, match=rf"{path.name} at byte {row['offset']}: the bytes are not those"):
            built.read(*location)
        others = [other for other in rows if other != row]
        assert len([built.read(other["shard"], other["offset"], other["size"]) for other in others]) == len(rows) - 1
    path.write_bytes(original)
    assert built.read(*location).id
    with pytest.raises(UserError, match="has no sample of"):
        built.read(row["shard"], row["offset"] + 512, row["size"])


def test_flipped_bit_in_the_index_is_detected_on_reading(
    tmp_path: Path, build_dataset: Build, make_sample: Make
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    shard = max(built.manifest.shards, key=lambda shard: shard.samples)
    path = Path(built.url, shard.index_path)
    original = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(SCHEMA.names.index("offset"))
    expected, detected = Dataset.open(built.url).index(["offset"]), 0
    for at in range(column.dictionary_page_offset, column.dictionary_page_offset + column.total_compressed_size, 5):
        data = bytearray(original)
        data[at] ^= 8
        path.write_bytes(data)
        try:
            table = Dataset.open(built.url).index(["offset"])
        except UserError as error:
            assert f"{path.name} is damaged" in str(error)
            detected += 1
        else:
            assert table == expected  # the bit has no effect: statistics of pages are not read
    assert detected > 10
