"""The registry of formats: each is one entry."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from step3vl.data.convert.huggingface import read as read_huggingface
from step3vl.data.convert.openai import CODEC as OPENAI
from step3vl.data.convert.openai import read as read_openai
from step3vl.data.convert.pairs import read as read_pairs
from step3vl.data.convert.records import RecordDefaults
from step3vl.data.convert.sharegpt import LLAVA, SHAREGPT, read_llava
from step3vl.data.convert.sharegpt import read as read_sharegpt
from step3vl.data.convert.step import CODEC as STEP
from step3vl.data.convert.step import read as read_step
from step3vl.data.convert.writers import JsonWriter, PairWriter, ParquetWriter, SampleWriter
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.sample import Sample


class RecordFormat(NamedTuple):
    """How a format is read from a file or folder, and written into a new folder."""

    read: Callable[[Path, RecordDefaults], Iterator[Sample | DeadLetter]]
    write: Callable[[Path], SampleWriter]


FORMATS: dict[str, RecordFormat] = {
    "llava": RecordFormat(read_llava, lambda folder: JsonWriter(folder, LLAVA, array=True)),
    "sharegpt": RecordFormat(read_sharegpt, lambda folder: JsonWriter(folder, SHAREGPT, array=False)),
    "openai": RecordFormat(read_openai, lambda folder: JsonWriter(folder, OPENAI, array=False, inline=True)),
    "huggingface": RecordFormat(read_huggingface, ParquetWriter),
    "webdataset": RecordFormat(read_pairs, PairWriter),
    "step": RecordFormat(read_step, lambda folder: JsonWriter(folder, STEP, array=True)),
}
