"""Formats that people have, to and from samples.

Readers are streams: every record becomes a sample or a dead letter that says why it is none. Writers take what the
format can hold without loss and refuse the rest.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from step3vl.data.convert import huggingface, openai, pairs, sharegpt, step
from step3vl.data.convert.records import About
from step3vl.data.convert.write import JsonWriter, PairWriter, ParquetWriter, Shape, Writer
from step3vl.data.ledger import DeadLetter
from step3vl.data.sample import Sample

__all__ = ["FORMATS", "About", "Format"]

_LLAVA = Shape(partial(sharegpt.to_record, key="image"), sharegpt.read_back)
_SHAREGPT = Shape(partial(sharegpt.to_record, key="images"), sharegpt.read_back)
_OPENAI = Shape(openai.to_record, openai.read_back)
_STEP = Shape(step.to_record, step.read_back)


class Format(NamedTuple):
    """How a format is read from a file or folder, and written into a new folder."""

    read: Callable[[Path, About], Iterator[Sample | DeadLetter]]
    write: Callable[[Path], Writer]


FORMATS: dict[str, Format] = {
    "llava": Format(sharegpt.read_llava, lambda folder: JsonWriter(folder, _LLAVA, array=True)),
    "sharegpt": Format(sharegpt.read, lambda folder: JsonWriter(folder, _SHAREGPT, array=False)),
    "openai": Format(openai.read, lambda folder: JsonWriter(folder, _OPENAI, array=False, inline=True)),
    "huggingface": Format(huggingface.read, ParquetWriter),
    "webdataset": Format(pairs.read, PairWriter),
    "step": Format(step.read, lambda folder: JsonWriter(folder, _STEP, array=True)),
}
