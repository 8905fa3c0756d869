"""Loading weights: strict names and shapes, bounded memory, dequantisation."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3Config

from step3vl.data.errors import UserError
from step3vl.model import (
    Step3VLConfig,
    Step3VLForConditionalGeneration,
    Step3VLVisionConfig,
    load_model,
    save_checkpoint,
)
from step3vl.model.logprobs import LanguageHead
from step3vl.model.weights import dequantise

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
BLOCK = 16  # rows and columns of a block in these tests; the released block of 128 would hold a whole small matrix


@pytest.fixture(scope="module")
def saved(model, processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_checkpoint(model, processor, folder, remote_code=False)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def rewrite(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# Strictness


@pytest.mark.parametrize("reader", [AutoModelForCausalLM.from_pretrained, load_model])
def test_missing_unexpected_and_misshapen_tensors_are_listed(folder, reader) -> None:
    """By every way of loading; nothing is initialised at random."""
    tensors = load_file(folder / "model.safetensors")
    tensors["model.extra.weight"] = tensors.pop("model.norm.weight")
    for layer in range(2):
        for norm in ("ln_1", "ln_2"):
            for kind in ("weight", "bias"):
                del tensors[f"vision_model.transformer.resblocks.{layer}.{norm}.{kind}"]
    vocabulary = len(tensors["lm_head.weight"])
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:-1].contiguous()
    rewrite(folder, tensors)
    with pytest.raises(UserError) as error:
        reader(folder)
    message = str(error.value)
    assert "9 missing: vision_model.transformer.resblocks.0.ln_1.weight" in message
    assert "and 4 more" in message
    assert "1 unexpected: model.extra.weight" in message
    assert f"1 of another shape: lm_head.weight ({vocabulary - 1}, 64) instead of ({vocabulary}, 64)" in message
    assert "\n" not in message


def test_a_state_dict_is_checked_too(model) -> None:
    state = dict(model.state_dict())
    del state["vit_large_projector.weight"]
    with pytest.raises(UserError, match=r"1 missing: vit_large_projector\.weight"):
        Step3VLForConditionalGeneration.from_pretrained(None, config=model.config, state_dict=state)


def test_names_of_the_released_key_mapping_are_refused(folder) -> None:
    """With them the decoder would have stayed at random values."""
    tensors = load_file(folder / "model.safetensors")
    rewrite(folder, {name.replace("model.layers.", "model.language_model.layers."): t for name, t in tensors.items()})
    with pytest.raises(UserError, match=r"22 missing: model\.layers\.0.*22 unexpected: model\.language_model\.layers"):
        AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize("reader", [AutoModelForCausalLM.from_pretrained, load_model])
@pytest.mark.parametrize("kept", [-1000, 1000, 4, 0])
def test_a_truncated_file_is_named(folder, reader, kept) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model\.safetensors is truncated or broken") as error:
        reader(folder)
    assert "\n" not in str(error.value)


def test_a_missing_shard_and_a_broken_index_are_named(model, folder) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="200KB")
    next(folder.glob("model-00002-*.safetensors")).unlink()
    with pytest.raises(UserError, match=r"model-00002-.*is missing"):
        AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UserError, match="not an index of weights"):
        AutoModelForCausalLM.from_pretrained(folder)


# Eight bits


def in_eight_bits(weight: Tensor, block: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The weight in float8 and its scales, one for each block, computed block by block as a quantiser does."""
    rows, columns = (-(-size // part) for size, part in zip(weight.shape, block, strict=True))
    values, scales = torch.empty_like(weight), torch.empty(rows, columns)
    for row in range(rows):
        for column in range(columns):
            part = (
                slice(row * block[0], (row + 1) * block[0]),
                slice(column * block[1], (column + 1) * block[1]),
            )
            scales[row, column] = weight[part].abs().max() / LARGEST
            values[part] = weight[part] / scales[row, column]
    return values.to(FLOAT8), scales


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    block=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    seed=st.integers(0, 999),
)
def test_dequantised_blocks_are_accurate_for_any_size(shape, block, seed) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.01
    values, scales = in_eight_bits(weight, block)
    back = dequantise(values, scales, block)
    assert back.dtype == torch.float32
    # A float8 of this kind has three fraction bits: a relative error of 1/16, or half its smallest step.
    bound = torch.maximum(weight.abs() / 16, scales.max() * 2.0**-10)
    assert ((back - weight).abs() <= bound).all()


@pytest.mark.parametrize("scale", [torch.tensor(0.5), torch.tensor([0.5]), torch.tensor([[0.5]])])
def test_a_scale_for_a_tensor(scale) -> None:
    weight = torch.tensor([[1.0, -2.0], [4.0, 8.0]]).to(FLOAT8)
    assert dequantise(weight, scale).tolist() == [[0.5, -1.0], [2.0, 4.0]]


@pytest.mark.parametrize("scale", [torch.tensor([0.5, 2.0]), torch.tensor([[0.5], [2.0]])])
def test_a_scale_for_each_row(scale) -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0], [4.0, 8.0, 1.0]]).to(FLOAT8)
    assert dequantise(weight, scale).tolist() == [[0.5, -1.0, 1.5], [8.0, 16.0, 2.0]]


def test_scales_of_an_unknown_shape_are_refused() -> None:
    with pytest.raises(UserError, match=r"scales of shape \(3, 2\), and blocks of 128x128 need \(2, 2\)"):
        dequantise(torch.zeros(200, 200).to(FLOAT8), torch.ones(3, 2))


LAYOUTS = {
    # quantization_config, suffix of the scales, and the block of a weight
    "blocks": ({"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}, "_scale_inv", (BLOCK, BLOCK)),
    "blocks of compressed-tensors": (
        {
            "quant_method": "compressed-tensors",
            "config_groups": {
                "group_0": {"weights": {"num_bits": 8, "type": "float", "block_structure": [BLOCK, BLOCK]}}
            },
        },
        "_scale",
        (BLOCK, BLOCK),
    ),
    "rows": ({"quant_method": "compressed-tensors", "config_groups": {"group_0": None}}, "_scale", (1, 10**6)),
    "tensors": ({"quant_method": "fp8", "activation_scheme": "static"}, "_scale", (10**6, 10**6)),
}


@pytest.fixture(params=LAYOUTS)
def eight_bits(request, folder) -> tuple[Path, dict[str, Tensor]]:
    """A folder whose linear layers are stored in eight bits, and the values that they encode."""
    quantization, suffix, block = LAYOUTS[request.param]
    stored, values = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        linear = tensor.ndim == 2 and "embed" not in name and "lm_head" not in name
        stored[name], values[name] = tensor.bfloat16(), tensor.bfloat16()
        if linear:
            stored[name], scales = in_eight_bits(tensor, tuple(map(min, block, tensor.shape)))
            stored[name + suffix] = scales.reshape(()) if scales.numel() == 1 else scales
            stored[f"{name.rpartition('.')[0]}.input_scale"] = torch.ones(())
            factors = scales.repeat_interleave(block[0], 0)[: tensor.shape[0]] if block[0] < 10**6 else scales
            factors = factors.repeat_interleave(block[1], 1)[:, : tensor.shape[1]] if block[1] < 10**6 else factors
            values[name] = stored[name].float() * factors
    rewrite(folder, stored)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "dtype": "bfloat16", "quantization_config": quantization})
    )
    return folder, values


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_eight_bit_checkpoints_are_dequantised(eight_bits, tmp_path, dtype, processor) -> None:
    folder, values = eight_bits
    model, _ = load_model(folder, dtype=dtype)
    expected_dtype = dtype or torch.bfloat16
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == expected_dtype
        assert torch.equal(tensor, values[name].to(expected_dtype)), name
    assert type(model.lm_head) is LanguageHead
    save_checkpoint(model, processor, tmp_path / "plain")
    assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    again, _ = load_model(tmp_path / "plain")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_eight_bits_without_a_scale_are_refused(folder) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["vit_large_projector.weight"] = tensors["vit_large_projector.weight"].to(FLOAT8)
    rewrite(folder, tensors)
    with pytest.raises(UserError, match=r"vit_large_projector\.weight is stored in eight bits without a"):
        load_model(folder)


# Memory

WEIGH = """
import gc, resource, sys, threading, time, torch
from step3vl.model import Step3VLForConditionalGeneration

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def measure(dtype):
    peak, done, before = 0, threading.Event(), resident()
    def watch():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident())
            time.sleep(0.001)
    watcher = threading.Thread(target=watch)
    watcher.start()
    model = Step3VLForConditionalGeneration.from_pretrained(sys.argv[1], dtype=dtype)
    for parameter in model.parameters():
        parameter.detach().flatten()[::1024].double().sum()  # touch the pages of what is only mapped
    peak = max(peak, resident())
    done.set()
    watcher.join()
    return (peak - before) / sum(parameter.nbytes for parameter in model.parameters())

measure(torch.bfloat16)  # what a first load brings in and keeps is not the weights'
for dtype in (torch.bfloat16, torch.float32):
    gc.collect()
    print(measure(dtype))
"""


@pytest.fixture(scope="module")
def larger(tmp_path_factory) -> Path:
    """200 MB in eight files."""
    text = Qwen3Config(
        vocab_size=16_000, hidden_size=1024, intermediate_size=3072, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, head_dim=128, max_position_embeddings=1024,
    )  # fmt: skip
    vision = Step3VLVisionConfig(width=64, layers=2, heads=2)
    with torch.device("meta"):
        model = Step3VLForConditionalGeneration(Step3VLConfig(vision_config=vision, text_config=text))
    model = model.to_empty(device="cpu").bfloat16()
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    folder = tmp_path_factory.mktemp("larger")
    model.save_pretrained(folder, max_shard_size="30MB")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
def test_loading_needs_little_more_memory_than_the_weights(larger) -> None:
    """As stored and converted: every resident page counts, mapped files included."""
    returned = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the system at once
    done = subprocess.run([sys.executable, "-c", WEIGH, str(larger)], capture_output=True, text=True, env=returned)
    assert done.returncode == 0, done.stderr[-2000:]
    as_stored, converted = map(float, done.stdout.splitlines()[-2:])
    assert 0.9 < as_stored < 1.2
    assert 0.9 < converted < 1.2
