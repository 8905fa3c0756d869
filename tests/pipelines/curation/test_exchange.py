"""What partitions gather is what was scattered to them, and waits in files."""

from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from numpy.typing import NDArray

from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.curation import spilling
from step3vl.pipelines.curation.exchange import (
    Exchange,
    Gathered,
    Packs,
    WriteParts,
    deal,
    read_part,
    run_exchanges,
    scatter_from,
)

ROW = np.dtype([("key", "<u8"), ("input", "<u8")])
INPUTS, PARTITIONS, ROWS = 5, 4, 1000
PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


def rows_of(number: int) -> NDArray[np.void]:
    rows = np.zeros(ROWS, ROW)
    rows["key"] = np.random.default_rng(number).integers(0, 50, ROWS)
    rows["input"] = number
    return rows


def scatter(number: int) -> Packs:
    rows = rows_of(number)
    yield from deal(rows, rows["key"], PARTITIONS)


class CountKeys:
    """Sends how often each key came to the partition of the key's rest; notes how many files there are."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    def __call__(self, number: int, rows: NDArray[Any]) -> Gathered:
        files = list(self._staging.open().names(spilling.SPILL_FOLDER, ".bin"))
        self._staging.open().put(f"seen/{number}", str(len(files)).encode())
        keys, counts = np.unique(rows["key"], return_counts=True)
        counted = np.zeros(len(keys), ROW)
        counted["key"], counted["input"] = keys, counts
        for rest in np.unique(keys % 2):
            yield int(rest), counted[keys % 2 == rest]


def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
    sent = scatter_from(pipeline, INPUTS, scatter, "rows")
    counted = sent | "count" >> Exchange(ROW, CountKeys(staging), PARTITIONS, staging)
    _ = counted.packs | "write" >> Exchange(ROW, WriteParts(staging, "parts"), 3, staging)


@pytest.mark.parametrize("flags", [(), pytest.param(PROCESSES, marks=pytest.mark.slow)])
def test_partitions_gather_what_was_scattered_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr(spilling, "_FILE_SIZE", 20_000)  # of 80,000 bytes in all; other processes keep theirs
    staging = Staging(str(tmp_path), str(tmp_path))
    run_exchanges("count", flags, staging, wire)
    everything = np.concatenate([rows_of(number) for number in range(INPUTS)])
    for rest in range(2):
        counted = read_part(staging, "parts", rest, ROW)
        keys, counts = np.unique(everything["key"][everything["key"] % 2 == rest], return_counts=True)
        assert counted["key"].tolist() == keys.tolist()
        assert counted["input"].tolist() == counts.tolist()
    assert len(read_part(staging, "parts", 2, ROW)) == 0  # nothing was sent to it, and it is written
    seen = [int((tmp_path / "seen" / str(number)).read_text()) for number in range(PARTITIONS)]
    assert min(seen) >= (1 if flags else 4)


def test_files_are_removed_also_those_of_a_run_that_was_killed(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path), str(tmp_path))
    staging.open().put(f"{spilling.SPILL_FOLDER}/killed.bin", b"rows")
    run_exchanges("count", (), staging, wire)
    assert not (tmp_path / spilling.SPILL_FOLDER).exists()


def test_files_hold_the_packs_of_a_partition_together(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path), str(tmp_path))
    spill = spilling.SpillPacks(staging)
    for pack in [(3, b"abc"), (1, b"de"), (3, b"f")]:
        assert not list(spill.process(pack))
    places = dict(windowed.value for windowed in spill.finish_bundle())
    read = partial(spilling.read_places, staging.open())
    assert {number: read([place]) for number, place in places.items()} == {3: b"abcf", 1: b"de"}
    assert read([*places.values(), ("", 0, 0)]) == b"abcfde"
    assert not list(spill.finish_bundle())
