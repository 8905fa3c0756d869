"""Verification of a committed dataset: every problem is detected, classified and counted; none stops the search.

Each shard is read once. Its bytes are compared with its index, its offsets, its hashes, the images' headers and the
totals in `dataset.json`.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.manifest import MANIFEST
from step3vl.data.dataset.partitions import ID, Partitions, without_repeats
from step3vl.data.inspect.problems import DatasetProblem, ProblemCounter
from step3vl.data.inspect.verify_shard import verify_shard
from step3vl.data.processes import map_in_processes, workers_for
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

logger = logging.getLogger(__name__)

_PROGRESS_LINES = 20
_KEY = np.dtype([*ID.descr, ("shard", "<u4")])


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
    url: str | Path, store: StoreConfig = DEFAULT_STORE, *, images: bool = True, workers: int | None = 1
) -> VerificationReport:
    """Verify a dataset completely.

    Memory: a sample, and a shard's offsets and keys, for each worker; 32 MiB of keys. Below TMPDIR are 20
    bytes for each sample.

    Args:
        url: Path or URL of the dataset.
        store: How a remote store is used.
        images: Whether images are decoded; otherwise only their hashes and headers are checked.
        workers: Number of processes; None is one for each core, see `workers_for`.

    Raises:
        UserError: There is no dataset, or `dataset.json` cannot be read.
    """
    dataset = Dataset.open(url, store)
    shards, workers = dataset.manifest.shards, workers_for((url,), workers)
    problems = ProblemCounter()
    totals: Counter[tuple[str, str, str, str]] = Counter()
    samples = size = 0
    with Partitions.for_rows(_KEY, sum(total.samples for total in dataset.manifest.tasks)) as keys:
        reports = map_in_processes(partial(verify_shard, dataset.files, images), shards, workers)
        for number, (shard, report) in enumerate(zip(shards, reports, strict=True)):
            if report.problems:
                logger.info("%s: %d kinds of problems", shard.path, len(report.problems))
            if (number + 1) % max(len(shards) // _PROGRESS_LINES, 1) == 0:
                logger.info("%d of %d shards", number + 1, len(shards))
            for problem in report.problems:
                problems.add(problem.file, problem.kind, problem.detail, problem.count)
            totals.update({(shard.split, *key): count for key, count in report.totals.items()})
            _add_keys(keys, report.keys, number)
            samples, size = samples + report.samples, size + shard.size
        _find_duplicates(dataset, keys, problems)
    _compare_totals(dataset, totals, problems)
    _find_extra_files(dataset, problems)
    return VerificationReport(url=str(url), shards=len(shards), samples=samples, size=size, problems=problems.rows())


def _add_keys(keys: Partitions, ids: NDArray[Any], shard: int) -> None:
    rows = np.empty(len(ids), _KEY)
    rows["high"], rows["low"], rows["shard"] = ids["high"], ids["low"], shard
    keys.add(rows, rows["low"])


def _find_duplicates(dataset: Dataset, keys: Partitions, problems: ProblemCounter) -> None:
    """Count the repeated keys of each shard, and tell one of them."""
    counts: Counter[int] = Counter()
    details: dict[int, str] = {}
    for part in keys:
        rows = part[np.lexsort((part["shard"], part["low"], part["high"]))]
        repeated = np.flatnonzero(~without_repeats(rows))
        numbers, firsts, repeats = np.unique(rows["shard"][repeated], return_index=True, return_counts=True)
        counts.update(dict(zip(numbers.tolist(), repeats.tolist(), strict=True)))
        for number, position in zip(numbers.tolist(), repeated[firsts].tolist(), strict=True):
            earlier = dataset.manifest.shards[int(rows["shard"][position - 1])].path
            key = f"{rows['high'][position]:016x}{rows['low'][position]:016x}"
            details.setdefault(number, f"key {key} is also in {earlier}")
    for number in sorted(counts):
        problems.add(dataset.manifest.shards[number].path, "duplicate", details[number], counts[number])


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
    listed = {shard.path for shard in dataset.manifest.shards}
    for path in dataset.files.listing("shards") or []:
        if listed.isdisjoint(_shard_paths(path)):
            problems.add(path, "extra", f"{MANIFEST} does not list it, so readers of the dataset ignore it")


def _shard_paths(path: str) -> Iterator[str]:
    """The tar that a file is, or belongs to."""
    yield path
    for suffix in (".tar.idx", ".parquet"):
        if path.endswith(suffix):
            yield f"{path.removesuffix(suffix)}.tar"
