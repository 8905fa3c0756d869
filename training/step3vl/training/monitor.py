"""What a run tells while it goes on: metrics.jsonl, TensorBoard, and a progress bar or lines of a log. Rank 0 only."""

import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from step3vl.data.files import write_durably

logger = logging.getLogger(__name__)


class Monitor:
    """Records one row a step. A run that goes on from step `start` drops the rows of later steps, which it repeats.

    TensorBoard and the log get every `log_every`-th row, and each one that holds an evaluation.
    """

    def __init__(self, output: Path, title: str, start: int, log_every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        output.mkdir(parents=True, exist_ok=True)
        path = output / "metrics.jsonl"
        kept = [row for row in read_metrics(path) if row["step"] <= start]
        self._file = reopen_metrics(path, kept)
        self._board = SummaryWriter(output / "tensorboard", purge_step=start + 1)
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
        self._mark = (time.perf_counter(), kept[-1]["tokens"] if kept else 0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._board.close()
        self._file.close()

    def record(self, row: dict[str, Any], done: float) -> None:
        """`row` has what the trainer's `_step` puts there, and evaluation where there was one.

        `done` is the share of the run that lies behind.
        """
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if row["step"] % self._log_every and "evaluation" not in row and done < 1:
            return
        now, (then, tokens) = time.perf_counter(), self._mark
        speed = (row["tokens"] - tokens) / max(now - then, 1e-9)
        self._mark = (now, row["tokens"])
        for name, value in {**_scalars(row), "tokens_per_second": speed}.items():
            self._board.add_scalar(name, value, row["step"])
        text = f"step {row['step']}  loss {row['loss']:.4f}  lr {row['lr']:.2e}  {speed:,.0f} tokens/s"
        if "evaluation" in row:
            text += f"  held-out loss {row['evaluation']['loss']:.4f}"
        if self._bar.disable:
            logger.info("%s %3.0f%%  %s", self._title, 100 * done, text)
        self._bar.update(self._task, completed=done, description=text)


def reopen_metrics(path: Path, kept: Iterable[dict[str, Any]]) -> TextIO:
    """A metrics.jsonl that holds the rows `kept`, open for more; whole at any moment, for a resume may die too."""
    write_durably(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
    return path.open("a", encoding="utf-8")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that a dying run cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _scalars(row: dict[str, Any]) -> dict[str, float]:
    scalars = {name: float(value) for name, value in row.items() if name not in ("step", "evaluation")}
    evaluation = row.get("evaluation")
    if evaluation:
        scalars["heldout/loss"] = evaluation["loss"]
        scalars |= {f"heldout/{task}": loss for task, loss in evaluation["tasks"].items()}
    return scalars
