"""Samples that could not be read: a letter for each, and how many of them a run may lose."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch.distributed as dist

from step3vl.data.errors import UserError
from step3vl.data.ledger import DeadLetter
from step3vl.data.plan import Cursor
from step3vl.training.batch import Batch
from step3vl.training.monitor import read_metrics, reopen_metrics

_EARLY = 10_000  # samples; a share of fewer says little


class DeadLetters:
    """`dead_letters.jsonl` of a run: one line for each sample of a step that could not be read. Rank 0 writes it.

    A run that goes on from step `start` drops the lines of later steps, which it repeats.
    """

    def __init__(self, output: Path, start: int) -> None:
        self._path = output / "dead_letters.jsonl"
        self._known = 0
        self.last: DeadLetter | None = None
        if dist.get_rank() == 0 and self._path.is_file():
            kept = [row for row in read_metrics(self._path) if row["train_step"] <= start]
            reopen_metrics(self._path, kept).close()

    def collect(self, step: int, batches: Sequence[Batch], lost_samples: int) -> None:
        """Write what the ranks have lost in a step, after which they have lost so many together. All ranks call it."""
        if lost_samples == self._known:
            return
        self._known = lost_samples
        own = [letter for batch in batches for letter in batch.dead]
        parts: list[list[DeadLetter]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(parts, own)
        letters = sorted((letter for part in parts for letter in part), key=lambda letter: letter.source)
        if not letters:
            return  # a run that went on has lost its samples before
        self.last = letters[-1]
        if dist.get_rank() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                for letter in letters:
                    file.write(json.dumps({"train_step": step, **letter.model_dump()}) + "\n")


def check_losses(lost: int, cursor: Cursor, limit: float, last: DeadLetter | None) -> None:
    """Raises UserError when more than a share `limit` of the samples could not be read.

    Before 10,000 samples the share is taken of as many, so that one early loss does not end a run.
    """
    seen = sum(stream.samples for stream in cursor.streams)
    if lost > limit * max(seen, _EARLY):
        example = f", the last of them {last.source}: {last.reason}" if last else ""
        raise UserError(
            f"{lost} of {seen} samples could not be read{example}; mend the dataset (dead_letters.jsonl has them "
            f"all), or raise max_lost ({limit})"
        )
