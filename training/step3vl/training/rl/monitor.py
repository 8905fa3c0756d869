"""Metrics of an RL run: metrics.jsonl, TensorBoard and lines of a log. Rank 0 only."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from step3vl.training.monitor import METRICS, MetricsWriter, read_metrics
from step3vl.training.rl.metrics import Summary

logger = logging.getLogger(__name__)


class Stopwatch:
    """Seconds of each part of an iteration, and of all since the stopwatch was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._parts: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure a block as `seconds/NAME`."""
        start = time.perf_counter()
        yield
        self._parts[f"seconds/{name}"] = time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """The metrics `seconds` and `seconds/NAME`."""
        return {"seconds": time.perf_counter() - self._start, **self._parts}


class RLMonitor(MetricsWriter):
    """One row an iteration, and one with `heldout/...` for an evaluation.

    Args:
        output: The folder of the run.
        start: The iteration that the run resumes from; rows of later ones are dropped, for they are repeated. None for
            a new run.
        iterations: Iterations of the whole run.
    """

    def __init__(self, output: Path, start: int | None, iterations: int) -> None:
        kept = [row for row in read_metrics(output / METRICS) if start is not None and row["step"] <= start]
        if start == iterations:  # only the last evaluation is left, and its row may have been written
            kept = [row for row in kept if row["step"] < start or "heldout/reward_mean" not in row]
        super().__init__(output, kept, purge_step=0 if start is None else start + 1)
        self._iterations = iterations

    def iteration(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the iteration that made policy number `step`."""
        self._record(step, metrics)
        logger.info(
            "rl %d/%d  reward %.3f ± %.3f  length %.1f  kl %.4f  entropy %.3f  explained %.2f  %.1f s",
            step,
            self._iterations,
            *(metrics[name] for name in ("reward_mean", "reward_se", "length")),
            metrics.get("kl", 0.0),  # absent while only the critic is trained
            *(metrics[name] for name in ("entropy", "explained_variance", "seconds")),
        )

    def heldout(self, step: int, total: Summary, tasks: Mapping[str, Summary]) -> None:
        """Record an evaluation of policy number `step`.

        Args:
            step: Iterations before it.
            total: Summary of all held-out prompts.
            tasks: Summary of each task.
        """
        row = {"heldout/reward_mean": total["reward_mean"], "heldout/reward_se": total["reward_se"]}
        for task, summary in tasks.items():
            row[f"heldout/reward_mean/{task}"] = summary["reward_mean"]
            row[f"heldout/reward_se/{task}"] = summary["reward_se"]
        self._record(step, row)
        logger.info("rl held out after %d: reward %.3f ± %.3f", step, total["reward_mean"], total["reward_se"])

    def _record(self, step: int, metrics: Mapping[str, float]) -> None:
        self.write_row({"step": step, **metrics})
        self.add_scalars(step, metrics)
