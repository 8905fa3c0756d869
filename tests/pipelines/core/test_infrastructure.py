"""What the machine causes ends a step uncommitted; what a record causes is a failed record."""

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from step3vl.data.config import Config
from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Image
from step3vl.pipelines.core import ray as ray_module
from step3vl.pipelines.core.accounts import collect_accounts, read_accounts
from step3vl.pipelines.core.beam import NumberRecords, RunStep, run_pipeline
from step3vl.pipelines.core.ray import KeyedRow, annotate
from step3vl.pipelines.core.staging import StageRows, dump_model
from step3vl.pipelines.core.steps import Record


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("step3vl.pipelines.core.steps.RETRY_PAUSE", 0.0)


class Number(Config):
    """A row."""

    value: int


class Failing:
    """Worker: raises an error at record 3, as often as it is told to."""

    def __init__(self, make: Callable[[], BaseException], times: int = 99) -> None:
        self._make = make
        self._times = times

    def setup(self) -> None:
        self._raised = 0

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Number]:
        if record.value == 3 and self._raised < self._times:
            self._raised += 1
            raise self._make()
        yield Number(value=record.value)


def run(worker: Failing, folder: Path) -> LedgerStep:
    def wire(pipeline: beam.Pipeline) -> None:
        outputs = pipeline | NumberRecords("n", 10) | RunStep("numbers", worker, seed=0)
        _ = outputs.kept | StageRows(folder, "numbers", dump_model)
        collect_accounts([outputs], folder, pipeline)

    run_pipeline("numbers", (), wire)
    return read_accounts(folder).accounts[0]


@pytest.mark.parametrize(
    "error",
    [
        lambda: FileNotFoundError(errno.ENOENT, "No such file or directory", "/staging/part.bin"),
        lambda: FileNotFoundError("/staging/part.bin"),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EIO, "Input/output error"),
        lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        lambda: MemoryError(),
        lambda: InfrastructureError("the store does not answer"),
    ],
)
def test_an_error_of_the_machine_ends_the_step_and_names_the_record(
    tmp_path: Path, error: Callable[[], BaseException]
) -> None:
    with pytest.raises(InfrastructureError, match=r"numbers.*n/3.*nothing was committed.*run the same command again"):
        run(Failing(error), tmp_path)
    assert not (tmp_path / "accounts.json").exists()


@pytest.mark.parametrize("error", [lambda: OSError("image file is truncated"), lambda: ValueError("no number")])
def test_an_error_of_a_record_is_a_failed_record(tmp_path: Path, error: Callable[[], BaseException]) -> None:
    step = run(Failing(error), tmp_path)
    assert (step.read, step.kept, step.failed) == (10, 9, {type(error()).__name__: 1})


def test_an_error_of_the_machine_that_passes_is_retried(tmp_path: Path) -> None:
    step = run(Failing(lambda: OSError(errno.EIO, "Input/output error"), times=2), tmp_path)
    assert (step.read, step.kept, step.failed) == (10, 10, {})


def test_a_full_disk_ends_the_step_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, path: Path, schema: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("step3vl.pipelines.core.staging.pq.ParquetWriter", FullDisk)
    with pytest.raises(InfrastructureError, match="No space left on device") as raised:
        run(Failing(ValueError, times=0), tmp_path)
    assert "\n" not in str(raised.value)


class Screen(KeyedRow):
    """A row with a staged image."""

    image: Image


def _run_here(step: str, rows: Any, make: Any, row: Any, workers: int) -> Iterator[str]:
    batches = ray_module._over_batches(step, make, row)()
    yield from batches({"row": [record.model_dump_json() for record in rows]})["result"]


def test_an_annotator_that_loses_a_staged_part_ends_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from step3vl.data.dataset import ImagePartWriter
    from step3vl.pipelines.core.samples import encode_jpeg
    from step3vl.pipelines.render.style import plain

    monkeypatch.setattr(ray_module, "_run", _run_here)
    with ImagePartWriter(tmp_path / "images.bin") as parts:
        staged = [parts.stage(encode_jpeg(plain((8, 8), (n, n, n)))) for n in range(2)]
    rows = [Screen(key=f"page/{n}", image=image) for n, image in enumerate(staged)]

    def make() -> Callable[[Screen], Screen]:
        def read(screen: Screen) -> Screen:
            screen.image.open()
            return screen

        return read

    result = annotate("pages.read", rows, make, Screen, Screen, 1)
    assert len(result.rows) == 2
    (tmp_path / "images.bin").write_bytes(b"cut")
    with pytest.raises(InfrastructureError, match=r"pages\.read.*page/0.*images\.bin"):
        annotate("pages.read", rows, make, Screen, Screen, 1)
    (tmp_path / "images.bin").unlink()
    with pytest.raises(InfrastructureError, match=r"pages\.read.*page/0.*images\.bin"):
        annotate("pages.read", rows, make, Screen, Screen, 1)
