"""Phases of a run, and the learning rate at every step of them. Pure functions of how far the run has come.

The STEP3-VL-10B report pretrains in two phases (section 2.3: 900B tokens from 5e-5 to 1e-5, then 300B of a better
mixture from 1e-5 to 6e-6) and fine-tunes on a cosine from 1e-4 to 1e-5 after 200 steps of warm-up (section 3.1).
"""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.mixture import Mixture


class Phase(Config):
    """A stretch of a run with its own mixture, budget and learning rate. The budget is in steps or in tokens.

    The rate goes from `lr_start` to `lr_end` as the budget is spent; over the first `warmup_steps` it is also
    multiplied by a ramp from 0 to 1.
    """

    mixture: Mixture
    steps: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    lr_start: float = Field(ge=0)
    lr_end: float = Field(ge=0)
    decay: Literal["linear", "cosine"] = "linear"
    warmup_steps: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("give a phase either steps or tokens")
        return self


def spent(phase: Phase, steps: int, tokens: int) -> float:
    """The share of a phase's budget that `steps` steps with `tokens` tokens in all have used: 0 to 1."""
    share = steps / phase.steps if phase.steps else tokens / (phase.tokens or 1)
    return min(share, 1.0)


def behind(phases: Sequence[Phase], done: int, share: float) -> float:
    """The share of a whole run that lies behind after `done` phases and `share` of the next one: 0 to 1.

    Phases count by their budgets where all are given in the same unit, and alike where they are not.
    """
    budgets = [phase.steps for phase in phases]
    if None in budgets:
        budgets = [phase.tokens for phase in phases]
    sizes = [1 if None in budgets else budget or 1 for budget in budgets]
    return (sum(sizes[:done]) + (share * sizes[done] if done < len(sizes) else 0.0)) / sum(sizes)


def learning_rate(phase: Phase, steps: int, tokens: int) -> float:
    """The rate of the next step, after `steps` steps with `tokens` tokens in all were taken in this phase."""
    share = spent(phase, steps, tokens)
    if phase.decay == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    rate = phase.lr_start + (phase.lr_end - phase.lr_start) * share
    if steps < phase.warmup_steps:
        rate *= (steps + 1) / (phase.warmup_steps + 1)
    return rate
