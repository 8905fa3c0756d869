"""The claims that a report makes about a run, each with the figures that decide it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from step3vl.grading import estimate

SUMMARY = "evaluation.json"
"""What the evaluation stage leaves for the report."""
CHANCE_SE = 5.0
"""Standard errors above chance from which a task counts as learned."""
CHANCE_TASKS = 3
"""Learned tasks from which a model counts as better than chance."""
RL_SE = 3.0
"""Standard errors from which RL counts as having raised the reward."""
NOTICEABLE_SE = 2.0
"""Standard errors from which two ways of answering count as different."""


class Claim(NamedTuple):
    """``holds`` is None where the figures decide neither way, or where there are none."""

    statement: str
    holds: bool | None
    evidence: str


def loss_fell(stage: str, losses: Sequence[float]) -> Claim:
    """Whether the mean loss of the last tenth of the steps is below that of the first, beyond the scatter of both.

    Args:
        stage: The stage's name.
        losses: The training loss of each step.
    """
    statement = f"The loss of {stage} falls"
    if not all(map(math.isfinite, losses)):
        return Claim(statement, False, "the loss is not finite")
    if len(losses) < 4:
        return Claim(statement, None, "too few steps to tell")
    tenth = max(len(losses) // 10, 1)
    first, last = estimate(losses[:tenth]), estimate(losses[-tenth:])
    scatter = math.hypot(first.se, last.se) if tenth > 1 else 0.0
    evidence = f"{first.mean:.3f} in the first tenth of {len(losses)} steps, {last.mean:.3f} in the last"
    return Claim(statement, first.mean - last.mean > RL_SE * scatter, evidence)


def beats_chance(scores: Mapping[str, Any], model: str) -> Claim:
    """Whether at least ``CHANCE_TASKS`` tasks are ``CHANCE_SE`` above the best constant answer, at temperature 1.

    Args:
        scores: What the evaluation stage sums up.
        model: The model's name in it.
    """
    rows = [
        (task["task"], row["sampled"]["z"])
        for task in scores["tasks"]
        for row in task["models"]
        if row["model"] == model
    ]
    learned = [name for name, z in rows if z >= CHANCE_SE]
    distances = ", ".join(f"{name} {z:+.1f}" for name, z in rows)
    return Claim(
        f"{model} beats chance by {CHANCE_SE:.0f} standard errors on {CHANCE_TASKS} tasks",
        len(learned) >= CHANCE_TASKS,
        f"{len(learned)} of {len(rows)} tasks, in standard errors: {distances}",
    )


def rl_raised(scores: Mapping[str, Any], model: str) -> Claim:
    """Whether RL raised the mean score over all held-out prompts by ``RL_SE`` of the paired gain, at temperature 1.

    The evidence names the greedy gain too: where the model already decides well, RL moves probability to answers that
    were the most likely before, and greedy answers change little.

    Args:
        scores: What the evaluation stage sums up.
        model: The name in it of the model that RL trained.
    """
    statement = f"RL raises the held-out reward at temperature 1 by {RL_SE:.0f} standard errors"
    row = next((row for row in scores["differences"] if row["to"] == model and row["task"] == "all"), None)
    if row is None:
        return Claim(statement, None, "the model that it started from was not scored")
    gain, greedy = row["sampled"], row["greedy"]
    greedily = f"; {greedy['mean']:+.3f} ± {greedy['se']:.3f} greedily" if greedy else ""
    return Claim(
        statement,
        gain["z"] >= RL_SE,
        f"{gain['mean']:+.3f} ± {gain['se']:.3f} over {row['from']} on the same {row['prompts']} prompts, "
        f"{gain['z']:+.1f} standard errors{greedily}",
    )


def pacore_helps(pacore: Mapping[str, Any]) -> Claim:
    """Whether PaCoRe scores above single answers of the same model on the same prompts.

    Args:
        pacore: Its part "pacore".
    """
    statement = f"PaCoRe with {','.join(map(str, pacore['rounds']))} parallel answers beats single answers"
    row = next(row for row in pacore["rows"] if row["task"] == "all")
    gain = row["difference"]
    figures = (
        f"{row['pacore']['mean']:.3f} against {row['single']['mean']:.3f} on the same {row['prompts']} prompts "
        f"({gain['mean']:+.3f} ± {gain['se']:.3f})"
    )
    if gain["z"] >= NOTICEABLE_SE:
        return Claim(statement, True, f"{figures}; the gain is real")
    if gain["z"] <= -NOTICEABLE_SE:
        return Claim(statement, False, f"{figures}; at this size the synthesis loses what single answers know")
    return Claim(statement, None, f"{figures}; the difference is within its error, so nothing is shown either way")
