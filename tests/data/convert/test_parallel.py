"""Conversions by any number of processes, from any cut of the source, give the same bytes."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from step3vl.data.convert import (
    DatasetConfig,
    RecordDefaults,
    SampleSource,
    read_dataset,
    read_records,
    to_dataset,
    to_files,
)
from step3vl.data.convert.json_files import read_json
from step3vl.data.convert.source_files import SourceFile, find_source
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample.sample import Sample

MODULES = ("chunks", "json_files", "huggingface", "pairs", "record_source")


def small_chunks(patch: pytest.MonkeyPatch, size: int) -> None:
    """Make parts of about so many bytes."""
    for module in MODULES:
        patch.setattr(f"step3vl.data.convert.{module}.CHUNK", size)
    patch.setattr("step3vl.data.convert.record_source._SAMPLES", max(size // 100, 1))


def chat(number: int) -> dict:
    """A chat; every fifth repeats an earlier one, and every seventh fails."""
    same = number - number % 5 // 4
    turns = [{"from": "human", "value": f"{same}?"}, {"from": "gpt", "value": "é" * (same % 9)}]
    return {"id": number, "conversations": turns if number % 7 else turns[:1]}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 200 chats in three files of different kinds."""
    folder = tmp_path_factory.mktemp("chats")
    lines = [json.dumps(chat(number)) for number in range(200)]
    (folder / "a.jsonl").write_text("\n".join([*lines[:90], "", "no json", "x" * 3000]))
    (folder / "b.json").write_text(f"[{', '.join(lines[90:150])}]")
    (folder / "deep").mkdir()
    (folder / "deep" / "c.jsonl.gz").write_bytes(gzip.compress("\r\n".join(lines[150:]).encode()))
    return folder


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(chats: Path, tmp_path: Path) -> None:
    config, results = DatasetConfig(name="set", shards=3, heldout=0.3), []
    for workers, size in ((1, 1 << 22), (1, 700), (2, 3000)):
        with pytest.MonkeyPatch.context() as patch:
            small_chunks(patch, size)
            patch.setattr("step3vl.data.dataset.sorter._BUFFER", 10 * size)
            patch.setattr("step3vl.data.dataset.sorter._MERGED", size)
            out = tmp_path / f"{workers}-{size}"
            result = to_dataset(
                read_records(chats, "sharegpt", RecordDefaults()), out / "set", config, {}, workers=workers
            )
            back = to_files(read_dataset(Dataset.open(out / "set")), out / "files", "openai", workers=workers)
            to_files(read_records(chats, "sharegpt", RecordDefaults()), out / "rows", "huggingface", workers=workers)
        assert result.steps[0].failed["ValueError"] and back.steps[-1].kept == result.steps[-1].kept
        assert result.steps[-1].dropped["duplicate"]
        results.append(files_below(out))
    assert results[0] == results[1] == results[2]
    assert "set/dead_letters.parquet" in results[0] and "files/data.jsonl" in results[0]


def kinds(source: SampleSource) -> list[tuple[str, str]]:
    return [
        ("sample", item.source.uri) if isinstance(item, Sample) else ("dead letter", item.source) for item in source
    ]


@pytest.mark.parametrize("size", [1, 50, 400])
def test_a_cut_anywhere_changes_no_record(
    chats: Path, tmp_path: Path, encoded: Callable[..., bytes], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": f"{number}?", "answer": "a"} for number in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=7)
    with tarfile.open(tmp_path / "pairs.tar", "w") as archive:
        for number in range(20):
            for name, data in ((f"{number}.png", encoded(number)), (f"{number}.txt", b"text")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    sources = [(chats, "sharegpt"), (tmp_path / "rows.parquet", "huggingface"), (tmp_path / "pairs.tar", "webdataset")]
    whole = [kinds(read_records(path, name, RecordDefaults())) for path, name in sources]
    small_chunks(monkeypatch, size)
    assert [kinds(read_records(path, name, RecordDefaults())) for path, name in sources] == whole
    assert whole[0][:2] == [("dead letter", "a.jsonl#1"), ("sample", "a.jsonl#2")]
    assert [where for _, where in whole[0][-2:]] == ["deep/c.jsonl.gz#49", "deep/c.jsonl.gz#50"]
    assert [len(kinds(read_records(path, name, RecordDefaults(), limit=5))) for path, name in sources] == [5] * 3


def test_a_line_that_is_too_long_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.data.convert.json_files._MAX_LINE", 200_000)
    monkeypatch.setattr("step3vl.data.convert.json_files.CHUNK", 1)
    (tmp_path / "a.jsonl").write_text("\n".join(["1", f'"{"x" * 400_000}"', "3", "", f'"{"y" * 400_000}"', "6"]))
    chunks = read_json(SourceFile(str(tmp_path / "a.jsonl"), "a.jsonl"))
    records = [record for chunk in chunks for record in chunk.records()]
    assert [getattr(record, "where", None) for record in records] == [
        "a.jsonl#1",
        None,
        "a.jsonl#3",
        None,
        "a.jsonl#6",
    ]
    assert [record.source for record in records if isinstance(record, DeadLetter)] == ["a.jsonl#2", "a.jsonl#5"]


def test_a_tar_that_is_broken_inside_says_so(tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in (("0.png", encoded(0)), ("0.txt", b"zero"), ("1.png", encoded(1)), ("1.txt", b"one")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with (tmp_path / "a.tar").open("r+b") as file:
        file.seek(2048)  # the header of 1.png
        file.write(b"\xff" * 512)
    first, last = read_records(tmp_path / "a.tar", "webdataset", RecordDefaults())
    assert isinstance(first, Sample) and isinstance(last, DeadLetter) and "neither a header nor the end" in last.reason


def test_sources_are_files_folders_and_patterns(chats: Path) -> None:
    names = [file.name for file in find_source(chats, (".jsonl", ".json", ".gz")).files]
    assert names == ["a.jsonl", "b.json", "deep/c.jsonl.gz"]
    assert [file.name for file in find_source(f"{chats}/**/*.gz", (".jsonl.gz",)).files] == ["deep/c.jsonl.gz"]
    folder, files = find_source(chats / "b.json", (".jsonl",))
    assert (folder, files[0].name) == (str(chats), "b.json"), "a file that is named is read, whatever its suffix"
    assert find_source(chats.as_uri(), (".json",)).files[0].name == "b.json"
    for source, words in (
        (chats / "no", "no such file"),
        (f"{chats}/*.txt", "matches no file"),
        (chats, "has no file"),
    ):
        with pytest.raises(UserError, match=words):
            find_source(source, (".txt",))
