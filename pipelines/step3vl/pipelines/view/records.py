"""The commit records of all parts of a build, as those read them who only look."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict

from step3vl.data.dataset import LedgerStep
from step3vl.data.storage import Store

RECORD = ".json"  # ends the name of a commit record
BATCH = 256  # records that are read at once
_READERS = 16  # concurrent requests to a remote store


class CommitRecord(BaseModel):
    """What segments of steps (`FragmentResult`), the counting of tokens and the writing of shards record alike."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    files: dict[str, Any] = {}
    """By ending."""
    accounts: tuple[LedgerStep, ...] = ()
    paid: dict[str, float] = {}
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    requests: int = 0
    text_tokens: int = 0
    image_tokens: int = 0


def read_records(store: Store, paths: Sequence[str]) -> list[CommitRecord]:
    """Read commit records, from a remote store concurrently.

    Args:
        store: The staging root.
        paths: Of the records, relative to it.

    Raises:
        StoreError: The store does not answer.
    """
    if store.local:
        contents = [store.read_all(path) for path in paths]
    else:
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(store.read_all, paths))
    return [CommitRecord.model_validate_json(content) for content in contents]


def all_records(store: Store, folder: str) -> Iterator[CommitRecord]:
    """Read all commit records of a folder, a batch in memory. Raises StoreError."""
    for names in batches(store.names(folder, RECORD), BATCH):
        yield from read_records(store, [f"{folder}/{name}" for name in names])


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
