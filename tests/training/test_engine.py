"""Parameter groups, accumulation of gradients, and the options of the engine that the model takes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from step3vl.data.errors import UserError
from step3vl.model import Step3VLForConditionalGeneration, component_of, masks
from step3vl.training import config as config_module
from step3vl.training.config import EngineConfig, OptimizerConfig
from step3vl.training.engine import backward, is_slow, parameter_groups, start_engine
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import start_model

Configure = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def model(configure: Configure) -> Step3VLForConditionalGeneration:
    torch.manual_seed(0)
    return start_model(PretrainConfig.model_validate(configure({"output": "o"})))[0]


def test_groups_freeze_and_scale_components_and_do_not_decay_vectors(model: Step3VLForConditionalGeneration) -> None:
    rates = {"vision": 0.0, "projector": 0.5, "decoder": 1.0}
    groups = parameter_groups(model, OptimizerConfig.model_validate({"lr_scale": rates, "weight_decay": 0.1}))
    settings = {id(p): (group["lr_scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        rate = rates[component_of(name)]
        assert parameter.requires_grad == (rate > 0)
        expected = (rate, 0.1 if parameter.ndim > 1 else 0.0)
        assert settings.get(id(parameter)) == (expected if rate else None), name
    assert {component_of(name) for name, _ in model.named_parameters()} == set(rates)


@pytest.mark.slow
@pytest.mark.usefixtures("single_rank")
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_gradients_of_96_micro_batches_accumulate_in_float32(configure: Configure, zero_stage: int) -> None:
    """The sum over micro-batches adds no error to that of their bfloat16 gradients; in bfloat16 it adds 1 %."""
    from deepspeed.utils import safe_get_full_grad

    torch.manual_seed(0)
    small = {"layers": 1, "vision_layers": 1}
    model, _ = start_model(PretrainConfig.model_validate(configure({"output": "o", "model": small})))
    count, optimizer = 96, OptimizerConfig()
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.data = parameter.data.bfloat16()
    config = EngineConfig.model_validate({"zero_stage": zero_stage, "precision": "bf16"})
    engine = start_engine(model, parameter_groups(model, optimizer), optimizer, config, accumulation=count)
    generator = torch.Generator().manual_seed(0)
    expected = {name: torch.zeros(parameter.shape) for name, parameter in twin.named_parameters()}
    for number in range(count):
        ids = torch.randint(0, 256, (1, 24), generator=generator)
        engine.set_gradient_accumulation_boundary(number == count - 1)
        backward(engine, engine(input_ids=ids, labels=ids).loss, count)
        if number < count - 1:
            engine.step()
        (twin(input_ids=ids, labels=ids).loss / count).backward()
        for name, parameter in twin.named_parameters():
            expected[name] += parameter.grad.float()
            parameter.grad = None
    errors = {}
    for name, parameter in model.named_parameters():
        if expected[name].norm() > 0:
            errors[name] = float((safe_get_full_grad(parameter) - expected[name]).norm() / expected[name].norm())
    assert len(errors) > 10
    assert max(errors.values()) < 2e-4, errors


def test_bfloat16_gradients_would_accumulate_without_zero_and_are_refused() -> None:
    with pytest.raises(ValidationError, match="set zero_stage to 1, or precision to autocast"):
        EngineConfig.model_validate({"zero_stage": 0, "precision": "bf16"})


@pytest.mark.usefixtures("single_rank")
def test_the_model_takes_attention_and_recomputation_from_the_configuration(
    model: Step3VLForConditionalGeneration,
) -> None:
    optimizer = OptimizerConfig()
    config = EngineConfig(precision="fp32", attention="eager", gradient_checkpointing=True)
    engine = start_engine(model, parameter_groups(model, optimizer), optimizer, config)
    assert model.model.config._attn_implementation == "eager"
    assert model.model.layers[0].gradient_checkpointing
    assert model.vision_model.transformer.resblocks[0].gradient_checkpointing
    ids = torch.randint(0, 200, (1, 20))
    runs = []
    model.model.layers[0].self_attn.register_forward_hook(lambda *_: runs.append(1))
    backward(engine, engine(input_ids=ids, labels=ids).loss, 1.0)
    assert len(runs) == 2, "the layer is run again in the backward pass"


@pytest.mark.usefixtures("single_rank")
def test_an_attention_whose_package_is_missing_is_refused_in_one_line(
    model: Step3VLForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ImportError("FlashAttention2 has been toggled on, but\n flash_attn is not installed")

    monkeypatch.setattr(model, "set_attn_implementation", missing)
    config = EngineConfig(attention="flash_attention_2")
    with pytest.raises(UserError, match=r"^engine\.attention flash_attention_2: FlashAttention2 .* is not installed$"):
        start_engine(model, [], OptimizerConfig(), config)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_dense_mask_beyond_8k_tokens_is_refused_with_the_remedy(configure: Configure, attention: str) -> None:
    long = {"data": {"sequence_length": 16_384}, "engine": {"attention": attention}, "output": "o"}
    with pytest.raises(ValidationError, match=r"data\.sequence_length 16384 is too long .* flash_attention_2 or flex"):
        PretrainConfig.model_validate(configure(long))
    PretrainConfig.model_validate(configure({**long, "engine": {"attention": "flash_attention_2"}}))
    assert config_module.MAX_DENSE_MASK_TOKENS == masks.MAX_DENSE_MASK_TOKENS


@pytest.mark.parametrize(
    ("capability", "precision", "slow"),
    [("AVX2", "autocast", True), ("AVX2", "bf16", True), ("AVX2", "fp32", False), ("AVX512", "autocast", False)],
)
def test_bfloat16_is_known_to_be_slow_without_avx512(
    monkeypatch: pytest.MonkeyPatch, capability: str, precision: Any, slow: bool
) -> None:
    monkeypatch.setattr("step3vl.training.engine._CPU", True)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert is_slow(precision) == slow
