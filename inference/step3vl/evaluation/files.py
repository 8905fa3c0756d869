"""Reading a benchmark's official files, in whatever of the usual formats they are published."""

import base64
import binascii
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile

COMPRESSIONS = ("", ".gz", ".zst")
_PARQUET_ROWS = 64  # held at a time; each may carry images
csv.field_size_limit(1 << 30)  # images as base64 in a column


def missing_files(data: Path, about: About) -> list[DataFile]:
    """The files of a benchmark that a folder does not have."""
    return [file for file in about.files if not any(_matches(data, file.name + suffix) for suffix in COMPRESSIONS)]


def find(data: Path, name: str, about: About | None = None) -> Path:
    """The file of this name below a folder; of several that match, the first by name.

    Args:
        data: The benchmark's folder.
        name: A path below it, with `*` where the name varies; the file may also be compressed (`.gz`, `.zst`). A path
            that leads through a zip archive (`data.zip/test.json`) names a member.
        about: Says in the error where the file is published.

    Raises:
        UserError: there is none; it names the file, and its source, size and licence where `about` has them.
    """
    return find_all(data, name, about)[0]


def find_all(data: Path, name: str, about: About | None = None) -> list[Path]:
    """As `find`: all files that match, sorted."""
    for suffix in COMPRESSIONS:
        if paths := _matches(data, name + suffix):
            return paths
    raise UserError(f"{data / name}: no such file{_where_from(name, about)}")


def _matches(data: Path, pattern: str) -> list[Path]:
    archive, zipped, member = pattern.partition(".zip/")
    if not zipped:
        return sorted(path for path in data.glob(pattern) if path.is_file())
    paths: list[Path] = []
    for path in _matches(data, f"{archive}.zip"):
        with zipfile.ZipFile(path) as file:
            paths += sorted(path / name for name in file.namelist() if fnmatch(name, member))
    return paths


def _where_from(name: str, about: About | None) -> str:
    if about is None:
        return ""
    file = next((file for file in about.files if file.name == name or fnmatch(name, file.name)), None)
    source = f"{file.source}, {file.size}" if file else about.paper
    return f"; download it from {source} (licence: {about.licence})"


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading: compressed (`.gz`, `.zst`), or a member of a zip archive, where its path says so.

    Raises:
        UserError: there is no such file, or no such member.
    """
    archive = next((folder for folder in path.parents if folder.suffix == ".zip" and folder.is_file()), None)
    try:
        if archive is not None:
            member = path.relative_to(archive).as_posix()
            with zipfile.ZipFile(archive) as file:
                return io.BytesIO(file.read(member))
        if path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(path))
        if path.suffix == ".zst":
            return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
        return path.open("rb")
    except (FileNotFoundError, KeyError):
        raise UserError(f"{path}: no such file") from None


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises UserError where it is missing or broken."""
    try:
        with open_file(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a JSON file: {error}; download it again") from None


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, in order.

    Args:
        path: JSON (an array of objects), JSON Lines, CSV or TSV (with a header; all values are texts) or Parquet; each
            may be compressed, or a member of a zip archive; see `open_file`.

    Raises:
        UserError: the file is missing or broken, or its name ends in none of these (while iterating).
    """
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    kind = Path(name).suffix.lower()
    if kind == ".json":
        yield from _json_array(path)
    elif kind in _READERS:
        number = 0
        try:
            with open_file(path) as file:
                for record in _READERS[kind](file):
                    if not isinstance(record, dict):
                        raise ValueError("not an object")
                    number += 1
                    yield record
        except (ValueError, RecursionError, csv.Error, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}, after record {number}: {error}; download the file again") from None
    else:
        raise UserError(f"{path}: records are read from .json, .jsonl, .csv, .tsv and .parquet, also .gz and .zst")


def _json_array(path: Path) -> Iterator[dict[str, Any]]:
    value = read_json(path)
    if not isinstance(value, list) or not all(isinstance(record, dict) for record in value):
        raise UserError(f"{path}: not an array of objects; is it another file of the benchmark?")
    yield from value


def _json_lines(file: BinaryIO) -> Iterator[Any]:
    for line in io.TextIOWrapper(file, encoding="utf-8-sig"):
        if line.strip():
            yield json.loads(line)


def _table(file: BinaryIO, delimiter: str) -> Iterator[dict[str, Any]]:
    yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), delimiter=delimiter)


def _parquet(file: BinaryIO) -> Iterator[dict[str, Any]]:
    source = file if file.seekable() else io.BytesIO(file.read())
    with pq.ParquetFile(source) as parquet:
        for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS):
            yield from batch.to_pylist()


_READERS = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": lambda file: _table(file, ","),
    ".tsv": lambda file: _table(file, "\t"),
    ".parquet": _parquet,
}


def require_fields(record: Mapping[str, Any], names: Iterable[str], path: Path) -> None:
    """Check that a record has fields.

    Raises:
        UserError: one is missing; it names the file, the field and those that there are.
    """
    for name in names:
        if name not in record:
            fields = ", ".join(sorted(map(str, record))[:20])
            raise UserError(f"{path}: a record has no field '{name}', only {fields}; is it the official file?")


def image_bytes(value: Any, folder: Path | None = None) -> bytes | Path:
    """The encoded image that a field of an official file holds, or the path of its file.

    Args:
        value: Bytes, a Hugging Face image (`{"bytes": …, "path": …}`), base64 with or without `data:…,` before it, or
            a path below `folder`.
        folder: What paths are relative to.

    Raises:
        UserError: it is none of these, or the file is missing.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise UserError(f"an image is {type(value).__name__}; it must be bytes, base64 or a path")
    if value.startswith("data:"):
        value = value.partition(",")[2]
    elif folder is not None and len(value) < 1024 and (folder / value).is_file():
        return folder / value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{(folder or Path()) / value[:200]}: no such image; download the images") from None
