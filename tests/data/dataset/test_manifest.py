"""Versions of the manifest: older ones are read, newer ones are refused; and the table of very many shards."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.manifest import MAX_LISTED, Counting, TaskTotal
from step3vl.data.dataset.shards import ShardInfo, ShardTable
from step3vl.data.dataset.writer import WrittenShard, commit
from step3vl.data.errors import UserError
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import SAMPLE_VERSION, Sample
from step3vl.data.storage.store import Store


@pytest.fixture
def manifest(tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]) -> Path:
    return Path(build_dataset(tmp_path / "set", [make_sample(1)]).url) / "dataset.json"


def change(manifest: Path, **fields: Any) -> Dataset:
    content = json.loads(manifest.read_text()) | fields
    manifest.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return Dataset.open(manifest.parent)


def test_format_1_is_read(manifest: Path) -> None:
    step = {"name": "build", "read": 3, "kept": 1, "dropped": {"small": 1}, "dead": {"OSError": 1}}
    opened = change(
        manifest, format="step3vl-dataset-1", ledger=[step], sample_version=None, index_version=None
    ).manifest
    assert opened.ledger[0].failed == {"OSError": 1}
    assert (opened.sample_version, opened.index_version) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "step3vl-dataset-5"}, "the manifest format has version 5; this step3vl reads up to 4"),
        (
            {"sample_version": SAMPLE_VERSION + 1},
            f"the sample format has version {SAMPLE_VERSION + 1}; this step3vl reads up to {SAMPLE_VERSION}",
        ),
        ({"index_version": 7}, "the index format has version 7; this step3vl reads up to 1"),
        ({"format": "other"}, "'other' is not a known format"),
    ],
)
def test_newer_versions_are_refused(manifest: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        change(manifest, **fields, unknown_field=1 if "version" in message else None)


def test_newer_sample_is_refused(make_sample: Callable[..., Sample]) -> None:
    newer = SAMPLE_VERSION + 1
    with pytest.raises(ValueError, match=f"the row has version {newer}; this step3vl reads up to {SAMPLE_VERSION}"):
        Sample.from_row({**make_sample(1).to_row(), "version": newer})
    assert "version" not in make_sample(1).to_row()


def infos(count: int, folder: str = "shards") -> Iterator[WrittenShard]:
    """Shards as they might have been written, in no order."""
    for number in range(count):
        place = number * 7 % count
        digest = hashlib.sha256(b"%d" % place).hexdigest()
        info = ShardInfo(
            path=f"{folder}/many-train-{place:05d}.tar", split="train" if place % 5 else "heldout", samples=place,
            size=512 * place, blake3=digest, index_blake3=digest[::-1], text_tokens=3 * place, image_tokens=place,
        )  # fmt: skip
        counts = {name: getattr(info, name) for name in ("split", "samples", "text_tokens", "image_tokens")}
        yield WrittenShard(info=info, totals=(TaskTotal(task="a.b", kind="document", **counts),))


def commit_shards(root: Path, count: int) -> Dataset:
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    return commit(
        root, name="many", shards=infos(count), ledger=(), counting=counting, config={"é": 1}, code_version="test"
    )


def test_very_many_shards_are_a_table_that_reads_like_the_list(tmp_path: Path) -> None:
    count = MAX_LISTED + 1
    expected = sorted((shard.info for shard in infos(count)), key=lambda info: info.path)
    committed = commit_shards(tmp_path, count)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert (content["format"], content["shards"]["path"]) == ("step3vl-dataset-4", "shards.parquet")
    opened = Dataset.open(tmp_path)
    shards = opened.manifest.shards
    assert opened.manifest == committed.manifest and len(shards) == count
    assert list(shards) == expected and shards == tuple(expected)
    assert shards[0] == expected[0] and shards[-1] == expected[-1] and shards[3:9:2] == tuple(expected[3:9:2])
    assert shards.index(expected[7]) == 7 and expected[8] in shards
    with pytest.raises(IndexError):
        shards[count]
    listed = Dataset(opened.url, opened.manifest.model_copy(update={"shards": tuple(expected)}))
    assert listed.fingerprint == opened.fingerprint
    assert pickle.loads(pickle.dumps(opened)).manifest == opened.manifest
    assert sum(total.samples for total in opened.manifest.tasks) == sum(info.samples for info in expected)


def test_the_fingerprint_is_that_of_earlier_versions(tmp_path: Path) -> None:
    dataset = commit_shards(tmp_path, 3)
    content = {
        "shards": [info.model_dump(mode="json") for info in dataset.manifest.shards],
        "tokenizer": "0" * 64,
        "sizes": dataset.manifest.counting.image.sizes,
    }
    assert dataset.fingerprint == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert json.loads((tmp_path / "dataset.json").read_text())["format"] == "step3vl-dataset-3", "older ones read it"


def test_the_table_of_shards_is_read_once_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_shards(tmp_path, MAX_LISTED + 2)
    reads: list[str] = []
    read_all = Store.read_all

    def counted(files: Store, path: str, *args: Any) -> bytes:
        reads.append(path)
        return read_all(files, path, *args)

    monkeypatch.setattr(Store, "read_all", counted)
    first, second = Dataset.open(tmp_path), Dataset.open(tmp_path)
    assert first.manifest.shards is second.manifest.shards
    assert reads == ["dataset.json", "shards.parquet", "dataset.json"]


def test_a_damaged_table_of_shards_is_refused(tmp_path: Path) -> None:
    commit_shards(tmp_path, MAX_LISTED + 3)
    table = tmp_path / "shards.parquet"
    table.write_bytes(table.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"shards: shards.parquet has other bytes than were committed; restore it"):
        Dataset.open(tmp_path)
    table.unlink()
    with pytest.raises(UserError, match=r"shards: shards.parquet is missing"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize("path", ["/a.tar", "../a.tar", "shards/../../a.tar", "shards/.."])
def test_a_table_whose_paths_lead_out_of_the_dataset_is_refused(path: str) -> None:
    shard = next(infos(1)).info.model_copy(update={"path": path})
    table = ShardTable.of([shard])
    with pytest.raises(ValueError, match="inside the dataset"):
        ShardTable.from_parquet(table.to_parquet())
