"""Scanning of archives in any condition."""

from pathlib import Path

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.storage.tar_scan import HashingReader, TarEnd, TarGap, TarMember, scan_tar


@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_to_an_archive_is_detected(sound: Dataset, data: st.DataObject) -> None:
    """Bytes are overwritten, removed or inserted anywhere: the scan ends, and the scan or the hash detects it."""
    original = Path(sound.url, sound.manifest.shards[-1].path).read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    length = data.draw(st.integers(0, 1500))
    new = data.draw(st.binary(max_size=1500))
    damaged = original[:position] + new + original[position + length :]
    reader = HashingReader(lambda start, stop: damaged[start:stop], len(damaged))
    items = list(scan_tar(reader))
    assert isinstance(items[-1], TarGap | TarEnd) or any(isinstance(item, TarEnd) for item in items)
    assert all(item.payload + item.size <= len(damaged) for item in items if isinstance(item, TarMember))
    assert (reader.hexdigest() == sound.manifest.shards[-1].blake3) == (damaged == original)


def test_reader_returns_every_byte_after_releasing_earlier_ones() -> None:
    content = bytes(range(256)) * 100_000
    requested: list[int] = []

    def read(start: int, stop: int) -> bytes:
        requested.append(stop - start)
        return content[start:stop]

    reader = HashingReader(read, len(content))
    for start in range(0, len(content), 1_000_003):
        reader.release(start)
        assert reader.get(start, start + 2_000_000) == content[start : start + 2_000_000]
    assert sum(requested) == len(content), "every byte is read once"
    assert reader.hexdigest() == blake3(content).hexdigest()
