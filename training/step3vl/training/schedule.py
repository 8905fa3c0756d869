"""Phases of a run, and the learning rate at every step: pure functions of the progress.

The STEP3-VL-10B report pretrains in two phases (section 2.3: 900B tokens from 5e-5 to 1e-5, then 300B of a better
mixture from 1e-5 to 6e-6) and fine-tunes on a cosine from 1e-4 to 1e-5 after 200 steps of warm-up (section 3.1).
"""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.plan import Mixture


class TrainingPhase(Config):
    """A part of a run with its own mixture, budget and learning rate."""

    mixture: Mixture
    """The sources of the phase and their weights."""
    steps: int | None = Field(default=None, ge=1)
    """Budget in optimizer steps; give either this or `tokens`."""
    tokens: int | None = Field(default=None, ge=1)
    """Budget in tokens; give either this or `steps`."""
    lr_start: float = Field(ge=0)
    """Learning rate at the start of the phase."""
    lr_end: float = Field(ge=0)
    """Learning rate at the end of the budget."""
    decay: Literal["linear", "cosine"] = "linear"
    """Shape of the way from `lr_start` to `lr_end`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps at the start over which the rate is also multiplied by a ramp from 0 to 1."""

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("give a phase either steps or tokens")
        return self


def phase_progress(phase: TrainingPhase, steps: int, tokens: int) -> float:
    """Share of a phase's budget that is used up.

    Args:
        phase: The phase.
        steps: Optimizer steps taken in it.
        tokens: Tokens of these steps, over all ranks.

    Returns:
        0 to 1.
    """
    share = steps / phase.steps if phase.steps else tokens / (phase.tokens or 1)
    return min(share, 1.0)


def run_progress(phases: Sequence[TrainingPhase], completed: int, share: float) -> float:
    """Share of a whole run that is done.

    Phases are weighted by their budgets where all are in the same unit, and equally where they are not.

    Args:
        phases: All phases of the run.
        completed: How many of them are done.
        share: The progress of the next one, 0 to 1.

    Returns:
        0 to 1.
    """
    budgets = [phase.steps for phase in phases]
    if None in budgets:
        budgets = [phase.tokens for phase in phases]
    sizes = [1 if None in budgets else budget or 1 for budget in budgets]
    return (sum(sizes[:completed]) + (share * sizes[completed] if completed < len(sizes) else 0.0)) / sum(sizes)


def learning_rate(phase: TrainingPhase, steps: int, tokens: int) -> float:
    """The rate of the next step.

    Args:
        phase: The current phase.
        steps: Optimizer steps taken in it.
        tokens: Tokens of these steps, over all ranks.
    """
    share = phase_progress(phase, steps, tokens)
    if phase.decay == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    rate = phase.lr_start + (phase.lr_end - phase.lr_start) * share
    if steps < phase.warmup_steps:
        rate *= (steps + 1) / (phase.warmup_steps + 1)
    return rate
