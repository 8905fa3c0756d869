"""What lies under the root of a build."""

from pathlib import Path

from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.layout import earlier_fragments

CURRENT, EARLIER = "0" * 20, "1" * 20


def write(root: Path, path: str, size: int) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(bytes(size))


def test_fragments_of_other_fingerprints_and_entries_are_added_up(tmp_path: Path) -> None:
    write(tmp_path, f"icons/build-{CURRENT}/0.bin", 1)
    write(tmp_path, f"icons/build-{EARLIER}/0.bin", 20)
    write(tmp_path, f"icons/build-{EARLIER}/0.json", 300)
    write(tmp_path, f"removed/tokens-{EARLIER}/0.parquet", 4000)
    write(tmp_path, "icons/inputs/00.json", 5)
    write(tmp_path, "fetched/images/0", 5)
    write(tmp_path, "control/report.json", 5)
    left = earlier_fragments(Store(str(tmp_path), DEFAULT_STORE), {f"icons/build-{CURRENT}"})
    assert left == (4320, True)


def test_looking_for_them_takes_only_so_long(tmp_path: Path) -> None:
    write(tmp_path, f"icons/build-{EARLIER}/0.bin", 20)
    assert earlier_fragments(Store(str(tmp_path), DEFAULT_STORE), (), seconds=0) == (0, False)


def test_a_root_without_anything_has_none(tmp_path: Path) -> None:
    assert earlier_fragments(Store(str(tmp_path / "none"), DEFAULT_STORE), ()) == (0, True)
