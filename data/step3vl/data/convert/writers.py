"""Writers of other formats. A sample is written only if reading it back gives the same sample."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.convert.huggingface import CODEC as HUGGINGFACE
from step3vl.data.convert.huggingface import SCHEMA
from step3vl.data.convert.image_loader import data_url
from step3vl.data.convert.pairs import CODEC as PAIRS
from step3vl.data.convert.records import RecordCodec
from step3vl.data.sample.parts import EXTENSION, Image
from step3vl.data.sample.sample import Sample

_FILE_SIZE = 1 << 29  # bytes after which a new Parquet file or tar begins
_ROW_GROUP_SIZE = 1 << 26  # bytes of images in a Parquet row group, which is held in memory


class SampleWriter(Protocol):
    """Writes samples until it is closed."""

    def add(self, sample: Sample) -> None:
        """Write a sample. Raises ValueError for one that the format cannot hold."""
        ...

    def close(self) -> None:
        """Complete the files."""
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

    def __init__(self, folder: Path, codec: RecordCodec, *, array: bool, inline: bool = False) -> None:
        self._folder, self._codec, self._array, self._inline = folder, codec, array, inline
        self._file = (folder / ("data.json" if array else "data.jsonl")).open("w", encoding="utf-8")
        self._file.write("[" if array else "")
        self._written = 0

    def add(self, sample: Sample) -> None:
        data = [image.read() for image in sample.images]
        if self._inline:
            names = [data_url(image, encoded) for image, encoded in zip(sample.images, data, strict=True)]
        else:
            names = [_file_name(image) for image in sample.images]
        line = json.dumps(checked_record(sample, names, self._codec), ensure_ascii=False, allow_nan=False)
        if not self._inline:
            for name, encoded in zip(names, data, strict=True):
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded)
        separator = ",\n" if self._written else "\n"
        self._file.write(f"{separator}{line}" if self._array else f"{line}\n")
        self._written += 1

    def close(self) -> None:
        self._file.write("\n]\n" if self._array else "")
        self._file.close()


def _file_name(image: Image) -> str:
    return f"images/{image.sha256[:2]}/{image.sha256}.{EXTENSION[image.format]}"


class ParquetWriter:
    """Writes rows with their images inside, in Parquet files of about half a gigabyte."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._codec = HUGGINGFACE
        self._rows: list[dict[str, Any]] = []
        self._pending = self._size = self._files = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, sample: Sample) -> None:
        names = [f"{number}.{EXTENSION[image.format]}" for number, image in enumerate(sample.images)]
        row = checked_record(sample, names, self._codec)
        for entry, image in zip(row["images"], sample.images, strict=True):
            entry["bytes"] = image.read()
            self._pending += len(entry["bytes"])
        self._rows.append(row)
        if self._pending > _ROW_GROUP_SIZE or len(self._rows) >= 1000:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            path = self._folder / f"data-{self._files:05d}.parquet"
            self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd")
            self._files, self._size = self._files + 1, 0
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._size += self._pending
        self._rows, self._pending = [], 0
        if self._size > _FILE_SIZE:
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._rows or not self._files:
            self._flush()
        if self._file is not None:
            self._file.close()


class PairWriter:
    """Writes KEY.jpg, KEY.json and KEY.txt in tars of about half a gigabyte."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._codec = PAIRS
        self._files = 0
        self._file: tarfile.TarFile | None = None

    def add(self, sample: Sample) -> None:
        if len(sample.images) != 1:
            raise ValueError(f"a pair has one image, not {len(sample.images)}")
        record = checked_record(sample, [""], self._codec)
        (image,) = sample.images
        data = image.read()
        if self._file is None:
            path = self._folder / f"{self._files:05d}.tar"
            self._file = tarfile.TarFile(path, "w", format=tarfile.USTAR_FORMAT)
            self._files += 1
        self._member(f"{sample.id}.{EXTENSION[image.format]}", data)
        self._member(f"{sample.id}.json", json.dumps(record["json"], ensure_ascii=False).encode())
        self._member(f"{sample.id}.txt", record["txt"].encode())
        if self._file.offset > _FILE_SIZE:
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
