"""What changed between two builds: samples by source and task, and what the builds were made with."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset

_EXAMPLES = 5


class Change(NamedTuple):
    """Of a task: samples of both, and those that only one has.

    `changed` counts, source by source, those that were replaced: a source that lost one and gained one.
    """

    task: str
    kept: int
    added: int
    removed: int
    changed: int


class Difference(Config):
    """`made` has one line for each difference of configuration, counting or code; `examples` names a few samples."""

    tasks: tuple[Change, ...]
    made: tuple[str, ...]
    examples: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.made and not any(one.added or one.removed or one.changed for one in self.tasks)


def compare(one: Dataset, two: Dataset) -> Difference:
    """Compare by ids, which follow the content. It holds 16 bytes for each sample, and the rows that differ."""
    before, after = _ids(one), _ids(two)
    removed = list(_rows(one, after))
    added = list(_rows(two, before))
    gone = Counter((task, source) for _, task, source in removed)
    come = Counter((task, source) for _, task, source in added)
    replaced = gone & come
    by_task = {name: _by_task(counts) for name, counts in (("gone", gone), ("come", come), ("changed", replaced))}
    tasks = Counter({total.task: 0 for total in two.manifest.tasks})
    for total in one.manifest.tasks:
        tasks[total.task] += total.samples
    changes = []
    for task in sorted(tasks):
        changed = by_task["changed"][task]
        changes.append(
            Change(
                task=task,
                kept=tasks[task] - by_task["gone"][task],
                added=by_task["come"][task] - changed,
                removed=by_task["gone"][task] - changed,
                changed=changed,
            )
        )
    examples = [
        f"{sign} {id_}  {task}  {source}"
        for sign, rows in (("-", removed), ("+", added))
        for id_, task, source in rows[:_EXAMPLES]
    ]
    return Difference(tasks=tuple(changes), made=tuple(_made(one, two)), examples=tuple(examples))


def _ids(dataset: Dataset) -> np.ndarray:
    """All ids, sorted."""
    found = [_words(batch["id"].to_pylist()) for batch in dataset.index_batches(["id"])]
    return np.sort(np.concatenate([_words([]), *found]))


def _words(ids: list[str]) -> np.ndarray:
    """Ids as something that sorts: pairs of big-endian words."""
    return np.frombuffer(bytes.fromhex("".join(ids)), [("high", ">u8"), ("low", ">u8")])


def _rows(dataset: Dataset, others: np.ndarray) -> Iterator[tuple[str, str, str]]:
    """Id, task and source of the samples whose ids are not among the others."""
    for batch in dataset.index_batches(["id", "task", "source"]):
        ids = batch["id"].to_pylist()
        found = _words(ids)
        place = np.searchsorted(others, found)
        there = place < len(others)
        there[there] = others[place[there]] == found[there]
        for number in np.flatnonzero(~there).tolist():
            yield ids[number], batch["task"][number].as_py(), batch["source"][number].as_py()


def _by_task(counts: Counter[tuple[str, str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (task, _), number in counts.items():
        total[task] += number
    return total


def _made(one: Dataset, two: Dataset) -> Iterator[str]:
    """What differs in the manifests besides the samples."""
    facts = [
        {
            "code_version": dataset.manifest.code_version,
            "counting": dataset.manifest.counting.model_dump(mode="json"),
            "config": dataset.manifest.config,
        }
        for dataset in (one, two)
    ]
    before, after = (dict(_leaves("", fact)) for fact in facts)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value of a nested object, by its dotted path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if not items:
        yield path, json.dumps(value)
        return
    for key, inner in items:
        yield from _leaves(f"{path}.{key}" if path else str(key), inner)
