"""Validation loss by task, on held-out samples."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

import torch
from torch import Tensor

from step3vl.data.plan import Mixture
from step3vl.training.batch import PackedBatch
from step3vl.training.distributed import gather_objects
from step3vl.training.engine import DeepSpeedEngine
from step3vl.training.schedule import TrainingPhase

if TYPE_CHECKING:
    from step3vl.training.answers import AnswerScores


class Validation(TypedDict):
    """Negative log-likelihood per trained token in nats, and grades where configured; as in metrics.jsonl."""

    loss: float
    tasks: dict[str, float]
    answers: NotRequired["AnswerScores"]


def heldout_mixture(phases: Sequence[TrainingPhase]) -> Mixture:
    """The held-out split of every source of the phases, once each, all of the same weight."""
    change = {"split": "heldout", "weight": 1.0, "epochs": None}
    sources = [source.model_copy(update=change) for phase in phases for source in phase.mixture.sources]
    return Mixture(sources=tuple(dict.fromkeys(sources)))


def validation_loss(
    engine: DeepSpeedEngine, batches: Sequence[PackedBatch], device: torch.device, dtype: torch.dtype
) -> Validation:
    """Measure the loss over the batches of all ranks. All ranks call it, with equally many batches.

    The model stays in training mode: it has no dropout, and in this mode a rank without images runs the vision encoder
    along with the others, which ZeRO-3 needs.

    Args:
        engine: The DeepSpeed engine.
        batches: The batches of this rank.
        device: Where the engine is.
        dtype: Dtype of the model's weights.

    Returns:
        The mean over all trained tokens, and over those of each task.
    """
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in batches:
            inputs = batch.on(device, dtype)
            output = engine(**inputs)
            for row, items in enumerate(batch.items):
                samples = _per_sample(output.logprobs[row], inputs, row, len(items))
                for item, sample in zip(items, samples, strict=True):
                    sums[item.task] = sums.get(item.task, torch.zeros(2, dtype=torch.float64)) + torch.tensor(sample)
    return mean_losses(gather_objects({task: total.tolist() for task, total in sums.items()}))


def _per_sample(logprobs: Tensor, inputs: dict[str, Tensor], row: int, samples: int) -> list[tuple[float, float]]:
    """The weighted sum of -logprobs [T] and the sum of the weights of each sample of a row."""
    weights, numbers = inputs["loss_weights"][row], inputs["sequence_ids"][row]
    columns = torch.stack((-logprobs.float() * weights, weights), dim=1)
    sums = torch.zeros(samples + 1, 2, device=columns.device).index_add_(0, numbers, columns)
    return [(loss, weight) for loss, weight in sums[1:].tolist()]


def mean_losses(by_rank: Sequence[Mapping[str, Sequence[float]]]) -> Validation:
    """Means from each rank's sums of (loss, weight) by task; a task without a trained token is left out."""
    losses: dict[str, float] = {}
    weights: dict[str, float] = {}
    for sums in by_rank:
        for task, (loss, weight) in sums.items():
            losses[task] = losses.get(task, 0.0) + loss
            weights[task] = weights.get(task, 0.0) + weight
    return {
        "loss": sum(losses.values()) / max(sum(weights.values()), 1e-8),
        "tasks": {task: losses[task] / weights[task] for task in sorted(losses) if weights[task] > 0},
    }
