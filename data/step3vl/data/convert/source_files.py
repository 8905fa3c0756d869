"""Records of JSON and JSON Lines files, plain or compressed, one at a time however long a file is."""

import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from step3vl.data.convert.json_array import BrokenArrayError, read_array
from step3vl.data.convert.records import CONVERT_STEP, SourceRecord
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError, is_infrastructure_error

COMPRESSED = ("", ".gz", ".zst")
JSON_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in (".json", ".jsonl") for packed in COMPRESSED)
_MAX_LINE = 1 << 28  # bytes of a record, images as data URLs included
_CODECS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by the first bytes of a file


def require_source(source: Path) -> None:
    """Raises UserError when the source of a conversion does not exist."""
    if not source.exists():
        raise UserError(f"{source}: no such file or folder; give the source of the conversion")


def files_of(source: Path, *suffixes: str) -> list[Path]:
    """The file itself, or the files below a folder with these suffixes, sorted.

    As for other readers of data folders, names that begin with `_` or `.` are skipped.

    Raises:
        ValueError: The folder has no such file.
    """
    if source.is_file():
        return [source]
    below = ((path, path.relative_to(source).parts) for path in source.rglob("*") if path.name.endswith(suffixes))
    files = sorted(path for path, parts in below if path.is_file() and not any(part[0] in "_." for part in parts))
    if not files:
        raise ValueError(f"{source} has no file that ends in {' or '.join(suffixes)}")
    return files


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading; gzip and Zstandard are known by their first bytes and decompressed.

    Raises:
        OSError: The file cannot be opened; without a number, while it is read: it is truncated or damaged.
    """
    with path.open("rb") as file:
        start = file.read(4)
    codec = next((codec for magic, codec in _CODECS.items() if start.startswith(magic)), None)
    if codec is None:
        return path.open("rb")
    stream = pa.input_stream(str(path), compression=codec)
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16))


def read_json(source: Path) -> Iterator[SourceRecord | DeadLetter]:
    """The records of JSON and JSON Lines files; a malformed one costs no other."""
    for path in files_of(source, *JSON_SUFFIXES):
        yield from read_json_file(path)


def read_json_file(path: Path) -> Iterator[SourceRecord | DeadLetter]:
    """The records of a file that is an array or has one on each line; its beginning says which."""
    number = 0
    try:
        with open_file(path) as file:
            start = file.read(1 << 10).removeprefix(BOM_UTF8).lstrip()[:1]
        with open_file(path) as file:
            for record in _array(path, file) if start == b"[" else _lines(path, file):
                number += 1
                yield record
    except (BrokenArrayError, OSError) as error:
        if is_infrastructure_error(error):
            raise
        what = "array" if isinstance(error, BrokenArrayError) else "file"
        reason = f"the {what} is broken after {number} records, so the rest is lost: {error}"
        yield DeadLetter(
            step=CONVERT_STEP, error=type(error).__name__, reason=reason, source=f"{path.name}#{number + 1}"
        )


def _array(path: Path, file: BinaryIO) -> Iterator[SourceRecord | DeadLetter]:
    for number, element in enumerate(read_array(file), 1):
        where = f"{path.name}#{number}"
        if isinstance(element, ValueError):
            yield DeadLetter.from_error(element, step=CONVERT_STEP, source=where)
        else:
            yield SourceRecord(where, element)


def _lines(path: Path, file: BinaryIO) -> Iterator[SourceRecord | DeadLetter]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        where = f"{path.name}#{number}"
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                pass
            error = ValueError(f"a line of more than {_MAX_LINE} bytes is not read as a record")
            yield DeadLetter.from_error(error, step=CONVERT_STEP, source=where)
            continue
        if not line.strip():
            continue
        try:
            yield SourceRecord(where, json.loads(line))
        except (ValueError, RecursionError) as error:
            yield DeadLetter.from_error(error, step=CONVERT_STEP, source=where)
