"""Shards and datasets: readable by others, reproducible to the byte, never half visible, damage named."""

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
import xxhash
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.dataset import DamagedSample, Dataset, commit, write_shard
from step3vl.data.errors import UserError
from step3vl.data.index import SCHEMA
from step3vl.data.ledger import Ledger, Step
from step3vl.data.sample import Sample
from step3vl.data.tar import KEY as TAR_KEY
from step3vl.data.tar import TarWriter, split_sample
from step3vl.data.verify import verify

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
    with pytest.raises(UserError, match=r"damaged at shards\.0\.samples"):
        Dataset.open(built.url)


def test_random_access_by_the_index_gives_what_tarfile_and_webdataset_give(dataset: Dataset) -> None:
    for number, shard in enumerate(dataset.manifest.shards):
        path = f"{dataset.url}/{shard.path}"
        data = Path(path).read_bytes()
        with tarfile.open(path) as archive:
            members = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
        streamed = {one["__key__"]: one for one in webdataset.WebDataset(path, shardshuffle=False)}
        rows = [row for row in dataset.index().to_pylist() if row["shard"] == number]
        assert [row["id"] for row in rows] == list(streamed)
        for row in rows[::-1]:
            key = row["id"]
            meta, pictures = split_sample(data[row["offset"] : row["offset"] + row["size"]])
            slices = [
                data[start : start + size]
                for start, size in zip(row["image_offsets"], row["image_sizes"], strict=True)
            ]
            assert pictures == slices
            assert meta == json.loads(members.pop(f"{key}.json")) == json.loads(streamed[key]["json"])
            for at, picture in enumerate(pictures):
                assert picture == members.pop(f"{key}.{at}.png") == streamed[key][f"{at}.png"]
        assert members == {}


def test_batches_of_the_index_are_the_index_in_pieces(dataset: Dataset) -> None:
    for chosen in ({}, {"split": "train"}, {"task": "counting.*"}, {"kind": "document"}, {"task": "education.*"}):
        for columns in (None, ["id"], ["task", "offset"]):
            batches = list(dataset.index_batches(columns, rows=7, **chosen))
            assert all(0 < len(batch) <= 7 for batch in batches)
            whole = dataset.index(columns, **chosen)
            assert pa.Table.from_batches(batches, whole.schema) == whole
            assert whole.schema.names == [*(columns or SCHEMA.names), "shard"]


def test_the_fingerprint_follows_the_bytes_and_the_counting(
    tmp_path: Path, build_dataset: Build, make_sample: Make
) -> None:
    samples = [make_sample(number) for number in range(10)]
    first = build_dataset(tmp_path / "one", samples)
    assert build_dataset(tmp_path / "two", samples[::-1]).fingerprint == first.fingerprint
    assert build_dataset(tmp_path / "three", samples[1:]).fingerprint != first.fingerprint
    assert build_dataset(tmp_path / "four", samples, shards=3).fingerprint != first.fingerprint
    told = first.manifest.model_copy(update={"name": "other", "code_version": "2", "config": {"a": 1}})
    assert Dataset(first.url, told).fingerprint == first.fingerprint
    spec = first.manifest.counting.image.model_copy(update={"max_side": 300})
    counting = first.manifest.counting.model_copy(update={"image": spec})
    other = first.manifest.model_copy(update={"counting": counting})
    assert Dataset(first.url, other).fingerprint != first.fingerprint


def test_a_flipped_bit_is_seen_as_a_sample_is_read(tmp_path: Path, build_dataset: Build, make_sample: Make) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    rows = built.index(["offset", "size"], split="train").to_pylist()
    row = rows[3]
    place = row["shard"], row["offset"], row["size"]
    path = Path(built.url, built.manifest.shards[row["shard"]].path)
    whole = path.read_bytes()
    for at in (0, 130, 600, row["size"] - 1):  # name, size, JSON, and padding that nobody reads
        data = bytearray(whole)
        data[row["offset"] + at] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedSample, match=rf"{path.name} at byte {row['offset']}: the bytes are not those"):
            built.read(*place)
        others = [one for one in rows if one != row]
        assert len([built.read(one["shard"], one["offset"], one["size"]) for one in others]) == len(rows) - 1
    path.write_bytes(whole)
    assert built.read(*place).id
    with pytest.raises(UserError, match="has no sample of"):
        built.read(row["shard"], row["offset"] + 512, row["size"])


def test_a_flipped_bit_in_the_index_is_seen_as_it_is_read(
    tmp_path: Path, build_dataset: Build, make_sample: Make
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(20)])
    shard = max(built.manifest.shards, key=lambda one: one.samples)
    path = Path(built.url, shard.index_path)
    whole = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(SCHEMA.names.index("offset"))
    true, seen = Dataset.open(built.url).index(["offset"]), 0
    for at in range(column.dictionary_page_offset, column.dictionary_page_offset + column.total_compressed_size, 5):
        data = bytearray(whole)
        data[at] ^= 8
        path.write_bytes(data)
        try:
            found = Dataset.open(built.url).index(["offset"])
        except UserError as error:
            assert f"{path.name} is damaged" in str(error)
            seen += 1
        else:
            assert found == true  # the bit is of no consequence: the pages' own statistics are not looked at
    assert seen > 10


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text("abcdef0123456789_-/", min_size=1, max_size=60).filter(lambda key: TAR_KEY.fullmatch(key)),
            st.binary(max_size=3000),
            st.lists(st.tuples(st.sampled_from(["jpg", "png", "tif"]), st.binary(max_size=3000)), max_size=12),
        ),
        max_size=8,
        unique_by=lambda one: one[0],
    )
)
def test_any_archive_is_what_the_standard_library_writes(
    samples: list[tuple[str, bytes, list[tuple[str, bytes]]]],
) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    writer = TarWriter(ours)
    entries = [writer.add(*sample) for sample in samples]
    digest, offsets = writer.finish()
    starts = []
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, meta, pictures in samples:
            starts.append(archive.offset)
            named = [(f"{key}.json", meta)]
            named += [(f"{key}.{at}.{extension}", data) for at, (extension, data) in enumerate(pictures)]
            for name, data in named:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        starts.append(archive.offset)
    data = ours.getvalue()
    assert data == theirs.getvalue()
    assert digest == blake3(data).hexdigest()
    assert offsets == struct.pack(f"<{len(starts)}Q", *starts)
    for entry in entries:
        assert entry.check == xxhash.xxh3_64_intdigest(data[entry.offset : entry.offset + entry.size])
