"""JSON files under the root are read back, or count as missing."""

import pytest

from step3vl.data.storage import Store
from step3vl.pipelines.core.commits import Commit, read_commit, read_model
from step3vl.pipelines.core.fragments import FragmentResult, RowRange
from step3vl.pipelines.core.staging import Staging


@pytest.fixture
def store(staging: Staging) -> Store:
    return staging.open()


@pytest.mark.parametrize("damaged", [b"", b'{"path": "a", "start": 0', b'{"path": "a"}', b'{"other": 1}', b"\xff"])
def test_a_file_that_is_missing_or_damaged_is_none(store: Store, damaged: bytes) -> None:
    rows = RowRange(path="a", start=0, stop=2)
    assert read_model(store, "rows.json", RowRange) is None
    store.put("rows.json", rows.model_dump_json().encode())
    assert read_model(store, "rows.json", RowRange) == rows
    store.put("rows.json", damaged)
    assert read_model(store, "rows.json", RowRange) is None


@pytest.mark.parametrize(
    ("files", "warning"),
    [
        ({"bin": b"1234", "parquet": b"12"}, ""),
        ({"bin": b"123", "parquet": b"12"}, "e/make-0/7.bin was lost; the fragment runs again"),
        ({"bin": b"1234"}, "e/make-0/7.parquet was lost; the fragment runs again"),
    ],
)
def test_a_commit_counts_with_all_its_files(
    store: Store, files: dict[str, bytes], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = "e/make-0/7"
    for ending, data in files.items():
        store.put(f"{path}.{ending}", data)
    assert read_commit(store, path, FragmentResult) is None
    result = FragmentResult(id="7", rows=2, files={"bin": 4, "parquet": 2})
    store.put(f"{path}.json", result.model_dump_json().encode())
    assert read_commit(store, path, FragmentResult) == (None if warning else result)
    assert [record.message for record in caplog.records] == [warning] * bool(warning)


def test_a_damaged_commit_is_none(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put("a.json", b"{")
    assert read_commit(store, "a", Commit) is None
    assert "a.json was damaged; the fragment runs again" in caplog.text
