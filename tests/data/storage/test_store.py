"""Datasets in remote stores: written, read, retried."""

import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from step3vl.data.dataset.dataset import DamagedSample, Dataset
from step3vl.data.dataset.sharding import shard_name
from step3vl.data.dataset.writer import commit, write_shard
from step3vl.data.errors import UserError
from step3vl.data.inspect.verify import verify
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.slices import FileSlice
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import StoreConfig, StoreError, retried

Make = Callable[..., Sample]

Counted = Callable[[int], list[Sample]]

QUICK = StoreConfig(attempts=4, backoff=0.01, timeout=2)


class FaultyServer(ThreadingHTTPServer):
    """Serves a folder with ranges. Each request uses one of `faults`: a status, `slow`, `truncated` or `complete`."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.faults: list[int | str] = []
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests += 1
        fault = self.server.faults.pop(0) if self.server.faults else None
        path = self.server.folder / self.path.lstrip("/")
        if isinstance(fault, int):
            return self.answer(fault, b"")
        if fault == "slow":
            time.sleep(1.5)
        if not path.is_file():
            return self.answer(404, b"")
        data = path.read_bytes()
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not requested or fault == "complete":
            return self.answer(200, data)
        first, last = int(requested[1]), int(requested[2] or len(data)) + 1
        if first >= len(data):
            return self.answer(416, b"")
        return self.answer(206, data[first:last], truncate=fault == "truncated")

    def answer(self, status: int, data: bytes, truncate: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if truncate else data)
        if truncate:
            self.close_connection = True


@contextmanager
def serving(folder: Path) -> Iterator[FaultyServer]:
    server = FaultyServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(dataset: Dataset) -> Iterator[FaultyServer]:
    with serving(Path(dataset.url)) as server:
        yield server


def write(url: str, samples: list[Sample], like: Dataset, store: StoreConfig = QUICK) -> Dataset:
    shard = write_shard(url, shard_name("far", "train", 0, 1), "train", samples, store)
    manifest = like.manifest
    return commit(
        url,
        name="far",
        shards=[shard],
        ledger=manifest.ledger,
        counting=manifest.counting,
        config={},
        code_version="test",
        store=store,
    )


def content(store: Store) -> dict[str, bytes]:
    paths = ["dataset.json", *(store.listing("shards") or [])]
    return {path: store.read_all(path) for path in paths}


def ids(dataset: Dataset) -> list[str]:
    return [sample.id for sample in dataset.samples()]


@pytest.mark.parametrize("scheme", ["memory", "s3"])
def test_dataset_has_the_same_bytes_in_every_store(
    tmp_path: Path, dataset: Dataset, counted_samples: Counted, bucket: StoreConfig, scheme: str
) -> None:
    samples = counted_samples(30)
    near = write(str(tmp_path), samples, dataset)
    url, store = {"memory": ("memory://same", QUICK), "s3": ("s3://shelf/same", bucket)}[scheme]
    write(url, samples, dataset, store)
    far = Dataset.open(url, store)
    assert content(far.files) == content(near.files)
    assert ids(far) == ids(near) and len(ids(far)) == 30
    assert verify(url, store).problems == () and far.fingerprint == near.fingerprint
    assert far.index(["id"]) == near.index(["id"])
    with pytest.raises(UserError, match="nothing was committed"):
        Dataset.open(f"{url}/elsewhere", store)


@pytest.mark.parametrize("scheme", ["local", "memory", "s3"])
def test_failed_shard_is_not_visible_in_any_store(
    tmp_path: Path, counted_samples: Counted, bucket: StoreConfig, scheme: str
) -> None:
    stores = {"local": (str(tmp_path), QUICK), "memory": ("memory://half", QUICK), "s3": ("s3://shelf/half", bucket)}
    url, config = stores[scheme]
    store = Store(url, config)

    def failing() -> Iterator[Sample]:
        yield from counted_samples(5)
        assert not [path for path in store.listing("shards") or [] if path.endswith((".tar", ".parquet", ".idx"))]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_shard(url, "x-train-00000-of-00001.tar", "train", failing(), config)
    assert store.listing("shards") == []


def test_multipart_upload_holds_one_part_in_memory(bucket: StoreConfig) -> None:
    part = 5 * 2**20  # the minimum of S3
    config = bucket.model_copy(update={"options": {**bucket.options, "default_block_size": part}})
    store = Store("s3://shelf/large", config)
    blocks = [os.urandom(2**20) for _ in range(12)]
    with store.create("file") as file:
        for block in blocks:
            file.write(block)
            if file._large:  # type: ignore[attr-defined]
                assert file._large._file.buffer.getbuffer().nbytes <= part + 2**20  # type: ignore[attr-defined]
        assert store.listing("") == []
    assert store.read_all("file") == b"".join(blocks)


def test_temporary_errors_are_retried(server: FaultyServer, dataset: Dataset) -> None:
    far = Dataset.open(server.url, QUICK)
    index = far.index(["offset", "size"])
    location = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*location)
    for faults in ([503], [500, 503, 429, 503], ["truncated"], ["truncated", 503, "truncated"]):
        server.faults = list(faults)
        assert far.read(*location) == dataset.read(*location)
        assert server.faults == []


def test_an_interrupt_is_not_retried() -> None:
    attempts: list[int] = []

    def request() -> None:
        attempts.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retried(request, StoreConfig(attempts=3, backoff=0.01))
    assert attempts == [1]


def test_reads_of_several_slices_are_retried_one_by_one(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(data)
    parts = [FileSlice("file", start, 1000) for start in range(0, 1 << 20, 1 << 17)]
    with serving(tmp_path) as server:
        store = Store(server.url, QUICK)
        for faults in ([], [503], ["truncated", "truncated"], [500, 503, 429], [503] * 9):
            server.faults = list(faults)
            assert store.read_many(parts) == [data[part.offset : part.offset + 1000] for part in parts]
            assert server.faults == []
        server.faults = [503] * 100
        with pytest.raises(StoreError, match=r"file cannot be read.*503"):
            store.read_many(parts)


def test_slow_request_is_retried_after_the_timeout(server: FaultyServer, dataset: Dataset) -> None:
    far = Dataset.open(server.url, QUICK.model_copy(update={"timeout": 0.3}))
    index = far.index(["offset", "size"])
    location = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*location)
    server.faults = ["slow"]
    start = time.monotonic()
    assert far.read(*location) == dataset.read(*location)
    assert 0.3 <= time.monotonic() - start < 1.4


def test_persistent_error_is_a_store_error_and_not_a_damaged_sample(server: FaultyServer) -> None:
    far = Dataset.open(server.url, QUICK)
    index = far.index(["offset", "size"])
    location = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*location)
    server.faults = [503] * 100
    with pytest.raises(StoreError, match=r"\.tar cannot be read.*503.*attempts"):
        far.read(*location)
    server.faults = ["complete"]
    with pytest.raises(StoreError, match="ignores range requests"):
        far.read(*location)


def test_truncated_remote_file_is_a_damaged_sample(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Make
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(40)])
    with serving(tmp_path / "set") as server:
        far = Dataset.open(server.url, QUICK)
        last = far.index(["offset", "size"], split="train").to_pylist()[-1]
        path = tmp_path / "set" / built.manifest.shards[last["shard"]].path
        for length, reason in ((last["offset"] + 100, "bytes early"), (last["offset"] - 100, "bytes early")):
            path.write_bytes(path.read_bytes()[:length])
            with pytest.raises(DamagedSample, match=reason):
                far.read(last["shard"], last["offset"], last["size"])
        path.unlink()
        with pytest.raises(DamagedSample, match="missing"):
            far.read(last["shard"], last["offset"], last["size"])


def test_cached_blocks_are_not_requested_again(tmp_path: Path, server: FaultyServer, dataset: Dataset) -> None:
    config = QUICK.model_copy(update={"cache": tmp_path / "cache", "block": 4096})
    far = Dataset.open(server.url, config)
    assert ids(far) == ids(dataset)
    requests = server.requests
    again = pickle.loads(pickle.dumps(far))
    assert ids(again) == ids(dataset)
    assert server.requests == requests
    total = sum(shard.size for shard in dataset.manifest.shards)
    assert requests <= total // 4096 + 3 * len(dataset.manifest.shards) + 1


def test_damaged_cache_block_is_fetched_again(tmp_path: Path, server: FaultyServer, dataset: Dataset) -> None:
    far = Dataset.open(server.url, QUICK.model_copy(update={"cache": tmp_path / "cache"}))
    expected = ids(far)
    for path in (tmp_path / "cache").glob("??/*"):
        if not path.name.endswith("whole"):
            data = bytearray(path.read_bytes())
            data[: len(data) // 2] = bytes(len(data) // 2)
            path.write_bytes(data)
    assert ids(Dataset.open(server.url, far.files.config)) == expected
