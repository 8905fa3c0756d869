"""Dead letters that come one by one: counted for the ledger, and written as a table."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.ledger import DeadLetter, Step

LETTERS = "dead_letters.parquet"
_HELD = 10_000
_SCHEMA = pa.schema([(name, pa.string()) for name in ("step", "error", "reason", "source")])


class Letters:
    """Writes `dead_letters.parquet` into a folder, which holds it once all is closed, if there was a letter at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LETTERS
        self._path.unlink(missing_ok=True)  # of an earlier attempt
        self._temporary = folder / f".{LETTERS}.tmp"
        self._held: list[DeadLetter] = []
        self._file: pq.ParquetWriter | None = None
        self._counts: dict[str, Counter[str]] = {}
        self.first: DeadLetter | None = None

    def add(self, letter: DeadLetter) -> None:
        self.first = self.first or letter
        self._counts.setdefault(letter.step, Counter())[letter.error] += 1
        self._held.append(letter)
        if len(self._held) == _HELD:
            self._flush()

    def account(self, step: str, kept: int) -> Step:
        """The account of a step that kept so many records and lost those of its letters."""
        dead = dict(sorted(self._counts.get(step, Counter()).items()))
        return Step(name=step, read=kept + sum(dead.values()), kept=kept, dead=dead)

    def _flush(self) -> None:
        if self._file is None:
            self._file = pq.ParquetWriter(self._temporary, _SCHEMA)
        rows = [letter.model_dump(mode="json") for letter in self._held]
        self._file.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
        self._held = []

    def close(self) -> None:
        if self._held:
            self._flush()
        if self._file is not None:
            self._file.close()
            self._temporary.replace(self._path)
