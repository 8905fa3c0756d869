"""The dead-letter table: counted for the ledger as it is written, and read back in a stream.

A converter writes one file, `dead_letters.parquet`. The workers of a build write the parts of one table, of any size,
into the folder `dead_letters`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from step3vl.data.dataset.ledger import DROPPED, DeadLetter, LedgerStep
from step3vl.data.storage.shared_stores import store_of
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

DEAD_LETTERS = "dead_letters.parquet"
DEAD_LETTERS_FOLDER = "dead_letters"
_BATCH = 10_000  # rows held in memory
_EXAMPLES = 3  # kept for each step and reason
_SCHEMA = pa.schema([(name, pa.string()) for name in ("step", "error", "reason", "source")])


class DeadLetterWriter:
    """Writes a dead-letter table in a stream, in a `with` block.

    The file appears at the end of the block, unless it has no rows or the block raised an error.

    Args:
        path: Path or URL of the Parquet file. One of an earlier attempt is removed.
        store: How a remote store is used.
    """

    def __init__(self, path: Path | str, store: StoreConfig = DEFAULT_STORE) -> None:
        self._store, self._path = store_of(str(path), store)
        self._store.remove(self._path)
        self._stack = ExitStack()
        self._rows: list[DeadLetter] = []
        self._file: pq.ParquetWriter | None = None
        self._counts: dict[str, Counter[str]] = {}
        self.first: DeadLetter | None = None

    def add(self, dead_letter: DeadLetter) -> None:
        """Append a row."""
        self.first = self.first or dead_letter
        self._counts.setdefault(dead_letter.step, Counter())[dead_letter.error] += 1
        self._rows.append(dead_letter)
        if len(self._rows) == _BATCH:
            self._flush()

    def ledger_step(self, step: str, kept: int) -> LedgerStep:
        """The counts of a step that kept so many records and failed on those that were added."""
        failed = self._counts.get(step, Counter())
        return LedgerStep(name=step, read=kept + failed.total(), kept=kept, failed=failed)

    def _flush(self) -> None:
        if self._file is None:
            file = self._stack.enter_context(self._store.create(self._path))
            self._file = self._stack.enter_context(pq.ParquetWriter(file, _SCHEMA))
        self._file.write_table(_table(self._rows))
        self._rows = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._flush()
        self._stack.__exit__(kind, error, traceback)


def dead_letter_part(number: int, count: int) -> str:
    """The path of part `number` of `count` of a dataset's table, relative to the dataset."""
    return f"{DEAD_LETTERS_FOLDER}/{number:05d}-of-{count:05d}.parquet"


def write_dead_letters(store: Store, path: str, dead_letters: Iterable[DeadLetter]) -> int:
    """Write a dead-letter table to a store, also an empty one, in a stream. Returns the number of rows."""
    count, left = 0, iter(dead_letters)
    with store.create(path) as file, pq.ParquetWriter(file, _SCHEMA) as writer:
        while rows := [*islice(left, _BATCH)]:
            writer.write_table(_table(rows))
            count += len(rows)
    return count


def read_dead_letters(
    folder: str | Path, store: StoreConfig = DEFAULT_STORE, *, source: str | None = None
) -> Iterator[DeadLetter]:
    """The rows of a dead-letter table in order, in a stream; none where there is no table.

    Args:
        folder: Folder or URL of the dataset, or of what a converter wrote beside its files.
        store: How a remote store is used.
        source: Of the record whose rows are read; None for all.

    Raises:
        StoreError: The store does not answer.
    """
    files = Store(str(folder), store)
    single = files.exists(DEAD_LETTERS)  # as of a conversion; asked first, because over HTTP no folder can be listed
    names = () if single else files.names(DEAD_LETTERS_FOLDER, ".parquet")
    parts = [DEAD_LETTERS] if single else [f"{DEAD_LETTERS_FOLDER}/{name}" for name in sorted(names)]
    for part in parts:
        yield from read_dead_letter_file(files, part, source=source)


def read_dead_letter_file(store: Store, path: str, *, source: str | None = None) -> Iterator[DeadLetter]:
    """The rows of a file of dead letters in order, in a stream; of one source alone where it is named.

    Raises:
        StoreError: The store does not answer.
    """
    with pq.ParquetFile(store.open_ranges(path), pre_buffer=True) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=_SCHEMA.names):
            rows = batch if source is None else batch.filter(pc.equal(batch["source"], source))
            yield from map(DeadLetter.model_validate, rows.to_pylist())


def _table(rows: Iterable[DeadLetter]) -> pa.Table:
    return pa.Table.from_pylist([row.model_dump(mode="json") for row in rows], schema=_SCHEMA)


def example_dead_letters(dead_letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The first few dead letters of each step and reason.

    The reason of an error is its message, which differs from record to record, so errors are grouped by their type.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    examples = []
    for dead_letter in dead_letters:
        key = dead_letter.step, dead_letter.error, dead_letter.reason if dead_letter.error == DROPPED else ""
        counts[key] += 1
        if counts[key] <= _EXAMPLES:
            examples.append(dead_letter)
    return examples
