"""The dead-letter table: counted for the ledger as it is written, and read back in a stream."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.dataset.ledger import DROPPED, DeadLetter, LedgerStep

DEAD_LETTERS = "dead_letters.parquet"
_BATCH = 10_000  # rows held in memory
_EXAMPLES = 3  # kept for each step and reason
_SCHEMA = pa.schema([(name, pa.string()) for name in ("step", "error", "reason", "source")])


class DeadLetterWriter:
    """Writes a dead-letter table in a stream. The file appears when the writer is closed.

    Args:
        path: The Parquet file. One of an earlier attempt is removed.
        empty: Whether a table without rows is written too.
    """

    def __init__(self, path: Path, *, empty: bool = False) -> None:
        self._path, self._empty = path, empty
        self._path.unlink(missing_ok=True)
        self._temporary = path.with_name(f".{path.name}.tmp")
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
            self._file = pq.ParquetWriter(self._temporary, _SCHEMA)
        rows = [dead_letter.model_dump(mode="json") for dead_letter in self._rows]
        self._file.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
        self._rows = []

    def close(self) -> None:
        """Write the rest and move the file to its path."""
        if self._rows or (self._empty and self._file is None):
            self._flush()
        if self._file is not None:
            self._file.close()
            self._temporary.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            if self._file is not None:
                self._file.close()
            self._temporary.unlink(missing_ok=True)


def write_dead_letters(path: Path, dead_letters: Iterable[DeadLetter]) -> None:
    """Write a dead-letter table, also an empty one. Memory is bounded."""
    with DeadLetterWriter(path, empty=True) as writer:
        for dead_letter in dead_letters:
            writer.add(dead_letter)


def read_dead_letters(path: Path) -> Iterator[DeadLetter]:
    """The rows of a dead-letter table in order; none where there is no file."""
    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH):
            yield from map(DeadLetter.model_validate, batch.to_pylist())


def example_dead_letters(dead_letters: Iterable[DeadLetter], per_reason: int = _EXAMPLES) -> list[DeadLetter]:
    """The first few dead letters of each step and reason.

    The reason of an error is its message, which differs from record to record, so errors are grouped by their type.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    examples = []
    for dead_letter in dead_letters:
        key = dead_letter.step, dead_letter.error, dead_letter.reason if dead_letter.error == DROPPED else ""
        counts[key] += 1
        if counts[key] <= per_reason:
            examples.append(dead_letter)
    return examples
