"""How long pages of `step3vl corpus view` take over an index of made-up rows: 10 million by default.

Each row of the index points to one of a thousand small samples, which all shards share, so that the index alone grows.
The server is asked as a browser would ask it, in this process, once for each page; `to the end` are searches that may
take as long as they need.

    .venv/bin/python tests/benchmarks/view_scale.py
    .venv/bin/python tests/benchmarks/view_scale.py --rows 1000000 --folder /tmp/rows      # kept for the next time
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import (
    MANIFEST,
    SCHEMA,
    Counting,
    Dataset,
    LedgerStep,
    TaskTotal,
    WrittenShard,
    commit,
    shard_name,
    write_shard,
)
from step3vl.data.sample import Sample, Source, TokenCount, conversation, text
from step3vl.data.sample.crops import ImageSpec

SAMPLES = 1000  # that are different
SHARD = 50_000  # rows
GROUP = 1 << 16  # rows of a row group, as datasets have
TASKS = [f"{domain}.{name}" for domain in ("ocr", "grounding", "vqa", "gui") for name in ("first", "second", "third")]
RARE = "rare.task"  # of the very last row
NAME = "rows"
SEARCHES = (
    ("a task of a single sample", f"/?task={RARE}"),
    ("a source of 2,000 samples", "/?source=host4321."),
    ("a source that nothing has", "/?source=host9999."),
    ("a text of a thousandth", "/?text=What+is+77+"),
    ("a score of a hundredth", "/?score=clip&least=0.99"),
)


def make_samples() -> list[Sample]:
    samples = [
        Sample.make(
            domain="vqa",
            task="vqa.first",
            messages=conversation((text(f"What is {number} + {number}? {'word ' * 60}"),), str(2 * number)),
            source=Source(uri=f"sums/{number}", licence="CC0-1.0", collected_by="tests"),
            scores={"clip": number / SAMPLES},
        )
        for number in range(SAMPLES)
    ]
    counted = (sample.model_copy(update={"tokens": TokenCount(text=80, image=0)}) for sample in samples)
    return sorted(counted, key=lambda sample: sample.id)


def hex_strings(data: np.ndarray) -> pa.Array:
    """Rows of bytes, uint8 [n, 16], as strings of 32 digits."""
    digits = data.tobytes().hex().encode()
    ends = np.arange(0, len(digits) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(digits))


def index_table(template: pa.Table, shard: int, shards: int, rows: int, last: bool) -> pa.Table:
    """The index of a shard: made-up ids, tasks and sources, and the places of the samples again and again."""
    rng = np.random.default_rng(shard)
    words = rng.integers(0, 1 << 32, (rows, 4), dtype=np.uint64)
    words[:, 0].sort()
    words[:, 1] = words[:, 1] // (2 * shards) * shards + shard  # which decides the shard
    table = template.take(np.arange(rows) % len(template))
    tasks = pa.array(TASKS).take(rng.integers(0, len(TASKS), rows)).to_pylist()
    if last:
        tasks[-1] = RARE
    hosts = rng.integers(0, 5000, rows).tolist()
    columns = {
        "id": hex_strings(words.astype(">u4").view(np.uint8)),
        "task": pa.array(tasks),
        "domain": pa.array([task.partition(".")[0] for task in tasks]),
        "source": pa.array([f"https://host{host}.example/page/{shard}/{row}" for row, host in enumerate(hosts)]),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), column)
    return table


def write_rows(folder: Path, rows: int) -> Dataset:
    """Write a dataset of so many rows."""
    shards = max(1, rows // SHARD)
    first = write_shard(folder, shard_name(NAME, "train", 0, shards), "train", make_samples())
    tar = folder / first.info.path
    template = pq.read_table(folder / first.info.index_path)
    written = []
    for number in range(shards):
        name = shard_name(NAME, "train", number, shards)
        path = folder / "shards" / name
        if number:
            path.hardlink_to(tar)
        table = index_table(template, number, shards, SHARD, last=number == shards - 1)
        index = path.with_suffix(".parquet")
        pq.write_table(table, index, row_group_size=GROUP, compression="zstd", write_page_checksum=True)
        info = first.info.model_copy(update={"path": f"shards/{name}", "samples": SHARD})
        counts = table["task"].combine_chunks().value_counts().to_pylist()
        totals = [
            TaskTotal(split="train", task=count["values"], kind="conversation", samples=count["counts"],
                      text_tokens=80 * count["counts"], image_tokens=0)
            for count in counts
        ]  # fmt: skip
        written.append(WrittenShard(info=info, totals=tuple(totals)))
    kept = shards * SHARD
    counting = Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=ImageSpec())
    return commit(
        folder,
        name=NAME,
        shards=written,
        ledger=[LedgerStep(name="rows", read=kept, kept=kept)],
        counting=counting,
        config={},
        code_version="made up",
    )


def pages(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """What is asked for, and its address."""
    last = len(dataset.manifest.shards) - 1
    middle = dataset.shard_index(last // 2, ["id"])["id"][SHARD // 2].as_py()
    yield "first page, of a new server", "/"
    yield "first page", "/"
    yield "next page", "/?at=0-24"
    yield "last page", f"/?at={last}-{SHARD}&back=1"
    yield "a task", "/?task=gui.second"
    yield "a domain, in the middle", f"/?domain=ocr&at={last // 2}-0"
    yield from SEARCHES
    yield "a sample by its id", f"/sample/{middle}"
    yield "the sample after it", f"/step?at={last // 2}-{SHARD // 2}"
    yield "records that were not kept", "/drops"


def measure(folder: Path) -> Table:
    from starlette.testclient import TestClient

    from step3vl.pipelines.view.viewer import create_app

    start = time.perf_counter()
    dataset = Dataset.open(folder)
    client = TestClient(create_app(dataset), base_url="http://127.0.0.1", follow_redirects=False)
    opened = time.perf_counter() - start
    patient = TestClient(create_app(dataset, seconds=3600), base_url="http://127.0.0.1")
    rows = sum(shard.samples for shard in dataset.manifest.shards)
    title = f"{rows:,} rows in {len(dataset.manifest.shards)} shards; opened in {opened:.2f} s"
    table = Table("page", "seconds", "CPU seconds", "entries", "rest", title=title)
    asked = [(client, *page) for page in pages(dataset)]
    asked += [(patient, f"{name}, to the end", address) for name, address in SEARCHES]
    for asker, name, address in asked:
        start, cpu = time.perf_counter(), time.process_time()
        response = asker.get(address)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        assert response.status_code in (200, 303), response.text
        rest = "continues" if 'data-key="next"' in response.text else ""
        table.add_row(name, f"{seconds:.3f}", f"{cpu_seconds:.3f}", str(response.text.count("data-entry")), rest)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    table.caption = f"peak memory {peak:,.0f} MB, index files mapped into it included"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help=f"a multiple of {SHARD:,}")
    parser.add_argument("--folder", type=Path, help="where the dataset is kept; by default it is removed")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        if not (folder / MANIFEST).exists():
            write_rows(folder, arguments.rows)
        Console(width=110).print(measure(folder))


if __name__ == "__main__":
    main()
