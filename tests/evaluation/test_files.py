"""Official files in every usual format are read alike; a missing one is named with where to get it."""

import base64
import csv
import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.evaluation.files import (
    find,
    find_all,
    image_bytes,
    missing_files,
    open_file,
    read_json,
    read_records,
    require_fields,
)
from step3vl.evaluation.registry import data_folder

ROWS = [{"id": "1", "question": 'A "quoted"\nquestion, é 中'}, {"id": "2", "question": ""}]


def table(delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", "question"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    return buffer.getvalue()


CONTENTS = {
    "rows.json": json.dumps(ROWS).encode(),
    "rows.jsonl": b"\xef\xbb\xbf" + b"".join(json.dumps(row).encode() + b"\n\n" for row in ROWS),
    "rows.csv": table(","),
    "rows.tsv": table("\t"),
    "rows.parquet": parquet(),
}


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", "zip"])
def test_records_are_the_same_in_every_format_and_compression(tmp_path: Path, name: str, packed: str) -> None:
    data = CONTENTS[name]
    if packed == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr(f"folder/{name}", data)
        path = find(tmp_path, f"all.zip/folder/{name}")
    else:
        compress = {"": bytes, ".gz": gzip.compress, ".zst": zstd}[packed]
        (tmp_path / f"{name}{packed}").write_bytes(compress(data))
        path = find(tmp_path, name)
    assert list(read_records(path)) == ROWS


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), min_size=1), max_size=5))
def test_json_lines_survive_any_text(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    assert list(read_records(path)) == rows


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b"{", "not a JSON file"),
        ("a.json", b"[1]", "not an array of objects"),
        ("a.jsonl", b'{"a": 1}\n[2]\n', "after record 1: not an object"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', "after record 1"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0)[:-9], "a.jsonl.gz"),
        ("a.parquet", b"PAR1", "a.parquet"),
        ("a.xlsx", b"", "records are read from .json"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.") as error:
        list(read_records(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named_with_its_source_size_and_licence(toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sums\.jsonl: no such file; download it from the tests, 1 kB .*Apache-2\.0"):
        list(toy.items(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        open_file(tmp_path / "nothing.json")


def test_patterns_name_the_parts_of_a_file_in_order(tmp_path: Path) -> None:
    for name in ("b-2.json", "b-1.json", "c.json"):
        (tmp_path / name).write_text("[]")
    assert [path.name for path in find_all(tmp_path, "b-*.json")] == ["b-1.json", "b-2.json"]
    assert read_json(find(tmp_path, "c.json")) == []


def test_the_folder_of_a_benchmark_is_the_one_of_its_name(toy, toy_data: Path) -> None:
    assert data_folder(toy_data, "toy-sums") == toy_data / "toy-sums"
    assert data_folder(toy_data / "toy-sums", "toy-sums") == toy_data / "toy-sums"
    assert data_folder(toy_data, "stare") == toy_data / "stare"  # whose pattern is **/*.parquet
    assert data_folder(toy_data / "nothing", "toy-sums") == toy_data / "nothing" / "toy-sums"
    assert missing_files(toy_data / "toy-sums", toy.about) == []
    (toy_data / "toy-sums" / "images" / "four.png").unlink()
    assert [file.optional for file in missing_files(toy_data / "toy-sums", toy.about)] == [True]


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    require_fields({"a": 1}, ("a",), tmp_path)
    with pytest.raises(UserError, match="no field 'b', only a"):
        require_fields({"a": 1}, ("a", "b"), tmp_path / "x.json")


def test_images_come_as_bytes_structs_base64_or_paths(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    encoded = base64.b64encode(b"data").decode()
    assert image_bytes(b"data") == b"data"
    assert image_bytes({"bytes": b"data", "path": "a.png"}) == b"data"
    assert image_bytes({"bytes": None, "path": "a.png"}, tmp_path) == tmp_path / "a.png"
    assert image_bytes(encoded) == image_bytes(f"data:image/png;base64,{encoded}") == b"data"
    assert image_bytes("a.png", tmp_path) == tmp_path / "a.png"
    for value in (None, "", 3, {}, "b.png"):
        with pytest.raises(UserError):
            image_bytes(value, tmp_path)
