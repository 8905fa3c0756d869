"""What changed between two builds: samples by source and task, their splits, and what the builds depend on.

The index rows of both datasets are sorted on disk by id, in parts that fit in memory; those of one dataset alone are
sorted once more, by source.
"""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset, read_shard_index
from step3vl.data.dataset.manifest import MANIFEST
from step3vl.data.dataset.partitions import ID, Partitions, ids_of, without_repeats
from step3vl.data.dataset.shards import ShardInfo, Split
from step3vl.data.errors import UserError
from step3vl.data.processes import map_in_processes, workers_for
from step3vl.data.storage.store import Store

_EXAMPLES = 5
BEFORE, AFTER = 0, 1
SPLITS: tuple[Split, ...] = ("train", "heldout")
ROW = np.dtype(
    [
        *ID.descr,
        ("source", "<u8"),  # XXH3 of the source
        ("task", "<u4"),  # its place in the sorted tasks of both datasets
        ("shard", "<u4"),
        ("row", "<u4"),
        ("side", "u1"),  # BEFORE or AFTER
        ("split", "u1"),  # its place in SPLITS
    ]
)


class TaskChange(NamedTuple):
    """Samples of a task that both datasets have, and those that only one has.

    `changed` counts, source by source, the samples that were replaced: the source lost one and gained one. Of those
    that were kept, `to_heldout` and `to_train` count what moved from one split to the other.
    """

    task: str
    kept: int
    added: int
    removed: int
    changed: int
    to_heldout: int
    to_train: int


class DatasetDiff(Config):
    """The differences of two datasets."""

    tasks: tuple[TaskChange, ...]
    """Changes of the samples by task."""

    provenance: tuple[str, ...]
    """One line for each difference of configuration, counting or code."""

    examples: tuple[str, ...]
    """A few of the samples that only one dataset has, and of those in another split."""

    @property
    def is_empty(self) -> bool:
        """Whether the datasets have the same samples in the same splits, and the same provenance."""
        return not self.provenance and not any(any(change[2:]) for change in self.tasks)


def compare(before: Dataset, after: Dataset, workers: int | None = 1) -> DatasetDiff:
    """Compare two datasets by the ids of their samples, which follow from the content.

    Memory: the rows of one shard for each worker, and parts of 10 MB. Below TMPDIR are 38 bytes for
    each sample of both datasets.

    Args:
        before: A dataset.
        after: Another.
        workers: Processes that read the indexes; None is one for each core, see `workers_for`.

    Raises:
        UserError: An index is damaged.
    """
    datasets, workers = (before, after), workers_for((before.url, after.url), workers)
    totals = [total for dataset in datasets for total in dataset.manifest.tasks]
    tasks = sorted({total.task for total in totals})
    samples = sum(total.samples for total in totals)
    places = {task: place for place, task in enumerate(tasks)}
    with Partitions.for_rows(ROW, samples) as rows:
        for side, dataset in enumerate(datasets):
            read = partial(_read_rows, dataset.files, places, side)
            for part in map_in_processes(read, enumerate(dataset.manifest.shards), workers):
                rows.add(part, part["low"])
        counts = count_changes(rows, len(tasks))
    changes = [TaskChange(task, *numbers) for task, numbers in zip(tasks, counts.by_task(), strict=True)]
    return DatasetDiff(
        tasks=tuple(changes),
        provenance=tuple(_provenance_changes(before, after)),
        examples=tuple(counts.examples(before, after)),
    )


def _read_rows(files: Store, tasks: dict[str, int], side: int, numbered: tuple[int, ShardInfo]) -> NDArray[Any]:
    """The rows of a shard."""
    number, shard = numbered
    table = read_shard_index(files, shard, ["id", "task", "source"])
    rows = np.zeros(len(table), ROW)
    ids = ids_of(table["id"])
    rows["high"], rows["low"] = ids["high"], ids["low"]
    rows["source"] = [xxh3_64_intdigest(source) for source in table["source"].cast(pa.binary()).to_pylist()]
    names = table["task"].combine_chunks().dictionary_encode()
    try:
        places = [tasks[name] for name in names.dictionary.to_pylist()]
    except KeyError as error:
        raise UserError(
            f"{files.absolute(shard.index_path)} has the task {error}, which {MANIFEST} does not list; "
            "`step3vl corpus verify` lists all damage"
        ) from None
    rows["task"] = np.array(places, np.uint32)[names.indices.to_numpy()]
    rows["shard"], rows["row"], rows["side"] = number, np.arange(len(rows)), side
    rows["split"] = SPLITS.index(shard.split)
    return rows


def count_changes(rows: Partitions, tasks: int) -> "ChangeCounts":
    """Count what changed.

    Args:
        rows: `ROW`s of both datasets; a part has all rows of its ids.
        tasks: Number of tasks.
    """
    counts = ChangeCounts(tasks)
    with Partitions(ROW, rows.count) as unmatched:
        for part in rows:
            single = counts.add(part)
            unmatched.add(single, single["source"])
        for part in unmatched:
            counts.add_unmatched(part)
    return counts


class ChangeCounts:
    """Counts of samples by task, and the first few of those that changed.

    Args:
        tasks: Number of tasks.
    """

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._kept, self._changed = np.zeros(tasks, np.int64), np.zeros(tasks, np.int64)
        self._single = np.zeros((2, tasks), np.int64)  # in one dataset alone
        self._moved = np.zeros((2, tasks), np.int64)  # to held-out, to train
        self._first = {sign: np.empty(0, ROW) for sign in "-+>"}

    def add(self, part: NDArray[Any]) -> NDArray[Any]:
        """Count a part, which has all rows of its ids. Returns the rows of samples that one dataset has alone."""
        rows = part[np.lexsort((part["side"], part["low"], part["high"]))]
        new_side = np.append(True, rows["side"][1:] != rows["side"][:-1])
        rows = rows[without_repeats(rows) | new_side]  # an id counts once, even where a dataset repeats it
        seconds = ~without_repeats(rows)  # of the dataset after, with the id of the row before
        firsts = np.append(seconds[1:], False)
        before, after, single = rows[firsts], rows[seconds], rows[~firsts & ~seconds]
        moved = after[before["split"] != after["split"]]
        self._kept += self._by_task(after)
        for place, split in enumerate(("heldout", "train")):
            self._moved[place] += self._by_task(moved[moved["split"] == SPLITS.index(split)])
        for side, sign in ((BEFORE, "-"), (AFTER, "+")):
            self._single[side] += self._by_task(single[single["side"] == side])
            self._keep(sign, single[single["side"] == side])
        self._keep(">", moved)
        return single

    def add_unmatched(self, part: NDArray[Any]) -> None:
        """Count how many samples of each source one dataset lost and gained; a part has all rows of its sources."""
        rows = part[np.lexsort((part["task"], part["source"]))]
        differs = (rows["task"][1:] != rows["task"][:-1]) | (rows["source"][1:] != rows["source"][:-1])
        starts = np.flatnonzero(np.append(True, differs))
        lost, gained = (np.add.reduceat(rows["side"] == side, starts, dtype=np.int64) for side in (BEFORE, AFTER))
        self._changed += np.bincount(rows["task"][starts], np.minimum(lost, gained), self._tasks).astype(np.int64)

    def by_task(self) -> list[tuple[int, ...]]:
        """The numbers of `TaskChange` for each task."""
        removed, added = self._single - self._changed
        columns = self._kept, added, removed, self._changed, *self._moved
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def _by_task(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        return np.bincount(rows["task"], minlength=self._tasks)

    def _keep(self, sign: str, rows: NDArray[Any]) -> None:
        rows = np.concatenate([self._first[sign], rows])
        self._first[sign] = rows[np.lexsort((rows["row"], rows["shard"]))[:_EXAMPLES]]

    def examples(self, before: Dataset, after: Dataset) -> Iterator[str]:
        """A line for each of the first samples, in the order of their datasets: `-` removed, `+` added, `>` moved."""
        for sign, rows in self._first.items():
            dataset = before if sign == "-" else after
            for row in rows:
                table = dataset.shard_index(int(row["shard"]), ["id", "task", "source"])
                words = [column[int(row["row"])].as_py() for column in table.columns]
                yield "  ".join([f"{sign} {words[0]}", *words[1:], *([SPLITS[row["split"]]] if sign == ">" else [])])


def _provenance_changes(before: Dataset, after: Dataset) -> Iterator[str]:
    """The differences of the manifests besides the samples."""
    facts = [
        {
            "code_version": dataset.manifest.code_version,
            "counting": dataset.manifest.counting.model_dump(mode="json"),
            "config": dataset.manifest.config,
        }
        for dataset in (before, after)
    ]
    old, new = (dict(_leaves("", fact)) for fact in facts)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value of a nested object, by its dotted path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if not items:
        yield path, json.dumps(value)
        return
    for key, inner in items:
        yield from _leaves(f"{path}.{key}" if path else str(key), inner)
