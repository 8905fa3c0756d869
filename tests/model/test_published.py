"""A folder in the layout of the released repository, with few narrow layers: loaded by Auto classes, saved again."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image
from published import PUBLISHED
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

from step3vl.data.tokens import load_tokenizer
from step3vl.model import (
    Step3VLConfig,
    Step3VLForConditionalGeneration,
    Step3VLProcessor,
    load_model,
    save_checkpoint,
)

# As published, but for the sizes that are made small: width, layers, heads of both sides.
CONFIG = {
    **PUBLISHED,
    "vision_config": {**PUBLISHED["vision_config"], "width": 16, "layers": 2, "heads": 2},
    "text_config": {
        **PUBLISHED["text_config"],
        "head_dim": 8,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
    },
}
GENERATION = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "eos_token_id": [151643, 151645, 151679]}
TOKENIZER = {
    "tokenizer_class": "Qwen2Tokenizer",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "model_max_length": 131072,
    "clean_up_tokenization_spaces": False,
}
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}"
    "{{ '<im_patch>' if p.type == 'image' else p.text }}{% endfor %}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n<think>\n"
)


def published_tensors() -> dict[str, torch.Tensor]:
    """Random bfloat16 under the released names; written by hand, independently of the model."""
    width, hidden, mlp = 16, 16, int(16 * 8960 / 1536)
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.conv1.weight": (width, 3, 14, 14),
        "vision_model.positional_embedding": (2704, width),
        "vision_model.ln_pre.weight": (width,),
        "vision_model.ln_pre.bias": (width,),
        "vision_model.vit_downsampler1.weight": (2 * width, width, 3, 3),
        "vision_model.vit_downsampler1.bias": (2 * width,),
        "vision_model.vit_downsampler2.weight": (4 * width, 2 * width, 3, 3),
        "vision_model.vit_downsampler2.bias": (4 * width,),
        "vit_large_projector.weight": (hidden, 4 * width),
        "model.embed_tokens.weight": (151936, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (151936, hidden),
    }
    for layer in range(2):
        block = f"vision_model.transformer.resblocks.{layer}."
        shapes |= {
            f"{block}attn.in_proj_weight": (3 * width, width),
            f"{block}attn.in_proj_bias": (3 * width,),
            f"{block}attn.out_proj.weight": (width, width),
            f"{block}attn.out_proj.bias": (width,),
            f"{block}mlp.c_fc.weight": (mlp, width),
            f"{block}mlp.c_fc.bias": (mlp,),
            f"{block}mlp.c_proj.weight": (width, mlp),
            f"{block}mlp.c_proj.bias": (width,),
            **{f"{block}{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")},
            **{f"{block}{scale}.gamma": (width,) for scale in ("ls_1", "ls_2")},
        }
        block = f"model.layers.{layer}."
        shapes |= {
            f"{block}input_layernorm.weight": (hidden,),
            f"{block}post_attention_layernorm.weight": (hidden,),
            f"{block}self_attn.q_proj.weight": (32, hidden),
            f"{block}self_attn.k_proj.weight": (16, hidden),
            f"{block}self_attn.v_proj.weight": (16, hidden),
            f"{block}self_attn.o_proj.weight": (hidden, 32),
            f"{block}self_attn.q_norm.weight": (8,),
            f"{block}self_attn.k_norm.weight": (8,),
            f"{block}mlp.gate_proj.weight": (32, hidden),
            f"{block}mlp.up_proj.weight": (32, hidden),
            f"{block}mlp.down_proj.weight": (hidden, 32),
        }
    generator = torch.Generator().manual_seed(0)
    return {name: (torch.randn(shape, generator=generator) * 0.1).bfloat16() for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "Step3-VL-10B"
    folder.mkdir()
    tensors = published_tensors()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:30], "model-00002-of-00002.safetensors": names[30:]}
    for file, members in shards.items():
        save_file({name: tensors[name] for name in members}, folder / file, metadata={"format": "pt"})
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {
        "metadata": {"total_size": size},
        "weight_map": {name: file for file, members in shards.items() for name in members},
    }
    files = {
        "config.json": CONFIG,
        "generation_config.json": GENERATION,
        "tokenizer_config.json": TOKENIZER,
        "processor_config.json": {"auto_map": {"AutoProcessor": "processing_step3.Step3VLProcessor"}},
        "model.safetensors.index.json": index,
    }
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values, indent=4))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    load_tokenizer("qwen3").save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("auto", [AutoModelForCausalLM, AutoModelForImageTextToText])
def test_auto_models_read_the_released_layout(published, auto) -> None:
    """No `key_mapping`, no `trust_remote_code`, although the folder has an `auto_map`."""
    model, info = auto.from_pretrained(published, output_loading_info=True)
    assert isinstance(model, Step3VLForConditionalGeneration)
    assert not any(info.values())
    assert model.dtype == torch.bfloat16
    expected = published_tensors()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert model.generation_config.eos_token_id == [151643, 151645, 151679]


def test_the_released_key_mapping_is_ignored(published) -> None:
    mapping = {
        "^vision_model": "model.vision_model",
        r"^model(?!\.(language_model|vision_model))": "model.language_model",
    }
    model = AutoModelForCausalLM.from_pretrained(published, key_mapping=mapping, trust_remote_code=True)
    assert torch.equal(model.model.norm.weight, published_tensors()["model.norm.weight"])


def test_auto_config_and_processor_read_the_released_layout(published) -> None:
    config = AutoConfig.from_pretrained(published)
    assert isinstance(config, Step3VLConfig)
    assert (config.use_im_start_end, config.text_config.hidden_size, config.vision_config.grid) == ("true", 16, 52)
    processor = AutoProcessor.from_pretrained(published)
    assert isinstance(processor, Step3VLProcessor)
    assert processor.chat_template == TEMPLATE
    assert (processor.spec.image_size, processor.spec.crop_size) == (728, 504)
    assert AutoTokenizer.from_pretrained(published).convert_tokens_to_ids("<im_patch>") == 151679


def test_a_question_about_an_image_is_answered(published) -> None:
    model, processor = load_model(published, dtype=torch.float32)
    turns = [
        {
            "role": "user",
            "content": [{"type": "image", "image": Image.new("RGB", (800, 300))}, {"type": "text", "text": "?"}],
        }
    ]
    inputs = processor.apply_chat_template(
        turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    crops = int(inputs["num_patches"].sum())
    assert (inputs["input_ids"] == 151679).sum() == 169 + 81 * crops
    answer = model.generate(**inputs, max_new_tokens=3, do_sample=False, pad_token_id=151643)
    assert answer.shape[1] > inputs["input_ids"].shape[1]


def raw_bytes(folder: Path) -> dict[str, tuple[object, bytes]]:
    """Type, shape and bytes of every tensor, read from the files without a library."""
    tensors = {}
    for file in folder.glob("*.safetensors"):
        content = file.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                tensors[name] = ((entry["dtype"], tuple(entry["shape"])), content[start:end])
    return tensors


@pytest.mark.parametrize("writer", ["save_pretrained", "save_checkpoint"])
def test_loading_and_saving_a_released_folder_gives_the_same_bytes(published, tmp_path, writer) -> None:
    model, processor = load_model(published)
    out = tmp_path / "out"
    if writer == "save_pretrained":
        model.save_pretrained(out, max_shard_size="4MB")
        processor.save_pretrained(out)
        assert (out / "model.safetensors.index.json").is_file()
    else:
        save_checkpoint(model, processor, out)
    assert raw_bytes(out) == raw_bytes(published)
    written = json.loads((out / "config.json").read_text())
    for key in CONFIG.keys() - {"auto_map", "text_config", "vision_config"}:
        assert written[key] == CONFIG[key], key
    assert CONFIG["vision_config"].items() <= written["vision_config"].items()
    old = CONFIG["text_config"].keys() - {"torch_dtype", "transformers_version"}
    assert {key: written["text_config"][key] for key in old} == {key: CONFIG["text_config"][key] for key in old}
    generation = json.loads((out / "generation_config.json").read_text())
    assert {key: generation[key] for key in GENERATION} == GENERATION
    assert (out / "chat_template.jinja").read_text() == TEMPLATE
    again = AutoModelForCausalLM.from_pretrained(out)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_auto_map_names_existing_files_only(published, tmp_path) -> None:
    model, processor = load_model(published)
    model.save_pretrained(tmp_path / "plain")
    assert "auto_map" not in json.loads((tmp_path / "plain" / "config.json").read_text())
    save_checkpoint(model, processor, tmp_path / "own")
    for target in json.loads((tmp_path / "own" / "config.json").read_text())["auto_map"].values():
        assert (tmp_path / "own" / f"{target.partition('.')[0]}.py").is_file()


def test_a_model_can_be_saved_over_its_own_files(published, tmp_path) -> None:
    """Weights that were never copied are still mapped from the old files."""
    folder = Path(shutil.copytree(published, tmp_path / "model"))
    model, processor = load_model(folder)
    save_checkpoint(model, processor, folder)
    assert {name: tensor for name, (_, tensor) in raw_bytes(folder).items()} == {
        name: tensor for name, (_, tensor) in raw_bytes(published).items()
    }
    assert torch.equal(model.lm_head.weight, published_tensors()["lm_head.weight"])
