"""Failed records, tried again: they alone are worked on, what is done stays, and the counts reconcile."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Ledger, LedgerStep
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.core.dead_letters import read_staged_dead_letters
from step3vl.pipelines.core.domain import Domain
from step3vl.pipelines.core.fragment_writer import DEAD_LETTERS
from step3vl.pipelines.core.fragments import Fragment, FragmentResult, number_fragments
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import next_fragments, segments_of
from step3vl.pipelines.core.waves import Chains

BROKEN = (
    "split flaky/1",  # in the first step of its segment
    "check flaky/2/left",  # in the second, beside a half that passes
    "check flaky/3/left",
    "check flaky/3/right",
    "read flaky/4/right",  # in the model
    "ask flaky/5/left",  # in the last one
)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch, use_domain: Callable[[Domain[Any]], None]) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    import flaky_domain

    use_domain(flaky_domain.DOMAIN)
    flaky_domain.CALLS.clear()
    yield flaky_domain
    sys.modules.pop("flaky_domain", None)


class Build:
    """All segments in this process, as the pipelines of a build run them."""

    def __init__(self, flaky: Any, tmp_path: Path) -> None:
        self.broken = tmp_path / "broken.txt"
        self.root = tmp_path / "root"
        self._chains = Chains(
            tuple(segments_of(flaky.FlakyEntry(name="flaky", count=20, broken=str(self.broken)), 0, "")), False
        )
        self._store = Store(str(self.root), DEFAULT_STORE)

    def run(self, rounds: int = 0) -> tuple[dict[str, LedgerStep], list[str]]:
        """The ledger by step, and the sources of dead letters."""
        folders = [segment.folder for segment in self._chains.segments]
        plan: list[Fragment] = list(number_fragments(0, 20))
        accounts: list[LedgerStep] = []
        sources = []
        for segment in self._chains.with_retries(dict.fromkeys(folders, rounds)).segments:
            runner = SegmentRunner(segment, str(self.root), "/")
            results: list[FragmentResult] = [each for part in plan for each in runner.run_with_retries(part)]
            accounts += [step for result in results for step in result.accounts]
            for result in results:
                if DEAD_LETTERS in result.files:
                    letters = read_staged_dead_letters(self._store, segment.path(result.id))
                    sources += [f"{letter.step} {letter.source} {letter.error}" for letter in letters]
            plan = [each for result in results for each in next_fragments(segment, result)]
        return {step.name: step for step in Ledger.merge(accounts).steps}, sorted(sources)

    def keys(self) -> list[str]:
        """Of the samples, as they were committed."""
        import pyarrow.parquet as pq

        paths = [path for path in self.root.glob("flaky/ask-*/*.parquet") if not path.name.endswith("dead.parquet")]
        return sorted(key for path in paths for key in pq.read_table(path)["key"].to_pylist())


@pytest.fixture
def build(flaky: Any, tmp_path: Path) -> Build:
    return Build(flaky, tmp_path)


EXPECTED = sorted(f"flaky/{number}/{side}" for number in range(20) if number % 10 != 9 for side in ("left", "right"))


def test_failed_records_alone_are_tried_again_and_the_counts_reconcile(build: Build, flaky: Any) -> None:
    build.broken.write_text("\n".join(BROKEN))
    before, letters = build.run()
    assert before["flaky.check"].failed == {"RuntimeError": 3}
    assert len(letters) == len(BROKEN) + 2
    finished = {path: path.read_bytes() for path in build.root.rglob("*") if path.is_file()}
    build.broken.unlink()
    flaky.CALLS.clear()
    after, letters = build.run(rounds=1)
    assert after["flaky.split"].read == 20
    assert after["flaky.split"].kept == 18
    assert after["flaky.check"] == LedgerStep(name="flaky.check", read=36, kept=36)
    assert after["flaky.ask"] == LedgerStep(name="flaky.ask", read=36, kept=36)
    assert letters == ["flaky.split flaky/19 dropped", "flaky.split flaky/9 dropped"]
    assert build.keys() == EXPECTED
    # Nothing else is done: what failed in `check` is met again through `split`, whose outputs are kept nowhere.
    assert sorted(flaky.CALLS) == sorted(
        [
            *(f"split flaky/{number}" for number in (1, 2, 3)),
            *(f"check flaky/{half}" for half in ("1/left", "1/right", "2/left", "3/left", "3/right")),
            *(f"read flaky/{half}" for half in ("1/left", "1/right", "2/left", "3/left", "3/right", "4/right")),
            *(f"ask flaky/{h}" for h in ("1/left", "1/right", "2/left", "3/left", "3/right", "4/right", "5/left")),
        ]
    )
    assert {path: path.read_bytes() for path in finished} == finished


def test_what_fails_again_stays_failed_until_another_round(build: Build, flaky: Any) -> None:
    build.broken.write_text("\n".join(BROKEN))
    build.run()
    build.broken.write_text("\n".join([*BROKEN[:2], "ask flaky/3/left"]))
    after, letters = build.run(rounds=1)
    assert after["flaky.split"].failed == {"RuntimeError": 1}
    assert after["flaky.check"].failed == {"RuntimeError": 1}
    assert after["flaky.ask"].failed == {"RuntimeError": 1}  # of a fragment that this round made
    assert all(step.balance == 0 for step in after.values())
    assert [letter for letter in letters if "dropped" not in letter] == [
        "flaky.ask flaky/3/left RuntimeError",
        "flaky.check flaky/2/left RuntimeError",
        "flaky.split flaky/1 RuntimeError",
    ]
    flaky.CALLS.clear()
    assert build.run(rounds=1) == (after, letters)
    assert flaky.CALLS == []
    build.broken.unlink()
    after, letters = build.run(rounds=2)
    assert build.keys() == EXPECTED
    assert after["flaky.ask"].read == after["flaky.ask"].kept == 36
    assert len(letters) == 2


def test_a_failed_record_that_is_not_met_again_stays_failed(build: Build) -> None:
    build.broken.write_text("check flaky/2/left")
    build.run()
    build.broken.write_text("split flaky/2")  # passes no longer what passed before
    after, letters = build.run(rounds=1)
    assert after["flaky.check"].failed == {"RuntimeError": 1}
    assert after["flaky.split"].read == 20
    assert all(step.balance == 0 for step in after.values())
    assert "flaky.check flaky/2/left RuntimeError" in letters
    build.broken.unlink()
    build.run(rounds=2)
    assert build.keys() == EXPECTED
