import random
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline

from step3vl.data.dataset import DeadLetter, LedgerStep, read_dead_letters, write_dead_letters
from step3vl.pipelines.core import dead_letters as module
from step3vl.pipelines.core.dead_letters import WriteDeadLetters, dead_letter_files, read_staged_dead_letters
from step3vl.pipelines.core.fragments import Fragment, RowRange
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_list import Work


def dead(number: int) -> DeadLetter:
    return DeadLetter(step=f"a.{number % 3}", error="E", reason="because\nof 中", source=f"s/{number}")


def write(staging: Staging, out: Path, parts: list[list[DeadLetter]], files: int) -> list[bytes]:
    store, work = staging.open(), []
    for number, part in enumerate(parts):
        path = f"a/build-x/{len(parts)}-{number}"
        write_dead_letters(store, f"{path}.dead.parquet", part)
        assert read_staged_dead_letters(store, path) == part
        work.append(Work(0, Fragment(id=str(number), rows=RowRange(path=path, start=0, stop=len(part)))).dump())
    with BeamTestPipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create(work).with_output_types(str) | WriteDeadLetters(staging, out, files)
    return [path.read_bytes() for path in sorted((out / "dead_letters").iterdir())]


@pytest.mark.parametrize("files", [1, 4])
def test_the_table_depends_on_the_dead_letters_alone(staging: Staging, tmp_path: Path, files: int) -> None:
    records = [dead(number) for number in range(50)] + [dead(7)]
    first = write(staging, tmp_path / "a", [records], files)
    random.Random(1).shuffle(records)
    second = write(staging, tmp_path / "b", [records[:20], records[20:22], records[22:]], files)
    assert first == second and len(first) == files
    rows = list(read_dead_letters(tmp_path / "a"))
    assert sorted(rows, key=str) == sorted(records, key=str)


def test_a_table_without_rows_is_written_too(staging: Staging, tmp_path: Path) -> None:
    write(staging, tmp_path / "out", [], 2)
    assert list(read_dead_letters(tmp_path / "out")) == []
    assert len(list((tmp_path / "out" / "dead_letters").iterdir())) == 2


def test_more_dead_letters_make_more_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PER_FILE", 10)
    step = LedgerStep(name="a", read=30, kept=5, dropped={"x": 20}, failed={"E": 5})
    assert dead_letter_files([]) == 1
    assert dead_letter_files([step]) == 3
