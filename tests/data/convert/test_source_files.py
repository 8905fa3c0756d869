"""Files in any condition: compressed, cut, with a broken record inside; a record is lost, never the file."""

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.convert import RecordDefaults
from step3vl.data.convert.json_array import BrokenArrayError, read_array
from step3vl.data.convert.record_source import read_records
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.sample.sample import Sample

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


class Trickle(io.BytesIO):
    """A file that returns little at a time, so that elements are cut anywhere."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 3, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_an_array_is_read_as_by_the_standard_library(values: list, indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    expected = json.loads(data.decode("utf-8", "surrogateescape"))
    assert list(read_array(Trickle(data))) == list(read_array(io.BytesIO(data))) == expected


@pytest.mark.parametrize(
    ("broken", "is_read"),
    [
        ("NaN", True),
        ('{"a": -Infinity}', True),
        ("12345678901234567890123", True),
        ("1" * 5000, False),  # more digits than Python converts
        ('{"a" 1}', False),
        ('{"a": [1, {"b": "]},"}], }', False),
        ("nonsense", False),
        ('"\\x"', False),
        ("[" * 100_000 + "]" * 100_000, False),
    ],
)
def test_a_broken_element_costs_itself_alone(broken: str, is_read: bool) -> None:
    first, element, last = read_array(io.BytesIO(f'\ufeff[{{"a": 1}}, {broken} ,\n"z"]'.encode()))
    assert first == {"a": 1} and last == "z"
    assert isinstance(element, ValueError) is not is_read


@pytest.mark.parametrize("data", ['[{"a": 1}, {"b', '[{"a": 1}', '[{"a": 1}, "x', '[{"a": 1} {"b": 2}]', '[{"a": 1},'])
def test_an_array_that_ends_early_says_so(data: str) -> None:
    elements = read_array(io.BytesIO(data.encode()))
    assert next(elements) == {"a": 1}
    with pytest.raises(BrokenArrayError):
        next(elements)


def line(number: int) -> str:
    turns = [{"from": "human", "value": f"{number}?"}, {"from": "gpt", "value": "a"}]
    return json.dumps({"id": number, "conversations": turns})


def read_kinds(path: Path, format_name: str = "sharegpt") -> list[type]:
    return [type(item) for item in read_records(path, format_name, RecordDefaults())]


def test_numbers_that_json_does_not_have_cost_no_other_record(tmp_path: Path) -> None:
    score = line(2).replace('"id": 2', f'"id": 2, "score": NaN, "big": {"9" * 25}')
    lines = [line(1), score, line(3).replace("3?", "\\ud800"), line(4)]
    expected = [Sample, Sample, DeadLetter, Sample]
    (tmp_path / "a.json").write_text(f"[{','.join(lines)}]")
    (tmp_path / "b.jsonl").write_text("\r\n".join(lines), encoding="utf-8-sig")
    assert read_kinds(tmp_path / "a.json") == read_kinds(tmp_path / "b.jsonl") == expected


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("array", [False, True])
def test_compressed_json(suffix: str, array: bool, tmp_path: Path) -> None:
    lines = [line(number) for number in range(2000)]
    text = f"[{','.join(lines)}]" if array else "\n".join(lines)
    data = COMPRESS[suffix](text.encode())
    path = tmp_path / f"data.{'json' if array else 'jsonl'}.{suffix}"
    path.write_bytes(data)
    assert read_kinds(tmp_path) == [Sample] * 2000
    path.write_bytes(data[:-40])
    *kept, last = read_records(path, "sharegpt", RecordDefaults())
    assert isinstance(last, DeadLetter) and "is broken after" in last.reason and len(kept) < 2000


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_tars_of_any_compression(suffix: str, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    write_tar(tmp_path / "pairs.tar", [("0.png", encoded(1)), ("0.txt", b"A square.")])
    path = tmp_path / f"pairs.tar.{suffix}" if suffix else tmp_path / "pairs.tar"
    if suffix:
        path.write_bytes(COMPRESS[suffix]((tmp_path / "pairs.tar").read_bytes()))
        (tmp_path / "pairs.tar").unlink()
    assert read_kinds(tmp_path, "webdataset") == [Sample]


def test_members_that_are_apart_or_repeated_are_a_dead_letter_with_that_reason(
    tmp_path: Path, encoded: Callable[..., bytes]
) -> None:
    members = [
        ("0.png", encoded(0)), ("1.png", encoded(1)), ("0.txt", b"zero"), ("1.txt", b"one"),
        ("2.png", encoded(2)), ("2.txt", b"two"),
        ("3.png", encoded(3)), ("3.txt", b"three"), ("3.png", encoded(4)),
    ]  # fmt: skip
    write_tar(tmp_path / "pairs.tar", members)
    items = list(read_records(tmp_path / "pairs.tar", "webdataset", RecordDefaults()))
    assert [type(item) for item in items] == [DeadLetter, DeadLetter, Sample, DeadLetter]
    reasons = [item.reason for item in items if isinstance(item, DeadLetter)]
    assert "apart in the tar" in reasons[0] and "apart in the tar" in reasons[1]
    assert "a member is repeated in the tar: its members are png, txt, png" in reasons[2]


def test_names_with_dots_are_pairs(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    members = [("x.v1/Track 2.0 (live).png", encoded(0)), ("x.v1/Track 2.0 (live).txt", b"a"),
               ("s.input.png", encoded(1)), ("s.outputs.txt", b"b")]  # fmt: skip
    write_tar(tmp_path / "pairs.tar", members)
    assert read_kinds(tmp_path / "pairs.tar", "webdataset") == [Sample, Sample]


def test_images_of_every_kind_of_reference(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    data = encoded(1)
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "1.png").write_bytes(data)
    references: list[object] = [
        "1.png", str(folder / "1.png"), (folder / "1.png").as_uri(), base64.b64encode(data).decode(),
        f"data:image/png;base64,{base64.b64encode(data).decode()}", {"path": "1.png", "bytes": None},
    ]  # fmt: skip
    for reference in references:
        (tmp_path / "data.json").write_text(json.dumps([{"question": "?", "answer": "a", "image": reference}]))
        (item,) = read_records(tmp_path / "data.json", "huggingface", RecordDefaults(images=folder))
        assert isinstance(item, Sample) and item.images[0].read() == data, reference
    pq.write_table(pa.table({"question": ["?"], "answer": ["a"], "image": [data]}), tmp_path / "binary.parquet")
    (item,) = read_records(tmp_path / "binary.parquet", "huggingface", RecordDefaults())
    assert isinstance(item, Sample) and item.images[0].read() == data


def test_avif(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    (tmp_path / "1.avif").write_bytes(encoded(1, "AVIF"))
    (tmp_path / "data.json").write_text(json.dumps([{"text": "A square.", "image": "1.avif"}]))
    (item,) = read_records(tmp_path / "data.json", "huggingface", RecordDefaults())
    assert isinstance(item, Sample) and item.images[0].format == "avif"
