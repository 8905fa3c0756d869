"""Typed rows: pydantic models as columns of Parquet, written and read by row groups.

The columns follow from the JSON schema of a model, so a row holds just what `model_dump(mode="json")` gives: a nested
model is a struct, a tuple a list. What Parquet has no type for (dictionaries, unions, tuples of several types) is JSON
text. The bytes of images are never in a row; see `map_images`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from step3vl.data.errors import InfrastructureError, describe_error
from step3vl.data.sample import Image
from step3vl.data.storage import Store

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

ROW_GROUP = 64  # rows: what a reader of a few rows reads besides them
_GROUP_BYTES = 8 * 2**20  # a group of long rows ends earlier; bounds what a writer holds in memory


class _Column(NamedTuple):
    """A type of Parquet, and how a JSON value becomes one of it and is restored."""

    type: pa.DataType
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise OverflowError(f"{value} has more than 64 bits")
    return value


_JSON = _Column(pa.string(), _dump, json.loads)
_SCALARS = {
    "string": _Column(pa.string(), _same, _same),
    "integer": _Column(pa.int64(), _int64, _same),
    "number": _Column(pa.float64(), _same, _same),
    "boolean": _Column(pa.bool_(), _same, _same),
}


@cache
def _column_of(model: type[BaseModel]) -> _Column:
    schema = model.model_json_schema(mode="serialization")
    return _column(schema, schema.get("$defs", {}), ())


def _column(schema: Mapping[str, Any], defs: Mapping[str, Any], parents: tuple[str, ...]) -> _Column:
    """The column of a JSON schema; `parents` are the definitions that it is nested in."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _JSON if name in parents else _column(defs[name], defs, (*parents, name))
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return _nullable(_column(options[0], defs, parents))
    kind = schema.get("type")
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "array":
        return _array(schema, defs, parents)
    if kind == "object" and schema.get("properties"):
        return _struct(schema["properties"], defs, parents)
    return _JSON


def _nullable(column: _Column) -> _Column:
    if column.encode is _same and column.decode is _same:
        return column
    return _Column(
        column.type,
        lambda value: None if value is None else column.encode(value),
        lambda value: None if value is None else column.decode(value),
    )


def _array(schema: Mapping[str, Any], defs: Mapping[str, Any], parents: tuple[str, ...]) -> _Column:
    kinds = schema.get("prefixItems", [schema.get("items", {})])
    if any(kind != kinds[0] for kind in kinds):
        return _JSON
    item = _column(kinds[0], defs, parents)
    if item.encode is _same and item.decode is _same:
        return _Column(pa.list_(item.type), _same, _same)
    return _Column(
        pa.list_(item.type),
        lambda values: [item.encode(value) for value in values],
        lambda values: [item.decode(value) for value in values],
    )


def _struct(properties: Mapping[str, Any], defs: Mapping[str, Any], parents: tuple[str, ...]) -> _Column:
    columns = {name: _column(schema, defs, parents) for name, schema in properties.items()}
    null = {name for name, schema in properties.items() if {"type": "null"} in schema.get("anyOf", ())}

    def encode(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: columns[name].encode(value) for name, value in values.items()}

    def decode(values: Mapping[str, Any]) -> dict[str, Any]:
        # A null that the model does not allow stands for a field that was left out.
        return {
            name: None if value is None else columns[name].decode(value)
            for name, value in values.items()
            if value is not None or name in null
        }

    return _Column(pa.struct([pa.field(name, column.type) for name, column in columns.items()]), encode, decode)


def arrow_schema(model: type[BaseModel]) -> pa.Schema:
    """The columns of a model's rows, one for each field.

    Args:
        model: What a row holds. A field of bytes is kept as text, as JSON has it.
    """
    return pa.schema(list(_column_of(model).type))


def record_schema(model: type[BaseModel]) -> pa.Schema:
    """The columns of records: `key`, and `value` as a struct of the model's fields."""
    return pa.schema([("key", pa.string()), ("value", _column_of(model).type)])


def record_row(key: str, value: BaseModel) -> dict[str, Any]:
    """The row of a record, of `record_schema`."""
    return {"key": key, "value": model_row(value)}


def model_row(value: BaseModel) -> dict[str, Any]:
    """The row of a model, of `arrow_schema`.

    Raises:
        OverflowError: An integer has more than 64 bits.
        pydantic_core.PydanticSerializationError: A field holds what is not of its type.
    """
    row: dict[str, Any] = _column_of(type(value)).encode(value.model_dump(mode="json", warnings="error"))
    return row


def load_model(model: type[ModelT], row: Mapping[str, Any]) -> ModelT:
    """The inverse of `model_row`. Raises pydantic.ValidationError."""
    return model.model_validate(_column_of(model).decode(row))


class EncodedRow(NamedTuple):
    """A row that can be written, and about the bytes that it takes in memory."""

    values: Mapping[str, Any]
    size: int


def encode_row(row: Mapping[str, Any]) -> EncodedRow:
    """A row as `RowWriter.add` takes it. Raises UnicodeEncodeError for text that is not Unicode."""
    return EncodedRow(row, _size_of(row))


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, Mapping):
        return sum(map(_size_of, value.values()))
    if isinstance(value, list):
        return sum(map(_size_of, value))
    return 8


class RowWriter:
    """Writes rows to Parquet. Equal rows give equal bytes.

    Args:
        file: Open for writing; it is not closed.
        schema: The columns.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        # Groups are small, so no dictionaries; statistics would repeat the longest texts.
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, "w"),
            schema,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        self._group: list[Mapping[str, Any]] = []
        self._size = 0
        self.rows = 0

    def add(self, row: EncodedRow) -> None:
        """Write a row."""
        self._group.append(row.values)
        self._size += row.size
        self.rows += 1
        if len(self._group) == ROW_GROUP or self._size > _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._group:
            self._writer.write_table(pa.Table.from_pylist(self._group, self._schema), row_group_size=ROW_GROUP)
            self._group, self._size = [], 0

    def close(self) -> None:
        """Write the rest."""
        self._flush()
        self._writer.close()


def read_rows(
    store: Store, path: str, start: int = 0, stop: int | None = None, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows `start` to `stop` of a Parquet file as dicts, read by row groups; to the end without `stop`.

    Args:
        store: Of the file.
        path: In the store.
        start: First row.
        stop: After the last row.
        columns: Those to read; all by default.

    Raises:
        InfrastructureError: The file is missing, cannot be read, or is damaged.
    """
    with _file_errors(store, path), store.open_ranges(path) as source:
        file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=not store.local)
        metadata = file.metadata
        first = 0
        for group in range(metadata.num_row_groups):
            last = first + metadata.row_group(group).num_rows
            if last > start and (stop is None or first < stop):
                rows = file.read_row_group(group, columns=columns)
                low = max(start - first, 0)
                high = rows.num_rows if stop is None else min(stop - first, rows.num_rows)
                yield from rows.slice(low, high - low).to_pylist()
            first = last
        if stop is not None and stop > first:
            raise InfrastructureError(f"{store.url}/{path} has {first} rows, fewer than it had")


@contextmanager
def _file_errors(store: Store, path: str) -> Iterator[None]:
    try:
        yield
    except InfrastructureError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise InfrastructureError(f"{store.url}/{path} cannot be read: {describe_error(error)}") from error


def map_images(value: T, replace: Callable[[Image], Image]) -> T:
    """A value with every image in it replaced, also in models, tuples, lists and dictionaries.

    Args:
        value: A pydantic model, or any other value.
        replace: Makes the new image of an image.

    Returns:
        The value itself where nothing was replaced.
    """
    result: Any = value
    if isinstance(value, Image):
        result = replace(value)
    elif isinstance(value, BaseModel):
        changed = {}
        for name in type(value).model_fields:
            before = getattr(value, name)
            if (after := map_images(before, replace)) is not before:
                changed[name] = after
        result = value.model_copy(update=changed) if changed else value
    elif isinstance(value, tuple | list):
        items = [map_images(item, replace) for item in value]
        if any(after is not before for after, before in zip(items, value, strict=True)):
            result = type(value)(items) if type(value) in (tuple, list) else type(value)(*items)
    elif isinstance(value, dict):
        pairs = {key: map_images(item, replace) for key, item in value.items()}
        result = pairs if any(pairs[key] is not value[key] for key in pairs) else value
    return result
