"""Columns of remote indexes: only their bytes, once a machine."""

from pathlib import Path

import fsspec
import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.dataset import index_columns as module
from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig
from step3vl.data.storage.store_config import request_count

PLANNING = ["offset", "size", "text_tokens", "image_tokens", "kind", "task"]


@pytest.fixture
def remote(dataset: Dataset, tmp_path: Path) -> Dataset:
    """The dataset in a store, read with a cache in tmp_path."""
    url = f"memory:/{tmp_path}/data"
    fsspec.filesystem("memory").put(dataset.url, f"{tmp_path}/data", recursive=True)
    return Dataset.open(url, StoreConfig(cache=tmp_path / "cache"))


@pytest.mark.parametrize("columns", [PLANNING, ["offset", "size", "xxh3"], ["id", "image_widths", "task"]])
@pytest.mark.parametrize("whole", [0, 1 << 20])
def test_columns_equal_those_of_the_local_file(
    dataset: Dataset, remote: Dataset, columns: list[str], whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WHOLE", whole)
    for number in range(len(dataset.manifest.shards)):
        assert remote.shard_index(number, columns).equals(dataset.shard_index(number, columns))


def test_columns_are_fetched_once_and_damage_of_a_copy_is_noticed(remote: Dataset, tmp_path: Path) -> None:
    first = remote.shard_index(0, PLANNING)
    requests = request_count()
    assert Dataset.open(remote.url, remote.files.config).shard_index(0, PLANNING).equals(first)
    assert request_count() - requests == 1, "dataset.json alone"
    (copy,) = (tmp_path / "cache" / "columns").glob("*.arrow")
    copy.write_bytes(copy.read_bytes()[:100])
    assert remote.shard_index(0, PLANNING).equals(first)


def test_a_missing_index_is_a_user_error(remote: Dataset) -> None:
    fsspec.filesystem("memory").rm(remote.files.path(remote.manifest.shards[0].index_path))
    with pytest.raises(UserError, match=r"is listed in dataset\.json but missing"):
        remote.shard_index(0, PLANNING)


def test_samples_are_the_same_in_blocks_and_by_exact_ranges(dataset: Dataset, remote: Dataset, tmp_path: Path) -> None:
    rows = dataset.index(["offset", "size"]).to_pylist()
    for row in rows[:20]:
        place = (row["shard"], row["offset"], row["size"])
        assert remote.fetch(*place, in_blocks=False) == dataset.fetch(*place)
    assert not list((tmp_path / "cache").glob("??/*")), "nothing is kept"
    for row in rows[:20]:
        place = (row["shard"], row["offset"], row["size"])
        assert remote.fetch(*place) == dataset.fetch(*place)
    requests = request_count()
    remote.fetch(rows[3]["shard"], rows[3]["offset"], rows[3]["size"], in_blocks=False)
    assert request_count() == requests, "what is kept is used"
