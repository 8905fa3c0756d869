"""Configuration of reinforcement learning: the defaults of the report, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from step3vl.data.errors import UserError
from step3vl.training.rl.config import RLConfig

ATTENTION = {"attention": "flash_attention_2"}  # for the default responses of 24,576 tokens
REQUIRED: dict[str, Any] = {"output": "o", "init": "i", "data": {"dataset": "d"}, "engine": ATTENTION}


def test_the_defaults_are_those_of_the_report() -> None:
    config = RLConfig.model_validate(REQUIRED)
    assert (config.rollout.prompts_per_iteration, config.rollout.rollouts_per_prompt) == (512, 16)
    assert (config.iterations, config.actor.minibatches) == (600, 4)
    assert (config.algorithm.gamma, config.algorithm.lam, config.algorithm.tis_cap) == (1.0, 1.0, 8.0)
    assert (config.actor.lr, config.critic.lr, config.algorithm.importance) == (2e-6, 5e-6, "none")
    assert (config.optimizer.lr_scale.vision, config.optimizer.lr_scale.projector) == (0.0, 0.0)
    assert (config.optimizer.weight_decay, config.optimizer.grad_clip) == (0.0, 1.0)
    assert config.shares_features


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"engine": {**ATTENTION, "processes": 3}},
            r"prompts_per_iteration 512 is not a multiple of engine\.processes 3",
        ),
        (
            {"rollout": {"prompts_per_iteration": 1, "rollouts_per_prompt": 8}},
            r"critic\.minibatches 12 exceeds the 8 rollouts",
        ),
        ({"data": None}, "give the prompts, as data, or live environments, as environments"),
        ({"engine": {}}, r"24576 is too long for engine\.attention sdpa"),
        ({"iteration": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RLConfig.model_validate({**REQUIRED, **changes})


def test_a_launcher_sets_the_number_of_processes() -> None:
    config = RLConfig.model_validate({**REQUIRED, "engine": {**ATTENTION, "processes": 8}}).with_processes(16)
    assert config.engine.processes == 16
    with pytest.raises(UserError, match=r"512 is not a multiple of engine\.processes 12; 12 processes were started"):
        config.with_processes(12)


@pytest.mark.parametrize("name", RLConfig.RENAMED)
def test_a_renamed_field_is_refused_and_the_new_name_exists(name: str) -> None:
    dotted = RLConfig.RENAMED[name]
    with pytest.raises(ValidationError, match=f"'{name}' is now '{dotted}'; rename the field"):
        RLConfig.model_validate({**REQUIRED, name: 1})
    value: Any = RLConfig.model_validate(REQUIRED)
    for part in dotted.split("."):
        value = getattr(value, part)
