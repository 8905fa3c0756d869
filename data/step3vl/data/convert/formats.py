"""The registry of formats, each of which is one entry; and which of them the files of a source are in."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from step3vl.data.convert import huggingface, pairs, rows
from step3vl.data.convert.chunks import Chunk
from step3vl.data.convert.json_files import JSON_SUFFIXES, read_json
from step3vl.data.convert.openai import CODEC as OPENAI
from step3vl.data.convert.records import RecordConverter, SourceRecord
from step3vl.data.convert.sharegpt import LLAVA, SHAREGPT
from step3vl.data.convert.source_files import SourceFile, find_source
from step3vl.data.convert.step import CODEC as STEP
from step3vl.data.convert.writers import JsonWriter, PairWriter, ParquetWriter, RecordWriter
from step3vl.data.errors import UserError
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreConfig

_log = logging.getLogger(__name__)

_SNIFFED = 100  # records that are looked at for one that can be read
_ROWS = (".parquet", *JSON_SUFFIXES)


class RecordFormat(NamedTuple):
    """How the records of a file are read and converted, and how samples are written into a new folder."""

    suffixes: tuple[str, ...]
    """How the names of files end that are read of a folder."""
    read: Callable[[SourceFile], Iterator[Chunk]]
    to_sample: RecordConverter
    writer: RecordWriter | None
    """None for a format that is only read."""
    names_files: bool = True
    """Whether records may name image files."""


FORMATS: dict[str, RecordFormat] = {
    "llava": RecordFormat(JSON_SUFFIXES, read_json, LLAVA.to_sample, JsonWriter(LLAVA, array=True)),
    "sharegpt": RecordFormat(JSON_SUFFIXES, read_json, SHAREGPT.to_sample, JsonWriter(SHAREGPT, array=False)),
    "openai": RecordFormat(JSON_SUFFIXES, read_json, OPENAI.to_sample, JsonWriter(OPENAI, array=False, inline=True)),
    "alpaca": RecordFormat(_ROWS, huggingface.read_file, partial(rows.to_sample, format_name="alpaca"), None),
    "huggingface": RecordFormat(_ROWS, huggingface.read_file, huggingface.CODEC.to_sample, ParquetWriter()),
    "webdataset": RecordFormat(pairs.TARS, pairs.read_file, pairs.to_sample, PairWriter(), names_files=False),
    "step": RecordFormat(JSON_SUFFIXES, read_json, STEP.to_sample, JsonWriter(STEP, array=True)),
}


def detect_format(source: str | Path, store: StoreConfig = DEFAULT_STORE) -> str:
    """The format of a source, by the names of its files and the fields of its first record.

    Args:
        source: Path, pattern or URL, see `find_source`.
        store: How a remote store is used.

    Returns:
        A key of `FORMATS`.

    Raises:
        UserError: There is nothing to read, or no record of the first file can be read.
    """
    files = find_source(source, (*_ROWS, *pairs.TARS), store).files
    tars = {_stem(file.name) for file in files if file.name.endswith(pairs.TARS)}
    main = [file for file in files if file.name.endswith(pairs.TARS) or _stem(file.name) not in tars]
    name = _format_of_files(main)
    if others := [file.name for file in main if not file.name.endswith(FORMATS[name].suffixes)]:
        _log.warning("%s: files of other formats are not read: %d, such as %s", source, len(others), others[0])
    return name


def _stem(name: str) -> str:
    """What a tar and the tables that img2dataset writes beside it have in common: `00000` of `00000_stats.json`."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0].removesuffix('_stats')}"


def _format_of_files(files: Sequence[SourceFile]) -> str:
    """The format of the first file, or of the first JSON record that can be read."""
    if files[0].name.endswith(pairs.TARS):
        return "webdataset"
    if files[0].name.endswith(".parquet"):
        return "huggingface"
    why = ""
    chunks = chain.from_iterable(map(read_json, (file for file in files if file.name.endswith(JSON_SUFFIXES))))
    for record in islice(chain.from_iterable(chunk.records() for chunk in chunks), _SNIFFED):
        if not isinstance(record, SourceRecord):
            why = why or record.reason
        elif isinstance(record.value, dict):
            return _format_of(record.value)
        else:
            why = why or f"it is {type(record.value).__name__}, not an object"
    if not why:
        raise UserError(f"{files[0].name} has no record")
    raise UserError(
        f"{files[0].name}: none of the first records can be read: {why}; JSON is an array of records, or has one on "
        "each line; or name the format with --from"
    )


def _format_of(record: dict[str, Any]) -> str:
    """The format of a record by its fields; rows of any columns are Hugging Face's."""
    if "conversations" in record:
        turns = record["conversations"]
        turn = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], dict) else {}
        if "role" in turn and "from" not in turn:
            return "step"
        return "llava" if "image" in record else "sharegpt"
    if "messages" in record and not ("chosen" in record and "rejected" in record):
        return "openai"
    return "alpaca" if "instruction" in record and "output" in record else "huggingface"
