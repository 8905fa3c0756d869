"""The configuration equals the released one, to the parameter."""

import json

import pytest
import torch
from published import PUBLISHED

from step3vl.data.sample import ImageSpec
from step3vl.model import Step3VLConfig, Step3VLForConditionalGeneration, Step3VLVisionConfig, config_10b, tiny_config
from step3vl.model.vision import VisionEncoder


def shapes(config: Step3VLConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = Step3VLForConditionalGeneration(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The table of the released safetensors, written out independently of the model."""
    table: dict[str, tuple[int, ...]] = {
        "vision_model.conv1.weight": (1536, 3, 14, 14),
        "vision_model.positional_embedding": (2704, 1536),
        "vision_model.ln_pre.weight": (1536,),
        "vision_model.ln_pre.bias": (1536,),
        "vision_model.vit_downsampler1.weight": (3072, 1536, 3, 3),
        "vision_model.vit_downsampler1.bias": (3072,),
        "vision_model.vit_downsampler2.weight": (6144, 3072, 3, 3),
        "vision_model.vit_downsampler2.bias": (6144,),
        "vit_large_projector.weight": (4096, 6144),
        "model.embed_tokens.weight": (151936, 4096),
        "model.norm.weight": (4096,),
        "lm_head.weight": (151936, 4096),
    }
    for layer in range(47):
        block = {
            "attn.in_proj_weight": (4608, 1536), "attn.in_proj_bias": (4608,),
            "attn.out_proj.weight": (1536, 1536), "attn.out_proj.bias": (1536,),
            "ln_1.weight": (1536,), "ln_1.bias": (1536,), "ln_2.weight": (1536,), "ln_2.bias": (1536,),
            "ls_1.gamma": (1536,), "ls_2.gamma": (1536,),
            "mlp.c_fc.weight": (8960, 1536), "mlp.c_fc.bias": (8960,),
            "mlp.c_proj.weight": (1536, 8960), "mlp.c_proj.bias": (1536,),
        }  # fmt: skip
        table |= {f"vision_model.transformer.resblocks.{layer}.{name}": shape for name, shape in block.items()}
    for layer in range(36):
        block = {
            "input_layernorm.weight": (4096,), "post_attention_layernorm.weight": (4096,),
            "self_attn.q_proj.weight": (4096, 4096), "self_attn.k_proj.weight": (1024, 4096),
            "self_attn.v_proj.weight": (1024, 4096), "self_attn.o_proj.weight": (4096, 4096),
            "self_attn.q_norm.weight": (128,), "self_attn.k_norm.weight": (128,),
            "mlp.gate_proj.weight": (12288, 4096), "mlp.up_proj.weight": (12288, 4096),
            "mlp.down_proj.weight": (4096, 12288),
        }  # fmt: skip
        table |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    return table


def test_config_10b_has_exactly_the_published_tensors() -> None:
    table = shapes(config_10b())
    assert table == published_shapes()
    assert len(table) == 1066
    assert sum(torch.Size(shape).numel() for shape in table.values()) == 10_171_750_144


def test_the_published_config_equals_config_10b() -> None:
    config = Step3VLConfig.from_dict(PUBLISHED)
    assert shapes(config) == published_shapes()
    assert config.text_config.rope_parameters["rope_theta"] == 1_000_000
    assert config.vision_config.to_diff_dict() == config_10b().vision_config.to_diff_dict()


def test_the_default_configuration_is_the_released_model() -> None:
    """As for every model of transformers."""
    assert shapes(Step3VLConfig()) == published_shapes()
    assert Step3VLConfig().to_dict() == config_10b().to_dict()
    Step3VLConfig().text_config.rope_parameters["rope_theta"] = 1.0
    assert Step3VLConfig().text_config.rope_parameters["rope_theta"] == 1_000_000, "defaults are not shared"


def test_a_scaled_context_is_written_for_old_and_new_readers(tmp_path) -> None:
    rope = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}
    text = {**PUBLISHED["text_config"], "max_position_embeddings": 131072, "rope_parameters": rope}
    text.pop("rope_scaling", None)
    Step3VLConfig(text_config=text).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())["text_config"]
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    assert (written["rope_theta"], written["rope_scaling"]) == (1e6, scaling)
    assert written["rope_parameters"] == rope
    del written["rope_parameters"]  # as a reader of before transformers 5 sees it
    for values in (written, json.loads((tmp_path / "config.json").read_text())["text_config"]):
        assert Step3VLConfig(text_config=values).text_config.rope_parameters == rope


def test_saved_configs_serve_old_and_new_readers(tmp_path) -> None:
    config_10b().save_pretrained(tmp_path)
    again = Step3VLConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config_10b().to_dict()
    written = again.to_dict()
    assert written["architectures"] == ["StepVLForConditionalGeneration"]
    assert written["text_config"]["rope_theta"] == 1_000_000
    assert written["text_config"]["rope_parameters"]["rope_theta"] == 1_000_000


def test_token_lengths_follow_the_image_sizes() -> None:
    spec = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=224)
    config = tiny_config(400, spec, image_token_id=390)
    assert (config.image_token_len, config.patch_token_len) == (spec.image_tokens, spec.crop_tokens) == (4, 4)
    tower = VisionEncoder(config.vision_config).eval()
    torch.nn.init.zeros_(tower.positional_embedding)
    for block in tower.transformer.resblocks:
        torch.nn.init.zeros_(block.attn.in_proj_weight)
    assert tower(torch.zeros(1, 3, 56, 56)).shape[1] == spec.image_tokens
    assert tower(torch.zeros(1, 3, 42, 42)).shape[1] == spec.crop_tokens


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"use_cls_token": True}, "use_cls_token"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"width": 100, "heads": 10}, "divides by 4"),
        ({"image_size": 730}, "multiple of patch_size"),
    ],
)
def test_unsupported_architectures_are_refused(values, named) -> None:
    with pytest.raises(ValueError, match=named):
        Step3VLVisionConfig(**values)


def test_a_tied_head_is_refused() -> None:
    with pytest.raises(ValueError, match="tie_word_embeddings"):
        Step3VLConfig(text_config={**PUBLISHED["text_config"], "tie_word_embeddings": True})
