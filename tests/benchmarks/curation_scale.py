"""How a curation of texts grows with their number: CPU seconds, and the memory of the largest of its processes.

    .venv/bin/python tests/benchmarks/curation_scale.py --samples 10000 100000 1000000

Every tenth text has a near-duplicate. Datasets are made from a seed, in shards of 10,000 samples; what is measured is
`corpus curate` in a process of its own, with its workers.
"""

import argparse
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from curation_planted import STEP3VL, require, run

from step3vl.data.dataset import Counting, Dataset, LedgerStep, WrittenShard, commit, shard_name, write_shard
from step3vl.data.sample import ImageSpec, Sample, Source, TokenCount, text

PER_SHARD = 10_000
WORDS = 60  # of a text
VOCABULARY = 20_000
COPY = 10  # every so many texts are followed by one that differs in its end
SOURCE = Source(uri="scale:words", licence="CC0-1.0", collected_by="benchmarks")


def samples_of(number: int, count: int) -> list[Sample]:
    """The samples of a shard, in its order."""
    rng = random.Random(f"scale {number}")
    samples, words = [], ""
    for place in range(count):
        if place % (COPY + 1) == COPY:
            words += " and more"
        else:
            words = " ".join(f"w{rng.randrange(VOCABULARY)}" for _ in range(WORDS))
        made = Sample.make(domain="text", task="text.scale", content=(text(words),), source=SOURCE)
        samples.append(made.model_copy(update={"tokens": TokenCount(text=WORDS, image=0)}))
    return sorted(samples, key=lambda sample: sample.id)


def write(root: Path, total: int) -> Dataset:
    """Write a dataset, a shard at a time."""
    count = -(-total // PER_SHARD)

    def shards() -> Iterator[WrittenShard]:
        for number in range(count):
            part = samples_of(number, min(PER_SHARD, total - number * PER_SHARD))
            yield write_shard(root, shard_name("scale", "train", number, count), "train", part)

    counting = Counting(tokenizer="qwen3", tokenizer_sha256="", image=ImageSpec())
    ledger = [LedgerStep(name="make", read=total, kept=total)]
    return commit(
        root,
        name="scale",
        shards=list(shards()),
        ledger=ledger,
        counting=counting,
        config={},
        code_version="benchmark",
    )


def main() -> None:
    """Print a row for each number of samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where datasets are made; by default a temporary folder")
    arguments = parser.parse_args()
    print("| samples | kept | CPU s | microseconds of CPU a sample | seconds | largest process, MB |", flush=True)
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    with TemporaryDirectory(dir=arguments.folder) as folder:
        for total in arguments.samples:
            root = Path(folder, str(total))
            write(root / "in", total)
            start = time.monotonic()
            result = require(run([STEP3VL, "corpus", "curate", "in", "--out", "out"], root), "corpus curate")
            seconds = time.monotonic() - start
            kept = sum(shard.samples for shard in Dataset.open(str(root / "out")).manifest.shards)
            each = 1e6 * result.seconds / total
            print(
                f"| {total:,} | {kept:,} | {result.seconds:.1f} | {each:.0f} | {seconds:.0f} | {result.peak:.0f} |",
                flush=True,
            )
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
