"""Samples to files of another format. A sample goes in only if reading it back gives the same sample."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert import huggingface, openai, pairs
from step3vl.data.sample import EXTENSION, Image, Sample

_PART = 1 << 29  # bytes after which a new Parquet file or tar begins
_GROUP = 1 << 26  # bytes of pictures in a Parquet row group, which is held in memory


class Writer(Protocol):
    """Takes samples until it is closed. `add` raises ValueError for a sample that the format cannot hold."""

    def add(self, sample: Sample) -> None: ...

    def close(self) -> None: ...


class Shape(NamedTuple):
    """A format of records: a sample and the names of its pictures to a record, and the way back."""

    to_record: Callable[[Sample, list[str]], dict[str, Any]]
    read_back: Callable[[Mapping[str, Any], Mapping[str, Image]], Sample]


def checked_record(sample: Sample, names: list[str], shape: Shape) -> dict[str, Any]:
    """The record of a sample. Raises ValueError when reading it back would not give the sample."""
    record = shape.to_record(sample, names)
    again = shape.read_back(json.loads(json.dumps(record)), dict(zip(names, sample.images, strict=True)))
    if again.id != sample.id:
        raise ValueError(
            "read back from this format it would be another sample: a text holds the format's own markup, "
            "or a turn has something that the format has no place for"
        )
    return record


class JsonWriter:
    """Records as one JSON array or as JSON Lines; pictures as files named by their hash, or as data URLs inside."""

    def __init__(self, folder: Path, shape: Shape, *, array: bool, inline: bool = False) -> None:
        self._folder, self._shape, self._array, self._inline = folder, shape, array, inline
        self._file = (folder / ("data.json" if array else "data.jsonl")).open("w", encoding="utf-8")
        self._file.write("[" if array else "")
        self._written = 0

    def add(self, sample: Sample) -> None:
        data = [picture.read() for picture in sample.images]
        if self._inline:
            names = [openai.data_url(picture, one) for picture, one in zip(sample.images, data, strict=True)]
        else:
            names = [_file_name(picture) for picture in sample.images]
        line = json.dumps(checked_record(sample, names, self._shape), ensure_ascii=False, allow_nan=False)
        if not self._inline:
            for name, one in zip(names, data, strict=True):
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(one)
        between = ",\n" if self._written else "\n"
        self._file.write(f"{between}{line}" if self._array else f"{line}\n")
        self._written += 1

    def close(self) -> None:
        self._file.write("\n]\n" if self._array else "")
        self._file.close()


def _file_name(picture: Image) -> str:
    return f"images/{picture.sha256[:2]}/{picture.sha256}.{EXTENSION[picture.format]}"


class ParquetWriter:
    """Rows with their pictures inside, in files of about half a gigabyte."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shape = Shape(huggingface.to_record, huggingface.read_back)
        self._rows: list[dict[str, Any]] = []
        self._held = self._size = self._parts = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, sample: Sample) -> None:
        names = [f"{number}.{EXTENSION[picture.format]}" for number, picture in enumerate(sample.images)]
        row = checked_record(sample, names, self._shape)
        for entry, picture in zip(row["images"], sample.images, strict=True):
            entry["bytes"] = picture.read()
            self._held += len(entry["bytes"])
        self._rows.append(row)
        if self._held > _GROUP or len(self._rows) >= 1000:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            path = self._folder / f"data-{self._parts:05d}.parquet"
            self._file = pq.ParquetWriter(path, huggingface.SCHEMA, compression="zstd")
            self._parts, self._size = self._parts + 1, 0
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=huggingface.SCHEMA))
        self._size += self._held
        self._rows, self._held = [], 0
        if self._size > _PART:
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._rows or not self._parts:
            self._flush()
        if self._file is not None:
            self._file.close()


class PairWriter:
    """KEY.jpg, KEY.json and KEY.txt in tars of about half a gigabyte."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shape = Shape(pairs.to_record, pairs.read_back)
        self._parts = 0
        self._file: tarfile.TarFile | None = None

    def add(self, sample: Sample) -> None:
        if len(sample.images) != 1:
            raise ValueError(f"a pair has one picture, not {len(sample.images)}")
        record = checked_record(sample, [""], self._shape)
        (picture,) = sample.images
        data = picture.read()
        if self._file is None:
            path = self._folder / f"{self._parts:05d}.tar"
            self._file = tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT)
            self._parts += 1
        self._member(f"{sample.id}.{EXTENSION[picture.format]}", data)
        self._member(f"{sample.id}.json", json.dumps(record["json"], ensure_ascii=False).encode())
        self._member(f"{sample.id}.txt", record["txt"].encode())
        if self._file.offset > _PART:
            self.close()

    def _member(self, name: str, data: bytes) -> None:
        assert self._file is not None
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._file.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
