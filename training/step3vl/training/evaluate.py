"""Validation loss by task, on held-out samples."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from step3vl.data.mixture import Mixture
from step3vl.training.batch import Batch
from step3vl.training.schedule import Phase


def heldout(phases: Sequence[Phase]) -> Mixture:
    """The held-out split of every source of the phases, once each, all of the same weight."""
    change = {"split": "heldout", "weight": 1.0, "epochs": None}
    sources = [source.model_copy(update=change) for phase in phases for source in phase.mixture.sources]
    return Mixture(sources=tuple(dict.fromkeys(sources)))


def validation_loss(engine: Any, batches: Sequence[Batch], device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Negative log-likelihood per trained token over the batches of all ranks: {"loss": mean, "tasks": {task: mean}}.

    All ranks call it, with as many batches each. The model stays in training mode: it has no dropout, and in this mode
    a rank without pictures runs the vision tower along with the others, which ZeRO-3 needs.
    """
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for batch in batches:
            inputs = batch.on(device, dtype)
            output = engine(**inputs)
            for row, tasks in enumerate(batch.tasks):
                samples = _per_sample(output.logprobs[row], inputs, row, len(tasks))
                for task, sample in zip(tasks, samples, strict=True):
                    sums[task] = sums.get(task, torch.zeros(2, dtype=torch.float64)) + torch.tensor(sample)
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, {task: total.tolist() for task, total in sums.items()})
    return mean_losses(parts)


def _per_sample(logprobs: Tensor, inputs: dict[str, Tensor], row: int, samples: int) -> list[tuple[float, float]]:
    """The weighted sum of -logprobs [T] and the sum of the weights of each sample of a row."""
    weights, numbers = inputs["loss_weights"][row], inputs["sequence_ids"][row]
    both = torch.stack((-logprobs.float() * weights, weights), dim=1)
    sums = torch.zeros(samples + 1, 2, device=both.device).index_add_(0, numbers, both)
    return [(loss, weight) for loss, weight in sums[1:].tolist()]


def mean_losses(parts: Sequence[dict[str, Sequence[float]]]) -> dict[str, Any]:
    """Sums of (loss, weight) by task, from each rank, to means; a task without a trained token is left out."""
    losses: dict[str, float] = {}
    weights: dict[str, float] = {}
    for part in parts:
        for task, (loss, weight) in part.items():
            losses[task] = losses.get(task, 0.0) + loss
            weights[task] = weights.get(task, 0.0) + weight
    return {
        "loss": sum(losses.values()) / max(sum(weights.values()), 1e-8),
        "tasks": {task: losses[task] / weights[task] for task in sorted(losses) if weights[task] > 0},
    }
