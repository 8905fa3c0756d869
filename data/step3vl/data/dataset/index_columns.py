"""Columns of the index of a remote shard: only their bytes are fetched, once a machine, and shared by its processes.

They are kept as Arrow files that every process maps into its memory, in the folder of the store's cache or else below
TMPDIR. Page checksums are verified as they are fetched.
"""

import logging
import os
import tempfile
from bisect import bisect_right
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_64_hexdigest

from step3vl.data.dataset.index import open_index
from step3vl.data.dataset.shards import ShardInfo
from step3vl.data.storage.cache import FolderBound
from step3vl.data.storage.files import locked_if_possible, new_file
from step3vl.data.storage.remote_files import RangeReader
from step3vl.data.storage.slices import FileSlice, merge_slices
from step3vl.data.storage.store import Store

logger = logging.getLogger(__name__)

_LIMIT = 4 * 2**30  # bytes of the folder
_WHOLE = 512 << 10  # an index of so many bytes, by estimate, is fetched by one request
_ROW = 100  # bytes of a row in an index file, by experience
_FOOTER = 64 << 10  # bytes at the end of a Parquet file that hold its description, as a rule


def shared_columns(files: Store, shard: ShardInfo, columns: list[str]) -> pa.Table:
    """Columns of the index of a shard in a remote store.

    Raises:
        Exception: As opening and reading the Parquet file does, and as the store does.
    """
    folder = _folder(files.config.cache)
    name = f"{shard.index_blake3}-{xxh3_64_hexdigest(','.join(columns).encode())}.arrow"
    path = folder / name
    table = _mapped(path)
    if table is None:
        with locked_if_possible(folder / f".{name}.lock"):
            table = _mapped(path)  # another process may have been faster
            if table is None:
                table = _fetched(files, shard, columns)
                _keep(path, table)
    return table


def _folder(cache_folder: Path | None) -> Path:
    if cache_folder is not None:
        return cache_folder / "columns"
    return Path(tempfile.gettempdir()) / f"step3vl-columns-{os.getuid()}"


@cache
def _bound(folder: Path) -> FolderBound:
    return FolderBound(_LIMIT, folder.iterdir)


def _mapped(path: Path) -> pa.Table | None:
    """The table of a file, which other processes share; None where there is none."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        os.utime(path)  # the modification time is the time of the last use
    except FileNotFoundError:
        return None
    except pa.ArrowException:
        path.unlink(missing_ok=True)
        return None
    return table


def _keep(path: Path, table: pa.Table) -> None:
    try:
        with new_file(path, durable=False) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
            writer.close()
            size = file.tell()
    except OSError as error:
        logger.warning("no columns are kept in %s: %s", path.parent, error)
        return
    _bound(path.parent).add(size)


def _fetched(files: Store, shard: ShardInfo, columns: list[str]) -> pa.Table:
    """Fetch columns by three requests that wait for each other: size, description, and all columns at a time."""
    path = shard.index_path
    if shard.samples * _ROW <= _WHOLE:
        return open_index(pa.BufferReader(files.read_all(path))).read(columns=columns).select(columns)
    size = files.size(path)
    parts = _Parts(files, path)
    parts.add(max(size - _FOOTER, 0), size)
    source = pa.PythonFile(RangeReader(parts.read, size), mode="r")
    metadata = pq.read_metadata(source)
    chunks = [
        (chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size)
        for group in range(metadata.num_row_groups)
        for number in range(metadata.num_columns)
        if (chunk := metadata.row_group(group).column(number)).path_in_schema.partition(".")[0] in columns
    ]
    parts.add_many([FileSlice(path, start, length) for start, length in chunks])
    file = pq.ParquetFile(source, metadata=metadata, page_checksum_verification=True)
    return file.read(columns=columns, use_threads=False).select(columns)


class _Parts:
    """Parts of a remote file that were fetched; others are fetched as they are read."""

    def __init__(self, files: Store, path: str) -> None:
        self._files, self._path = files, path
        self._starts: list[int] = []
        self._data: dict[int, bytes] = {}

    def add(self, start: int, stop: int) -> None:
        """Fetch bytes `start` to `stop`."""
        self._put(start, self._files.part(self._path, start, stop))

    def add_many(self, slices: list[FileSlice]) -> None:
        """Fetch slices, neighbours together and all at a time."""
        reads = [FileSlice(read.path, read.start, read.stop - read.start) for read in merge_slices(slices)]
        for read, data in zip(reads, self._files.read_many(reads), strict=True):
            self._put(read.offset, data)

    def _put(self, start: int, data: bytes) -> None:
        if len(data) > len(self._data.get(start, b"")):
            self._data[start] = data
            self._starts = sorted(self._data)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`."""
        first = bisect_right(self._starts, start) - 1
        if first >= 0:
            held = self._starts[first]
            data = self._data[held][start - held : stop - held]
            if len(data) == stop - start:
                return data
        return self._files.part(self._path, start, stop)
