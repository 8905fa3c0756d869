"""Parts of a source that are small enough for memory, and from which any process makes the same records."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple, Protocol

from step3vl.data.convert.records import SourceRecord
from step3vl.data.dataset.ledger import DeadLetter

CHUNK = 1 << 22
"""Bytes of a chunk, about."""

_RECORDS = 64  # of a chunk of records that were read already

ReadRecord = SourceRecord | DeadLetter


class Chunk(Protocol):
    """A part of a source, which can be pickled."""

    def records(self) -> Iterator[ReadRecord]:
        """The records in order, and dead letters of those that cannot be read."""
        ...


class RecordBatch(NamedTuple):
    """Records that were read already."""

    items: list[ReadRecord]

    def records(self) -> Iterator[ReadRecord]:
        return iter(self.items)


def first_records(chunks: Iterable[Chunk], limit: int) -> Iterator[Chunk]:
    """Chunks of the first records, which are read here to count them."""
    records = islice(chain.from_iterable(chunk.records() for chunk in chunks), limit)
    while items := list(islice(records, _RECORDS)):
        yield RecordBatch(items)
