"""The files of a source, a path, a pattern or a URL; and a file as its bytes, decompressed."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from step3vl.data.errors import UserError
from step3vl.data.storage.file_cache import file_cache
from step3vl.data.storage.listing import list_files
from step3vl.data.storage.remote_files import RangeReader
from step3vl.data.storage.shared_stores import split_url, store_of
from step3vl.data.storage.store_config import ABSENT, DEFAULT_STORE, StoreConfig

COMPRESSED = ("", ".gz", ".zst")
_CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by the first bytes of a file
_WILD = re.compile(r"[*?[]")
_READ = 1 << 23  # bytes of a remote file that are fetched at once


class SourceFile(NamedTuple):
    """A file of a source.

    Attributes:
        url: Absolute path or URL.
        name: Its path within the source, by which records say where they are from.
        store: How a remote store is used.
    """

    url: str
    name: str
    store: StoreConfig = DEFAULT_STORE

    def open(self) -> BinaryIO:
        """Open the file for reading; gzip and Zstandard are known by the first bytes and decompressed.

        Raises:
            OSError: The file cannot be opened; without a number, while it is read: it is truncated or damaged.
            StoreError: The store does not answer.
        """
        file = self._open()
        codec = _codec(file)
        if codec is None:
            return file
        stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec)
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16))

    def is_compressed(self) -> bool:
        """Whether `open` decompresses the file."""
        with self._open() as file:
            return _codec(file) is not None

    def _open(self) -> io.BufferedReader:
        store, path = store_of(self.url, self.store)
        if store.local:
            return Path(store.path(path)).open("rb")
        return io.BufferedReader(
            RangeReader(lambda start, stop: store.part(path, start, stop), store.size(path)), _READ
        )

    def open_ranges(self) -> pa.NativeFile:
        """Open the file for pyarrow; of a remote one only what is read is fetched. Raises as `open`."""
        store, path = store_of(self.url, self.store)
        return store.open_ranges(path)

    def local(self) -> Path:
        """The path of the file on this machine, that of a copy if it is remote. Raises StoreError."""
        store, path = store_of(self.url, self.store)
        if store.local:
            return Path(store.path(path))
        return file_cache().local_path(self.url, store.info(path).version, self.store)


def _codec(file: io.BufferedReader) -> str | None:
    start = file.peek(4)
    return next((codec for magic, codec in _CODECS.items() if start.startswith(magic)), None)


class Source(NamedTuple):
    """The files of a source, sorted, and the folder or URL that their names are relative to."""

    folder: str
    files: list[SourceFile]


def find_source(source: str | Path, suffixes: tuple[str, ...], store: StoreConfig = DEFAULT_STORE) -> Source:
    """The file itself, or the files with these suffixes below a folder or of a pattern such as `s3://bucket/**/*.json`.

    As for other readers of data folders, names below a folder that begin with `_` or `.` are skipped.

    Args:
        source: Path, pattern or URL.
        suffixes: How the names of files end.
        store: How a remote store is used.

    Raises:
        UserError: There is no such file or folder, or the folder has no such file.
        StoreError: The store does not answer.
    """
    url = str(source).removeprefix("file://")
    root, path = split_url(url)
    files, _ = store_of(url, store)
    is_name = root.startswith("http") or (files.local and Path(files.path(path)).exists())
    wild = None if is_name else _WILD.search(path)
    if wild is None:
        try:
            files.info(path)
            folder, _, name = path.rpartition("/")
            return Source(_join(root, folder), [SourceFile(_join(root, path), name, store)])
        except ABSENT:
            pass
    folder = (path[: wild.start()].rpartition("/")[0] if wild else path).rstrip("/")
    base = _join(root, folder)
    if wild:
        names = [info.path.removeprefix(f"{base.rstrip('/')}/") for info in list_files(_join(root, path), store)]
    else:
        below = files.listing(folder) or []
        names = [name for name in (_within(path, folder) for path in below) if not _is_hidden(name)]
        if not below and not (files.local and Path(files.path(folder)).is_dir()):
            raise UserError(f"{source}: no such file or folder; give the source of the conversion")
    chosen = sorted(name for name in names if name.endswith(suffixes))
    if not chosen:
        what = "matches no file" if wild else "has no file"
        raise UserError(f"{source} {what} that ends in {' or '.join(suffixes)}; give a file or folder of this format")
    return Source(base, [SourceFile(_join(base, name), name, store) for name in chosen])


def _join(folder: str, path: str) -> str:
    return f"{folder.rstrip('/')}/{path}" if path else folder


def _within(path: str, folder: str) -> str:
    return path.removeprefix(f"{folder}/") if folder else path


def _is_hidden(name: str) -> bool:
    return any(part[0] in "_." for part in name.split("/"))


def read_blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The bytes of a file in blocks of about this size. Of a file that is damaged, those before the damage come first.

    Raises:
        OSError: As the file does when it is read, after the last block.
    """
    block: list[bytes] = []
    held = 0
    try:
        while data := file.read(1 << 16):
            block.append(data)
            held += len(data)
            if held >= size:
                yield b"".join(block)
                block, held = [], 0
    except OSError:
        if block:
            yield b"".join(block)
        raise
    if block:
        yield b"".join(block)
