"""Datasets in distant stores: written, read, tried again, kept in a bounded folder."""

import os
import pickle
import re
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from step3vl.data.cache import Cache
from step3vl.data.dataset import DamagedSample, Dataset, commit, shard_name, write_shard
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, TokenCount
from step3vl.data.store import Store, StoreConfig, StoreError
from step3vl.data.verify import verify

Make = Callable[..., Sample]
QUICK = StoreConfig(attempts=4, backoff=0.01, timeout=2)


class Shelf(ThreadingHTTPServer):
    """Serves a folder with ranges. `faults` are spent one a request: a status, or `slow`, `cut` or `whole`."""

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
    server: Shelf

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
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found or fault == "whole":
            return self.answer(200, data)
        first, last = int(found[1]), int(found[2] or len(data)) + 1
        if first >= len(data):
            return self.answer(416, b"")
        return self.answer(206, data[first:last], cut=fault == "cut")

    def answer(self, status: int, data: bytes, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


@pytest.fixture
def shelf(dataset: Dataset) -> Iterator[Shelf]:
    server = Shelf(Path(dataset.url))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def bucket() -> Iterator[StoreConfig]:
    """A bucket `shelf` of an S3 server, and how to reach it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    config = StoreConfig(
        options={"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}},
        attempts=3,
        backoff=0.01,
    )
    fsspec.filesystem("s3", **config.options).mkdir("shelf")
    yield config
    server.stop()


def counted(make_sample: Make, number: int) -> list[Sample]:
    samples = (make_sample(one, pictured=one % 3 != 0) for one in range(number))
    return sorted(
        (sample.model_copy(update={"tokens": TokenCount(text=9, image=2)}) for sample in samples),
        key=lambda sample: sample.id,
    )


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
def test_a_dataset_has_the_same_bytes_in_every_store(
    tmp_path: Path, dataset: Dataset, make_sample: Make, bucket: StoreConfig, scheme: str
) -> None:
    samples = counted(make_sample, 30)
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
def test_a_shard_that_fails_is_never_seen(tmp_path: Path, make_sample: Make, bucket: StoreConfig, scheme: str) -> None:
    places = {"local": (str(tmp_path), QUICK), "memory": ("memory://half", QUICK), "s3": ("s3://shelf/half", bucket)}
    url, config = places[scheme]
    store = Store(url, config)

    def failing() -> Iterator[Sample]:
        yield from counted(make_sample, 5)
        assert not [path for path in store.listing("shards") or [] if path.endswith((".tar", ".parquet", ".idx"))]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_shard(url, "x-train-00000-of-00001.tar", "train", failing(), config)
    assert store.listing("shards") == []


def test_an_upload_in_many_parts_holds_one_of_them(bucket: StoreConfig) -> None:
    part = 5 * 2**20  # the smallest that S3 takes
    config = bucket.model_copy(update={"options": {**bucket.options, "default_block_size": part}})
    store = Store("s3://shelf/large", config)
    pieces = [os.urandom(2**20) for _ in range(12)]
    with store.create("file") as file:
        for piece in pieces:
            file.write(piece)
            assert file.buffer.getbuffer().nbytes <= part + 2**20  # type: ignore[attr-defined]
        assert store.listing("") == []
    assert store.read_all("file") == b"".join(pieces)


def test_a_store_that_fails_now_and_then_is_asked_again(shelf: Shelf, dataset: Dataset) -> None:
    far = Dataset.open(shelf.url, QUICK)
    index = far.index(["offset", "size"])
    place = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*place)
    for faults in ([503], [500, 503, 429, 503], ["cut"], ["cut", 503, "cut"]):
        shelf.faults = list(faults)
        assert far.read(*place) == dataset.read(*place)
        assert shelf.faults == []


def test_a_slow_store_is_asked_again_after_the_timeout(shelf: Shelf, dataset: Dataset) -> None:
    far = Dataset.open(shelf.url, QUICK.model_copy(update={"timeout": 0.3}))
    index = far.index(["offset", "size"])
    place = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*place)
    shelf.faults = ["slow"]
    start = time.monotonic()
    assert far.read(*place) == dataset.read(*place)
    assert 0.3 <= time.monotonic() - start < 1.4


def test_a_store_that_keeps_failing_is_no_damaged_sample(shelf: Shelf) -> None:
    far = Dataset.open(shelf.url, QUICK)
    index = far.index(["offset", "size"])
    place = tuple(index[name][5].as_py() for name in ("shard", "offset", "size"))
    far.read(*place)
    shelf.faults = [503] * 100
    with pytest.raises(StoreError, match=r"\.tar cannot be read.*503.*attempts"):
        far.read(*place)
    shelf.faults = ["whole"]
    with pytest.raises(StoreError, match="sends whole files"):
        far.read(*place)


def test_a_file_that_was_cut_in_the_store_is_a_damaged_sample(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Make
) -> None:
    built = build_dataset(tmp_path / "set", [make_sample(number) for number in range(40)])
    shelf = Shelf(tmp_path / "set")
    thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        far = Dataset.open(shelf.url, QUICK)
        last = far.index(["offset", "size"], split="train").to_pylist()[-1]
        path = tmp_path / "set" / built.manifest.shards[last["shard"]].path
        for length, reason in ((last["offset"] + 100, "bytes early"), (last["offset"] - 100, "bytes early")):
            path.write_bytes(path.read_bytes()[:length])
            with pytest.raises(DamagedSample, match=reason):
                far.read(last["shard"], last["offset"], last["size"])
        path.unlink()
        with pytest.raises(DamagedSample, match="missing"):
            far.read(last["shard"], last["offset"], last["size"])
    finally:
        shelf.shutdown()
        shelf.server_close()
        thread.join()


def test_what_was_read_is_not_asked_for_again(tmp_path: Path, shelf: Shelf, dataset: Dataset) -> None:
    config = QUICK.model_copy(update={"cache": tmp_path / "cache", "block": 4096})
    far = Dataset.open(shelf.url, config)
    assert ids(far) == ids(dataset)
    asked = shelf.requests
    again = pickle.loads(pickle.dumps(far))
    assert ids(again) == ids(dataset)
    assert shelf.requests == asked
    total = sum(shard.size for shard in dataset.manifest.shards)
    assert asked <= total // 4096 + 3 * len(dataset.manifest.shards) + 1


def test_a_damaged_copy_is_fetched_anew(tmp_path: Path, shelf: Shelf, dataset: Dataset) -> None:
    far = Dataset.open(shelf.url, QUICK.model_copy(update={"cache": tmp_path / "cache"}))
    whole = ids(far)
    for path in (tmp_path / "cache").glob("??/*"):
        if not path.name.endswith("whole"):
            data = bytearray(path.read_bytes())
            data[: len(data) // 2] = bytes(len(data) // 2)
            path.write_bytes(data)
    assert ids(Dataset.open(shelf.url, far.files.config)) == whole


def test_the_cache_stays_within_its_limit_and_keeps_what_is_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 16_000)
    for number in range(200):
        cache.put(f"{number:04d}", bytes(500))
        os.utime(tmp_path / f"{number:04d}"[:2] / f"{number:04d}", ns=(number, number))
        if number >= 10:
            assert cache.get("0003") is not None  # looked at again and again
        held = sum(path.stat().st_size for path in tmp_path.glob("??/*"))
        assert held <= 17_000
    assert cache.get("0150") is None and cache.get("0199") is not None
    cache.put("large", bytes(1001))
    assert cache.get("large") is None


def test_two_caches_in_one_folder_bear_each_other(tmp_path: Path) -> None:
    caches = [Cache(tmp_path, 3200), Cache(tmp_path, 3200)]

    def work(cache: Cache, start: int) -> None:
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


def test_a_cache_too_small_for_its_blocks_is_refused() -> None:
    with pytest.raises(ValidationError, match="must hold 16 blocks"):
        StoreConfig(cache_bytes=2**20)


def test_writing_a_shard_holds_a_few_samples_and_not_the_shard(tmp_path: Path, make_sample: Make) -> None:
    plain = counted(make_sample, 90)
    pictured = [sample for sample in plain if sample.images]

    def large() -> Iterator[Sample]:
        for sample in pictured:
            heavy = sample.images[0].model_copy(update={"data": os.urandom(2**20)})
            yield sample.model_copy(update={"images": (heavy,)})

    write_shard(tmp_path, shard_name("light", "train", 0, 1), "train", pictured)  # what is imported late is no matter
    tracemalloc.start()
    try:
        info = write_shard(tmp_path, shard_name("heavy", "train", 0, 1), "train", large())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert info.samples == len(pictured) == 60 and info.size > 60 * 2**20
    assert peak < 12 * 2**20
