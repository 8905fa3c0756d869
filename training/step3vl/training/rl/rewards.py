"""From sampled responses to rewards: of whole responses by their truth, and of each response token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from step3vl.data.sample import Sample
from step3vl.grading import Grade, grade_reply
from step3vl.training.rl.rollout import PolicyRollout


@dataclass(frozen=True)
class PromptGrades:
    """The grades of the responses to one prompt."""

    sample: str
    """Id of the sample."""
    task: str
    """Task of the sample."""
    grades: tuple[Grade, ...]
    """One for each response; its value is the reward."""

    @property
    def reward(self) -> float:
        """Mean reward of the responses, 0 to 1."""
        return sum(grade.value for grade in self.grades) / len(self.grades)


def grade_rollouts(samples: Sequence[Sample], rollouts: Sequence[Sequence[PolicyRollout]]) -> list[PromptGrades]:
    """Grade the responses to each sample's prompt.

    A response that reached the limit of tokens earns nothing, whatever it says, and has a verdict of its own: a rising
    share of truncated responses means too low a limit, not wrong answers.

    Args:
        samples: Samples with a truth.
        rollouts: Responses to each of them.

    Raises:
        ValueError: A sample has no truth.
    """
    graded = []
    for sample, group in zip(samples, rollouts, strict=True):
        if sample.truth is None:
            raise ValueError(f"sample {sample.id} has no truth")
        grades = tuple(grade_reply(sample.truth, rollout.text, rollout.finish_reason) for rollout in group)
        graded.append(PromptGrades(sample.id, sample.task, grades))
    return graded


def token_rewards(values: Tensor, lengths: Tensor, width: int) -> Tensor:
    """Each response's reward on its last token, the end of turn where there is one, never on the padding after it.

    Args:
        values: `(B,)` rewards.
        lengths: `(B,)` number of response tokens, at least 1 each.
        width: The padded number of response tokens R.

    Returns:
        `(B, R)`.
    """
    rewards = torch.zeros(values.shape[0], width, dtype=values.dtype)
    rewards[torch.arange(values.shape[0]), lengths - 1] = values
    return rewards
