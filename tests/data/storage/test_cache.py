"""The local cache of remote data."""

import os
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from step3vl.data.storage.cache import BlockCache
from step3vl.data.storage.slices import ByteRange
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import StoreConfig


def test_cache_stays_within_its_limit_and_keeps_what_is_used(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 16_000)
    for number in range(200):
        cache.put(f"{number:04d}", bytes(500))
        os.utime(tmp_path / f"{number:04d}"[:2] / f"{number:04d}", ns=(number, number))
        if number >= 10:
            assert cache.get("0003") is not None  # used again and again
        held = sum(path.stat().st_size for path in tmp_path.glob("??/*"))
        assert held <= 17_000
    assert cache.get("0150") is None and cache.get("0199") is not None
    cache.put("large", bytes(1001))
    assert cache.get("large") is None


def test_two_caches_share_a_folder(tmp_path: Path) -> None:
    caches = [BlockCache(tmp_path, 3200), BlockCache(tmp_path, 3200)]

    def work(cache: BlockCache, start: int) -> None:
        for number in range(start, start + 300):
            name = f"{number % 40:03d}"
            cache.put(name, name.encode() * 50)
            assert cache.get(name) in (None, name.encode() * 50)

    threads = [threading.Thread(target=work, args=(cache, 7 * at)) for at, cache in enumerate(caches)]
    failed: list[object] = []
    hook, threading.excepthook = threading.excepthook, failed.append
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        threading.excepthook = hook
    assert failed == []
    assert sum(path.stat().st_size for path in tmp_path.glob("??/*")) <= 3200 + 2 * 200


def test_part_of_a_block(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 16_000)
    cache.put("block", bytes(range(100)))
    assert cache.get("block", 10, 20) == bytes(range(10, 20)) and cache.get("absent", 10, 20) is None
    assert cache.get("block", 95, 120) == bytes(range(95, 100)), "fewer where it ends"


def test_those_that_miss_a_block_fetch_it_once(tmp_path: Path) -> None:
    store = Store(f"memory:/{tmp_path}", StoreConfig(cache=tmp_path / "cache", cache_bytes=2**20, block=2**14))
    data = bytes(n % 251 for n in range(2**15))
    store.put("shard.tar", data)
    span = ByteRange("shard.tar", 100, 300, len(data), "version")
    fetched, results = [], []
    fetch = store._fetch
    store._fetch = lambda *place: (fetched.append(place), time.sleep(0.2), fetch(*place))[2]  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda: results.append(store.read(span))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [data[100:300]] * 8 and fetched == [("shard.tar", 0, 2**14)]


def test_cache_too_small_for_its_blocks_is_refused() -> None:
    with pytest.raises(ValidationError, match="must hold 16 blocks"):
        StoreConfig(cache_bytes=2**20)
