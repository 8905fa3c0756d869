"""What an RL run tells while it goes on: metrics.jsonl, TensorBoard and lines of a log. Rank 0 only."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from step3vl.training.monitor import read_metrics, reopen_metrics

logger = logging.getLogger(__name__)


class Clock:
    """Seconds of each named stretch of an iteration, as `seconds/NAME`, and of all since the clock was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stretches: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._stretches[f"seconds/{name}"] = time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._start, **self._stretches}


class Record:
    """One row an iteration, and one with `heldout/...` for an evaluation.

    A run that goes on from iteration `start` drops the rows of later ones, which it repeats; a new one (None) all.
    """

    def __init__(self, output: Path, start: int | None, iterations: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        output.mkdir(parents=True, exist_ok=True)
        path = output / "metrics.jsonl"
        kept = [row for row in read_metrics(path) if start is not None and row["step"] <= start]
        if start == iterations:  # only the last evaluation is left, which may have been written
            kept = [row for row in kept if row["step"] < start or "heldout/reward_mean" not in row]
        self._file = reopen_metrics(path, kept)
        self._board = SummaryWriter(str(output / "tensorboard"), purge_step=0 if start is None else start + 1)
        self._iterations = iterations

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._board.close()
        self._file.close()

    def iteration(self, step: int, metrics: dict[str, Any]) -> None:
        """The metrics of the iteration that made policy number `step`."""
        self._write(step, metrics)
        logger.info(
            "rl %d/%d  reward %.3f ± %.3f  length %.1f  kl %.4f  entropy %.3f  explained %.2f  %.1f s",
            step,
            self._iterations,
            *(metrics[name] for name in ("reward_mean", "reward_se", "length")),
            metrics.get("kl", 0.0),  # absent while only the critic learns
            *(metrics[name] for name in ("entropy", "explained_variance", "seconds")),
        )

    def heldout(self, step: int, result: dict[str, Any]) -> None:
        """An evaluation of policy number `step`; see `evaluate.summary`."""
        row = {"heldout/reward_mean": result["reward_mean"], "heldout/reward_se": result["reward_se"]}
        for task, measured in result["tasks"].items():
            row[f"heldout/reward_mean/{task}"] = measured["reward_mean"]
            row[f"heldout/reward_se/{task}"] = measured["reward_se"]
        self._write(step, row)
        logger.info("rl held out after %d: reward %.3f ± %.3f", step, result["reward_mean"], result["reward_se"])

    def _write(self, step: int, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({"step": step, **row}) + "\n")
        self._file.flush()
        for name, value in row.items():
            self._board.add_scalar(name, value, step)
