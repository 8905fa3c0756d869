"""The loader on a cluster and before a slow store. No race: commands whose figures are in README.md.

    python tests/benchmarks/loader_scale.py amplification          # bytes fetched over bytes needed, simulated
    python tests/benchmarks/loader_scale.py latency                # batches from a server that takes 30 ms a request
    python tests/benchmarks/loader_scale.py first-batch            # of a dataset of 100,000 shards on that server

`amplification` walks the plan of an epoch of made rows and notes what every node fetches with a cache of blocks, which
each keeps as long as its limit allows. `latency` alternates a local folder and the server, with and without a cache.
It prints samples a second of wall time, all of the machine's other work included, and CPU-milliseconds a sample of the
loading processes, which say what the server costs on any machine. With `--pause 0.025` each sample also waits so long,
as if it were decoded by cores that this machine does not have, so that the rates hardly depend on them. `first-batch`
has a server that gives the same shard under 100,000 names.
"""

import argparse
import multiprocessing
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import fixtures
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.dataset import DeadLetter
from step3vl.data.dataset.manifest import Manifest, format_of, write_manifest
from step3vl.data.dataset.shards import ShardTable
from step3vl.data.plan import IndexRows, Mixture, MixtureSource, PackItem, Plan, PlanPhase, deal, homes
from step3vl.data.sample import Sample, TokenCount
from step3vl.data.storage import Store, StoreConfig
from step3vl.training.batch import PackedBatch, PreparedSample
from step3vl.training.loader import PackLoader

BLOCK = 4 << 20
CACHE = 16 << 30
SHARD_BYTES = 1 << 30
CAPACITY = 4096


class SizedIndex:
    """`count` rows of `size` bytes in shards of a gigabyte."""

    def __init__(self, count: int, size: int) -> None:
        self._size, each = size, SHARD_BYTES // size
        self.rows = np.full(count // each, each, np.int64)
        self.samples = int(self.rows.sum())

    def shard(self, number: int, capacity: int) -> IndexRows:
        count = int(self.rows[number])
        numbers = np.arange(count, dtype=np.int32)
        lengths = np.random.default_rng(number).integers(100, 2100, count).astype(np.int32)
        sizes = np.full(count, self._size, np.int64)
        tasks, documents = np.zeros(count, np.int32), np.ones(count, bool)
        return IndexRows(numbers, lengths, numbers * np.int64(self._size), sizes, tasks, ["made"], documents, {})

    def prefetch(self, numbers: list[int], capacity: int) -> None: ...


class NodeCache:
    """The blocks that a node holds, and what it fetched and needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit // BLOCK
        self._blocks: OrderedDict[tuple[int, int], None] = OrderedDict()
        self.fetched = self.needed = self.visits = 0

    def read(self, shard: int, offset: int, size: int, in_blocks: bool) -> None:
        self.needed += size
        for number in range(offset // BLOCK, (offset + size - 1) // BLOCK + 1):
            block = (shard, number)
            if block in self._blocks:
                self._blocks.move_to_end(block)
            elif in_blocks:
                self.fetched += BLOCK
                self._blocks[block] = None
                if len(self._blocks) > self._limit:
                    self._blocks.popitem(last=False)
            else:
                self.fetched += min(size, (number + 1) * BLOCK - offset)


def amplification(nodes: int, partitions: int, size: int, samples: int, ranks: int = 8) -> tuple[float, float]:
    """Bytes fetched over bytes needed of all nodes in an epoch, and the share of packs read away from home."""
    source = MixtureSource(dataset="made", epochs=1)
    index = SizedIndex(samples, size)
    plan = Plan(
        [PlanPhase(Mixture(sources=(source,)))], CAPACITY, 0, partitions=partitions, open_index=lambda source: index
    )
    caches = [NodeCache(CACHE) for _ in range(nodes)]
    fits = -(-plan.divided[0] // nodes) * plan.window * size <= CACHE * 3 // 4  # as PackLoader decides
    reader, packs = plan.packs(), 0
    while len(group := list(islice(reader, ranks * nodes))) == ranks * nodes:
        for node, places in enumerate(deal([pack.partition for pack in group], partitions, nodes)):
            for place in places:
                pack = group[place]
                home = node in homes(pack.partition, partitions, nodes)
                in_blocks = partitions == 1 or (home and fits and pack.in_partition and nodes <= plan.divided[0])
                caches[node].visits += not home
                for item in pack.items:
                    caches[node].read(item.shard, item.offset, item.size, in_blocks)
        packs += len(group)
    fetched, needed, visits = (
        sum(getattr(cache, name) for cache in caches) for name in ("fetched", "needed", "visits")
    )
    return fetched / needed, visits / packs


def print_amplification(nodes: list[int], samples: int) -> None:
    row_bytes = planning_bytes_of_a_row()
    print(f"planning columns of the index: {row_bytes:.1f} bytes a row, read by every node")
    print("| bytes a sample | nodes | one partition, blocks | 64 partitions | with the index | away from home |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size in (118 << 10, 6 << 10):
        for count in nodes:
            before, _ = amplification(count, 1, size, samples)
            after, away = amplification(count, 64, size, samples)
            index = count * row_bytes / size
            print(
                f"| {size:,} | {count} | {before:.2f} | {after:.2f} | {after + index:.2f} | {away:.1%} |", flush=True
            )


def planning_bytes_of_a_row() -> float:
    """Compressed bytes of what a plan reads of an index, for 20,000 rows with random sizes and numbers of tokens."""
    rng, count = np.random.default_rng(0), 20_000
    sizes = rng.integers(4, 500, count) * 512
    tasks = rng.choice(["ocr.text", "grounding.point", "vqa.open", "education.exam"], count)
    columns = {
        "task": pa.array(tasks.tolist()),
        "kind": pa.array(["conversation"] * count),
        "offset": pa.array(np.cumsum(sizes) - sizes),
        "size": pa.array(sizes),
        "text_tokens": pa.array(rng.integers(20, 2000, count).astype(np.int32)),
        "image_tokens": pa.array((rng.integers(0, 9, count) * 169).astype(np.int32)),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue().size / count


def serve(root: str, latency: float, ready: Any) -> None:
    """Serve a folder over HTTP, each request after a pause; any shard by the first one's files. Runs in a process."""
    import asyncio

    from aiohttp import web

    folder = Path(root)

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(latency)
        path = folder / request.path.lstrip("/")
        if path.parent.name == "shards" and not path.exists():
            path = min((folder / "shards").glob(f"*{path.suffix}"))
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


class Server:
    """A server process for a `with` block, which gives its address."""

    def __init__(self, root: Path, latency: float) -> None:
        context = multiprocessing.get_context("fork")  # before anything has threads
        self._ready = context.Queue()
        self._process = context.Process(target=serve, args=(str(root), latency, self._ready), daemon=True)

    def __enter__(self) -> str:
        self._process.start()
        return f"http://127.0.0.1:{self._ready.get(timeout=120)}"

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()


def loader_of(url: str, store: StoreConfig, tokenizer: Any, **options: Any) -> "PausingLoader":
    from step3vl.model import Step3VLImageProcessor

    settings = {"sequence_length": 1024, "seed": 0, "micro_batch": 1, "rank": 0, "world": 1, **options}
    return PausingLoader(
        [PlanPhase(Mixture(sources=(MixtureSource(dataset=url),)))],
        tokenizer=tokenizer,
        image_processor=Step3VLImageProcessor(**fixtures.SPEC.model_dump()),
        store=store,
        **settings,
    )


class PausingLoader(PackLoader):
    """A loader whose decoding also takes a pause, as it would take a core that this machine does not have."""

    pause = 0.0

    def prepare(self, item: PackItem, read: "Future[bytes] | None" = None) -> PreparedSample | DeadLetter:
        time.sleep(self.pause)
        return super().prepare(item, read)


class Reading(NamedTuple):
    """What loading took: samples, wall seconds, and CPU seconds of the processes that load."""

    samples: int
    seconds: float
    cpu_seconds: float


def print_latency(latency: float, workers: int, images: int, rounds: int, pause: float) -> None:
    """Alternate a folder and the server, each read by workers that were started once; an epoch at most."""
    from step3vl.data.tokens import count_tokens

    tokenizer = fixtures.small_tokenizer()
    photos = [fixtures.jpeg(fixtures.photograph(672, 672, seed)) for seed in range(16)]
    samples: list[Sample] = []
    for number in range(images):
        sample = fixtures.question(number, (photos[number % 16],))
        samples.append(sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, fixtures.SPEC)}))
    with fixtures.folder() as root, fixtures.folder() as cache, Server(root, latency) as url:
        fixtures.dataset(root, samples, tokenizer)
        contenders = {
            "local": (str(root), StoreConfig()),
            f"server, {1000 * latency:.0f} ms": (url, StoreConfig()),
            "the same, with a cache": (url, StoreConfig(cache=cache)),
        }
        loading: dict[str, tuple[Iterator[PackedBatch], list[psutil.Process]]] = {}
        ahead = max(2 * workers, 1)  # batches that are ready when it is a contender's turn
        for name, (place, store) in contenders.items():
            before = set(psutil.Process().children())
            loader = loader_of(place, store, tokenizer, workers=workers)
            loader.pause = pause
            source = loader.batches()
            for _ in range(ahead):  # until every worker has started
                next(source)
            loading[name] = source, [psutil.Process(), *set(psutil.Process().children()) - before]
        batches = images // 3 // rounds - 2 * ahead  # of about three images
        if batches < 1:
            raise SystemExit(f"{images} images are too few for {rounds} rounds of {workers} workers: raise --images")
        readings: dict[str, list[Reading]] = {name: [] for name in contenders}
        for number in range(rounds):
            order = list(contenders)
            for name in order[number % 3 :] + order[: number % 3]:
                source, processes = loading[name]
                for _ in range(ahead):
                    next(source)
                readings[name].append(timed(source, processes, batches))
        rates = {name: median(part.samples / part.seconds for part in parts) for name, parts in readings.items()}
        costs = {name: median(part.cpu_seconds / part.samples for part in parts) for name, parts in readings.items()}
        decoded = f", each sample also takes a pause of {1000 * pause:.0f} ms" if pause else ""
        print(f"{workers} workers, {images:,} images of {len(photos[0].read()) / 1e3:.0f} kB{decoded}")
        for name, rate in rates.items():
            print(
                f"{name}: {rate:.1f} samples/s, {rate / rates['local']:.2f} of local; {1000 * costs[name]:.2f} CPU-ms "
                f"a sample, {costs[name] / costs['local']:.2f} of local"
            )
        print(f"requests alone, in one process: {requests_alone(url, tokenizer, images):.0f} samples/s")


def timed(source: "Iterator[PackedBatch]", processes: list[psutil.Process], batches: int) -> Reading:
    """Load so many batches."""
    start, cpu = time.perf_counter(), cpu_seconds(processes)
    read = sum(len(items) for batch in islice(source, batches) for items in batch.items)
    return Reading(read, time.perf_counter() - start, cpu_seconds(processes) - cpu)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def requests_alone(url: str, tokenizer: Any, count: int) -> float:
    """Samples a second of wall time that one process reads and checks from a server without a cache, and no more."""
    from step3vl.data.storage.read_ahead import RequestPool, read_ahead

    plan, pool = loader_of(url, StoreConfig(), tokenizer).plan, RequestPool()
    packs = islice(plan.packs(), count // 4)
    start, read = time.perf_counter(), 0
    for _, reads in read_ahead(
        packs,
        lambda pack: [pool.submit(plan.fetch, item) for item in pack.items],
        lambda pack: sum(item.size for item in pack.items),
        64 << 20,
    ):
        read += sum(len(future.result()) > 0 for future in reads if future)
    pool.close()
    return read / (time.perf_counter() - start)


def print_first_batch(shards: int, latency: float, nodes: int) -> None:
    tokenizer = fixtures.small_tokenizer()
    tokens = TokenCount(text=0, image=0)
    from step3vl.data.tokens import count_tokens

    samples = [fixtures.question(number, (), tokens) for number in range(2_000)]
    samples = [
        sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, fixtures.SPEC)}) for sample in samples
    ]
    with fixtures.folder() as root, fixtures.folder() as cache:
        data = fixtures.dataset(root, samples, tokenizer)
        loader_of(str(root), StoreConfig(), tokenizer)  # what is imported is not counted
        info = data.manifest.shards[0]
        listed = ShardTable.of(
            info.model_copy(update={"path": f"shards/made-{number:06d}.tar", "index_blake3": f"{number:064x}"})
            for number in range(shards)
        )
        total = data.manifest.tasks[0]
        grown = total.model_copy(update={"samples": total.samples * shards})
        content = dict(data.manifest) | {"shards": listed, "format": format_of(listed), "tasks": (grown,)}
        write_manifest(Store(str(root), StoreConfig()), Manifest.model_construct(**content))
        with Server(root, latency) as url:
            start, cpu = time.perf_counter(), time.process_time()
            loader = loader_of(url, StoreConfig(cache=cache), tokenizer, world=8 * nodes, nodes=nodes)
            opened = time.perf_counter() - start
            batch = next(loader.batches())
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            assert batch.tokens and not batch.unreadable
            print(
                f"{shards:,} shards, {1000 * latency:.0f} ms a request, {nodes} nodes: first batch after "
                f"{seconds:.1f} s ({cpu:.1f} s of CPU), the plan was open after {opened:.1f} s"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("amplification", "latency", "first-batch"))
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 16, 48, 64, 128])
    parser.add_argument("--samples", type=int, default=1_000_000, help="rows of the simulated epoch")
    parser.add_argument("--latency", type=float, default=0.03, help="seconds of each request")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that each sample waits in its worker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.what == "amplification":
        print_amplification(arguments.nodes, arguments.samples)
    elif arguments.what == "latency":
        print_latency(arguments.latency, arguments.workers, arguments.images, arguments.rounds, arguments.pause)
    else:
        print_first_batch(arguments.shards, arguments.latency, 64)


if __name__ == "__main__":
    main()
