"""Local copies of remote files."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from step3vl.data.storage.file_cache import FileCache
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import StoreError, request_count


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "copies", limit=3000)


def fetch(cache: FileCache, store: Store, name: str) -> Path:
    return cache.local_path(store.absolute(name), store.info(name).version, store.config)


@pytest.mark.parametrize("scheme", ["memory", "s3"])
def test_remote_file_is_fetched_once(make_store: Callable[[str], Store], cache: FileCache, scheme: str) -> None:
    store = make_store(scheme)
    store.put("font.ttf", b"glyphs" * 100)
    version = store.info("font.ttf").version
    copy = cache.local_path(store.absolute("font.ttf"), version, store.config)
    assert copy.read_bytes() == b"glyphs" * 100 and copy.suffix == ".ttf"
    requests = request_count()
    assert cache.local_path(store.absolute("font.ttf"), version, store.config) == copy
    assert request_count() == requests


def test_local_file_is_used_where_it_is(make_store: Callable[[str], Store], cache: FileCache, tmp_path: Path) -> None:
    store = make_store("local")
    store.put("page.pdf", b"pdf")
    assert fetch(cache, store, "page.pdf") == tmp_path / "page.pdf"
    assert not (tmp_path / "copies").exists()


@pytest.mark.parametrize("scheme", ["local", "s3"])
def test_file_that_changed_or_vanished_is_not_used(
    make_store: Callable[[str], Store], cache: FileCache, scheme: str
) -> None:
    store = make_store(scheme)
    store.put("page.pdf", b"first")
    version = store.info("page.pdf").version
    store.put("page.pdf", b"second")
    with pytest.raises(StoreError, match=r"page\.pdf was changed since it was listed"):
        cache.local_path(store.absolute("page.pdf"), version, store.config)
    store.remove("page.pdf")
    with pytest.raises(StoreError, match=r"page\.pdf is gone since it was listed"):
        cache.local_path(store.absolute("page.pdf"), version, store.config)


def test_least_recently_used_copies_are_removed(
    make_store: Callable[[str], Store], cache: FileCache, tmp_path: Path
) -> None:
    store = make_store("memory")
    long_ago = time.time() - 10_000
    copies = []
    for number in range(4):
        store.put(f"{number}.bin", bytes(900))
        copies.append(fetch(cache, store, f"{number}.bin"))
    assert [copy.exists() for copy in copies] == [True] * 4, "what was used just now stays beyond the limit"
    for number, copy in enumerate(copies):
        os.utime(copy, (long_ago + number, long_ago + number))
    fetch(cache, store, "0.bin")
    store.put("4.bin", bytes(900))
    fetch(cache, store, "4.bin")
    assert [copy.exists() for copy in copies] == [True, False, False, True]
    assert not [path for path in (tmp_path / "copies").iterdir() if path.name.startswith(".")]


_FETCH = """
import pickle, sys
from step3vl.data.storage import request_count
cache, store = pickle.loads(bytes.fromhex(sys.argv[1]))
version = store.info("large.bin").version
before = request_count()
cache.local_path(store.absolute("large.bin"), version, store.config)
print(request_count() - before)
"""


def test_processes_fetch_a_file_once_together(make_store: Callable[[str], Store], cache: FileCache) -> None:
    store = make_store("s3")
    store.put("large.bin", bytes(20 << 20))
    command = [sys.executable, "-c", _FETCH, pickle.dumps((cache, store)).hex()]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(counts) == [0, 5], "three blocks and two checks, by one of them"
