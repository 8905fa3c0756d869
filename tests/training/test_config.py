"""Configurations of pretraining and fine-tuning: what is refused, and with which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from step3vl.data.errors import UserError
from step3vl.training.config import TrainConfig, read_config
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.sft import SFTConfig

Configure = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "x"}, "either init"),
        ({"tokenizer": None}, "needs a tokenizer"),
        ({"data": {"global_batch": 3}}, r"data\.global_batch 3 is no multiple of engine\.micro_batch 2 x processes 2"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    configure: Configure, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainConfig.model_validate(configure({"output": "o", **changes}))


def test_fine_tuning_needs_a_model_to_start_from(configure: Configure) -> None:
    with pytest.raises(ValidationError, match="fine-tuning needs init"):
        SFTConfig.model_validate(configure({"output": "o"}))


def test_a_file_with_an_unknown_field_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("output: x\nphasis: []\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"typo\.yaml: "):
        read_config(str(tmp_path / "typo.yaml"), PretrainConfig)


@pytest.mark.parametrize("name", TrainConfig.RENAMED)
def test_a_renamed_field_is_refused_and_the_new_name_exists(configure: Configure, name: str) -> None:
    dotted = TrainConfig.RENAMED[name]
    with pytest.raises(ValidationError, match=f"'{name}' is now '{dotted}'; rename the field"):
        PretrainConfig.model_validate(configure({"output": "o", name: 1}))
    value: Any = PretrainConfig.model_validate(configure({"output": "o"}))
    for part in dotted.split("."):
        value = getattr(value, part)
