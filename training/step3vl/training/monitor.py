"""Metrics of a run: metrics.jsonl, TensorBoard, and a progress bar or lines of a log. Rank 0 only."""

import json
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from step3vl.data.optional import require
from step3vl.data.storage import write_durably

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
MetricRow = dict[str, Any]
"""A row of metrics.jsonl: JSON values by name, `step` among them."""


class MetricsWriter:
    """metrics.jsonl and TensorBoard of a run; a context manager that closes both.

    Args:
        output: The folder of the run.
        kept: The rows of an earlier attempt to keep.
        purge_step: The first step whose points TensorBoard drops.
    """

    def __init__(self, output: Path, kept: Sequence[MetricRow], purge_step: int) -> None:
        require("tensorboard", "training")
        from torch.utils.tensorboard import SummaryWriter

        output.mkdir(parents=True, exist_ok=True)
        self._file = reopen_metrics(output / METRICS, kept)
        self._tensorboard = SummaryWriter(str(output / "tensorboard"), purge_step=purge_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tensorboard.close()
        self._file.close()

    def write_row(self, row: MetricRow) -> None:
        """Append a row to metrics.jsonl."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add points to TensorBoard."""
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)


class TrainingMonitor(MetricsWriter):
    """One row a step of pretraining or fine-tuning; TensorBoard and the log get a part of them.

    Args:
        output: The folder of the run.
        title: Name of the run in the log.
        start: The step that the run resumes from; rows of later steps are dropped, for these steps are repeated.
        log_every: Steps between rows for TensorBoard and the log, besides those with an evaluation.
    """

    def __init__(self, output: Path, title: str, start: int, log_every: int) -> None:
        kept = [row for row in read_metrics(output / METRICS) if row["step"] <= start]
        super().__init__(output, kept, purge_step=start + 1)
        self._log_every = log_every
        self._bar = Progress(
            TextColumn(title),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=1.0)
        self._title = title
        self._last_logged = (time.perf_counter(), kept[-1]["tokens"] if kept else 0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        super().__exit__(kind, error, traceback)

    def record(self, row: MetricRow, progress: float) -> None:
        """Record a step.

        Args:
            row: What the trainer's step returns, with `evaluation` where there was one.
            progress: Share of the run that is done, 0 to 1.
        """
        self.write_row(row)
        if row["step"] % self._log_every and "evaluation" not in row and progress < 1:
            return
        now, (then, tokens) = time.perf_counter(), self._last_logged
        speed = (row["tokens"] - tokens) / max(now - then, 1e-9)
        self._last_logged = (now, row["tokens"])
        self.add_scalars(row["step"], {**_scalars(row), "tokens_per_second": speed})
        text = f"step {row['step']}  loss {row['loss']:.4f}  lr {row['lr']:.2e}  {speed:,.0f} tokens/s"
        if "evaluation" in row:
            text += f"  held-out loss {row['evaluation']['loss']:.4f}"
            if answers := row["evaluation"].get("answers"):
                text += f"  held-out answers {answers['score']:.1f} %"
        if self._bar.disable:
            logger.info("%s %3.0f%%  %s", self._title, 100 * progress, text)
        self._bar.update(self._task, completed=progress, description=text)


def reopen_metrics(path: Path, kept: Iterable[MetricRow]) -> TextIO:
    """Replace a file of JSON lines by the rows to keep, and open it to append more.

    The file is complete at any moment, for a resume may be killed too.
    """
    write_durably(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
    return path.open("a", encoding="utf-8")


def read_metrics(path: Path) -> list[MetricRow]:
    """The rows of a file of JSON lines, without a last line that a killed run cut short; none if there is no file."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _scalars(row: MetricRow) -> dict[str, float]:
    scalars = {name: float(value) for name, value in row.items() if name not in ("step", "evaluation")}
    evaluation = row.get("evaluation")
    if evaluation:
        scalars["heldout/loss"] = evaluation["loss"]
        scalars |= {f"heldout/{task}": loss for task, loss in evaluation["tasks"].items()}
        if answers := evaluation.get("answers"):
            scalars["answers/score"] = answers["score"]
            scalars |= {f"answers/{task}": score for task, score in answers["tasks"].items()}
    return scalars
