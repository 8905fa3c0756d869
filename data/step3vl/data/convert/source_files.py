"""Records of JSON and JSON Lines files, one at a time however long a file is."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path

import ijson

from step3vl.data.convert.records import CONVERT_STEP, SourceRecord
from step3vl.data.dataset.ledger import DeadLetter

_MAX_LINE = 1 << 28  # bytes of one record, images as data URLs included


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


def read_json(source: Path) -> Iterator[SourceRecord | DeadLetter]:
    """The records of JSON and JSON Lines files.

    A malformed line costs one record. A file that holds one array cannot be read past a syntax error.
    """
    for path in files_of(source, ".json", ".jsonl"):
        with path.open("rb") as file:
            start = file.read(1 << 10).removeprefix(BOM_UTF8).lstrip()[:1]
        yield from _read_array(path) if start == b"[" else _read_lines(path)


def _read_array(path: Path) -> Iterator[SourceRecord | DeadLetter]:
    """The elements of an array. An unpaired surrogate, which is not a character, is read as a question mark."""
    number = 0
    with path.open("rb") as file:
        if file.read(len(BOM_UTF8)) != BOM_UTF8:
            file.seek(0)
        try:
            for number, value in enumerate(ijson.items(file, "item", use_float=True), 1):
                yield SourceRecord(f"{path.name}#{number}", value)
        except (ijson.JSONError, ValueError, OverflowError) as error:
            reason = f"the array is broken after {number} records, so the rest is lost: {str(error).splitlines()[0]}"
            yield DeadLetter(step=CONVERT_STEP, error="JSONError", reason=reason, source=f"{path.name}#{number + 1}")


def _read_lines(path: Path) -> Iterator[SourceRecord | DeadLetter]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            where = f"{path.name}#{number}"
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
