"""Samples that could not be read: a log of dead letters, and the share of samples that a run may lose to them."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch.distributed as dist

from step3vl.data.dataset import DeadLetter
from step3vl.data.errors import UserError
from step3vl.training.batch import PackedBatch
from step3vl.training.distributed import gather_objects
from step3vl.training.monitor import read_metrics, reopen_metrics

_MIN_SAMPLES = 10_000  # a share of fewer says little


class DeadLetterLog:
    """`dead_letters.jsonl` of a run: one line for each sample that could not be read, with its optimizer step.

    Lines of text rather than the Parquet file of a dataset, because a run appends to it and cuts it at a checkpoint.

    Args:
        output: The folder of the run.
        start: The step that the run resumes from; lines of later steps are dropped, for these steps are repeated.
    """

    def __init__(self, output: Path, start: int) -> None:
        self._path = output / "dead_letters.jsonl"
        self._count = 0
        self.last: DeadLetter | None = None
        if dist.get_rank() == 0 and self._path.is_file():
            kept = [row for row in read_metrics(self._path) if row["train_step"] <= start]
            reopen_metrics(self._path, kept).close()

    def collect(self, step: int, batches: Sequence[PackedBatch], total: int) -> None:
        """Append the dead letters of a step from all ranks. All ranks call it; rank 0 writes.

        Args:
            step: Number of the optimizer step.
            batches: The micro-batches of this rank in it.
            total: Unreadable samples of all ranks since the start of the run.
        """
        if total == self._count:
            return
        self._count = total
        self.append(step, [dead_letter for batch in batches for dead_letter in batch.unreadable])

    def append(self, step: int, local: Sequence[DeadLetter]) -> None:
        """Append the dead letters of all ranks. All ranks call it; rank 0 writes.

        Args:
            step: Number of the optimizer step, or of the iteration.
            local: Those of this rank.
        """
        gathered = sorted(
            (dead_letter for dead_letters in gather_objects(list(local)) for dead_letter in dead_letters),
            key=lambda dead_letter: dead_letter.source,
        )
        if not gathered:
            return  # a resumed run starts from the count of its checkpoint
        self.last = gathered[-1]
        if dist.get_rank() == 0:
            with self._path.open("a", encoding="utf-8") as file:
                for dead_letter in gathered:
                    file.write(json.dumps({"train_step": step, **dead_letter.model_dump()}) + "\n")


def check_unreadable(
    unreadable: int, samples: int, limit: float, last: DeadLetter | None, section: str = "data"
) -> None:
    """Stop a run that loses too many samples.

    Before 10,000 samples the share is taken of as many, so that a single early loss does not stop a run.

    Args:
        unreadable: Samples that could not be read, over all ranks.
        samples: Samples of the run so far, unreadable ones included.
        limit: The share that may be unreadable.
        last: An example for the message.
        section: The part of the configuration whose `max_unreadable` is the limit.

    Raises:
        UserError: The share is exceeded.
    """
    if unreadable > limit * max(samples, _MIN_SAMPLES):
        example = f", the last of them {last.source}: {last.reason}" if last else ""
        raise UserError(
            f"{unreadable} of {samples} samples could not be read{example}; fix what is wrong with them "
            f"(dead_letters.jsonl lists them all), or raise {section}.max_unreadable ({limit})"
        )
