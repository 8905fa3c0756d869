"""Each row of a killed and resumed run is recorded once."""

from pathlib import Path

import pytest

from step3vl.training.monitor import read_metrics
from step3vl.training.rl.monitor import RLMonitor

ROW = dict.fromkeys(("reward_mean", "reward_se", "length", "entropy", "explained_variance", "seconds"), 0.0)
HELDOUT = {"reward_mean": 0.5, "reward_se": 0.1}


def write(output: Path, start: int | None, steps: range, iterations: int = 4) -> None:
    """What a run records from `start` over `steps`, with the evaluations before the first and after the last."""
    with RLMonitor(output, start, iterations) as monitor:
        if start is None:
            monitor.heldout(0, HELDOUT, {})
        for step in steps:
            monitor.iteration(step, ROW)
        if (steps.stop - 1 if steps else start) == iterations:
            monitor.heldout(iterations, HELDOUT, {})


def recorded(output: Path) -> list[tuple[int, bool]]:
    """Step, and whether it is an evaluation, of each row."""
    return [(row["step"], "heldout/reward_mean" in row) for row in read_metrics(output / "metrics.jsonl")]


COMPLETE = [(0, True), (1, False), (2, False), (3, False), (4, False), (4, True)]


@pytest.mark.parametrize(("killed", "latest"), [(2, None), (3, 2), (4, 2), (4, 4)])
def test_a_resumed_run_repeats_no_row(tmp_path: Path, killed: int, latest: int | None) -> None:
    write(tmp_path, None, range(1, killed + 1))
    write(tmp_path, latest, range((latest or 0) + 1, 5))
    assert recorded(tmp_path) == COMPLETE


def test_an_evaluation_before_the_end_is_kept(tmp_path: Path) -> None:
    write(tmp_path, None, range(1, 5))
    write(tmp_path, 4, range(5, 7), iterations=6)
    assert recorded(tmp_path) == [*COMPLETE, (5, False), (6, False), (6, True)]
