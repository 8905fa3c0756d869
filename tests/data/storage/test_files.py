"""Atomic writes and slices of files."""

import resource
from pathlib import Path

import pytest

from step3vl.data.storage.cache import BlockCache
from step3vl.data.storage.files import SliceReader, write_durably


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        write_durably(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_slices_of_more_files_than_stay_open(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 10)
    reader = SliceReader(max_open=2)
    for number in (0, 1, 2, 3, 4, 0):
        assert reader.read(str(tmp_path / str(number)), 2, 6) == bytes([number]) * 4
    assert reader.read(str(tmp_path / "0"), 8, 20) == b"\0\0"
    with pytest.raises(OSError, match="absent"):
        reader.read(str(tmp_path / "absent"), 0, 1)


def test_a_full_disk_leaves_neither_half_a_file_nor_a_temporary_one(tmp_path: Path) -> None:
    write_durably(tmp_path / "file", b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_durably(tmp_path / "file", bytes(5000))
        BlockCache(tmp_path / "cache", 1 << 20).put("block", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "file").read_bytes() == b"first"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]
