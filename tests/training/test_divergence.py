"""Runs that train nothing, or whose loss, gradient or weights are not finite: they stop before anything is saved."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from step3vl.data.errors import UserError
from step3vl.model import Step3VLForConditionalGeneration
from step3vl.training import loader as loader_module
from step3vl.training.checkpoint import Provenance, export, save
from step3vl.training.config import EngineConfig, OptimizerConfig
from step3vl.training.engine import (
    NonFiniteError,
    backward,
    check_finite,
    parameter_groups,
    set_learning_rate,
    start_engine,
    step,
)
from step3vl.training.monitor import read_metrics
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import start_model

pytestmark = pytest.mark.usefixtures("single_rank")

Configure = Callable[[dict[str, Any]], dict[str, Any]]
PLACE = r"train-00000-of-00001\.tar at byte \d+"


def change_batches_from(monkeypatch: pytest.MonkeyPatch, call: int, change: Callable[[torch.Tensor], None]) -> None:
    """Change the loss weights of micro-batches from this number on; a step of `run_on_copy` has two."""
    collate, calls = loader_module.collate, []

    def changed(packs: Any, pad: int) -> tuple[dict[str, torch.Tensor], float]:
        inputs, weight = collate(packs, pad)
        calls.append(1)
        if len(calls) >= call:
            change(inputs["loss_weights"])
            weight = float(inputs["loss_weights"].sum(dtype=torch.float64))
        return inputs, weight

    monkeypatch.setattr(loader_module, "collate", changed)


def test_a_step_that_trains_no_token_stops_the_run_and_names_its_samples(
    run_on_copy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_batches_from(monkeypatch, 5, lambda weights: weights.zero_())
    with pytest.raises(UserError, match=rf"no token of step 3 is trained, .*in \d+ samples: .*{PLACE}.*corpus doctor"):
        run_on_copy({"checkpoint": {"every": 2}})
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-00000002"
    assert not (tmp_path / "run" / "export").exists()


def test_trained_tokens_are_counted(run_on_copy: Any) -> None:
    rows = read_metrics(run_on_copy({}) / "metrics.jsonl")
    assert 0 < rows[0]["trained_tokens"] < rows[0]["tokens"]
    assert rows[-1]["trained_tokens"] > rows[0]["trained_tokens"]


def test_a_loss_that_is_not_finite_stops_the_run_before_the_step(
    run_on_copy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(weights: torch.Tensor) -> None:
        weights[weights > 0] = torch.inf

    change_batches_from(monkeypatch, 6, overflow)  # the second micro-batch of step 3
    with pytest.raises(UserError, match=rf"the loss is (nan|inf) at step 3, .*{PLACE}.*nothing of this step is saved"):
        run_on_copy({"checkpoint": {"every": 2}})
    assert (tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-00000002"
    assert not (tmp_path / "run" / "export").exists()


@pytest.fixture
def model(configure: Configure) -> Step3VLForConditionalGeneration:
    torch.manual_seed(0)
    return start_model(PretrainConfig.model_validate(configure({"output": "unused"})))[0]


@pytest.mark.parametrize(
    ("zero_stage", "precision"), [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (3, "bf16")]
)
def test_a_gradient_that_is_not_finite_changes_no_weight(
    model: Step3VLForConditionalGeneration, zero_stage: int, precision: str
) -> None:
    model.model.norm.weight.register_hook(lambda gradient: gradient * torch.inf)
    config = EngineConfig.model_validate({"zero_stage": zero_stage, "precision": precision})
    optimizer = OptimizerConfig()
    engine = start_engine(model, parameter_groups(model, optimizer), optimizer, config)
    set_learning_rate(engine, 0.1)
    parameter = model.model.layers[0].mlp.up_proj.weight
    shard = getattr(parameter, "ds_tensor", parameter)
    before = shard.detach().clone()
    ids = torch.randint(0, 200, (1, 20))
    backward(engine, engine(input_ids=ids, labels=ids).loss, 1.0)
    with pytest.raises(NonFiniteError, match=r"the gradient norm is (inf|nan)"):
        step(engine)
    assert torch.equal(shard, before)


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_weights_that_are_not_finite_are_neither_saved_nor_exported(
    model: Step3VLForConditionalGeneration, tmp_path: Path, zero_stage: int
) -> None:
    optimizer = OptimizerConfig()
    config = EngineConfig.model_validate({"zero_stage": zero_stage, "precision": "fp32"})
    engine = start_engine(model, parameter_groups(model, optimizer), optimizer, config)
    parameter = model.lm_head.weight
    getattr(parameter, "ds_tensor", parameter).data.view(-1)[7] = torch.nan
    provenance = Provenance(zero_stage=zero_stage, model="", tokenizer="", dataset={}, configuration={})
    with pytest.raises(NonFiniteError, match=r"not a number, lm_head\.weight among them"):
        save(tmp_path / "checkpoints", 1, {"model": engine}, {}, provenance, keep=1)
    with pytest.raises(NonFiniteError, match=r"lm_head\.weight"):
        export(engine, None, tmp_path / "export")  # type: ignore[arg-type]  # refused before the processor is used
    assert not list(tmp_path.iterdir())


def test_a_model_with_weights_that_are_not_finite_is_not_trained(run_on_copy: Any, tmp_path: Path) -> None:
    output = run_on_copy({})
    weights = load_file(output / "export" / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    shutil.copytree(output / "export", tmp_path / "broken")
    save_file(weights, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"broken: model\.norm\.weight has values that are infinite or not a number"):
        run_on_copy(
            {"model": None, "tokenizer": None, "init": str(tmp_path / "broken"), "output": str(tmp_path / "b")}
        )


def test_a_finite_model_is_accepted(model: Step3VLForConditionalGeneration) -> None:
    check_finite(model, "here")


def test_a_damaged_checkpoint_is_not_resumed(run_on_copy: Any) -> None:
    output = run_on_copy({})
    file = output / "checkpoints" / "step-00000008" / "random-0.pt"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"random-0\.pt has changed since it was written"):
        run_on_copy({})
