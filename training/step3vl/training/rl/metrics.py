"""Rewards and verdicts of a set of prompts, for held-out evaluations and for iterations."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypedDict

from step3vl.grading import estimate, verdict_shares
from step3vl.training.distributed import gather_interleaved, global_sums
from step3vl.training.rl.rewards import PromptGrades
from step3vl.training.rl.rollout import PolicyRollout

Summary = dict[str, float]
"""`reward_mean`, its standard error `reward_se`, `prompts`, and the share of each verdict."""


class PromptReward(TypedDict):
    """Mean reward of the responses to one prompt."""

    sample: str
    task: str
    reward: float


def summarize(prompts: Sequence[PromptGrades]) -> Summary:
    """Mean reward, its standard error and verdict shares.

    The standard error is that of a mean over prompts: responses to one prompt are not independent of each other.
    """
    mean = estimate([prompt.reward for prompt in prompts])
    shares = verdict_shares(grade for prompt in prompts for grade in prompt.grades)
    return {"reward_mean": mean.mean, "reward_se": mean.se, "prompts": len(prompts), **shares}


def summarize_by_task(prompts: Sequence[PromptGrades]) -> dict[str, Summary]:
    """A summary of each task, in the order of their names."""
    by_task: dict[str, list[PromptGrades]] = defaultdict(list)
    for prompt in prompts:
        by_task[prompt.task].append(prompt)
    return {task: summarize(group) for task, group in sorted(by_task.items())}


def prompt_rewards(prompts: Sequence[PromptGrades]) -> list[PromptReward]:
    """The reward of each prompt, for comparison in pairs: all evaluations of a run have the same prompts in order."""
    return [{"sample": prompt.sample, "task": prompt.task, "reward": prompt.reward} for prompt in prompts]


def rollout_metrics(prompts: Sequence[PromptGrades], rollouts: Sequence[Sequence[PolicyRollout]]) -> dict[str, float]:
    """Rewards, verdicts and lengths of an iteration over all ranks. All ranks call it.

    `all_correct`, `none_correct` and `some_correct` are shares of prompts: only the last kind teaches by comparison.

    Args:
        prompts: The graded prompts of this rank.
        rollouts: The responses to each of them.
    """
    everyone = gather_interleaved(prompts)
    lengths = [len(rollout.token_ids) for group in rollouts for rollout in group]
    tokens, count = global_sums(sum(lengths), len(lengths))
    correct = [sum(grade.verdict == "correct" for grade in prompt.grades) / len(prompt.grades) for prompt in everyone]
    metrics = {name: value for name, value in summarize(everyone).items() if name != "prompts"}
    metrics |= {f"reward/{task}": row["reward_mean"] for task, row in summarize_by_task(everyone).items()}
    return metrics | {
        "all_correct": sum(share == 1.0 for share in correct) / len(correct),
        "none_correct": sum(share == 0.0 for share in correct) / len(correct),
        "some_correct": sum(0.0 < share < 1.0 for share in correct) / len(correct),
        "length": tokens / count,
        "response_tokens": int(tokens),
    }
