"""How commands on datasets grow with the number of shards: CPU seconds, and the memory of the largest process.

Each command runs in a process of its own, on shards of four short texts, so that everything but the samples shows.

    .venv/bin/python tests/benchmarks/dataset_scale.py --listed 1000 200000          # opening; there are no shards
    .venv/bin/python tests/benchmarks/dataset_scale.py --shards 1000 --workers 1 2   # verify, split and diff
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import Counting, ShardInfo, TaskTotal, WrittenShard, commit, shard_name, write_shard
from step3vl.data.sample import ImageSpec, Sample, Source, TokenCount, conversation, text

SAMPLES = 4  # of a shard
TASK = "synthetic.number"
OPEN = "from step3vl.data.dataset import Dataset; dataset = Dataset.open({!r})"
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


def written_shards(root: Path, count: int) -> Iterator[WrittenShard]:
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
            for place in range(SAMPLES)
        ]
        name = shard_name("written", "train", number, count)
        yield write_shard(root, name, "train", sorted(samples, key=lambda sample: sample.id))


def make(root: Path, shards: Iterable[WrittenShard]) -> str:
    """Commit shards. Returns the path of the dataset."""
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    commit(root, name="scale", shards=shards, ledger=(), counting=counting, config={}, code_version="benchmark")
    return str(root)


def measure(arguments: list[str], expected: tuple[int, ...] = (0,)) -> list[str]:
    """Run Python. Returns wall seconds, CPU seconds of all its processes, and the MB of the largest of them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *arguments], env=environment, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    seconds = time.monotonic() - start
    return [f"{seconds:.1f}", f"{usage.ru_utime + usage.ru_stime:.1f}", f"{usage.ru_maxrss / 1024:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listed", type=int, nargs="*", default=[], help="numbers of shards to open")
    parser.add_argument("--shards", type=int, nargs="*", default=[], help="numbers of shards to work on")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="numbers of worker processes")
    parser.add_argument("--folder", type=Path, help="where datasets are made; by default a temporary folder")
    arguments = parser.parse_args()
    table = Table()
    for name in ("command", "shards", "wall s", "CPU s", "largest process, MB"):
        table.add_column(name, justify="left" if name == "command" else "right")
    with TemporaryDirectory(dir=arguments.folder) as folder:
        for count in arguments.listed:
            url = make(Path(folder, f"listed-{count}"), listed_shards(count))
            for title, code in SNIPPETS.items():
                table.add_row(title, f"{count:,}", *measure(["-c", code.format(url)]))
        for count in arguments.shards:
            root = Path(folder, f"written-{count}")
            url = make(root, written_shards(root, count))
            cli = ["-m", "step3vl.workflows.cli", "corpus"]
            for workers in arguments.workers:
                flags = ["--workers", str(workers)]
                out = f"{url}-split-{workers}"
                commands = (
                    ("verify", [url, *flags]),
                    ("split", [url, out, "--heldout", "0.5", "--shards", str(count), *flags]),
                    ("diff", [url, out, *flags]),
                )
                for name, words in commands:
                    title = f"{name}, {workers} worker{'s' if workers > 1 else ''}"
                    table.add_row(title, f"{count:,}", *measure([*cli, name, *words], (0, 1)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
