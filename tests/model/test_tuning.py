"""Training of the model: adapters, frozen components, compilation, several devices, long sequences."""

import os
import shutil
import subprocess
import sys

import peft
import pytest
import torch
from torch import Tensor

from step3vl.model import Step3VLForConditionalGeneration, component_of, load_model, save_checkpoint

pytestmark = pytest.mark.slow

COMPONENTS = ("vision", "projector", "decoder")


def logits(model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return model(**inputs).logits


# The tower's stacked queries, keys and values are one bare parameter under their released name, which peft adapts as a
# parameter; everything else is a layer.
ADAPTED = {
    "decoder": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
    "vision": {"target_modules": ["c_fc", "c_proj"], "target_parameters": ["attn.in_proj_weight"]},
    "convolutions and projector": {
        "target_modules": ["conv1", "vit_downsampler1", "vit_downsampler2", "vit_large_projector"]
    },
    "ends": {"target_modules": ["embed_tokens", "lm_head"]},
    "every layer": {
        "target_modules": r".*(_proj|c_fc|conv1|downsampler\d|projector|lm_head|embed_tokens)",
        "target_parameters": ["attn.in_proj_weight"],
    },
}


@pytest.mark.parametrize("part", ADAPTED)
def test_an_adapter_is_trained_merged_and_saved(fresh_model, spec, processor, tmp_path, part, with_images) -> None:
    inputs = with_images(fresh_model, spec, rows=2, length=30)
    names = set(fresh_model.state_dict())
    before = {name: tensor.clone() for name, tensor in fresh_model.state_dict().items()}
    plain = logits(fresh_model, inputs)
    adapted = peft.get_peft_model(fresh_model, peft.LoraConfig(r=4, lora_alpha=8, **ADAPTED[part])).train()
    assert torch.allclose(logits(adapted.eval(), inputs), plain, atol=1e-5), "a new adapter changes nothing"
    adapted.train().gradient_checkpointing_enable()
    adapted.enable_input_require_grads()
    trained = {name: parameter for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = adapted(**inputs, labels=inputs["input_ids"]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert not [name for name, parameter in trained.items() if not parameter.grad.abs().max() > 0]
    learned = logits(adapted.eval(), inputs)
    assert (learned - plain).abs().max() > 1e-3
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload()
    if "target_parameters" in ADAPTED[part]:
        merged = adapted.merge_and_unload()  # a layer inside of an adapted module is unloaded in a second round
    assert set(merged.state_dict()) == names
    assert torch.allclose(logits(merged, inputs), learned, atol=1e-4)
    save_checkpoint(merged, processor, tmp_path / "merged")
    again, _ = load_model(tmp_path / "merged")
    assert torch.equal(logits(again, inputs), logits(merged, inputs))
    again.load_state_dict(before)
    restored = peft.PeftModel.from_pretrained(again, tmp_path / "adapter")
    assert torch.allclose(logits(restored, inputs), learned, atol=1e-4)


@pytest.mark.parametrize("frozen", [("vision",), ("vision", "projector"), ("decoder",), ()])
def test_frozen_components_have_no_gradient(fresh_model, spec, frozen, with_images) -> None:
    inputs = with_images(fresh_model, spec, rows=2, length=30)
    fresh_model.freeze("vision", "decoder")
    fresh_model.freeze(*frozen)
    fresh_model.train()(**inputs, labels=inputs["input_ids"]).loss.backward()
    learned = {component_of(name) for name, parameter in fresh_model.named_parameters() if parameter.grad is not None}
    assert learned == set(COMPONENTS) - set(frozen)
    for name, parameter in fresh_model.named_parameters():
        assert (parameter.grad is None) == (component_of(name) in frozen), name


def test_every_parameter_belongs_to_a_component(model) -> None:
    component = {name: component_of(name) for name in model.state_dict()}
    assert component["vision_model.conv1.weight"] == component["vision_model.positional_embedding"] == "vision"
    assert component["vision_model.vit_downsampler1.weight"] == component["vit_large_projector.weight"] == "projector"
    assert component["model.embed_tokens.weight"] == component["lm_head.weight"] == "decoder"


@torch.inference_mode()
def test_the_model_compiles_without_graph_breaks_for_text(fresh_model, spec, with_images) -> None:
    """Captured and lowered, without code generation, which needs a compiler and half a minute."""
    torch.compiler.reset()
    inputs = with_images(fresh_model, spec, rows=2, length=26)
    words = {"input_ids": inputs["input_ids"].clamp(max=255)}
    whole = torch.compile(fresh_model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(whole(**words).logits, fresh_model(**words).logits, atol=1e-4)
    compiled = torch.compile(fresh_model, backend="aot_eager")
    assert torch.allclose(compiled(**inputs).logits, fresh_model(**inputs).logits, atol=1e-4)


@torch.inference_mode()
@pytest.mark.skipif(shutil.which("g++") is None, reason="generating code for a CPU takes a C++ compiler")
def test_the_vision_tower_compiles_to_code(fresh_model) -> None:
    torch.compiler.reset()
    tower = fresh_model.vision_model
    pixels = torch.randn(1, 3, 56, 56)
    assert torch.allclose(torch.compile(tower)(pixels), tower(pixels), atol=1e-4)


MAPS = {
    "cpu": "cpu",
    "auto": "auto",
    "parts": {
        "vision_model": "cpu", "vit_large_projector": "disk", "model.embed_tokens": "cpu", "model.layers.0": "cpu",
        "model.layers.1": "disk", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_modules_may_be_on_different_devices(model, spec, tmp_path, name, with_images) -> None:
    model.save_pretrained(tmp_path / "model")
    inputs = with_images(model, spec, rows=2, length=26)
    placed = Step3VLForConditionalGeneration.from_pretrained(
        tmp_path / "model", device_map=MAPS[name], offload_folder=tmp_path / "offload"
    )
    if name == "parts":
        assert {str(parameter.device) for parameter in placed.parameters()} == {"cpu", "meta"}
    assert torch.equal(logits(placed, inputs), logits(model, inputs))
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(placed.generate(**inputs, **options), model.generate(**inputs, **options))


def test_no_device_boundary_splits_a_layer_or_the_vision_tower(model) -> None:
    from accelerate import infer_auto_device_map

    total = sum(parameter.nbytes for parameter in model.parameters())
    devices = infer_auto_device_map(
        model, max_memory={0: total // 2, 1: total // 2, "cpu": total}, no_split_module_classes=model._no_split_modules
    )
    for name, device in devices.items():
        assert name in ("vision_model", "vit_large_projector", "lm_head") or name.startswith("model"), (name, device)
        assert name.count(".") <= 2 or not name.startswith("model.layers."), f"{name} is a part of a layer"


LONG = """
import torch
from transformers import Qwen3Config
from step3vl.model import Step3VLConfig, Step3VLForConditionalGeneration, Step3VLVisionConfig
from step3vl.model import logprobs

def memory(kind):  # VmRSS now, VmHWM at most; of this process alone, unlike getrusage
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(kind)) * 1024

tokens, vocabulary = 32_768, 2_048
logprobs.MAX_LOGITS_PER_CHUNK = 2**20  # smaller than usual by about as much as the vocabulary is
text = Qwen3Config(vocab_size=vocabulary, hidden_size=16, intermediate_size=16, num_hidden_layers=1, head_dim=8,
                   num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=512)
vision = Step3VLVisionConfig(image_size=28, patch_size=7, width=8, layers=1, heads=2)
model = Step3VLForConditionalGeneration(Step3VLConfig(vision_config=vision, text_config=text, image_token_id=2000))
ids = torch.randint(0, 1900, (64, tokens // 64))  # attention over all of them at once would take a minute
model(ids[:4], labels=ids[:4]).loss.backward()
before = memory("VmRSS:")
model(ids, labels=ids).loss.backward()
used = memory("VmHWM:") - before
print(used / (tokens * vocabulary * 4))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory as Linux counts it")
def test_the_logits_of_32k_tokens_are_never_held_at_once() -> None:
    """Forward and backward need a fraction of the memory of the logits alone."""
    # Tensors of a few megabytes are put where the allocator cannot give them back; those of real runs are larger.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "100000"}
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.splitlines()[-1]) < 0.3
