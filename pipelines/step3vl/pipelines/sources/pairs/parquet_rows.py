"""Parquet files read row by row with bounded memory, and from any row on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"


class ParquetError(ValueError):
    """A file that is no Parquet, or damaged."""


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, of which only the footer is read. Raises ParquetError."""
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as error:
        raise ParquetError(f"the file is no Parquet, or damaged: {error}") from None


class RowReader:
    """Reads ranges of rows. Ranges that follow each other, as those of a fragment do, read a file once.

    Args:
        batch: Rows that are decoded at a time.
    """

    def __init__(self, batch: int = 64) -> None:
        self._batch = batch
        self._at: tuple[Path, tuple[str, ...], int] | None = None  # file, columns, and the next row
        self._rows: Iterator[dict[str, Any]] = iter(())

    def read(self, path: Path, columns: Sequence[str], start: int, stop: int) -> list[dict[str, Any]]:
        """The rows `start` to `stop` of a file.

        Raises:
            ParquetError: The file is damaged.
        """
        if self._at != (path, tuple(columns), start):
            self._rows = self._from(path, columns, start)
        self._at = None  # unless all goes well
        rows = []
        try:
            for row in self._rows:
                rows.append(row)
                if len(rows) == stop - start:
                    break
        except (OSError, pa.ArrowException) as error:
            raise ParquetError(f"rows from {start} on cannot be read: {error}") from None
        self._at = (path, tuple(columns), stop)
        return rows

    def _from(self, path: Path, columns: Sequence[str], start: int) -> Iterator[dict[str, Any]]:
        file = open_parquet(path)
        first = 0
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if first + count > start:
                skip = max(start - first, 0)
                for batch in file.iter_batches(self._batch, row_groups=[group], columns=list(columns)):
                    if skip < batch.num_rows:
                        yield from batch.slice(skip).to_pylist()
                    skip = max(skip - batch.num_rows, 0)
            first += count
