"""Everything that can be wrong with a committed dataset, found, named and counted; nothing found ends the search.

Each shard is read once. What its bytes hold is held against its index, its offsets, its hashes, the pictures' own
headers and the sums in `dataset.json`.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset
from step3vl.data.faults import Problem, Problems
from step3vl.data.manifest import MANIFEST
from step3vl.data.store import DEFAULT, StoreConfig
from step3vl.data.verify_shard import ShardReport, verify_shard

logger = logging.getLogger(__name__)


class Report(Config):
    """What was looked at, and the problems in the order of the files. No problems: the dataset is what it says."""

    url: str
    shards: int
    samples: int
    size: int  # bytes of the archives
    problems: tuple[Problem, ...]


def verify(url: str | Path, store: StoreConfig = DEFAULT, *, pictures: bool = True, workers: int = 1) -> Report:
    """Look at everything in the dataset at `url`.

    pictures: decode each one; otherwise only their hashes and headers are looked at. workers: processes.
    It holds 20 bytes a sample, and for each worker a sample and a shard's offsets. Raises UserError when there is no
    dataset, or `dataset.json` cannot be read.
    """
    dataset = Dataset.open(url, store)
    problems = Problems()
    totals: Counter[tuple[str, str, str, str]] = Counter()
    keys, samples = [], 0
    for shard, report in zip(dataset.manifest.shards, _reports(dataset, pictures, workers), strict=True):
        logger.info("%s: %d samples, %d kinds of problems", shard.path, report.samples, len(report.problems))
        for one in report.problems:
            problems.add(one.file, one.kind, one.detail, one.count)
        totals.update({(shard.split, *key): count for key, count in report.totals.items()})
        keys.append(report.keys)
        samples += report.samples
    _find_duplicates(dataset, keys, problems)
    _compare_totals(dataset, totals, problems)
    _find_extra(dataset, problems)
    sizes = sum(shard.size for shard in dataset.manifest.shards)
    return Report(
        url=str(url), shards=len(dataset.manifest.shards), samples=samples, size=sizes, problems=problems.rows()
    )


def _reports(dataset: Dataset, pictures: bool, workers: int) -> Iterator[ShardReport]:
    numbers = range(len(dataset.manifest.shards))
    if workers == 1:
        yield from (verify_shard(dataset, number, pictures) for number in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        count = len(numbers)
        yield from pool.map(verify_shard, [dataset] * count, numbers, [pictures] * count)


def _find_duplicates(dataset: Dataset, keys: list[bytes], problems: Problems) -> None:
    found = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 2)
    shards = np.repeat(np.arange(len(keys), dtype=np.int32), [len(one) // 16 for one in keys])
    order = np.lexsort((shards, found[:, 1], found[:, 0]))
    again = np.flatnonzero((found[order[1:]] == found[order[:-1]]).all(axis=1)) + 1
    for place in again.tolist():
        later, earlier = order[place], order[place - 1]
        paths = [dataset.manifest.shards[int(shards[one])].path for one in (later, earlier)]
        problems.add(paths[0], "duplicate", f"key {found[later].tobytes().hex()} is also in {paths[1]}")


def _compare_totals(dataset: Dataset, totals: Counter[tuple[str, str, str, str]], problems: Problems) -> None:
    named: Counter[tuple[str, str, str, str]] = Counter()
    for one in dataset.manifest.tasks:
        for what, count in (("samples", one.samples), ("text", one.text_tokens), ("image", one.image_tokens)):
            named[one.split, one.task, one.kind, what] += count
    for key in sorted({*named, *totals}):
        if named[key] != totals[key]:
            split, task, kind, what = key
            wrong = f"{task} ({split}, {kind}): {named[key]} {what}, but {totals[key]} in the shards"
            problems.add(MANIFEST, "count" if what == "samples" else "tokens", wrong)


def _find_extra(dataset: Dataset, problems: Problems) -> None:
    shards = dataset.manifest.shards
    named = {path for shard in shards for path in (shard.path, shard.offsets_path, shard.index_path)}
    for path in dataset.files.listing("shards") or []:
        if path not in named:
            problems.add(path, "extra", f"{MANIFEST} does not name it; no reader of the dataset sees it")
