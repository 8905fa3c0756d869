"""The samples by which two builds differ, as files of places that a page reads a few rows of.

The index rows of both builds are sorted on disk by id, in parts that fit in memory; those that only one build has are
sorted once more, by task and source, to tell what was replaced.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset import Dataset
from step3vl.data.dataset.partitions import ID, Partitions, ids_of, without_repeats
from step3vl.pipelines.view.viewer.scan import Place

ChangeKind = Literal["added", "removed", "moved", "changed"]
KINDS: tuple[ChangeKind, ...] = ("added", "removed", "moved", "changed")
_BEFORE, _AFTER = 0, 1
_ROW = np.dtype([*ID.descr, ("source", "<u8"), ("place", "<u8"), ("side", "u1"), ("heldout", "u1")])
_CHANGE = np.dtype([("before", "<u8"), ("after", "<u8")])
_NOWHERE = np.uint64(2**64 - 1)


class Change(NamedTuple):
    """A difference of two builds.

    Attributes:
        before: Where the sample is in the earlier build; None where it was added.
        after: Where it, or what replaced it, is in the later build; None where it was removed.
    """

    before: Place | None
    after: Place | None


class Changes:
    """The differences of two builds by kind: samples that were added, removed, moved to the other split, or changed
    (a source lost a sample of a task and gained another).

    Memory is that of about a million rows. Below TMPDIR are 34 bytes for each sample of both builds while it works,
    and then 16 bytes for each difference.

    Args:
        before: The earlier build.
        after: The later build.

    Raises:
        UserError: An index is damaged.
    """

    def __init__(self, before: Dataset, after: Dataset) -> None:
        self._folder = TemporaryDirectory(prefix="step3vl-changes-")
        samples = sum(total.samples for dataset in (before, after) for total in dataset.manifest.tasks)
        with Partitions.for_rows(_ROW, samples) as rows, Partitions.for_rows(_ROW, samples) as unmatched:
            for side, dataset in enumerate((before, after)):
                for part in _rows(dataset, side):
                    rows.add(part, part["low"])
            for part in rows:
                single, moved = _match_ids(part)
                unmatched.add(single, single["source"])
                self._append("moved", moved)
            for part in unmatched:
                for kind, changes in _match_sources(part).items():
                    self._append(kind, changes)
        self.counts = {kind: self._size(kind) // _CHANGE.itemsize for kind in KINDS}

    def _path(self, kind: ChangeKind) -> Path:
        return Path(self._folder.name, kind)

    def _size(self, kind: ChangeKind) -> int:
        path = self._path(kind)
        return path.stat().st_size if path.exists() else 0

    def _append(self, kind: ChangeKind, changes: NDArray[Any]) -> None:
        if len(changes):
            order = np.argsort(np.minimum(changes["before"], changes["after"]), kind="stable")
            with self._path(kind).open("ab") as file:
                file.write(changes[order].tobytes())

    def page(self, kind: ChangeKind, start: int, count: int) -> list[Change]:
        """Differences `start`, `start + 1` and so on of a kind, so many at most."""
        if start >= self.counts[kind]:
            return []
        rows = np.fromfile(self._path(kind), _CHANGE, count, offset=start * _CHANGE.itemsize)
        return [Change(_place(row["before"]), _place(row["after"])) for row in rows]


def _place(packed: np.uint64) -> Place | None:
    return None if packed == _NOWHERE else Place(int(packed) >> 32, int(packed) & 0xFFFFFFFF)


def _rows(dataset: Dataset, side: int) -> Iterator[NDArray[Any]]:
    """The rows of a build, in batches."""
    heldout = np.array([shard.split == "heldout" for shard in dataset.manifest.shards], bool)
    current, first = -1, 0
    for batch in dataset.index_batches(["id", "task", "source"]):
        shard = batch["shard"][0].as_py()
        current, first = shard, first if shard == current else 0
        rows = np.zeros(len(batch), _ROW)
        ids = ids_of(batch["id"])
        rows["high"], rows["low"] = ids["high"], ids["low"]
        names = zip(batch["task"].to_pylist(), batch["source"].to_pylist(), strict=True)
        rows["source"] = [xxh3_64_intdigest(f"{task}\n{source}".encode()) for task, source in names]
        rows["place"] = np.arange(first, first + len(batch), dtype=np.uint64) + np.uint64(shard << 32)
        rows["side"], rows["heldout"] = side, heldout[shard]
        first += len(batch)
        yield rows


def _match_ids(part: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows that only one build has, and the changes of those in another split. A part has all rows of its ids."""
    rows = part[np.lexsort((part["side"], part["low"], part["high"]))]
    new_side = np.append(True, rows["side"][1:] != rows["side"][:-1])
    rows = rows[without_repeats(rows) | new_side]
    seconds = ~without_repeats(rows)  # of the later build, with the id of the row before
    firsts = np.append(seconds[1:], False)
    moved = rows["heldout"][firsts] != rows["heldout"][seconds]
    return rows[~firsts & ~seconds], _changes(rows["place"][firsts][moved], rows["place"][seconds][moved])


def _match_sources(part: NDArray[Any]) -> dict[ChangeKind, NDArray[Any]]:
    """The changes of rows that only one build has. A part has all rows of its tasks and sources."""
    keys, sides = part["source"], part["side"]
    order = np.lexsort((part["place"], sides, keys))
    keys, sides, places = keys[order], sides[order], part["place"][order]
    starts = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]) | (sides[1:] != sides[:-1])))
    rank = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))  # in its source and side
    pairing = np.lexsort((sides, rank, keys))
    keys, sides, places, rank = keys[pairing], sides[pairing], places[pairing], rank[pairing]
    second = np.append(False, (keys[1:] == keys[:-1]) & (rank[1:] == rank[:-1]))
    first = np.append(second[1:], False)
    single = ~first & ~second
    removed, added = places[single & (sides == _BEFORE)], places[single & (sides == _AFTER)]
    return {
        "changed": _changes(places[first], places[second]),
        "removed": _changes(removed, np.full(len(removed), _NOWHERE)),
        "added": _changes(np.full(len(added), _NOWHERE), added),
    }


def _changes(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> NDArray[Any]:
    changes = np.empty(len(before), _CHANGE)
    changes["before"], changes["after"] = before, after
    return changes
