"""The local cache of remote data."""

import os
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from step3vl.data.storage.cache import BlockCache
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


def test_cache_too_small_for_its_blocks_is_refused() -> None:
    with pytest.raises(ValidationError, match="must hold 16 blocks"):
        StoreConfig(cache_bytes=2**20)
