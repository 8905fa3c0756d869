"""The registry of formats, each of which is one entry; and which of them the files of a source are in."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from step3vl.data.convert import huggingface, pairs, rows
from step3vl.data.convert.openai import CODEC as OPENAI
from step3vl.data.convert.records import RecordConverter, SourceRecord
from step3vl.data.convert.sharegpt import LLAVA, SHAREGPT
from step3vl.data.convert.source_files import JSON_SUFFIXES, files_of, read_json, require_source
from step3vl.data.convert.step import CODEC as STEP
from step3vl.data.convert.writers import JsonWriter, PairWriter, ParquetWriter, SampleWriter
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError

_SNIFFED = 100  # records that are looked at for one that can be read


class RecordFormat(NamedTuple):
    """How the records of a file or folder are read and converted, and how samples are written into a new folder."""

    records: Callable[[Path], Iterator[SourceRecord | DeadLetter]]
    to_sample: RecordConverter
    write: Callable[[Path], SampleWriter] | None
    """None for a format that is only read."""
    names_files: bool = True
    """Whether records may name image files."""


FORMATS: dict[str, RecordFormat] = {
    "llava": RecordFormat(read_json, LLAVA.to_sample, lambda folder: JsonWriter(folder, LLAVA, array=True)),
    "sharegpt": RecordFormat(read_json, SHAREGPT.to_sample, lambda folder: JsonWriter(folder, SHAREGPT, array=False)),
    "openai": RecordFormat(
        read_json, OPENAI.to_sample, lambda folder: JsonWriter(folder, OPENAI, array=False, inline=True)
    ),
    "alpaca": RecordFormat(huggingface.records, partial(rows.to_sample, format_name="alpaca"), None),
    "huggingface": RecordFormat(huggingface.records, huggingface.CODEC.to_sample, ParquetWriter),
    "webdataset": RecordFormat(pairs.records, pairs.to_sample, PairWriter, names_files=False),
    "step": RecordFormat(read_json, STEP.to_sample, lambda folder: JsonWriter(folder, STEP, array=True)),
}


def detect_format(source: Path) -> str:
    """The format of a file or folder, by the names of its files and the fields of its first record.

    Args:
        source: The file or folder.

    Returns:
        A key of `FORMATS`.

    Raises:
        UserError: There is nothing to read, or no record says which format it is in.
    """
    require_source(source)
    try:
        names = [path.name for path in files_of(source, ".parquet", *pairs.TARS, *JSON_SUFFIXES)]
    except ValueError as error:
        raise UserError(f"{error}; name the format with --from") from None
    if names[0].endswith(pairs.TARS):
        return "webdataset"
    if names[0].endswith(".parquet"):
        return "huggingface"
    for record in islice(read_json(source), _SNIFFED):
        if isinstance(record, SourceRecord) and isinstance(record.value, dict):
            return _format_of(record.value)
    raise UserError(f"{source}: none of its first records can be read; name the format with --from")


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
