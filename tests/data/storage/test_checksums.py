"""The cache of checksums."""

import pyarrow as pa
import pytest

from step3vl.data.storage import checksums
from step3vl.data.storage.checksums import ChecksumCache


def test_checksum_of_an_offset_and_size() -> None:
    table = pa.table({"offset": [0, 512], "size": [512, 1024], "xxh3": pa.array([7, 2**64 - 1], pa.uint64())})
    cache = ChecksumCache(lambda shard: table)
    assert cache.checksum(0, 512, 1024) == 2**64 - 1
    assert cache.checksum(0, 512, 1000) is None
    assert cache.checksum(0, 100, 512) is None


def test_shards_are_loaded_once_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_MAX_ROWS", 2)
    loads: list[int] = []

    def load(shard: int) -> pa.Table:
        loads.append(shard)
        return pa.table({"offset": [0], "size": [1], "xxh3": pa.array([shard], pa.uint64())})

    cache = ChecksumCache(load)
    for shard in (0, 1, 0, 1, 2, 1, 2, 0):
        assert cache.checksum(shard, 0, 1) == shard
    assert loads == [0, 1, 2, 0]
