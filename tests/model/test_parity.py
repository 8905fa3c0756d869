"""The whole model against a composition of two others: transformers' encoder of Step-3.7, and its Qwen3 decoder.

Both grids are the released ones (728 and 504 pixels); widths and depths are small.
"""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
import towers
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from step3vl.model import Step3VLConfig, Step3VLForConditionalGeneration, Step3VLVisionConfig
from step3vl.model import modeling as model_code

VISION = Step3VLVisionConfig(width=32, heads=2, layers=2, mlp_ratio=2.0)
TEXT = Qwen3Config(
    vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, initializer_range=0.15,
    rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
)  # fmt: skip
IMAGE = 290
VIEW, CROP = 169, 81  # tokens of a global view and of a crop
CROPS = (2, 0, 1)  # of the images in the two prompts, which show two images and one
TOLERANCE = 1e-4


class Case(NamedTuple):
    model: Step3VLForConditionalGeneration
    inputs: dict[str, Tensor]
    features: Tensor
    logits: Tensor


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    config = Step3VLConfig(vision_config=VISION, text_config=TEXT, image_token_id=IMAGE)
    model = Step3VLForConditionalGeneration(config).eval()
    model.vision_model = towers.random_tower(VISION)
    with torch.no_grad():
        for layer in model.model.layers:  # a norm that scales by one could be left out unseen
            layer.self_attn.q_norm.weight.uniform_(0.5, 1.5)
            layer.self_attn.k_norm.weight.uniform_(0.5, 1.5)
    images = [
        torch.full((VIEW + CROP * crops,), IMAGE) if crops is not None else torch.randint(0, 256, (9,))
        for crops in (None, CROPS[0], None, CROPS[1], None)
    ]
    first = torch.cat(images)
    second = torch.cat(
        [torch.full((VIEW + CROP * CROPS[2],), IMAGE), torch.randint(0, 256, (len(first) - VIEW - CROP,))]
    )
    inputs = {
        "input_ids": torch.stack([first, second]),
        "pixel_values": torch.randn(3, 3, 728, 728),
        "patch_pixel_values": torch.randn(3, 3, 504, 504),
        "num_patches": torch.tensor(CROPS),
    }
    with torch.inference_mode():
        return Case(model, inputs, *composed(model, inputs))


def composed(model: Step3VLForConditionalGeneration, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Projected features and logits of the two other models with the same weights, composed by hand."""
    encode = towers.step3p7(model.vision_model, VISION)
    decoder = Qwen3ForCausalLM(TEXT).eval()
    state = {f"model.{name}": tensor for name, tensor in model.model.state_dict().items()}
    decoder.load_state_dict({**state, "lm_head.weight": model.lm_head.weight})
    views, crops = encode(inputs["pixel_values"]), list(encode(inputs["patch_pixel_values"]))
    ordered = []
    for view, count in zip(views, CROPS, strict=True):
        ordered += [*(crops.pop(0) for _ in range(count)), view]
    features = F.linear(torch.cat(ordered), model.vit_large_projector.weight)
    embeds = decoder.model.embed_tokens(inputs["input_ids"])
    embeds[inputs["input_ids"] == IMAGE] = features
    return features, decoder(inputs_embeds=embeds).logits


def wrong_by(case: Case) -> float:
    with torch.inference_mode():
        return float((case.model(**case.inputs).logits - case.logits).abs().max())


def test_features_and_logits_equal_the_reference(case) -> None:
    with torch.inference_mode():
        features = case.model.encode_images(
            *(case.inputs[name] for name in ("pixel_values", "patch_pixel_values", "num_patches"))
        )
    assert (features - case.features).abs().max() < 2e-5
    assert wrong_by(case) < TOLERANCE


def test_the_comparison_detects_the_view_before_the_crops(case, monkeypatch) -> None:
    def views_first(self, pixels: Tensor, patches: Tensor, counts: Tensor) -> Tensor:
        views = self.vit_large_projector(self.vision_model(pixels))
        crops = self.vit_large_projector(self.vision_model(patches)).split(counts.tolist())
        return torch.cat(
            [
                part
                for view, image_crops in zip(views, crops, strict=True)
                for part in (view, image_crops.flatten(0, 1))
            ]
        )

    monkeypatch.setattr(Step3VLForConditionalGeneration, "encode_images", views_first)
    assert wrong_by(case) > 100 * TOLERANCE


@pytest.mark.parametrize("norm", ["q_norm", "k_norm"])
def test_the_comparison_detects_a_missing_norm_of_queries_or_keys(case, monkeypatch, norm) -> None:
    for layer in case.model.model.layers:
        monkeypatch.setitem(layer.self_attn._modules, norm, nn.Identity())
    assert wrong_by(case) > 100 * TOLERANCE


def test_the_comparison_detects_bidirectional_attention_within_images(case, monkeypatch) -> None:
    def both_ways(self, embeds: Tensor, *args: object) -> object:
        is_image = case.inputs["input_ids"] == IMAGE
        same = is_image[:, :, None] & is_image[:, None, :]
        mask = torch.ones_like(same).tril() | same
        return self.model(inputs_embeds=embeds, attention_mask={"full_attention": mask[:, None]})

    monkeypatch.setattr(model_code.Step3VLForConditionalGeneration, "_decode", both_ways)
    assert wrong_by(case) > 100 * TOLERANCE


def test_the_comparison_detects_another_rotary_base(case, monkeypatch) -> None:
    buffers = case.model.model.rotary_emb._buffers  # an attribute of a module would not come back
    monkeypatch.setitem(buffers, "inv_freq", 10_000.0 ** (-torch.arange(0, 16, 2) / 16))
    assert wrong_by(case) > 100 * TOLERANCE
