"""The dead-letter table of a dataset, of any size: consolidated from the files of the fragments by Beam's workers."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.pvalue import PCollection
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset import (
    DeadLetter,
    LedgerStep,
    dead_letter_part,
    read_dead_letter_file,
    write_dead_letters,
)
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_list import Work

_PER_FILE = 250_000  # dead letters


def read_staged_dead_letters(store: Store, path: str) -> list[DeadLetter]:
    """The dead letters of a fragment.

    Args:
        store: Of the root.
        path: Of the fragment, relative to the root and without an ending.
    """
    return [*read_dead_letter_file(store, f"{path}.{DEAD_LETTERS}")]


def dead_letter_files(accounts: Iterable[LedgerStep]) -> int:
    """Into how many files the dead letters of these steps go."""
    total = sum(sum(step.dropped.values()) + sum(step.failed.values()) for step in accounts)
    return 1 + total // _PER_FILE


class WriteDeadLetters(beam.PTransform):
    """Write the dead letters of fragments to the table of a dataset, in an order that depends on them alone.

    The output is the number of each file.

    Args:
        staging: Where the files of the fragments are.
        out: Folder or URL of the dataset.
        files: How many files the table has.
        store: How a remote `out` is used.
    """

    def __init__(self, staging: Staging, out: Path | str, files: int, store: StoreConfig = DEFAULT_STORE) -> None:
        super().__init__()
        self._staging = staging
        self._out = str(out)
        self._files = files
        self._store = store

    def expand(self, work: PCollection[str]) -> PCollection[int]:
        pairs = tuple[int, str]
        every = [(number, "[]") for number in range(self._files)]
        numbers = work.pipeline | "files" >> beam.Create(every).with_output_types(pairs)
        dealt = work | beam.FlatMap(_deal, self._staging, self._files).with_output_types(pairs)
        files = (numbers, dealt) | beam.Flatten() | beam.GroupByKey()
        return files | beam.Map(_write, self._out, self._files, self._store)


def _deal(element: str, staging: Staging, files: int) -> Iterator[tuple[int, str]]:
    """The dead letters of a fragment by the number of their file."""
    rows = Work.load(element).fragment.rows
    assert rows is not None
    packs: dict[int, list[list[str]]] = {}
    for dead in read_staged_dead_letters(staging.open(), rows.path):
        number = xxh3_64_intdigest(f"{dead.step}\0{dead.source}".encode()) % files
        packs.setdefault(number, []).append([dead.step, dead.source, dead.error, dead.reason])
    for number, pack in packs.items():
        yield number, json.dumps(pack)


def _write(group: tuple[int, Iterable[str]], out: str, files: int, store: StoreConfig) -> int:
    number, packs = group
    rows: Sequence[list[str]] = sorted(row for pack in packs for row in json.loads(pack))
    dead_letters = (
        DeadLetter(step=step, source=source, error=error, reason=reason) for step, source, error, reason in rows
    )
    write_dead_letters(Store(out, store), dead_letter_part(number, files), dead_letters)
    return number
