"""The files of a work list, one for each bucket. Beam is not imported: tasks of Ray read them too."""

import io
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.storage import Store
from step3vl.data.storage.files import write_all

COLUMN = "fragment"
"""The one column of a work list: fragments as JSON."""
_SCHEMA = pa.schema([(COLUMN, pa.string())])


def work_list_path(name: str, bucket: int) -> str:
    """The file of a bucket, relative to the root."""
    return f"control/{name}/{bucket:02d}.parquet"


def write_bucket(store: Store, name: str, bucket: int, fragments: Iterable[str]) -> None:
    """Write the fragments of one bucket, also none.

    Args:
        store: Of the root.
        name: Of the list.
        bucket: Its number.
        fragments: As JSON, in any order.
    """
    buffer = io.BytesIO()
    pq.write_table(pa.table({COLUMN: sorted(set(fragments))}, schema=_SCHEMA), buffer)
    put_passing(store, work_list_path(name, bucket), buffer.getvalue())


def put_passing(store: Store, path: str, data: bytes) -> None:
    """Write a file that may be lost with the power: its loss is noticed, or it is written again. Raises StoreError."""
    if not store.local:
        store.put(path, data)
        return
    with store.create(path, durable=False) as file:
        write_all(file, data)


def read_bucket(store: Store, name: str, bucket: int) -> Iterator[str]:
    """The fragments of one bucket as JSON, sorted."""
    table = pq.read_table(pa.BufferReader(store.read_all(work_list_path(name, bucket))))
    yield from table.column(COLUMN).to_pylist()
