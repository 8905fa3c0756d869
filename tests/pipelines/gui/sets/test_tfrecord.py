"""TFRecord files: those that other code wrote are read, damaged ones refused."""

import contextlib
import gzip
import struct
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from step3vl.pipelines.gui.sets.tfrecord import Example, fields, read_records, signed

FILE = Path("data/samples/gui_sets/aitw/general-00000-of-00001")


def example_class() -> Any:
    """`tf.train.Example` as protobuf itself makes it of its description."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")
    types = descriptor_pb2.FieldDescriptorProto

    def message(name: str, *members: tuple[str, int, int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, kind, label, of in members:
            made.field.add(name=field, number=len(made.field) + 1, type=kind, label=label, type_name=of or None)

    single, many = types.LABEL_OPTIONAL, types.LABEL_REPEATED
    message("BytesList", ("value", types.TYPE_BYTES, many, ""))
    message("FloatList", ("value", types.TYPE_FLOAT, many, ""))
    message("Int64List", ("value", types.TYPE_INT64, many, ""))
    message(
        "Feature",
        ("bytes_list", types.TYPE_MESSAGE, single, ".tf.BytesList"),
        ("float_list", types.TYPE_MESSAGE, single, ".tf.FloatList"),
        ("int64_list", types.TYPE_MESSAGE, single, ".tf.Int64List"),
    )
    message("Entry", ("key", types.TYPE_STRING, single, ""), ("value", types.TYPE_MESSAGE, single, ".tf.Feature"))
    message("Features", ("feature", types.TYPE_MESSAGE, many, ".tf.Entry"))
    message("Example", ("features", types.TYPE_MESSAGE, single, ".tf.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


EXAMPLE = example_class()


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1), min_size=1, max_size=5),
)
def test_an_example_that_protobuf_wrote_is_read(texts: list[bytes], floats: list[float], integers: list[int]) -> None:
    example = EXAMPLE()
    for name, kind, values in (("a", "bytes", texts), ("b", "float", floats), ("c", "int64", integers)):
        entry = example.features.feature.add(key=name)
        getattr(entry.value, f"{kind}_list").value.extend(values)
    read = Example(example.SerializeToString())
    assert (read.bytes("a"), read.floats("b"), read.integers("c")) == (texts, floats, integers)
    with pytest.raises(KeyError):
        read.bytes("d")


def test_what_other_code_wrote_is_read_by_protobuf_alike() -> None:
    for record in read_records(FILE):
        theirs = EXAMPLE.FromString(record)
        ours = Example(record)
        for entry in theirs.features.feature:
            if entry.value.HasField("int64_list"):
                assert ours.integers(entry.key) == list(entry.value.int64_list.value)
            elif entry.value.HasField("float_list"):
                assert ours.floats(entry.key) == list(entry.value.float_list.value)
            else:
                assert ours.bytes(entry.key) == list(entry.value.bytes_list.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        fields(data)


def test_negative_numbers() -> None:
    assert signed((1 << 64) - 5) == -5


@pytest.mark.parametrize("damage", ["length", "data", "cut", "gzip", "text"])
def test_a_damaged_file_is_refused(damage: str, tmp_path: Path) -> None:
    raw = bytearray(gzip.decompress(FILE.read_bytes()))
    path = tmp_path / "file"
    if damage == "length":
        raw[0] ^= 1
    elif damage == "data":
        raw[struct.unpack("<Q", raw[:8])[0]] ^= 1
    elif damage == "cut":
        raw = raw[:-3]
    elif damage == "text":
        raw = bytearray(b"this is a text and no file of records at all")
    path.write_bytes(gzip.compress(raw)[:-20] if damage == "gzip" else bytes(raw))
    with pytest.raises(ValueError, match="record"):
        list(read_records(path))


def test_a_file_without_compression_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.decompress(FILE.read_bytes()))
    assert list(read_records(path)) == list(read_records(FILE))
