"""What the machine causes ends a conversion uncommitted and is never counted as a failed record."""

import errno
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PILImage

from step3vl.data.convert import (
    DatasetConfig,
    RecordDefaults,
    SampleSource,
    read_dataset,
    read_records,
    to_dataset,
    to_files,
)
from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.sample.sample import Sample
from step3vl.data.storage.files import require_local
from step3vl.data.storage.store_config import StoreError

CONFIG = DatasetConfig(name="t", shards=1)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Three questions about an image."""
    PILImage.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "1.png")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A square."}]
    rows = [{"id": str(n), "image": "1.png", "conversations": turns} for n in range(3)]
    (tmp_path / "llava.json").write_text(json.dumps(rows))
    return tmp_path / "llava.json"


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "part.bin"),
        OSError(errno.EIO, "Input/output error"),
        PermissionError("part.bin"),
        MemoryError(),
        StoreError("s3://b cannot be read"),
    ],
)
def test_an_error_of_the_machine_is_no_dead_letter(error: Exception) -> None:
    with pytest.raises(InfrastructureError, match=r"step read stopped at a#1: "):
        DeadLetter.from_error(error, step="read", source="a#1")


def test_an_error_of_a_decoder_is_a_dead_letter() -> None:
    for error in (OSError("image file is truncated"), ValueError("x"), PILImage.DecompressionBombError("x")):
        assert DeadLetter.from_error(error, step="read", source="a#1").error == type(error).__name__
    with pytest.raises(OSError) as raised:
        PILImage.open(io.BytesIO(b"no image"))
    assert DeadLetter.from_error(raised.value, step="read", source="a#1").error == "UnidentifiedImageError"


def test_a_full_disk_while_images_are_staged_ends_the_conversion(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("step3vl.data.dataset.sorter.RunWriter.stage", full_disk)
    out = tmp_path / "out"
    with pytest.raises(InfrastructureError, match=r"No space left on device.*nothing was committed"):
        to_dataset(read_records(records, "llava", RecordDefaults()), out, CONFIG, {})
    assert not (out / "dataset.json").exists()


def test_a_full_disk_while_records_are_written_ends_the_conversion(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = list(read_records(records, "llava", RecordDefaults()))
    monkeypatch.setattr("step3vl.data.convert.writers.write_all", full_disk)
    with pytest.raises(InfrastructureError, match=r"No space left on device.*nothing was committed"):
        to_files(SampleSource.of(samples), tmp_path / "out", "llava")
    assert not (tmp_path / "out").exists()


def test_a_source_image_that_is_gone_when_it_is_written_ends_the_conversion(records: Path, tmp_path: Path) -> None:
    samples = list(read_records(records, "llava", RecordDefaults()))
    records.with_name("1.png").unlink()
    with pytest.raises(InfrastructureError, match=r"1\.png"):
        to_dataset(SampleSource.of(samples), tmp_path / "out", CONFIG, {})
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_name_that_is_no_path_costs_its_record_alone(records: Path, tmp_path: Path) -> None:
    rows = json.loads(records.read_text())
    rows[1]["image"] = "x" * 5000
    records.write_text(json.dumps(rows))
    steps = to_dataset(read_records(records, "llava", RecordDefaults()), tmp_path / "out", CONFIG, {}).steps
    assert (steps[0].kept, steps[0].failed) == (2, {"ValueError": 1})


def test_a_store_that_does_not_answer_ends_the_conversion_of_a_dataset(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> bytes:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(Dataset, "fetch", silent)
    with pytest.raises(StoreError, match="does not answer"):
        to_files(read_dataset(dataset), tmp_path / "out", "openai")
    assert not (tmp_path / "out").exists()


def test_an_empty_dataset_is_refused(
    tmp_path: Path, build_dataset: Callable[..., Dataset], make_sample: Callable[..., Sample]
) -> None:
    with pytest.raises(UserError, match="would be empty"):
        build_dataset(tmp_path / "empty", [])
    assert not (tmp_path / "empty" / "dataset.json").exists()


@pytest.mark.parametrize(
    "url", ["s3://bucket/out", Path("s3://bucket/out"), "gs://b/x", Path("gs://b/x"), "hf://datasets/a/b", "file:///x"]
)
def test_a_url_is_no_place_for_a_result(url: str | Path) -> None:
    with pytest.raises(UserError, match=r"^(s3|gs|hf|file)://\w.* is not a local path"):
        require_local(url)


@pytest.mark.parametrize("path", ["out", "./s3", "/data/a:b/c", "a:b", "C:/x"])
def test_a_path_may_have_colons(path: str) -> None:
    require_local(path)
    require_local(Path(path))
