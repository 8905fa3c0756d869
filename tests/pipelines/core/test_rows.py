"""Typed rows: what a model is in Parquet, and that nothing is lost on the way."""

import io
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Box, Image, Message, Pointer, TextPart
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core.rows import (
    ROW_GROUP,
    RowWriter,
    arrow_schema,
    encode_row,
    load_model,
    map_images,
    model_row,
    read_rows,
    record_row,
    record_schema,
)


class Pair(NamedTuple):
    left: int
    right: str


@dataclass(frozen=True)
class Place:
    x: float
    label: str | None


class Leaf(BaseModel):
    name: str
    size: int | None = None


class Tree(BaseModel):
    leaf: Leaf
    branches: tuple["Tree", ...] = ()


class Row(BaseModel):
    text: str
    number: int
    share: float
    flag: bool
    kind: Literal["a", "b"]
    maybe: str | None
    leaf: Leaf
    no_leaf: Leaf | None
    leaves: tuple[Leaf, ...]
    place: Place
    numbers: list[int]
    size: tuple[int, int]
    pair: Pair
    counts: dict[str, int]
    either: int | str
    tree: Tree


PLAIN = Row(
    text="x", number=1, share=0.5, flag=True, kind="a", maybe=None, leaf=Leaf(name="l"), no_leaf=None, leaves=(),
    place=Place(1.0, None), numbers=[1], size=(1, 2), pair=Pair(1, "r"), counts={"b": 1, "a": 2}, either="e",
    tree=Tree(leaf=Leaf(name="t"), branches=(Tree(leaf=Leaf(name="u", size=3)),)),
)  # fmt: skip


def write(rows: list[BaseModel], keys: list[str] | None = None) -> bytes:
    file = io.BytesIO()
    writer = RowWriter(file, record_schema(type(rows[0])))
    for number, row in enumerate(rows):
        writer.add(encode_row(record_row(keys[number] if keys else str(number), row)))
    writer.close()
    return file.getvalue()


def test_columns_have_the_types_of_the_fields() -> None:
    schema = arrow_schema(Row)
    leaf = pa.struct([("name", pa.string()), ("size", pa.int64())])
    assert {field.name: field.type for field in schema} == {
        "text": pa.string(),
        "number": pa.int64(),
        "share": pa.float64(),
        "flag": pa.bool_(),
        "kind": pa.string(),
        "maybe": pa.string(),
        "leaf": leaf,
        "no_leaf": leaf,
        "leaves": pa.list_(leaf),
        "place": pa.struct([("x", pa.float64()), ("label", pa.string())]),
        "numbers": pa.list_(pa.int64()),
        "size": pa.list_(pa.int64()),
        "pair": pa.string(),  # JSON, as everything that Parquet has no type for
        "counts": pa.string(),
        "either": pa.string(),
        "tree": pa.struct([("leaf", leaf), ("branches", pa.list_(pa.string()))]),
    }


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
leaves = st.builds(Leaf, name=text, size=st.none() | st.integers(-(2**63), 2**63 - 1))
trees = st.recursive(
    st.builds(Tree, leaf=leaves), lambda inner: st.builds(Tree, leaf=leaves, branches=st.tuples(inner)), max_leaves=3
)
rows = st.builds(
    Row,
    text=text,
    number=st.integers(-(2**63), 2**63 - 1),
    share=st.floats(allow_nan=False),
    flag=st.booleans(),
    kind=st.sampled_from(["a", "b"]),
    maybe=st.none() | text,
    leaf=leaves,
    no_leaf=st.none() | leaves,
    leaves=st.lists(leaves, max_size=3).map(tuple),
    place=st.builds(Place, x=st.floats(allow_nan=False), label=st.none() | text),
    numbers=st.lists(st.integers(-100, 100), max_size=3),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    pair=st.builds(Pair, left=st.integers(-9, 9), right=text),
    counts=st.dictionaries(text, st.integers(), max_size=4),
    either=st.integers() | text,
    tree=trees,
)


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=4))
def test_rows_come_back_as_they_were_and_equal_rows_are_equal_bytes(values: list[Row]) -> None:
    data = write(list(values))
    table = pq.read_table(pa.BufferReader(data)).to_pylist()
    loaded = [load_model(Row, row["value"]) for row in table]
    assert loaded == values
    assert [list(row.counts) for row in loaded] == [list(row.counts) for row in values]
    assert write(list(values)) == data


def test_fields_that_a_model_leaves_out_come_back_with_their_defaults() -> None:
    message = Message(role="user", content=(TextPart(text="x"),))
    assert "tool_calls" not in message.model_dump(mode="json")
    table = pq.read_table(pa.BufferReader(write([message]))).to_pylist()
    assert load_model(Message, table[0]["value"]) == message


def test_models_of_the_package_come_back() -> None:
    class Page(BaseModel):
        image: Image
        boxes: tuple[Box, ...]

    image = Image(format="png", width=1, height=1, sha256="0" * 64, at=Pointer(path="p", offset=1, size=2))
    page = Page(image=image, boxes=(Box(1, 2, 3.5, 4, "pixels", (10, 20)),))
    assert load_model(Page, model_row(page)) == page


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"text": "\ud800"}, UnicodeEncodeError),
        ({"leaves": (Leaf(name="\ud800"),)}, UnicodeEncodeError),
        ({"either": "\ud800"}, UnicodeEncodeError),
        ({"number": 2**63}, OverflowError),
        ({"numbers": [1, -(2**63) - 1]}, OverflowError),
        ({"number": "1"}, PydanticSerializationError),
        ({"leaves": ("x",)}, PydanticSerializationError),
    ],
    ids=["text", "text in a list", "text as JSON", "integer", "integer in a list", "type", "type in a list"],
)
def test_what_no_column_can_hold_is_refused_before_it_is_written(
    change: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        encode_row(record_row("k", PLAIN.model_copy(update=change)))


def test_a_key_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_row(record_row("\udcff.pdf", PLAIN))


@pytest.fixture
def leaves_file(tmp_path: Path) -> Store:
    (tmp_path / "f.parquet").write_bytes(write([Leaf(name=f"{i}-{'x' * 500}", size=i) for i in range(1000)]))
    return Store(str(tmp_path), DEFAULT_STORE)


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 1), (63, 65), (64, 128), (990, 1000), (5, 5), (1000, None)]
)
def test_a_range_of_rows_is_read(leaves_file: Store, start: int, stop: int | None) -> None:
    numbers = [row["value"]["size"] for row in read_rows(leaves_file, "f.parquet", start, stop)]
    assert numbers == list(range(1000))[start:stop]


def test_a_range_of_rows_reads_only_its_groups(leaves_file: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original: Callable[..., Any] = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda file, group, **how: read.append(group) or original(file, group, **how)
    )
    assert len(list(read_rows(leaves_file, "f.parquet", 2 * ROW_GROUP, 2 * ROW_GROUP + 10))) == 10
    assert read == [2]


def test_long_rows_are_written_in_smaller_groups() -> None:
    data = write([Leaf(name="x" * 3_000_000) for _ in range(8)])
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups > 1


@pytest.mark.parametrize("damage", ["missing", "cut", "bits", "rows"])
def test_a_damaged_file_is_the_machines_error_and_is_named(leaves_file: Store, damage: str) -> None:
    path = Path(leaves_file.path("f.parquet"))
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "bits":
        path.write_bytes(data[:400] + bytes(byte ^ 255 for byte in data[400:460]) + data[460:])
    with pytest.raises(InfrastructureError, match=r"f\.parquet"):
        list(read_rows(leaves_file, "f.parquet", 0, 2000 if damage == "rows" else None))


def test_images_are_replaced_wherever_they_are() -> None:
    class Album(BaseModel):
        cover: Image
        pages: tuple[Image, ...]
        named: dict[str, Image]
        pair: tuple[str, Image]
        title: str

    image = Image(format="png", width=1, height=1, sha256="0" * 64, data=b"x")
    album = Album(cover=image, pages=(image, image), named={"a": image}, pair=("b", image), title="t")
    other = image.model_copy(update={"width": 2})
    changed = map_images(album, lambda _: other)
    assert changed == Album(cover=other, pages=(other, other), named={"a": other}, pair=("b", other), title="t")
    assert map_images(album, lambda same: same) is album


@given(st.text(string.printable))
def test_values_without_images_are_returned_as_they_are(value: str) -> None:
    leaf = Leaf(name=value)
    assert map_images(leaf, lambda image: image) is leaf
