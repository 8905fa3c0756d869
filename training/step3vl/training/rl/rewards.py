"""From the truth of a sample and a sampled response to a reward for each response token."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from step3vl.data.truth import Truth

VERDICTS = ("correct", "wrong", "unparsable", "truncated")
GradedVerdict = Literal["correct", "wrong", "unparsable", "truncated"]


@dataclass(frozen=True)
class Graded:
    """A reward in 0..1 and what kind of response earned it."""

    value: float
    verdict: GradedVerdict


def grade(truth: Truth, answer: str | None, stopped: bool) -> Graded:
    """Reward of one response.

    Args:
        answer: what stands after the thought; None where the thought was never closed, so that there is no answer.
        stopped: the response ended its turn. One that was cut off earns nothing, whatever it says, and is counted
            by itself: a rising share of truncated responses is no wrong answer but too short a limit.
    """
    if not stopped:
        return Graded(0.0, "truncated")
    if answer is None:
        return Graded(0.0, "unparsable")
    score = truth.score(answer)
    return Graded(score.value, score.verdict)


def verdict_shares(graded: Iterable[Graded]) -> dict[str, float]:
    """The share of each verdict; the shares of a non-empty batch add up to 1."""
    counts: Counter[str] = Counter(one.verdict for one in graded)
    total = max(counts.total(), 1)
    return {verdict: counts[verdict] / total for verdict in VERDICTS}


def token_rewards(values: Tensor, lengths: Tensor, width: int) -> Tensor:
    """Each response's reward on its last token, the end of turn where there is one, never on the padding after it.

    Args:
        values: `(B,)` rewards.
        lengths: `(B,)` number of response tokens, at least 1 each.
        width: the padded number of response tokens R.

    Returns:
        `(B, R)`.
    """
    rewards = torch.zeros(values.shape[0], width, dtype=values.dtype)
    rewards[torch.arange(values.shape[0]), lengths - 1] = values
    return rewards
