"""The words for what can be wrong with a dataset, and the counting of it."""

from typing import Literal

from step3vl.data.config import Config

Fault = Literal[
    "missing",  # a file that the dataset names is not there
    "extra",  # a file among the shards that the dataset does not name
    "unreadable",  # the store gives nothing but errors
    "checksum",  # the file, or a sample of it, is not what was committed
    "truncated",  # the archive ends early
    "archive",  # bytes that are no archive, or members that are no files
    "name",  # a member's name that no shard may hold, such as one that leads out of the folder
    "json",  # a sample's JSON is none, or no sample
    "image",  # a picture that is not what its sample says, or cannot be decoded
    "bomb",  # a picture that would fill the memory when decoded
    "index",  # the Parquet index says something else than the archive
    "offsets",  # the .idx file says something else than the archive
    "order",  # samples not in the order of their ids
    "duplicate",  # the same key again
    "tokens",  # token counts that do not add up
    "count",  # numbers of samples that do not add up
]


class Problem(Config):
    """A fault of a file, how often it occurs there, and its first occurrence in words."""

    file: str
    kind: Fault
    detail: str
    count: int


class Problems:
    """Occurrences, counted by file and kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Fault], tuple[str, int]] = {}

    def add(self, file: str, kind: Fault, detail: str, count: int = 1) -> None:
        first, before = self._found.get((file, kind), (detail, 0))
        self._found[file, kind] = first, before + count

    def rows(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(file=file, kind=kind, detail=detail, count=count)
            for (file, kind), (detail, count) in self._found.items()
        )
