"""Writers of other formats. A sample is written only if reading it back gives the same sample."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, BinaryIO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert.huggingface import CODEC as HUGGINGFACE
from step3vl.data.convert.huggingface import SCHEMA
from step3vl.data.convert.image_loader import data_url
from step3vl.data.convert.pairs import CODEC as PAIRS
from step3vl.data.convert.records import RecordCodec
from step3vl.data.sample.parts import EXTENSION, Image
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.files import write_all
from step3vl.data.storage.store import Store

_FILE_SIZE = 1 << 29  # bytes after which a new Parquet file or tar begins
_BUFFER = 1 << 20  # bytes that are written at once
_ROW_GROUP_SIZE = 1 << 26  # bytes of images in a Parquet row group, which is held in memory


class RecordWriter(Protocol):
    """Encodes samples as records of a format, and writes these, both into one new folder. It can be pickled."""

    def encode(self, sample: Sample, files: Store) -> Any:
        """The record of a sample, by any process; images that are files of their own are written by it.

        Raises:
            ValueError: The format cannot hold the sample.
        """
        ...

    def open(self, files: Store) -> AbstractContextManager[Callable[[Any], None]]:
        """What writes records one after another; the files are complete at the end of the block."""
        ...


def checked_record(sample: Sample, names: list[str], codec: RecordCodec) -> dict[str, Any]:
    """The record of a sample. Raises ValueError when reading it back would not give the sample."""
    record = codec.to_record(sample, names)
    restored = codec.read_back(json.loads(json.dumps(record)), dict(zip(names, sample.images, strict=True)))
    if restored.id != sample.id:
        raise ValueError(
            "reading it back would give another sample: a text contains the format's markup, or a turn has something "
            "that the format has no field for"
        )
    return record


class JsonWriter:
    """Writes one JSON array or JSON Lines; images are files named by their hash, or data URLs inside the records."""

    def __init__(self, codec: RecordCodec, *, array: bool, inline: bool = False) -> None:
        self._codec, self._array, self._inline = codec, array, inline

    def encode(self, sample: Sample, files: Store) -> bytes:
        """See `RecordWriter.encode`."""
        data = [image.read() for image in sample.images]
        if self._inline:
            names = [data_url(image, encoded) for image, encoded in zip(sample.images, data, strict=True)]
        else:
            names = [_file_name(image) for image in sample.images]
        line = json.dumps(checked_record(sample, names, self._codec), ensure_ascii=False, allow_nan=False)
        if not self._inline:
            for name, encoded in zip(names, data, strict=True):
                with files.create(name, durable=False) as file:
                    write_all(file, encoded)
        return line.encode()

    @contextmanager
    def open(self, files: Store) -> Iterator[Callable[[bytes], None]]:
        """See `RecordWriter.open`."""
        with files.create("data.json" if self._array else "data.jsonl") as raw, _buffered(raw) as file:
            before, after = (b"[\n", b"") if self._array else (b"", b"\n")

            def write(line: bytes) -> None:
                nonlocal before
                file.write(before + line + after)
                before = b",\n" if self._array else b""

            yield write
            file.write(b"\n]\n" if self._array else b"")


def _file_name(image: Image) -> str:
    return f"images/{image.sha256[:2]}/{image.sha256}.{EXTENSION[image.format]}"


@contextmanager
def _buffered(raw: BinaryIO) -> Iterator[BinaryIO]:
    """A buffer before a file of a store, which the store closes."""
    file = io.BufferedWriter(cast(io.RawIOBase, raw), _BUFFER)
    try:
        yield cast(BinaryIO, file)
        file.flush()
    finally:
        file.detach()


class ParquetWriter:
    """Writes rows with their images inside, in Parquet files of about half a gigabyte."""

    def encode(self, sample: Sample, files: Store) -> dict[str, Any]:
        """See `RecordWriter.encode`."""
        names = [f"{number}.{EXTENSION[image.format]}" for number, image in enumerate(sample.images)]
        row = checked_record(sample, names, HUGGINGFACE)
        for entry, image in zip(row["images"], sample.images, strict=True):
            entry["bytes"] = image.read()
        return row

    @contextmanager
    def open(self, files: Store) -> Iterator[Callable[[dict[str, Any]], None]]:
        """See `RecordWriter.open`."""
        with _ParquetFiles(files) as parquet:
            yield parquet.add
            parquet.finish()


class _ParquetFiles(ExitStack):
    """The Parquet files of a folder, one of them open."""

    def __init__(self, files: Store) -> None:
        super().__init__()
        self._files = files
        self._rows: list[dict[str, Any]] = []
        self._pending = self._size = self._count = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        self._pending += sum(len(entry["bytes"]) for entry in row["images"])
        self._rows.append(row)
        if self._pending > _ROW_GROUP_SIZE or len(self._rows) >= 1000:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            file = self.enter_context(self._files.create(f"data-{self._count:05d}.parquet"))
            self._file = self.enter_context(pq.ParquetWriter(file, SCHEMA, compression="zstd"))
            self._count, self._size = self._count + 1, 0
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._size += self._pending
        self._rows, self._pending = [], 0
        if self._size > _FILE_SIZE:
            self.close()
            self._file = None

    def finish(self) -> None:
        if self._rows or not self._count:
            self._flush()


class PairWriter:
    """Writes KEY.jpg, KEY.json and KEY.txt in tars of about half a gigabyte."""

    def encode(self, sample: Sample, files: Store) -> list[tuple[str, bytes]]:
        """See `RecordWriter.encode`."""
        if len(sample.images) != 1:
            raise ValueError(f"a pair has one image, not {len(sample.images)}")
        record = checked_record(sample, [""], PAIRS)
        (image,) = sample.images
        return [
            (f"{sample.id}.{EXTENSION[image.format]}", image.read()),
            (f"{sample.id}.json", json.dumps(record["json"], ensure_ascii=False).encode()),
            (f"{sample.id}.txt", record["txt"].encode()),
        ]

    @contextmanager
    def open(self, files: Store) -> Iterator[Callable[[list[tuple[str, bytes]]], None]]:
        """See `RecordWriter.open`."""
        count = 0
        with ExitStack() as stack:
            archive: tarfile.TarFile | None = None

            def write(members: list[tuple[str, bytes]]) -> None:
                nonlocal archive, count
                if archive is None:
                    file = stack.enter_context(_buffered(stack.enter_context(files.create(f"{count:05d}.tar"))))
                    archive = stack.enter_context(tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT))
                    count += 1
                for name, data in members:
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                if archive.offset > _FILE_SIZE:
                    stack.close()
                    archive = None

            yield write
