"""Dropped and failed records of a build: counts of its ledger, dead letters, and the evidence of a curation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from step3vl.data.dataset import DEAD_LETTERS, DEAD_LETTERS_FOLDER, DROPPED, Dataset
from step3vl.data.storage import Store, StoreError
from step3vl.pipelines.curation.evidence import EVIDENCE, EVIDENCE_SCHEMA
from step3vl.pipelines.view.viewer.scan import Condition, Page, ParquetTable, Place

_DEAD_LETTER = ("step", "error", "reason", "source")


class Loss(NamedTuple):
    """Records that a step dropped or failed on, for one reason.

    Attributes:
        step: The step.
        reason: Of the drop, or the type of the error.
        dropped: Whether they were filtered out; else they failed.
        records: How many.
    """

    step: str
    reason: str
    dropped: bool
    records: int


class Drops:
    """The dropped and failed records of a build.

    Args:
        dataset: The build.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.losses = list(_losses(dataset))
        self._dead_letters = _Parts(dataset.files, DEAD_LETTERS_FOLDER, _DEAD_LETTER, DEAD_LETTERS)
        self._evidence = _Parts(dataset.files, EVIDENCE, EVIDENCE_SCHEMA.names)

    @property
    def trouble(self) -> str:
        """Why the records cannot be read; empty where they can."""
        return self._dead_letters.trouble

    @property
    def has_evidence(self) -> bool:
        """Whether a curation left evidence."""
        return bool(self._evidence.paths)

    def dead_letters(self, step: str, reason: str, text: str, start: Place | None, limit: int, seconds: float) -> Page:
        """The next dead letters.

        Args:
            step: Only of this step; all if empty.
            reason: Only those that were dropped for this reason, or failed with this type of error; all if empty.
            text: A part of the reason or of the source, in any case.
            start: Where the search starts.
            limit: Of rows.
            seconds: After which it stops with what it has.
        """

        def mask(table: pa.Table) -> np.ndarray:
            selected = _equal(table, {"step": step})
            if reason:
                dropped = pc.and_(pc.equal(table["error"], DROPPED), pc.equal(table["reason"], reason))
                selected &= pc.or_(dropped, pc.equal(table["error"], reason)).to_numpy()
            if text:
                parts = (pc.match_substring(table[name], text, ignore_case=True) for name in ("reason", "source"))
                selected &= pc.or_(*parts).to_numpy()
            return selected

        return self._dead_letters.search(Condition(_DEAD_LETTER, mask), start, limit, seconds)

    def evidence(self, values: Mapping[str, str], start: Place | None, limit: int, seconds: float) -> Page:
        """The next rows of the evidence of a curation.

        Args:
            values: What columns must be: `step`, `reason`, `id`, `matched_id`; empty values are ignored.
            start: Where the search starts.
            limit: Of rows.
            seconds: After which it stops with what it has.
        """
        columns = [name for name, value in values.items() if value] or ["step"]
        return self._evidence.search(Condition(columns, lambda table: _equal(table, values)), start, limit, seconds)


def _losses(dataset: Dataset) -> Iterator[Loss]:
    for step in dataset.manifest.ledger:
        for counts, dropped in ((step.failed, False), (step.dropped, True)):
            for reason, records in sorted(counts.items(), key=lambda item: -item[1]):
                yield Loss(step.name, reason, dropped, records)


def _equal(table: pa.Table, values: Mapping[str, str]) -> np.ndarray:
    """Which rows have these values; empty ones are ignored."""
    selected = np.ones(len(table), bool)
    for name, value in values.items():
        if value:
            selected &= pc.equal(table[name], value).to_numpy()
    return selected


class _Parts:
    """The table in the Parquet files of a folder, or in a single file where there is no folder."""

    def __init__(self, files: Store, folder: str, columns: Sequence[str], single: str = "") -> None:
        self._files, self.trouble = files, ""
        try:
            self.paths = [f"{folder}/{name}" for name in sorted(files.names(folder, ".parquet"))]
        except StoreError as error:  # over HTTP no files are listed; the samples can be browsed all the same
            self.paths, self.trouble = [], str(error)
        if not self.paths and single and files.exists(single):
            self.paths, self.trouble = [single], ""
        self._table = ParquetTable(self._open, columns)

    @contextmanager
    def _open(self, part: int) -> Iterator[pq.ParquetFile]:
        with pq.ParquetFile(self._files.open_ranges(self.paths[part]), pre_buffer=True) as file:
            yield file

    def search(self, condition: Condition, start: Place | None, limit: int, seconds: float) -> Page:
        return self._table.search(range(len(self.paths)), start, limit, seconds, condition=condition)
