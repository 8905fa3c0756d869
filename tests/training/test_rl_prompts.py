"""The order of prompts, and the summary of what held-out ones earn."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.evaluate import PromptResult, mean_and_error, summary
from step3vl.training.rl.prompts import PromptPool, prompt_of
from step3vl.training.rl.rewards import Graded

REQUIRED = {"output": "o", "init": "i", "dataset": "d"}


@pytest.fixture(scope="module")
def pool(corpus: Path) -> PromptPool:
    return PromptPool(Dataset.open(corpus), "train", ["vqa.*"], seed=3)


def test_only_conversations_of_the_chosen_tasks_and_split(corpus: Path, pool: PromptPool) -> None:
    assert set(pool.tasks) == {"vqa.colour"}
    assert len(pool) == 50
    assert len(PromptPool(Dataset.open(corpus), "heldout", ["*"], seed=0)) == 20  # documents are no prompts
    trained = {pool.read(row).id for row in range(len(pool))}
    heldout = PromptPool(Dataset.open(corpus), "heldout", ["vqa.*"], seed=3)
    assert not trained & {heldout.read(row).id for row in range(len(heldout))}


def test_every_epoch_is_another_permutation(corpus: Path, pool: PromptPool) -> None:
    first, second = pool.rows(0, 50), pool.rows(50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    other = PromptPool(Dataset.open(corpus), "train", ["vqa.*"], seed=4)
    assert other.rows(0, 50) != first


def test_the_order_is_a_function_of_the_position(pool: PromptPool) -> None:
    whole = pool.rows(0, 200)

    @given(st.integers(0, 150), st.integers(0, 50))
    @settings(max_examples=30)
    def resumed_anywhere(start: int, count: int) -> None:
        assert pool.rows(start, count) == whole[start : start + count]

    resumed_anywhere()


def test_held_out_prompts_are_the_first_of_each_task(corpus: Path) -> None:
    pool = PromptPool(Dataset.open(corpus), "heldout", ["*"], seed=0)
    rows = pool.first_of_each_task(4)
    assert sorted(pool.tasks[row] for row in rows) == ["education.sum"] * 4 + ["vqa.colour"] * 4
    assert rows == pool.first_of_each_task(4)
    assert len(pool.first_of_each_task(1000)) == len(pool)


def test_a_sample_without_truth_is_named(corpus: Path) -> None:
    pool = PromptPool(Dataset.open(corpus), "train", ["education.sum"], seed=0)
    with pytest.raises(UserError, match=r"has no truth to reward by: drop education\.sum from tasks"):
        pool.read(0)


def test_a_prompt_keeps_its_pictures_and_not_its_answer(pool: PromptPool) -> None:
    sample = pool.read(0)
    prompt = prompt_of(sample)
    assert [message.role for message in prompt.messages] == ["user"]
    assert prompt.images[0].read() == sample.images[0].read()


def test_mean_and_standard_error() -> None:
    assert mean_and_error([0.0, 1.0, 1.0, 0.0]) == pytest.approx((0.5, 0.288675), abs=1e-6)
    assert mean_and_error([0.3]) == (0.3, 0.0)
    assert mean_and_error([]) == (0.0, 0.0)


def test_summary_counts_prompts_not_samples() -> None:
    right, wrong = Graded(1.0, "correct"), Graded(0.0, "wrong")
    total = summary([PromptResult("a", "t.x", (right, wrong)), PromptResult("b", "t.y", (right, right))])
    assert total["reward_mean"] == 0.75
    assert total["reward_se"] == pytest.approx(0.25)
    assert total["prompts"] == 2
    assert total["correct"] == 0.75
    assert total["tasks"]["t.x"]["reward_mean"] == 0.5
    assert [one["reward"] for one in total["results"]] == [0.5, 1.0]


def test_the_defaults_are_those_of_the_report() -> None:
    config = RLConfig.model_validate(REQUIRED)
    assert (config.prompts_per_iteration, config.rollouts_per_prompt, config.iterations) == (512, 16, 600)
    assert (config.gamma, config.lam, config.tis_cap, config.actor_minibatches) == (1.0, 1.0, 8.0, 4)
    assert (config.actor_lr, config.critic_lr, config.importance) == (2e-6, 5e-6, "none")
    assert config.shares_features


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": 3}, "prompts_per_iteration 512 is not a multiple of processes 3"),
        ({"prompts_per_iteration": 1, "rollouts_per_prompt": 8}, "critic_minibatches 12 exceeds the 8 rollouts"),
        ({"iteration": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RLConfig.model_validate({**REQUIRED, **changes})
