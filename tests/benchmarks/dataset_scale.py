"""How commands on datasets grow with shards and with samples: CPU seconds, and the memory of the largest process.

Each command runs in a process of its own, on samples of a short text, so that everything but their bytes shows.

    .venv/bin/python tests/benchmarks/dataset_scale.py --listed 1000 200000           # opening; there are no shards
    .venv/bin/python tests/benchmarks/dataset_scale.py --shards 1000 --workers 1 2    # commands on tiny shards
    .venv/bin/python tests/benchmarks/dataset_scale.py --rows 10000 1000000           # the same, in shards of 10,000
    .venv/bin/python tests/benchmarks/dataset_scale.py --indexed 10000 1000000        # of indexes alone
    .venv/bin/python tests/benchmarks/dataset_scale.py --sorted 100000 4000000        # scratch files of a diff alone
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import SCHEMA, Counting, ShardInfo, TaskTotal, WrittenShard, commit, shard_name, write_shard
from step3vl.data.sample import ImageSpec, Sample, Source, TokenCount, conversation, text

FEW, MANY = 4, 10_000  # samples of a shard
TASK = "synthetic.number"
CLI = ["-m", "step3vl.workflows.cli", "corpus"]
FINDINGS = {"verify", "diff"}
OPEN = "from step3vl.data.dataset import Dataset; dataset = Dataset.open({!r})"
SUMMARY = f"{OPEN}; from step3vl.data.inspect import summarise; summarise(dataset)"
SORT = """
import numpy as np
from step3vl.data.dataset.partitions import Partitions
from step3vl.data.inspect.diff import ROW
random = np.random.default_rng(0)
with Partitions.for_rows(ROW, {0}) as parts:
    for _ in range({0} // 10_000):
        rows = np.zeros(10_000, ROW)
        rows["low"] = random.integers(0, 2**63, len(rows))
        parts.add(rows, rows["low"])
    assert sum(map(len, parts)) == {0}
"""
# What a process and its children take at most. The usage that `wait4` gives begins with the memory of this process.
PROBE = """
import atexit, re, resource, runpy, sys
from pathlib import Path
_, file, how, what, *rest = sys.argv
def write():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    Path(file).write_text(str(max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)))
atexit.register(write)
sys.argv = [what, *rest]
if how == "-m":
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    exec(what)
"""
SNIPPETS = {
    "import alone": "import step3vl.data.dataset",
    "open": OPEN,
    "open, look at each shard": f"{OPEN}; sum(shard.samples for shard in dataset.manifest.shards)",
    "open, fingerprint": f"{OPEN}; dataset.fingerprint",
}


def listed_shards(count: int) -> Iterator[WrittenShard]:
    """Shards that do not exist."""
    for number in range(count):
        digest = hashlib.sha256(b"%d" % number).hexdigest()
        tokens = {"text_tokens": 7_000_000 + number, "image_tokens": 3_000_000 + number}
        info = ShardInfo(
            path=f"shards/{shard_name('listed', 'train', number, count)}",
            split="train",
            samples=3500,
            size=400_000_000 + 512 * number,
            blake3=digest,
            index_blake3=digest[::-1],
            **tokens,
        )
        total = TaskTotal(split="train", task=TASK, kind="conversation", samples=3500, **tokens)
        yield WrittenShard(info=info, totals=(total,))


def written_shards(root: Path, count: int, samples_of_shard: int) -> Iterator[WrittenShard]:
    """Shards that exist."""
    source = Source(uri="synthetic", licence="CC0-1.0", collected_by="synthetic")
    for number in range(count):
        samples = [
            Sample.make(
                domain="synthetic",
                task=TASK,
                messages=conversation((text("Which?"),), f"{number}.{place}"),
                source=source,
            ).model_copy(update={"tokens": TokenCount(text=9, image=0)})
            for place in range(samples_of_shard)
        ]
        name = shard_name("written", "train", number, count)
        yield write_shard(root, name, "train", sorted(samples, key=lambda sample: sample.id))


def indexed_shards(root: Path, rows: int, seed: int) -> Iterator[WrittenShard]:
    """Shards of which there is the index alone; half of the samples are the same for every seed."""
    count = max(rows // MANY, 1)
    each = rows // count
    constant = {"domain": "synthetic", "task": TASK, "kind": "conversation", "licence": "CC0-1.0"}
    for number in range(count):
        halves = (np.random.default_rng((number, half)).bytes(8 * each) for half in (0, seed))
        digits = b"".join(halves).hex()
        ids = sorted(digits[32 * place : 32 * (place + 1)] for place in range(each))
        columns = {
            **{name: pa.array([value] * each) for name, value in constant.items()},
            "id": pa.array(ids),
            "source": pa.array([f"synthetic/{key}" for key in ids]),
            **{name: pa.array(np.full(each, 9), SCHEMA.field(name).type) for name in ("text_tokens", "image_tokens")},
            "offset": pa.array(np.arange(each) * 2048),
            **{name: pa.array(np.full(each, 2048), SCHEMA.field(name).type) for name in ("size", "xxh3", "json_size")},
            **{
                name: pa.array([[]] * each, SCHEMA.field(name).type)
                for name in SCHEMA.names
                if name.startswith("image_") and name != "image_tokens"
            },
        }
        name = shard_name("indexed", "train", number, count)
        info = ShardInfo(
            path=f"shards/{name}",
            split="train",
            samples=each,
            size=2048 * each,
            blake3="0" * 64,
            index_blake3="0" * 64,
            text_tokens=9 * each,
            image_tokens=9 * each,
        )
        path = root / info.index_path
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns).select(SCHEMA.names).cast(SCHEMA), path, compression="zstd")
        sums = {"text_tokens": 9 * each, "image_tokens": 9 * each}
        total = TaskTotal(split="train", task=TASK, kind="conversation", samples=each, **sums)
        yield WrittenShard(info=info, totals=(total,))


def make(root: Path, shards: Iterable[WrittenShard]) -> str:
    """Commit shards. Returns the path of the dataset."""
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    commit(root, name="scale", shards=shards, ledger=(), counting=counting, config={}, code_version="benchmark")
    return str(root)


def measure(arguments: list[str]) -> list[str]:
    """Run Python; commands that find differences or problems exit with 1.

    Returns:
        Wall seconds, CPU seconds of all its processes, and the MB of the largest of them.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with NamedTemporaryFile() as peak:
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", PROBE, peak.name, *arguments], env=environment, **quiet)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ((0, 1) if FINDINGS.intersection(arguments) else (0,)):
            raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
        seconds = time.monotonic() - start
        return [f"{seconds:.1f}", f"{usage.ru_utime + usage.ru_stime:.1f}", f"{int(peak.read()) / 1024:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listed", type=int, nargs="*", default=[], help="numbers of shards to open")
    parser.add_argument("--shards", type=int, nargs="*", default=[], help="numbers of shards to work on")
    parser.add_argument("--rows", type=int, nargs="*", default=[], help="numbers of samples to work on")
    parser.add_argument("--indexed", type=int, nargs="*", default=[], help="numbers of samples of indexes alone")
    parser.add_argument("--sorted", type=int, nargs="*", default=[], help="numbers of rows to sort on disk")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--folder", type=Path, help="where datasets are made; by default a temporary folder")
    arguments = parser.parse_args()
    table = Table()
    for name in ("command", "shards", "samples", "wall s", "CPU s", "largest process, MB"):
        table.add_column(name, justify="left" if name == "command" else "right")
    with TemporaryDirectory(dir=arguments.folder) as folder:
        for count in arguments.listed:
            url = make(Path(folder, f"listed-{count}"), listed_shards(count))
            for title, code in SNIPPETS.items():
                table.add_row(title, f"{count:,}", f"{3500 * count:,}", *measure(["-c", code.format(url)]))
        sizes = [(count, FEW) for count in arguments.shards]
        sizes += [(max(rows // MANY, 1), min(rows, MANY)) for rows in arguments.rows]
        for count, samples in sizes:
            root = Path(folder, f"written-{count}-{samples}")
            url = make(root, written_shards(root, count, samples))
            for workers in arguments.workers:
                for title, figures in work(url, count, workers):
                    table.add_row(title, f"{count:,}", f"{count * samples:,}", *figures)
                    print(title, f"{count * samples:,}", *figures, flush=True)
            shutil.rmtree(root)
        for rows in arguments.sorted:
            table.add_row("sort rows of diff", "", f"{rows:,}", *measure(["-c", SORT.format(rows)]))
        for rows in arguments.indexed:
            roots = [Path(folder, f"indexed-{rows}-{seed}") for seed in (1, 2)]
            urls = [make(root, indexed_shards(root, rows, seed)) for seed, root in enumerate(roots, start=1)]
            diff = [*CLI, "diff", *urls, "--workers"]
            measured = {
                **{f"diff, {workers} workers": [*diff, str(workers)] for workers in arguments.workers},
                "summary": ["-c", SUMMARY.format(urls[0])],
                "simulate": [*CLI, "simulate", urls[0]],
                "export-index": [*CLI, "export-index", urls[0], "energon"],
            }
            for title, words in measured.items():
                figures = measure(words)
                table.add_row(title, f"{max(rows // MANY, 1):,}", f"{rows:,}", *figures)
                print(title, f"{rows:,}", *figures, flush=True)
            for root in roots:
                shutil.rmtree(root)
    Console(width=110).print(table)


def work(url: str, shards: int, workers: int) -> Iterator[tuple[str, list[str]]]:
    """Measure the commands on a dataset; what they write is removed."""
    flags = ["--workers", str(workers)]
    halves, both = f"{url}-split-{workers}", f"{url}-both-{workers}"
    messages, chats = f"{url}-messages-{workers}", f"{url}-chats-{workers}"
    commands = (
        ("verify", [url, *flags]),
        ("split", [url, halves, "--heldout", "0.5", "--shards", str(shards), *flags]),
        ("diff", [url, halves, *flags]),
        ("merge", [url, halves, both, "--shards", str(shards), *flags]),
        ("convert", [url, messages, "--to", "openai", *flags]),
        ("convert", [f"{messages}/data.jsonl", chats, "--from", "openai", "--shards", str(shards), *flags]),
    )
    for name, words in commands:
        title = f"{name} {words[words.index('openai') - 1].strip('-')} openai" if "openai" in words else name
        yield f"{title}, {workers} worker{'s' if workers > 1 else ''}", measure([*CLI, name, *words])
    for folder in (halves, both, messages, chats):
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
