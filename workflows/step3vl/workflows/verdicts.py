"""What a run has shown, computed from its files: each claim of the report with the figures that decide it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from step3vl.workflows.statistics import estimate

CHANCE_SE = 5.0
"""Standard errors above chance from which a task counts as learned."""
CHANCE_TASKS = 3
RL_SE = 3.0
"""Standard errors from which RL counts as having raised the reward."""
NOTICEABLE_SE = 2.0
"""Standard errors from which two ways of answering count as different."""


class Verdict(NamedTuple):
    """``holds`` is None where the figures decide neither way, or where there are none."""

    claim: str
    holds: bool | None
    finding: str


def loss_fell(stage: str, losses: Sequence[float]) -> Verdict:
    """Whether the last tenth of the steps lies below the first, by more than the scatter of both explains."""
    claim = f"The loss of {stage} falls"
    tenth = max(len(losses) // 10, 1)
    if len(losses) < 4 or not all(map(math.isfinite, losses)):
        return Verdict(
            claim,
            None if all(map(math.isfinite, losses)) else False,
            "too few steps to tell" if len(losses) < 4 else "the loss is not finite",
        )
    first, last = estimate(losses[:tenth]), estimate(losses[-tenth:])
    scatter = math.hypot(first.se, last.se) if tenth > 1 else 0.0
    finding = f"{first.mean:.3f} in the first tenth of {len(losses)} steps, {last.mean:.3f} in the last"
    return Verdict(claim, first.mean - last.mean > RL_SE * scatter, finding)


def beats_chance(scores: Mapping[str, Any], model: str) -> Verdict:
    """Whether at least three tasks stand five standard errors above the best constant answer (temperature 1)."""
    rows = [
        (task["task"], row["sampled"]["z"])
        for task in scores["tasks"]
        for row in task["models"]
        if row["model"] == model
    ]
    above = [name for name, z in rows if z >= CHANCE_SE]
    each = ", ".join(f"{name} {z:+.1f}" for name, z in rows)
    finding = f"{len(above)} of {len(rows)} tasks, in standard errors: {each}"
    return Verdict(
        f"{model} beats chance by {CHANCE_SE:.0f} standard errors on {CHANCE_TASKS} tasks",
        len(above) >= CHANCE_TASKS,
        finding,
    )


def rl_raised(scores: Mapping[str, Any], model: str) -> Verdict:
    """Whether RL raised the mean reward over all held-out prompts by three standard errors of the paired gain."""
    claim = f"RL raises the held-out reward by {RL_SE:.0f} standard errors"
    row = next((row for row in scores["differences"] if row["to"] == model and row["task"] == "all"), None)
    if row is None:
        return Verdict(claim, None, "the model that it started from was not scored")
    gain = row["sampled"]
    return Verdict(
        claim,
        gain["z"] >= RL_SE,
        f"{gain['mean']:+.3f} ± {gain['se']:.3f} over {row['from']} on the same {row['prompts']} prompts, "
        f"{gain['z']:+.1f} standard errors",
    )


def pacore_helps(pacore: Mapping[str, Any]) -> Verdict:
    """Whether PaCoRe scores above single answers of the same model on the same prompts."""
    claim = f"PaCoRe with {pacore['rollouts']} parallel answers beats single answers"
    row = next(row for row in pacore["rows"] if row["task"] == "all")
    gain = row["difference"]
    figures = (
        f"{row['pacore']['mean']:.3f} against {row['single']['mean']:.3f} on the same {row['prompts']} prompts "
        f"({gain['mean']:+.3f} ± {gain['se']:.3f})"
    )
    if gain["z"] >= NOTICEABLE_SE:
        return Verdict(claim, True, f"{figures}; the gain is real")
    if gain["z"] <= -NOTICEABLE_SE:
        return Verdict(claim, False, f"{figures}; at this size the synthesis loses what single answers know")
    return Verdict(claim, None, f"{figures}; the difference is within its error, so nothing is shown either way")
