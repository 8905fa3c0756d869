import json
import random
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from step3vl.data.dataset import DeadLetter, Ledger, LedgerStep
from step3vl.data.errors import UserError
from step3vl.pipelines.core.accounts import check_failures, check_ledger, collect_accounts, read_accounts
from step3vl.pipelines.core.beam import CollectJson, NumberRecords, RunStep, beam_options, run_pipeline
from step3vl.pipelines.core.staging import StepResult, read_rows
from step3vl.pipelines.core.steps import Dropped, Record


class Sieve:
    """Worker: drops multiples of five, fails half way at multiples of seven, keeps the rest twice."""

    def setup(self) -> None:
        self.ready = True

    def process(self, record: Record[int], rng: random.Random) -> Iterator[int]:
        assert self.ready
        if record.value % 5 == 0:
            raise Dropped("five")
        yield record.value
        if record.value % 7 == 0:
            raise ZeroDivisionError(f"cannot take {record.value}")
        yield record.value


def run_sieve(folder: Path, count: int, flags: tuple[str, ...] = ()) -> tuple[list[int], StepResult]:
    def wire(pipeline: beam.Pipeline) -> None:
        outputs = pipeline | NumberRecords("n", count) | RunStep("sieve", Sieve(), seed=0)
        assert outputs.name == "sieve"
        _ = outputs.kept | CollectJson(folder / "kept.json")
        collect_accounts([outputs], folder, pipeline)

    run_pipeline("sieve", flags, wire)
    return sorted(json.loads((folder / "kept.json").read_text())), read_accounts(folder)


@pytest.mark.parametrize("flags", [(), ("--direct_num_workers=3", "--direct_running_mode=multi_threading")])
def test_every_record_is_kept_dropped_or_failed(tmp_path: Path, flags: tuple[str, ...]) -> None:
    kept, result = run_sieve(tmp_path, 600, flags)
    good = [n for n in range(600) if n % 5 and n % 7]
    failed = [n for n in range(600) if n % 5 and n % 7 == 0]
    assert kept == sorted(good * 2)
    assert result.accounts == (
        LedgerStep(
            name="sieve",
            read=600,
            kept=len(good),
            dropped={"five": 120},
            failed={"ZeroDivisionError": len(failed)},
        ),
    )
    dead_letters = list(read_rows(result.dead_letters, DeadLetter.model_validate_json))
    broken = [dead_letter for dead_letter in dead_letters if dead_letter.error != "dropped"]
    assert sorted(dead_letter.source for dead_letter in broken) == sorted(f"n/{n}" for n in failed)
    assert {dead_letter.reason for dead_letter in broken} == {f"cannot take {n}" for n in failed}
    assert sum(dead_letter.reason == "five" for dead_letter in dead_letters) == 120


def test_a_step_all_of_whose_records_failed_is_an_error_of_the_configuration() -> None:
    dead_letter = DeadLetter(step="a.build", error="TypeError", reason="no such option", source="a/0")
    with pytest.raises(UserError, match=r"a\.build: all 3 records failed.*a/0.*TypeError: no such option"):
        check_failures([LedgerStep(name="a.build", read=3, kept=0, failed={"TypeError": 3})], iter([dead_letter]))
    check_failures([LedgerStep(name="a.build", read=3, kept=1, failed={"TypeError": 2})], iter([]))


def test_records_lost_between_two_steps_are_noticed() -> None:
    steps = [
        LedgerStep(name="a.build", read=5, kept=5),
        LedgerStep(name="b.build", read=2, kept=2),
        LedgerStep(name="tokens", read=7, kept=7),
        LedgerStep(name="shards", read=7, kept=7),
    ]
    check_ledger(Ledger.merge(steps), ["a.build", "b.build"])
    lost = [*steps[:2], LedgerStep(name="tokens", read=6, kept=6), LedgerStep(name="shards", read=6, kept=6)]
    with pytest.raises(ValueError, match="the domains kept 7 samples but step tokens read 6"):
        check_ledger(Ledger.merge(lost), ["a.build", "b.build"])


@pytest.mark.parametrize(
    "runner", ["DaskRunner", "PrismRunner", "DirectRunner", "apache_beam.runners.dask.DaskRunner"]
)
def test_a_runner_that_loses_records_is_refused(runner: str) -> None:
    with pytest.raises(UserError, match=runner.rpartition(".")[2]):
        beam_options([f"--runner={runner}"])


def test_a_flag_without_dashes_is_named() -> None:
    with pytest.raises(UserError, match="workers=2"):
        beam_options(["workers=2"])
