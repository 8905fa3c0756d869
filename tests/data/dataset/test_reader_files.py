"""The packages wids and webdataset read every sample of our shards, byte for byte as our reader does."""

import itertools
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.exclusions import Exclusion, add_exclusion
from step3vl.data.dataset.manifest import Split
from step3vl.data.dataset.reader_files import write_reader_files
from step3vl.data.errors import UserError
from step3vl.data.storage.tar import BLOCK


def our_members(dataset: Dataset, split: Split) -> dict[str, dict[str, bytes]]:
    """The bytes of each member of each sample, by key and extension, as our reader returns them."""
    columns = ["id", "offset", "size", "json_size"]
    members = {}
    for row in dataset.index(columns, split=split).to_pylist():
        place = row["shard"], row["offset"], row["size"]
        members[row["id"]] = {".json": dataset.fetch(*place)[BLOCK : BLOCK + row["json_size"]]}
        for number, image in enumerate(dataset.read(*place).images):
            members[row["id"]][f".{number}.{image.format}"] = image.read()
    return members


@pytest.fixture
def copy(sound: Dataset, tmp_path: Path) -> Dataset:
    """A dataset that may be written to."""
    return Dataset.open(shutil.copytree(sound.url, tmp_path / "copy"))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_wids_reads_every_sample_byte_for_byte(split: Split, copy: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="wids imports torch")
    wids = pytest.importorskip("wids")
    assert write_reader_files(copy, "wids") == ["wids-train.json", "wids-heldout.json"]
    index = str(Path(copy.url, f"wids-{split}.json"))
    samples = wids.ShardListDataset(index, cache_dir=str(tmp_path / "cache"), transformations=[lambda sample: sample])
    theirs = {}
    for number in range(len(samples)):
        sample = samples[number]
        theirs[sample["__key__"]] = {name: sample[name].read() for name in sample if name.startswith(".")}
    ours = our_members(copy, split)
    assert len(samples) == len(ours)
    assert theirs == ours


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_webdataset_reads_every_sample_byte_for_byte(split: Split, dataset: Dataset) -> None:
    webdataset = pytest.importorskip("webdataset")
    shards = [str(Path(dataset.url, shard.path)) for shard in dataset.manifest.shards if shard.split == split]
    theirs = {
        sample["__key__"]: {f".{name}": data for name, data in sample.items() if not name.startswith("__")}
        for sample in webdataset.WebDataset(shards, shardshuffle=False)
    }
    assert theirs == our_members(dataset, split)


def test_files_of_energon_list_the_shards_of_both_splits(copy: Dataset) -> None:
    paths = write_reader_files(copy, "energon")
    info, split = (json.loads(Path(copy.url, path).read_text()) for path in paths[:2])
    assert info["shard_counts"] == {shard.path: shard.samples for shard in copy.manifest.shards}
    assert sorted(itertools.chain(*split["split_parts"].values())) == sorted(info["shard_counts"])
    for path, count in info["shard_counts"].items():
        with tarfile.open(Path(copy.url, path)) as archive:
            assert sum(name.endswith(".json") for name in archive.getnames()) == count
    described = Path(copy.url, paths[2])
    described.write_text("sample_type: {}\n")
    write_reader_files(copy, "energon")
    assert described.read_text() == "sample_type: {}\n", "what the user has changed stays"


def test_files_are_not_written_where_samples_must_be_forgotten(
    build_dataset: object, make_sample: object, tmp_path: Path
) -> None:
    dataset = build_dataset(tmp_path / "set", [make_sample(number) for number in range(4)])  # type: ignore[operator]
    add_exclusion(dataset.files, Exclusion.of([dataset.index(["id"])["id"][0].as_py()], "2026-11-29"))
    with pytest.raises(UserError, match=r"are to be forgotten, and energon would read them.*corpus split"):
        write_reader_files(Dataset.open(dataset.url), "energon")
