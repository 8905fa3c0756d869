"""Two ranks whose batches differ in every way; started by `launch` in tests.

`STEPS` is shared by all distributed cases: a text-only rank, a rank without crops, unequal lengths. The argument names
a JSON file with the engine's settings of each case by its name; the results of each are written beside it. One set of
ranks runs all of them, because starting Python with torch takes seconds.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from step3vl.data.sample import ImageSpec
from step3vl.model import Step3VLForConditionalGeneration, logprobs, tiny_config
from step3vl.training import engine as engine_module
from step3vl.training.config import EngineConfig, OptimizerConfig
from step3vl.training.distributed import global_sums
from step3vl.training.engine import backward, join, leave, parameter_groups, set_learning_rate, start_engine, step
from step3vl.training.launch import run_rank
from step3vl.training.rl.experience import NetworkInputs
from step3vl.training.rl.networks import critic_of, entropies, response_logprobs, response_values

VOCABULARY, IMAGE_TOKEN = 18_992, 18_735
SPEC = ImageSpec(image_size=28, crop_size=28, patch_size=7, max_side=84)
RATE = 1e-2
CHUNK = 110 * VOCABULARY
"""Logits at once: those of 110 tokens, so that ranks differ in their number of chunks at lengths of a test."""
STEPS = (
    (("crops", 300), ("text", 40)),
    (("view", 60), ("crops", 260)),
    (("text", 30), ("text", 400)),
    (("text", 120), ("view", 90)),
)
"""For each step what either rank's row shows, and its tokens."""


def make_model() -> Step3VLForConditionalGeneration:
    torch.manual_seed(0)
    config = tiny_config(
        VOCABULARY, SPEC, image_token_id=IMAGE_TOKEN, hidden_size=16, layers=2, heads=2, kv_heads=1, vision_width=16,
        vision_layers=1, vision_heads=2,
    )  # fmt: skip
    return Step3VLForConditionalGeneration(config).train()


def make_batch(number: int, rank: int) -> dict[str, Tensor]:
    """The row of a rank in a step: an image with two crops, one without, or none, and random text."""
    content, length = STEPS[number][rank]
    generator = torch.Generator().manual_seed(10 * number + rank)
    ids = torch.randint(0, 2000, (1, length), generator=generator)
    weights = (torch.rand(1, length, generator=generator) > 0.3).float()
    inputs = {"input_ids": ids, "labels": ids, "loss_weights": weights, "sequence_ids": torch.ones_like(ids)}
    if content != "text":
        crops = 2 if content == "crops" else 0
        tokens = SPEC.image_tokens + crops * SPEC.crop_tokens
        ids[0, :tokens], weights[0, :tokens] = IMAGE_TOKEN, 0.0
        inputs["pixel_values"] = torch.randn(1, 3, SPEC.image_size, SPEC.image_size, generator=generator)
        inputs["patch_pixel_values"] = torch.randn(crops, 3, SPEC.crop_size, SPEC.crop_size, generator=generator)
        inputs["num_patches"] = torch.tensor([crops])
    return inputs


def response_batch(rank: int) -> tuple[NetworkInputs, Tensor]:
    """The rollouts of a rank as RL passes them to its networks, one with pixels and one of text, and their mask."""
    batch = make_batch(0, rank)
    images = {name: batch[name] for name in batch if "pix" in name or name == "num_patches"}
    if not images:
        images = {
            "pixel_values": torch.zeros(0, 3, SPEC.image_size, SPEC.image_size),
            "patch_pixel_values": torch.zeros(0, 3, SPEC.crop_size, SPEC.crop_size),
            "num_patches": torch.zeros(0, dtype=torch.int64),
        }
    ids = batch["input_ids"]
    inputs = NetworkInputs(ids, torch.ones_like(ids), images, start=20)
    return inputs, torch.ones(1, ids.shape[1] - 20, dtype=torch.bool)


@torch.no_grad()
def score_responses(actor: torch.nn.Module, critic: torch.nn.Module, policy: Any, rank: int) -> list[float]:
    """Sums of a rank's responses: of log-probabilities, of entropies, and of squared values, whose signs differ."""
    inputs, mask = response_batch(rank)
    suppress = torch.tensor([IMAGE_TOKEN])
    scores, hidden = response_logprobs(actor, inputs, mask, 1.0, suppress)
    entropy = entropies(policy, hidden, mask, 1.0, suppress)
    values = response_values(critic, inputs).double()
    return [float(part.double().sum()) for part in (scores, entropy, values.square())]


def make_critic(model: Step3VLForConditionalGeneration) -> Step3VLForConditionalGeneration:
    critic = critic_of(model, keep_vision=True)
    with torch.no_grad():
        critic.lm_head.weight.fill_(0.25)
    return critic


def with_all_parameters_partitioned(configuration: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """DeepSpeed keeps small parameters whole, which would hide in small models what large ones do."""

    def changed(*args: Any, **kwargs: Any) -> dict[str, Any]:
        settings = configuration(*args, **kwargs)
        settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        return settings

    return changed


def run_case(settings: EngineConfig, rank: int) -> dict[str, Any]:
    """The losses, norms of gradients, evaluation and scores of responses that all ranks agree on."""
    optimizer = OptimizerConfig()

    def start(model: Step3VLForConditionalGeneration) -> Any:
        return start_engine(model, parameter_groups(model, optimizer), optimizer, settings)

    model = make_model()
    critic, engine = start(make_critic(model)), start(model)
    pixels = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    results: dict[str, Any] = {"losses": [], "norms": []}
    results["responses"] = global_sums(*score_responses(engine, critic, engine.module, rank))
    for number in range(len(STEPS)):
        batch = make_batch(number, rank)
        batch = {name: value.to(pixels) if "pixel" in name else value for name, value in batch.items()}
        with torch.no_grad():
            engine(**batch)  # an evaluation, with gradients off
        set_learning_rate(engine, RATE)
        output = engine(**batch)
        (weight,) = global_sums(float(output.loss_weight))
        loss = output.loss * output.loss_weight
        backward(engine, loss, weight)
        results["norms"].append(step(engine))
        results["losses"].append(global_sums(float(loss.detach()))[0] / weight)
    engine.eval()  # sharded parameters need all ranks in evaluation mode too
    with torch.no_grad():
        batch = {name: value.to(pixels) if "pixel" in name else value for name, value in make_batch(0, rank).items()}
        last = engine(**batch)
    total, weight = global_sums(float(last.loss * last.loss_weight), float(last.loss_weight))
    return {**results, "evaluation": total / weight}


def main(path: str) -> None:
    cases = json.loads(Path(path).read_text(encoding="utf-8"))
    join()
    rank = torch.distributed.get_rank()
    logprobs.MAX_LOGITS_PER_CHUNK = CHUNK
    engine_module.deepspeed_config = with_all_parameters_partitioned(engine_module.deepspeed_config)
    for name, options in cases.items():
        results = run_case(EngineConfig.model_validate(options), rank)
        if rank == 0:
            Path(path).with_name(f"{name}.json").write_text(json.dumps(results), encoding="utf-8")
    leave()


if __name__ == "__main__":
    run_rank(main)
