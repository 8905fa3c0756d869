"""Summaries of graded prompts."""

import pytest

from step3vl.grading import Grade
from step3vl.training.rl.metrics import prompt_rewards, rollout_metrics, summarize, summarize_by_task
from step3vl.training.rl.rewards import PromptGrades
from step3vl.training.rl.rollout import PolicyRollout

CORRECT, WRONG, TRUNCATED = Grade(1.0, "correct"), Grade(0.0, "wrong"), Grade(0.0, "truncated")
PROMPTS = [PromptGrades("a", "t.x", (CORRECT, WRONG)), PromptGrades("b", "t.y", (CORRECT, CORRECT))]


def test_a_summary_counts_prompts_not_responses() -> None:
    total = summarize(PROMPTS)
    assert total["reward_mean"] == 0.75
    assert total["reward_se"] == pytest.approx(0.25)
    assert total["prompts"] == 2
    assert total["correct"] == 0.75
    assert summarize_by_task(PROMPTS)["t.x"]["reward_mean"] == 0.5
    assert [row["reward"] for row in prompt_rewards(PROMPTS)] == [0.5, 1.0]


def test_metrics_of_an_iteration_count_verdicts_lengths_and_prompts_that_teach() -> None:
    def rollout(length: int) -> PolicyRollout:
        return PolicyRollout((1,) * length, (0.0,) * length, "", "stop", version=0)

    prompts = [*PROMPTS, PromptGrades("c", "t.x", (WRONG, TRUNCATED))]
    metrics = rollout_metrics(prompts, [[rollout(1), rollout(2)], [rollout(3), rollout(4)], [rollout(5), rollout(6)]])
    assert (metrics["all_correct"], metrics["some_correct"], metrics["none_correct"]) == (1 / 3, 1 / 3, 1 / 3)
    assert (metrics["length"], metrics["response_tokens"]) == (3.5, 21)
    assert metrics["reward/t.x"] == 0.25
    assert metrics["truncated"] == pytest.approx(1 / 6)
    assert "prompts" not in metrics
