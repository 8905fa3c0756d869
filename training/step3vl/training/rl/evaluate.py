"""The yardstick of a run: mean reward on held-out prompts, with its standard error."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from step3vl.training.rl.rewards import Graded, verdict_shares


@dataclass(frozen=True)
class PromptResult:
    """What the responses to one held-out prompt earned."""

    sample: str  # its id
    task: str
    graded: tuple[Graded, ...]

    @property
    def reward(self) -> float:
        return sum(one.value for one in self.graded) / len(self.graded)


def summary(results: Sequence[PromptResult]) -> dict[str, Any]:
    """Mean reward, its standard error and verdict shares, over all prompts and by task; and the reward of each prompt.

    The standard error is that of a mean over prompts: samples of one prompt are not independent of each other. Two
    evaluations of a run ask the same prompts in the same order, so their rewards may be compared in pairs.
    """
    by_task: dict[str, list[PromptResult]] = defaultdict(list)
    for result in results:
        by_task[result.task].append(result)
    return {
        **_row(results),
        "tasks": {task: _row(rows) for task, rows in sorted(by_task.items())},
        "results": [{"sample": one.sample, "task": one.task, "reward": one.reward} for one in results],
    }


def _row(results: Sequence[PromptResult]) -> dict[str, Any]:
    mean, error = mean_and_error([result.reward for result in results])
    shares = verdict_shares(one for result in results for one in result.graded)
    return {"reward_mean": mean, "reward_se": error, "prompts": len(results), **shares}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error (sample deviation over the root of the count); 0 for fewer than two values."""
    if not values:
        return 0.0, 0.0
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
