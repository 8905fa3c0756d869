"""What changed between two builds: samples by source and task, and what the builds depend on."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from step3vl.data.config import Config
from step3vl.data.dataset.dataset import Dataset

_EXAMPLES = 5


class TaskChange(NamedTuple):
    """Samples of a task that both datasets have, and those that only one has.

    `changed` counts, source by source, the samples that were replaced: the source lost one and gained one.
    """

    task: str
    kept: int
    added: int
    removed: int
    changed: int


class DatasetDiff(Config):
    """The differences of two datasets."""

    tasks: tuple[TaskChange, ...]
    """Changes of the samples by task."""

    provenance: tuple[str, ...]
    """One line for each difference of configuration, counting or code."""

    examples: tuple[str, ...]
    """A few of the samples that only one dataset has."""

    @property
    def is_empty(self) -> bool:
        """Whether the datasets have the same samples and provenance."""
        changes = any(change.added or change.removed or change.changed for change in self.tasks)
        return not self.provenance and not changes


def compare(before: Dataset, after: Dataset) -> DatasetDiff:
    """Compare two datasets by the ids of their samples, which follow from the content.

    Memory: 16 bytes for each sample, and the rows that differ.
    """
    ids_before, ids_after = _sorted_ids(before), _sorted_ids(after)
    removed_rows = list(_rows_without(before, ids_after))
    added_rows = list(_rows_without(after, ids_before))
    removed = Counter((task, source) for _, task, source in removed_rows)
    added = Counter((task, source) for _, task, source in added_rows)
    removed_by_task, added_by_task = _by_task(removed), _by_task(added)
    changed_by_task = _by_task(removed & added)
    tasks = Counter({total.task: 0 for total in after.manifest.tasks})
    for total in before.manifest.tasks:
        tasks[total.task] += total.samples
    changes = [
        TaskChange(
            task=task,
            kept=tasks[task] - removed_by_task[task],
            added=added_by_task[task] - changed_by_task[task],
            removed=removed_by_task[task] - changed_by_task[task],
            changed=changed_by_task[task],
        )
        for task in sorted(tasks)
    ]
    examples = [
        f"{sign} {id_}  {task}  {source}"
        for sign, rows in (("-", removed_rows), ("+", added_rows))
        for id_, task, source in rows[:_EXAMPLES]
    ]
    provenance = tuple(_provenance_changes(before, after))
    return DatasetDiff(tasks=tuple(changes), provenance=provenance, examples=tuple(examples))


def _sorted_ids(dataset: Dataset) -> np.ndarray:
    """All ids, sorted."""
    batches = [_words(batch["id"].to_pylist()) for batch in dataset.index_batches(["id"])]
    return np.sort(np.concatenate([_words([]), *batches]))


def _words(ids: list[str]) -> np.ndarray:
    """Ids as pairs of big-endian words, which sort like the ids."""
    return np.frombuffer(bytes.fromhex("".join(ids)), [("high", ">u8"), ("low", ">u8")])


def _rows_without(dataset: Dataset, others: np.ndarray) -> Iterator[tuple[str, str, str]]:
    """Id, task and source of the samples whose ids are not among the sorted `others`."""
    for batch in dataset.index_batches(["id", "task", "source"]):
        ids = batch["id"].to_pylist()
        words = _words(ids)
        positions = np.searchsorted(others, words)
        matched = positions < len(others)
        matched[matched] = others[positions[matched]] == words[matched]
        for number in np.flatnonzero(~matched).tolist():
            yield ids[number], batch["task"][number].as_py(), batch["source"][number].as_py()


def _by_task(counts: Counter[tuple[str, str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (task, _), number in counts.items():
        total[task] += number
    return total


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
