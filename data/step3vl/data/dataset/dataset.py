"""Reading a committed dataset: a folder of shards and the `dataset.json` that lists them.

A reader trusts only what `dataset.json` lists, and checks every sample against the index.
"""

import fnmatch
import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer
from xxhash import xxh3_64_intdigest

from step3vl.data.dataset.exclusions import Exclusions, read_exclusions
from step3vl.data.dataset.index import SCHEMA, open_index
from step3vl.data.dataset.index_columns import shared_columns
from step3vl.data.dataset.manifest import MANIFEST, Manifest, Split, read_manifest
from step3vl.data.dataset.row_filter import RowFilter
from step3vl.data.dataset.shards import ShardInfo, ShardTable
from step3vl.data.errors import UserError
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.checksums import ChecksumCache, ShardChecksums
from step3vl.data.storage.files import FileHandle
from step3vl.data.storage.slices import ByteRange
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, REQUESTS, StoreConfig
from step3vl.data.storage.tar import split_sample
from step3vl.data.tokens.vocabulary import fingerprint

_MAX_OPEN = 256  # shards


class DamagedSample(UserError):
    """Bytes that differ from those committed. The rest of the dataset may be intact, so a reader may skip them."""


class _OpenShard(NamedTuple):
    """A shard of which samples are read: its entry, its checksums, and its file if that is local."""

    info: ShardInfo
    checksums: ShardChecksums
    handle: FileHandle | None


class Dataset:
    """A committed dataset at a local path or any fsspec URL. Open it with `Dataset.open`.

    Args:
        url: Path or URL of the folder.
        manifest: The content of its `dataset.json`.
        store: How a remote store is used.
    """

    def __init__(self, url: str, manifest: Manifest, store: StoreConfig = DEFAULT_STORE) -> None:
        self.url = url
        self.manifest = manifest
        self.files = Store(url, store)
        self._opened: dict[int, _OpenShard] = {}
        self._checksums = ChecksumCache(lambda shard: self.shard_index(shard, ["offset", "size", "xxh3"]))

    def __reduce__(self) -> tuple[Any, ...]:  # all processes of a reader leave out the same samples
        read = {"exclusions": self.exclusions} if "exclusions" in self.__dict__ else None
        return type(self), (self.url, self.manifest, self.files.config), read

    @classmethod
    def open(cls, url: str | Path, store: StoreConfig = DEFAULT_STORE) -> Self:
        """Open a dataset.

        Args:
            url: Path or URL of the folder.
            store: How a remote store is used.

        Raises:
            UserError: There is no committed dataset, or its `dataset.json` is damaged or of a newer format.
            StoreError: The store does not answer.
        """
        try:
            return cls(str(url), read_manifest(Store(str(url), store)), store)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"no dataset at {url}: {MANIFEST} is missing, so nothing was committed there; "
                "build it with `step3vl corpus build`"
            ) from None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what a reader's bytes depend on: the shards' hashes, the tokenizer and the image sizes.

        A build of the same samples by newer code has the same fingerprint.
        """
        digest = hashlib.sha256(b'{"shards": [')
        encode = json.JSONEncoder(sort_keys=True).encode
        for number, row in enumerate(ShardTable.of(self.manifest.shards).rows()):
            digest.update(f"{', ' if number else ''}{encode(row)}".encode())
        counting = self.manifest.counting
        rest = {"sizes": counting.image.sizes, "tokenizer": counting.tokenizer_sha256}
        digest.update(f"], {json.dumps(rest)[1:]}".encode())
        return digest.hexdigest()

    @cached_property
    def exclusions(self) -> Exclusions:
        """The samples that must no longer be used. `index` and `samples` leave them out.

        Raises:
            UserError: A request is damaged.
            StoreError: The store does not answer.
        """
        return read_exclusions(self.files)

    @property
    def tokenizer(self) -> str:
        """The argument of `load_tokenizer` for the tokenizer that counted this dataset."""
        name = self.manifest.counting.tokenizer
        return name if name == "qwen3" or Path(name).is_absolute() else f"{self.url}/{name}"

    def check_counting(self, tokenizer: Tokenizer, spec: ImageSpec) -> None:
        """Check that the token counts are valid for a tokenizer and image sizes.

        Args:
            tokenizer: The tokenizer of the reader.
            spec: Image sizes and limits of the reader.

        Raises:
            UserError: They were counted for another tokenizer or other sizes, or with higher limits.
        """
        counting = self.manifest.counting
        if counting.tokenizer_sha256 != fingerprint(tokenizer):
            raise UserError(
                f"{self.url} was counted with the tokenizer {counting.tokenizer}, not with this one: "
                f"build it again or use {self.tokenizer}"
            )
        if not spec.accepts(counting.image):
            raise UserError(
                f"{self.url} was counted for images of {counting.image!r}, and {spec!r} does not accept all of them: "
                "give the same sizes and no lower limits, or build it again"
            )

    def index(
        self,
        columns: list[str] | None = None,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
        where: RowFilter | None = None,
    ) -> pa.Table:
        """Read the index rows of all shards, in order, into one table.

        Args:
            columns: Names of the columns; by default all. The number of the shard is added as column `shard`.
            split: Only shards of this split.
            kind: Only documents or only conversations.
            task: Only tasks that match this shell pattern, such as `ocr.*`.
            where: Only rows that an expression selects, such as `RowFilter("tokens < 4096")`.
        """
        batches = self.index_batches(columns, split=split, kind=kind, task=task, where=where)
        return pa.Table.from_batches(batches, _schema(columns))

    def index_batches(
        self,
        columns: list[str] | None = None,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
        where: RowFilter | None = None,
        rows: int = 1 << 16,
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows of `index` in batches of at most `rows`, none of them empty.

        Memory is that of one batch, and of one shard's index file if it is remote.
        """
        selected = SCHEMA.names if columns is None else columns
        filters = [name for name, value in (("kind", kind), ("task", task)) if value is not None]
        filters += [] if where is None else where.columns
        needed = [*dict.fromkeys([*selected, *filters, *self.exclusions.columns])]
        schema = _schema(columns)
        for number, shard in enumerate(self.manifest.shards):
            if split is not None and shard.split != split:
                continue
            with _open_index(self.files, shard) as index:
                for batch in index.iter_batches(batch_size=rows, columns=needed):
                    if kind is not None:
                        batch = batch.filter(pc.equal(batch["kind"], kind))
                    if task is not None:
                        names = [
                            name for name in pc.unique(batch["task"]).to_pylist() if fnmatch.fnmatchcase(name, task)
                        ]
                        batch = batch.filter(pc.is_in(batch["task"], value_set=pa.array(names, pa.string())))
                    if where is not None:
                        batch = batch.filter(pa.array(where.keep(batch)))
                    if self.exclusions:
                        batch = batch.filter(pa.array(self.exclusions.keep(batch)))
                    if len(batch):
                        numbers = pa.array(np.full(len(batch), number, np.int32))
                        arrays = [*(batch[name] for name in selected), numbers]
                        yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def fetch(self, shard: int, offset: int, size: int, *, in_blocks: bool = True) -> bytes:
        """Read the bytes of one sample in its shard. Threads may call it.

        Args:
            shard: Number of the shard, as in the index.
            offset: First byte of the sample, as in the index.
            size: Bytes of the sample, as in the index.
            in_blocks: Whether the neighbours of the sample will be read on this machine, too; see `Store.read`.

        Raises:
            DamagedSample: The bytes differ from those committed.
            StoreError: The store does not answer.
            UserError: The index has no such sample.
        """
        info, (offsets, sizes, checksums), handle = self._opened.get(shard) or self._open_shard(shard, offset)
        row = bisect_left(offsets, offset)
        if row == len(offsets) or offsets[row] != offset or sizes[row] != size:
            raise UserError(f"{self.url}/{info.path} has no sample of {size} bytes at byte {offset}")
        checksum = checksums[row]
        if handle is not None:
            REQUESTS.counter.count += 1  # without the lock: no other thread reads local files for this one
            data = os.pread(handle.number, size, offset)
            if xxh3_64_intdigest(data) == checksum:
                return data
            self._opened.pop(shard, None)  # the file may have been replaced since it was opened
        span = ByteRange(info.path, offset, offset + size, file_size=info.size, version=info.blake3)
        try:
            data = self.files.read(span, in_blocks=in_blocks)
            intact = xxh3_64_intdigest(data) == checksum
            if not intact and self.files.forget(span):
                data = self.files.read(span)
                intact = xxh3_64_intdigest(data) == checksum
        except FileNotFoundError:
            raise self._damaged(shard, offset, "the file is missing") from None
        if len(data) != size:
            raise self._damaged(shard, offset, f"the file ends {size - len(data)} bytes early")
        if not intact:
            raise self._damaged(shard, offset, "the bytes are not those that were committed")
        return data

    def _open_shard(self, shard: int, offset: int) -> _OpenShard:
        """What `fetch` needs of a shard, kept for as many shards as it may have open."""
        info, checksums = self.manifest.shards[shard], self._checksums.of(shard)
        try:
            handle = FileHandle(self.files.path(info.path)) if self.files.local else None
        except FileNotFoundError:
            raise self._damaged(shard, offset, "the file is missing") from None
        except OSError:  # such as too many open files; `Store.read` has the message
            handle = None
        while len(self._opened) >= _MAX_OPEN:
            self._opened.pop(next(iter(self._opened), shard), None)
        opened = self._opened[shard] = _OpenShard(info, checksums, handle)
        return opened

    def read(self, shard: int, offset: int, size: int) -> Sample:
        """Read one sample with its images' bytes. Arguments and errors are those of `fetch`."""
        return self.parse(shard, offset, self.fetch(shard, offset, size))

    def parse(self, shard: int, offset: int, data: bytes) -> Sample:
        """The sample of the bytes that `fetch` returned. Raises DamagedSample."""
        try:
            return parse_sample(data)
        except ValueError as error:
            raise self._damaged(shard, offset, str(error)) from None

    def _damaged(self, shard: int, offset: int, reason: str) -> DamagedSample:
        path = self.manifest.shards[shard].path
        return DamagedSample(f"{self.url}/{path} at byte {offset}: {reason}; `step3vl corpus verify` lists all damage")

    def samples(
        self,
        *,
        split: Split | None = None,
        kind: str | None = None,
        task: str | None = None,
        where: RowFilter | None = None,
    ) -> Iterator[Sample]:
        """Read all samples in the order of the shards, filtered as by `index`."""
        for batch in self.index_batches(["offset", "size"], split=split, kind=kind, task=task, where=where):
            for row in batch.to_pylist():
                yield self.read(row["shard"], row["offset"], row["size"])

    def shard_index(self, shard: int, columns: list[str]) -> pa.Table:
        """Read columns of the index of one shard, of all its samples, also of excluded ones.

        Raises:
            UserError: The index is missing or damaged.
        """
        return read_shard_index(self.files, self.manifest.shards[shard], columns)


def parse_sample(data: bytes) -> Sample:
    """The sample of its bytes in a shard. Raises ValueError."""
    row, encoded_images = split_sample(data)
    for image, encoded in zip(row.get("images", []), encoded_images, strict=True):
        image["data"] = encoded
    return Sample.from_row(row)


def read_shard_index(files: Store, shard: ShardInfo, columns: list[str]) -> pa.Table:
    """Read columns of the index of a shard in the store of its dataset. Raises UserError as `Dataset.shard_index`."""
    if files.local:
        with _open_index(files, shard) as index:
            return index.read(columns=columns).select(columns)
    with _index_errors(files, shard):
        return shared_columns(files, shard, columns)


@contextmanager
def _open_index(files: Store, shard: ShardInfo) -> Iterator[pq.ParquetFile]:
    """Open the index of a shard. An error of the file becomes a UserError."""
    with _index_errors(files, shard), files.open(shard.index_path, shard.index_blake3) as file:
        yield open_index(file)


@contextmanager
def _index_errors(files: Store, shard: ShardInfo) -> Iterator[None]:
    path = shard.index_path
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            f"{files.absolute(path)} is listed in {MANIFEST} but missing; restore it or build again"
        ) from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{files.absolute(path)} is damaged: {error}; restore it or build again") from None


def _schema(columns: list[str] | None) -> pa.Schema:
    """The columns of the index, all or these, and `shard`."""
    schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    return schema.append(pa.field("shard", pa.int32(), nullable=False))
