"""Slices that are read together are the same as slices that are read by themselves."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample.parts import Pointer
from step3vl.data.storage.shared_stores import read_slices
from step3vl.data.storage.slices import FileSlice, merge_slices
from step3vl.data.storage.store import Store
from step3vl.data.storage.store_config import DEFAULT_STORE, StoreError, request_count

SCHEMES = ["local", "memory", "s3"]

slices = st.lists(
    st.builds(FileSlice, st.sampled_from(["a", "b"]), st.integers(0, 500), st.integers(0, 100), st.none()), max_size=20
)


@given(slices, st.integers(0, 50), st.integers(1, 200))
def test_merged_reads_cover_every_slice_within_the_limits(parts: list[FileSlice], gap: int, largest: int) -> None:
    merged = merge_slices(parts, gap, largest)
    for read in merged:
        inside = sorted((parts[number].offset, parts[number].offset + parts[number].size) for number in read.members)
        assert all(parts[number].path == read.path for number in read.members)
        assert (read.start, read.stop) == (inside[0][0], max(stop for _, stop in inside))
        assert read.stop - read.start <= max(largest, *(parts[number].size for number in read.members))
        reached = read.start
        for start, stop in inside:
            assert start <= reached + gap, "more is read in vain than allowed"
            reached = max(reached, stop)
    members = sorted(number for read in merged for number in read.members)
    assert members == [number for number, part in enumerate(parts) if part.size]


@given(slices)
def test_reading_many_equals_reading_each(parts: list[FileSlice]) -> None:
    store = Store("memory://slices", DEFAULT_STORE)
    content = {"a": bytes(n % 251 for n in range(600)), "b": bytes(n % 239 for n in range(600))}
    for path, data in content.items():
        store.put(path, data)
    assert store.read_many(parts) == [content[part.path][part.offset : part.offset + part.size] for part in parts]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_neighbours_are_read_by_one_request(make_store: Callable[[str], Store], scheme: str) -> None:
    store = make_store(scheme)
    data = os.urandom(600_000)
    for name in ("x", "y"):
        store.put(name, data)
    hashes = {at: xxh3_64_hexdigest(data[at : at + 900]) for at in range(0, 500_000, 1000)}
    parts = [FileSlice(name, at, 900, xxh3) for name in "yx" for at, xxh3 in hashes.items()]
    requests = request_count()
    assert store.read_many(parts) == [data[part.offset : part.offset + part.size] for part in parts]
    assert request_count() - requests == 2
    assert read_slices([part._replace(path=store.absolute(part.path)) for part in parts[::50]], store.config) == [
        data[part.offset : part.offset + part.size] for part in parts[::50]
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_other_bytes_are_an_error_that_names_the_file(make_store: Callable[[str], Store], scheme: str) -> None:
    store = make_store(scheme)
    data = os.urandom(1000)
    store.put("part.bin", data)
    good = FileSlice("part.bin", 100, 200, xxh3_64_hexdigest(data[100:300]))
    assert store.read_many([good]) == [data[100:300]]
    with pytest.raises(StoreError, match=r"part\.bin is damaged: its 200 bytes from byte 100 on are not those"):
        store.read_many([good, good._replace(xxh3="0" * 16)])
    with pytest.raises(StoreError, match=r"part\.bin is damaged: it ends before byte 1100"):
        store.read_many([FileSlice("part.bin", 900, 200)])
    with pytest.raises(FileNotFoundError):
        store.read_many([FileSlice("gone.bin", 0, 1)])
    gone = Pointer(path=store.absolute("gone.bin"), offset=0, size=1)
    if scheme != "s3":  # whose address the pointer does not know
        with pytest.raises(InfrastructureError, match=r"gone\.bin cannot be read"):
            gone.read()


def test_file_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path), DEFAULT_STORE)
    store.put("part.bin", b"short")
    assert store.read_many([FileSlice("part.bin", 0, 5)]) == [b"short"]
    store.put("part.bin", b"complete again")
    part = FileSlice("part.bin", 0, 14, xxh3_64_hexdigest(b"complete again"))
    assert store.read_many([part]) == [b"complete again"]
