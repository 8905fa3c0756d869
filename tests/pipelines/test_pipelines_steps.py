import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from step3vl.data.errors import UserError
from step3vl.data.ledger import DeadLetter, Ledger, Step
from step3vl.data.sample import Image
from step3vl.pipelines.compose import encode_jpeg
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.runner import CollectJson, beam_options, run_pipeline
from step3vl.pipelines.staging import Phase, PictureParts, StageRows, letter_row, read_rows
from step3vl.pipelines.steps import Dropped, NumberRecords, Record, RunStep, rng_for


class Sort:
    """Worker: drops multiples of five, fails half way at multiples of seven, keeps the rest twice."""

    def setup(self) -> None:
        self.ready = True

    def process(self, record: Record, rng: random.Random) -> Iterator[int]:
        assert self.ready
        if record.value % 5 == 0:
            raise Dropped("five")
        yield record.value
        if record.value % 7 == 0:
            raise ZeroDivisionError(f"cannot take {record.value}")
        yield record.value


def run_sort(
    tmp_path: Path, count: int, flags: tuple[str, ...] = ()
) -> tuple[list[int], Ledger, list[dict[str, Any]]]:
    def wire(pipeline: beam.Pipeline) -> None:
        outcome = pipeline | NumberRecords("n", count) | RunStep("sort", Sort(), seed=0)
        _ = outcome.kept | CollectJson(tmp_path / "kept.json")
        _ = outcome.accounts | beam.Map(lambda step: step.model_dump()) | CollectJson(tmp_path / "accounts.json")
        _ = outcome.letters | StageRows(tmp_path, "letters", letter_row) | CollectJson(tmp_path / "letters.json")

    run_pipeline("sort", flags, wire)
    kept, accounts, letters = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("kept", "accounts", "letters")
    )
    return sorted(kept), Ledger.merge(map(Step.model_validate, accounts)), list(read_rows(letters))


@pytest.mark.parametrize("flags", [(), ("--direct_num_workers=3", "--direct_running_mode=multi_threading")])
def test_every_record_is_kept_dropped_or_dead(tmp_path: Path, flags: tuple[str, ...]) -> None:
    kept, ledger, letters = run_sort(tmp_path, 600, flags)
    good = [n for n in range(600) if n % 5 and n % 7]
    assert kept == sorted(good * 2)
    dead = [n for n in range(600) if n % 5 and n % 7 == 0]
    (account,) = ledger.steps
    assert account == Step(
        name="sort", read=600, kept=len(good), dropped={"five": 120}, dead={"ZeroDivisionError": len(dead)}
    )
    ledger.check()
    broken = [DeadLetter.model_validate(row) for row in letters if row["error"] != "dropped"]
    assert sorted(letter.source for letter in broken) == sorted(f"n/{n}" for n in dead)
    assert {letter.reason for letter in broken} == {f"cannot take {n}" for n in dead}
    assert sum(row["reason"] == "five" for row in letters) == 120


def test_random_numbers_depend_on_names_alone() -> None:
    assert rng_for(1, "step", "a").random() == rng_for(1, "step", "a").random()
    assert len({rng_for(*names).random() for names in [(1, "a"), (2, "a"), (1, "b"), (1, "a", ""), ("1a",)]}) == 5


@pytest.mark.parametrize(
    "runner", ["DaskRunner", "PrismRunner", "DirectRunner", "apache_beam.runners.dask.DaskRunner"]
)
def test_runners_that_lose_records_are_refused(runner: str) -> None:
    with pytest.raises(UserError, match=runner.rpartition(".")[2]):
        beam_options([f"--runner={runner}"])


def test_a_flag_without_dashes_is_named() -> None:
    with pytest.raises(UserError, match="workers=2"):
        beam_options(["workers=2"])


def test_pictures_come_back_from_their_part(tmp_path: Path) -> None:
    pictures = [encode_jpeg(plain((8 + n, 9), (n, n, n))) for n in range(4)]
    parts = PictureParts(tmp_path)
    staged = [parts.stage(picture) for picture in pictures]
    parts.close()
    assert len(list(tmp_path.iterdir())) == 1
    for picture, pointed in zip(pictures, staged, strict=True):
        assert pointed.data is None
        assert pointed.read() == picture.data
        assert Image.from_bytes(pointed.read()).sha256 == pointed.sha256
        assert PictureParts(tmp_path).stage(pointed) is pointed


def test_a_phase_is_committed_once_and_forgotten_when_its_fingerprint_changes(tmp_path: Path) -> None:
    phase = Phase(tmp_path, "make", "a" * 64)
    assert phase.result is None
    phase.start()
    (phase.folder / "half-written").write_text("x")
    phase.start()
    assert not (phase.folder / "half-written").exists()
    phase.commit({"n": 1})
    assert Phase(tmp_path, "make", "a" * 64).result == {"n": 1}
    other = Phase(tmp_path, "make", "b" * 64)
    assert other.result is None
    other.start()
    assert not phase.folder.exists()
