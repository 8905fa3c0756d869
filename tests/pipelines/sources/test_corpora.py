import bz2
import gzip
import json
import lzma
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.sources.text import corpora
from step3vl.pipelines.sources.text.corpora import (
    CorpusError,
    Part,
    read_documents,
    read_rows,
    split_file,
    text_format,
)

POEM = "Two lines of a poem,\nnot one of them long.\n\nA second paragraph.\n"


def _read(path: Path, name: str = "", field: str = "text") -> list[list[str] | CorpusError]:
    name = name or path.name
    return [document for part in split_file(path, name) for document in read_documents(path, name, part, field)]


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", _zstd)],
)
def test_plain_text_is_read_through_any_compression(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"poem.txt{suffix}"
    path.write_bytes(compress(POEM.encode()))
    assert _read(path) == [["Two lines of a poem,", "not one of them long.", "A second paragraph."]]


def test_lines_that_were_broken_to_a_width_become_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{'word ' * 14}\n{'more ' * 14}\nend.\n\nnext\n")
    assert [paragraph.split()[-1] for paragraph in _read(tmp_path / "a.txt")[0]] == ["end.", "next"]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.zst", "ndjson.gz"])
def test_json_lines_give_a_document_each(tmp_path: Path, suffix: str) -> None:
    data = "".join(json.dumps({"body": f"text {i}\nmore"}) + "\n\n" for i in range(3)).encode()
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(_zstd(data) if suffix.endswith("zst") else gzip.compress(data) if suffix.endswith("gz") else data)
    assert _read(path, field="body") == [[f"text {i}", "more"] for i in range(3)]
    assert [str(error) for error in _read(path)] == ["there is no field 'text'; there are body"] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "cut', "a line is no JSON"),
        ('["text"]', "not an object"),
        ('{"text": {"en": "a"}}', "no text but dict"),
    ],
)
def test_a_line_that_cannot_be_read_costs_itself(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "before"}}\n{line}\n{{"text": "after"}}\n')
    before, error, after = _read(tmp_path / "a.jsonl")
    assert (before, after) == (["before"], ["after"])
    assert isinstance(error, CorpusError) and message in str(error)


def test_half_of_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud83d b"}\n{"text": NaN}\n{"text": 5}\n')
    assert _read(tmp_path / "a.jsonl") == [["a ? b"], ["5"]]


def test_what_stands_before_damage_is_read(tmp_path: Path) -> None:
    rng = random.Random(0)
    data = gzip.compress(b"".join(b'{"text": "%x"}\n' % rng.getrandbits(512) for _ in range(5000)))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(data[: len(data) // 2])
    for items in (_read(path), list(read_rows(path, path.name, Part(0, 0)))):
        *read, last = items
        assert len(read) > 100 and not any(isinstance(item, CorpusError) for item in read)
        assert isinstance(last, CorpusError) and "damaged" in str(last)


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("深度学习模型需要大量的数据才能训练好。\n\n图书馆每天早上八点开门，晚上九点关门。", "gb18030"),
        ("図書館は朝八時に開き、夜九時に閉まります。", "shift_jis"),
        ("Библиотека открывается в восемь часов утра.", "cp1251"),
        ("Der Bürgermeister grüßt die Gäste am Café.", "latin-1"),
        ("\ufeffDer Bürgermeister grüßt die Gäste am Café.", "utf-8"),
    ],
)
def test_plain_text_is_read_in_its_charset(tmp_path: Path, text: str, charset: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(charset))
    assert _read(tmp_path / "a.txt") == [text.removeprefix("\ufeff").split("\n\n")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", "The library opens at eight.".encode("utf-16"), "UTF-16; convert"),
        ("a.json", b'\n[{"text": "a"}]', "a JSON list; write JSON Lines"),
    ],
)
def test_a_file_without_lines_says_so(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        _read(tmp_path / name)


def test_parquet_is_split_by_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(10)] + [None]}), path, row_group_size=4)
    assert list(split_file(path, path.name)) == [Part(0, 1), Part(1, 2), Part(2, 3)]
    assert _read(path) == [[f"row {i}"] for i in range(10)]
    with pytest.raises(CorpusError, match="no column 'body'; there are text"):
        _read(path, field="body")


@given(lines=st.lists(st.text("ab é", max_size=12), max_size=30), size=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_each_line_belongs_to_exactly_one_part(
    lines: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parts") / "a.jsonl"
    rows = [json.dumps({"text": f"{i} {line}"}, ensure_ascii=False) for i, line in enumerate(lines)]
    path.write_text("\n".join(rows))
    total = path.stat().st_size
    parts = [Part(start, min(start + size, total)) for start in range(0, total, size)]
    read = [document for part in parts for document in read_documents(path, path.name, part)]
    assert read == [[f"{i} {line}"] for i, line in enumerate(lines)]


def test_a_column_without_texts_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [["a", "b"]]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="has no texts but list"):
        _read(tmp_path / "a.parquet")


def test_the_innermost_blocks_of_markup_are_paragraphs(tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    html.write_text(
        "<!DOCTYPE html><html><head><title>no</title></head><body><script>no</script><ul><li><p>One <b>bold</b>"
        " word</p></li><li>Two</li></ul><pre>no</pre><p>A &amp; B</p></body></html>"
    )
    assert _read(html) == [["One bold word", "Two", "A & B"]]
    page = tmp_path / "topic.page"
    page.write_text('<page xmlns="http://projectmallard.org/1.0/"><title>Νέα</title><p>Δύο <em>λέξεις</em></p></page>')
    assert _read(page) == [["Νέα", "Δύο λέξεις"]]


def test_deep_markup_takes_time_in_its_length(tmp_path: Path) -> None:
    deep = tmp_path / "deep.html"
    deep.write_text("<html>" + "<div>" * 200 + "<p>x</p>" * 20000 + "</div>" * 200)
    assert len(_read(deep)[0]) == 20000


def test_a_manual_page_loses_its_macros(tmp_path: Path) -> None:
    text = ".TH LS 1\n.SH NAME\nls \\- list \\fIdirectory\\fR contents\n.PP\n.B ls\nprints \\(lqnames\\(rq.\n"
    path = tmp_path / "ls.1.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert _read(path, "man/man1/ls.1.gz") == [["NAME", "ls - list directory contents", "ls prints “names”."]]


def test_a_catalogue_gives_its_translations(tmp_path: Path) -> None:
    pairs = [("", "Content-Type: text/plain; charset=UTF-8\n"), ("Open", "Öffnen"), ("%d files", "%d Dateien")]
    keys = b"".join(key.encode() + b"\0" for key, _ in pairs)
    values = b"".join(value.encode() + b"\0" for _, value in pairs)
    base = 28 + 16 * len(pairs)
    tables, offsets = b"", [base, base + len(keys)]
    for side in (0, 1):
        for pair in pairs:
            length = len(pair[side].encode())
            tables += struct.pack("<2I", length, offsets[side])
            offsets[side] += length + 1
    header = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    path = tmp_path / "app.mo"
    path.write_bytes(header + tables + keys + values)
    assert _read(path) == [["Öffnen"]]


@pytest.mark.parametrize("name", ["a.parquet", "a.mo", "a.txt.gz", "a.txt.xz", "a.jsonl.zst"])
def test_a_damaged_file_is_an_error_of_the_record(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is not what the name says")
    with pytest.raises(CorpusError):
        _read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz", "a.jsonl.zst"])
def test_rows_of_a_damaged_file_are_an_error_of_the_record_too(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is not what the name says")
    with pytest.raises(CorpusError):
        list(read_rows(tmp_path / name, name, Part(0, 1 if name.endswith("parquet") else 0)))


def test_a_line_without_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "_LINE", 100)
    (tmp_path / "a.txt").write_text("x" * 500)
    with pytest.raises(CorpusError, match="longer than 100 bytes"):
        _read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x/a.PARQUET", "parquet"),
        ("a.jsonl.zst", "jsonl"),
        ("/usr/share/man/de/man1/ls.1.gz", "manual"),
        ("notes.1", "text"),
        ("fortunes", "text"),
        ("a.mo", "catalogue"),
    ],
)
def test_names_tell_formats(name: str, kind: str) -> None:
    assert text_format(name) == kind
