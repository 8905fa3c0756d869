"""Verification of a committed dataset: every problem is detected, classified and counted; none stops the search.

Each shard is read once. Its bytes are compared with its index, its offsets, its hashes, the images' headers and the
totals in `dataset.json`.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.manifest import MANIFEST
from step3vl.data.inspect.problems import DatasetProblem, ProblemCounter
from step3vl.data.inspect.verify_shard import ShardReport, verify_shard
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

logger = logging.getLogger(__name__)


class VerificationReport(Config):
    """The result of a verification."""

    url: str
    """The dataset."""

    shards: int
    """Number of shards."""

    samples: int
    """Number of samples."""

    size: int
    """Bytes of the archives."""

    problems: tuple[DatasetProblem, ...]
    """The problems in the order of the files; none in a sound dataset."""


def verify(
    url: str | Path, store: StoreConfig = DEFAULT_STORE, *, images: bool = True, workers: int = 1
) -> VerificationReport:
    """Verify a dataset completely.

    Memory: 20 bytes a sample, and for each worker one sample and a shard's offsets.

    Args:
        url: Path or URL of the dataset.
        store: How a remote store is used.
        images: Whether images are decoded; otherwise only their hashes and headers are checked.
        workers: Number of processes.

    Raises:
        UserError: There is no dataset, or `dataset.json` cannot be read.
    """
    dataset = Dataset.open(url, store)
    problems = ProblemCounter()
    totals: Counter[tuple[str, str, str, str]] = Counter()
    keys, samples = [], 0
    for shard, report in zip(dataset.manifest.shards, _reports(dataset, images, workers), strict=True):
        logger.info("%s: %d samples, %d kinds of problems", shard.path, report.samples, len(report.problems))
        for problem in report.problems:
            problems.add(problem.file, problem.kind, problem.detail, problem.count)
        totals.update({(shard.split, *key): count for key, count in report.totals.items()})
        keys.append(report.keys)
        samples += report.samples
    _find_duplicates(dataset, keys, problems)
    _compare_totals(dataset, totals, problems)
    _find_extra_files(dataset, problems)
    size = sum(shard.size for shard in dataset.manifest.shards)
    return VerificationReport(
        url=str(url), shards=len(dataset.manifest.shards), samples=samples, size=size, problems=problems.rows()
    )


def _reports(dataset: Dataset, images: bool, workers: int) -> Iterator[ShardReport]:
    numbers = range(len(dataset.manifest.shards))
    if workers == 1:
        yield from (verify_shard(dataset, number, images) for number in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        count = len(numbers)
        yield from pool.map(verify_shard, [dataset] * count, numbers, [images] * count)


def _find_duplicates(dataset: Dataset, keys: list[bytes], problems: ProblemCounter) -> None:
    words = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 2)
    shards = np.repeat(np.arange(len(keys), dtype=np.int32), [len(digests) // 16 for digests in keys])
    order = np.lexsort((shards, words[:, 1], words[:, 0]))
    repeated = np.flatnonzero((words[order[1:]] == words[order[:-1]]).all(axis=1)) + 1
    for position in repeated.tolist():
        later, earlier = order[position], order[position - 1]
        later_path, earlier_path = (dataset.manifest.shards[int(shards[row])].path for row in (later, earlier))
        problems.add(later_path, "duplicate", f"key {words[later].tobytes().hex()} is also in {earlier_path}")


def _compare_totals(dataset: Dataset, totals: Counter[tuple[str, str, str, str]], problems: ProblemCounter) -> None:
    listed: Counter[tuple[str, str, str, str]] = Counter()
    for task in dataset.manifest.tasks:
        for quantity, count in (("samples", task.samples), ("text", task.text_tokens), ("image", task.image_tokens)):
            listed[task.split, task.task, task.kind, quantity] += count
    for key in sorted({*listed, *totals}):
        if listed[key] != totals[key]:
            split, task_name, kind, quantity = key
            detail = f"{task_name} ({split}, {kind}): {listed[key]} {quantity}, but {totals[key]} in the shards"
            problems.add(MANIFEST, "count" if quantity == "samples" else "tokens", detail)


def _find_extra_files(dataset: Dataset, problems: ProblemCounter) -> None:
    shards = dataset.manifest.shards
    listed = {path for shard in shards for path in (shard.path, shard.offsets_path, shard.index_path)}
    for path in dataset.files.listing("shards") or []:
        if path not in listed:
            problems.add(path, "extra", f"{MANIFEST} does not list it, so readers of the dataset ignore it")
