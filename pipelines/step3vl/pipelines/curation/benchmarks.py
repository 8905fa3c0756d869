"""The items of benchmarks, as texts and images that no sample may contain."""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from step3vl.data.errors import UserError
from step3vl.data.storage import StoreConfig, list_files, store_of
from step3vl.pipelines.core.inputs import absolute_pattern
from step3vl.pipelines.curation.config import DecontaminateConfig
from step3vl.pipelines.curation.options import without_options

_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class Item(NamedTuple):
    """A question, or an image.

    Attributes:
        name: The file, and the place of the item in it.
        text: Empty for an image.
        image: Encoded; empty for a text.
    """

    name: str
    text: str = ""
    image: bytes = b""


def read_items(config: DecontaminateConfig, base: str, store: StoreConfig) -> Iterator[Item]:
    """The items of all files, in an order that depends on their names alone.

    Args:
        config: The files, and the fields that hold questions.
        base: The absolute folder that relative patterns start from.
        store: How remote stores are used.

    Raises:
        UserError: A pattern matches nothing, or a file holds no item.
        StoreError: The store does not answer.
    """
    for pattern in config.benchmarks:
        paths = sorted(file.path for file in list_files(absolute_pattern(pattern, base), store))
        if not paths:
            raise UserError(f"decontaminate.benchmarks: no file matches {pattern}; correct the path")
        for path in paths:
            name = "/".join(path.split("/")[-2:])
            files, relative = store_of(path, store)
            count = 0
            for item in _items(path, name, files.read_all(relative), config):
                count += 1
                yield item
            if not count:
                raise UserError(
                    f"{path}: no item has one of the fields {', '.join(config.fields)}; name those of the questions "
                    "in decontaminate.fields, or leave the file out"
                )


def _items(path: str, name: str, data: bytes, config: DecontaminateConfig) -> Iterator[Item]:
    if path.lower().endswith(_IMAGES):
        yield Item(name, image=data)
        return
    try:
        for place, record in _records(path, data):
            # Equal texts in two fields, as in a question and the prompt that quotes it alone, are one item.
            texts = dict.fromkeys(_texts(record, {field.lower() for field in config.fields}))
            for text in texts:
                yield Item(f"{name}:{place}", text=without_options(text))
    except (ValueError, EOFError, pa.ArrowException, gzip.BadGzipFile, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}; leave it out, or correct it") from None


def _records(path: str, data: bytes) -> Iterator[tuple[str, Any]]:
    """The records of a file, each with its place."""
    if path.endswith(".gz"):
        path, data = path.removesuffix(".gz"), gzip.decompress(data)
    if path.endswith(".parquet"):
        table = pq.ParquetFile(pa.BufferReader(data))
        for number, row in enumerate(row for batch in table.iter_batches(1000) for row in batch.to_pylist()):
            yield str(number), row
        return
    text = data.decode("utf-8-sig")
    if path.endswith((".jsonl", ".ndjson")):
        for number, line in enumerate(text.splitlines()):
            if line.strip():
                yield str(number), json.loads(line)
    elif path.endswith(".json"):
        tree = json.loads(text)
        yield from ((str(key), value) for key, value in (tree.items() if isinstance(tree, dict) else enumerate(tree)))
    elif path.endswith((".csv", ".tsv")):
        rows = csv.DictReader(io.StringIO(text), delimiter="\t" if path.endswith(".tsv") else ",")
        yield from ((str(number), row) for number, row in enumerate(rows))
    else:
        raise ValueError("not a .json, .jsonl, .csv, .tsv or .parquet file, or an image")


def _texts(value: Any, fields: set[str]) -> Iterator[str]:
    """The texts under the named fields, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if str(key).lower() in fields and isinstance(inner, str):
                yield inner
            else:
                yield from _texts(inner, fields)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, fields)
