"""Files of a store: sizes, names, conditional and large writes, removal."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from step3vl.data.storage.remote_files import LargeUpload
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig, StoreError, request_count

Make = Callable[[str], Store]

each_scheme = pytest.mark.parametrize("scheme", ["local", "memory", "s3"])


@each_scheme
def test_file_is_described_replaced_and_removed(make_store: Make, scheme: str) -> None:
    store = make_store(scheme)
    assert not store.exists("a/b.bin")
    with pytest.raises(FileNotFoundError):
        store.info("a/b.bin")
    store.put("a/b.bin", b"first")
    first = store.info("a/b.bin")
    assert (first.path, first.size, store.exists("a/b.bin")) == ("a/b.bin", 5, True)
    store.put("a/b.bin", b"second")
    assert store.info("a/b.bin").version != first.version
    with pytest.raises((IsADirectoryError, FileNotFoundError)):
        store.info("a")
    for _ in range(2):
        store.remove("a/b.bin")
        assert not store.exists("a/b.bin")


@each_scheme
def test_folder_is_removed_with_all_in_it(make_store: Make, scheme: str) -> None:
    store = make_store(scheme)
    for name in ("a/b/c", "a/d", "ab"):
        store.put(name, b"x")
    for _ in range(2):
        store.remove_folder("a")
        assert [store.exists(name) for name in ("a/b/c", "a/d", "ab")] == [False, False, True]


@each_scheme
def test_what_others_write_is_seen_at_once(make_store: Make, scheme: str) -> None:
    store = make_store(scheme)
    store.put("a/1", b"x")
    assert store.listing("a") == ["a/1"]
    other = Store(store.url, store.config.model_copy(update={"options": {**store.config.options}}))
    other.put("a/2", b"x")
    assert store.listing("a") == ["a/1", "a/2"] and store.exists("a/2")
    other.remove("a/1")
    assert store.listing("a") == ["a/2"] and not store.exists("a/1")
    other.put("a/b/3", b"x")
    assert store.listing("") == store.listing("a") == ["a/2", "a/b/3"]


@pytest.mark.parametrize("scheme", ["local", "s3"])
def test_one_of_several_writers_creates_a_new_file(make_store: Make, scheme: str) -> None:
    store = make_store(scheme)
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda number: store.create_new("lease", b"%d" % number), range(8)))
    assert created.count(True) == 1
    assert store.read_all("lease") == b"%d" % created.index(True)
    assert store.listing("") is not None and len(store.listing("") or []) == 1


def test_new_file_is_not_created_twice_where_the_store_cannot_decide(make_store: Make) -> None:
    store = make_store("memory")
    assert [store.create_new("lease", b"1"), store.create_new("lease", b"2")] == [True, False]
    assert store.read_all("lease") == b"1"


@each_scheme
@pytest.mark.parametrize("size", [0, 1000, 12 << 20])
def test_file_is_written_in_pieces(make_store: Make, scheme: str, size: int) -> None:
    store = make_store(scheme)
    data = os.urandom(size)
    with store.create("file") as file:
        for start in range(0, size, 1 << 20):
            assert file.write(memoryview(data)[start : start + (1 << 20)]) == len(data[start : start + (1 << 20)])
        assert file.tell() == size
        assert not store.exists("file")
    assert store.read_all("file") == data


@pytest.mark.parametrize("scheme", ["memory", "s3"])
@pytest.mark.parametrize("size", [1000, 12 << 20])
def test_error_while_writing_leaves_no_file(make_store: Make, scheme: str, size: int) -> None:
    store = make_store(scheme)
    with pytest.raises(RuntimeError, match="the source broke"), store.create("file") as file:
        file.write(bytes(size))
        raise RuntimeError("the source broke")
    assert store.listing("") == []


def test_small_remote_file_is_one_request(make_store: Make) -> None:
    store = make_store("s3")
    before = request_count()
    with store.create("file") as file:
        file.write(b"x" * 1000)
    assert request_count() - before == 1


def test_requests_of_another_thread_are_not_counted(make_store: Make) -> None:
    store = make_store("s3")
    before = request_count()
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(store.exists, "file").result()
    assert request_count() == before
    assert not store.exists("file")
    assert request_count() > before


def test_store_that_fails_during_an_upload_is_a_store_error(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store("s3")

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("503 SlowDown")

    for method in ("write", "finish"):
        monkeypatch.setattr(LargeUpload, method, refused)
        with pytest.raises(StoreError, match=r"file cannot be .*503 SlowDown"), store.create("file") as file:
            file.write(bytes(12 << 20))
    assert store.listing("") == []


@each_scheme
def test_rows_of_a_large_file_are_read_without_the_rest(make_store: Make, scheme: str) -> None:
    store = make_store(scheme)
    table = pa.table({"number": range(400_000), "noise": [os.urandom(4) for _ in range(400_000)]})
    with store.create("rows.parquet") as file:
        pq.write_table(table, file, row_group_size=20_000)
    fetched = []
    part = Store.part

    def counting(self: Store, path: str, start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        return part(self, path, start, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "part", counting)
        with pq.ParquetFile(store.open_ranges("rows.parquet"), pre_buffer=True) as rows:
            assert rows.read_row_group(7) == table.slice(140_000, 20_000)
    assert sum(fetched) < store.size("rows.parquet") / 5


def test_store_is_pickled_by_its_url(tmp_path: Path) -> None:
    store = Store(str(tmp_path), StoreConfig(attempts=2))
    store.put("x", b"x")
    again = pickle.loads(pickle.dumps(store))
    assert (again.url, again.config, again.read_all("x")) == (store.url, store.config, b"x")


def test_names_below_the_root_of_the_machine_are_absolute(tmp_path: Path) -> None:
    store = Store("/", DEFAULT_STORE)
    path = f"{tmp_path}/x".lstrip("/")
    store.put(path, b"x")
    assert (store.read_all(path), store.absolute(path)) == (b"x", f"{tmp_path}/x")
