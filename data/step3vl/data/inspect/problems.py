"""The kinds of problems that a dataset can have, and their counts."""

from typing import Literal

from step3vl.data.config import Config

ProblemKind = Literal[
    "missing",  # a file that the dataset lists does not exist
    "extra",  # a file among the shards that the dataset does not list
    "unreadable",  # the store returns nothing but errors
    "checksum",  # the file, or a sample of it, differs from what was committed
    "truncated",  # the archive ends early
    "archive",  # bytes that are not an archive, or members that are not files
    "name",  # a member's name that no shard may contain, such as one that leads out of the folder
    "json",  # a sample's JSON is malformed, or not a sample
    "image",  # an image that differs from its sample's description, or cannot be decoded
    "bomb",  # an image that would exhaust the memory when decoded
    "index",  # the Parquet index disagrees with the archive
    "offsets",  # the .idx file disagrees with the archive
    "order",  # samples that are not in the order of their ids
    "duplicate",  # a repeated key
    "tokens",  # token counts that do not add up
    "count",  # numbers of samples that do not add up
]


class DatasetProblem(Config):
    """A kind of problem in one file."""

    file: str
    """Path of the file, relative to the dataset."""

    kind: ProblemKind
    """Kind of the problem."""

    detail: str
    """Description of its first occurrence."""

    count: int
    """Number of occurrences."""


class ProblemCounter:
    """Counts occurrences by file and kind."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, ProblemKind], tuple[str, int]] = {}

    def add(self, file: str, kind: ProblemKind, detail: str, count: int = 1) -> None:
        """Count occurrences. The detail of the first one is kept."""
        first, total = self._counts.get((file, kind), (detail, 0))
        self._counts[file, kind] = first, total + count

    def rows(self) -> tuple[DatasetProblem, ...]:
        """The problems in the order of their first occurrence."""
        return tuple(
            DatasetProblem(file=file, kind=kind, detail=detail, count=count)
            for (file, kind), (detail, count) in self._counts.items()
        )
