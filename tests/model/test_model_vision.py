"""The tower against an independent one: transformers' own Step-3.7 encoder, which has other names and another RoPE."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.step3p7 import Step3p7VisionConfig
from transformers.models.step3p7.modeling_step3p7 import Step3p7VisionModel

from step3vl.model import vision
from step3vl.model.configuration import Step3VLVisionConfig
from step3vl.model.vision import VisionEncoder

WIDTH, HEADS, LAYERS, MLP_RATIO = 32, 2, 3, 2.0
GRIDS = {"global": 728, "crop": 504}
TOLERANCE = 2e-5


def random_tower() -> VisionEncoder:
    """Published sizes of pictures and patches, narrow layers, and weights strong enough that a mistake shows."""
    config = Step3VLVisionConfig(width=WIDTH, heads=HEADS, layers=LAYERS, mlp_ratio=MLP_RATIO)
    tower = VisionEncoder(config).eval()
    torch.manual_seed(0)
    for name, parameter in tower.named_parameters():
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_pre.weight", "gamma")):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        elif parameter.ndim > 1 and name != "positional_embedding":
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            torch.nn.init.normal_(parameter, std=0.3)
    return tower


def reference_of(tower: VisionEncoder) -> Step3p7VisionModel:
    """The same weights in the other model: names mapped, q and k permuted from adjacent pairs to two halves."""
    reference = Step3p7VisionModel(
        Step3p7VisionConfig(
            hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, mlp_ratio=MLP_RATIO, image_size=728
        )
    ).eval()
    renames = {
        "conv1.weight": "embeddings.patch_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_pre.": "pre_layernorm.",
        "transformer.resblocks.": "layers.",
        "vit_downsampler": "downsampler",
        ".ls_1.gamma": ".lambda_1",
        ".ls_2.gamma": ".lambda_2",
        ".mlp.c_fc.": ".mlp.fc1.",
        ".mlp.c_proj.": ".mlp.fc2.",
        ".attn.": ".self_attn.",
        ".ln_1.": ".layernorm_before.",
        ".ln_2.": ".layernorm_after.",
    }
    state = {}
    for name, tensor in tower.state_dict().items():
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        if "in_proj_" not in name:
            state[name] = tensor
            continue
        stem, kind = name.split("in_proj_")
        for letter, part in zip("qkv", tensor.chunk(3), strict=True):
            state[f"{stem}{letter}_proj.{kind}"] = part if letter == "v" else halves(part)
    reference.load_state_dict(state)
    return reference


def halves(tensor: Tensor) -> Tensor:
    """Rows of each head reordered from pairs (0,1), (2,3), … to all first members, then all second ones."""
    head = WIDTH // HEADS
    return tensor.unflatten(0, (HEADS, head // 2, 2)).transpose(1, 2).flatten(0, 2)


@pytest.fixture(scope="module")
def tower() -> VisionEncoder:
    return random_tower()


@pytest.fixture(scope="module")
def expected(tower: VisionEncoder) -> dict[str, tuple[Tensor, Tensor]]:
    """For each grid, pictures and what the independent model makes of them."""
    reference = reference_of(tower)
    cases = {}
    with torch.inference_mode():
        for grid, side in GRIDS.items():
            pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))
            cases[grid] = pixels, reference(pixels).last_hidden_state
    return cases


def difference(tower: VisionEncoder, case: tuple[Tensor, Tensor]) -> float:
    pixels, features = case
    with torch.inference_mode():
        return float((tower(pixels) - features).abs().max())


@pytest.mark.parametrize("grid", GRIDS)
def test_agrees_with_an_independent_tower(tower, expected, grid) -> None:
    assert expected[grid][1].shape == (1, {"global": 169, "crop": 81}[grid], 4 * WIDTH)
    assert difference(tower, expected[grid]) < TOLERANCE


def exact_gelu(self, x: Tensor) -> Tensor:
    return self.c_proj(F.gelu(self.c_fc(x)))


def swapped_axes(
    grid: int, head_dim: int, device: torch.device, rotary_table: Callable = vision.rotary_table
) -> Tensor:
    return rotary_table(grid, head_dim, device).roll(head_dim // 4, dims=-1)


def bicubic(self, grid: int) -> Tensor:
    table = self.positional_embedding.unflatten(0, (self.grid, self.grid)).permute(2, 0, 1)[None]
    return F.interpolate(table, size=(grid, grid), mode="bicubic")[0].flatten(1).transpose(0, 1)


MISTAKES = {
    "exact GELU": (vision.VisionMLP, "forward", exact_gelu, GRIDS),
    "rows and columns swapped": (vision, "rotary_table", swapped_axes, GRIDS),
    "no rotary positions": (vision, "rotate", lambda x, turns: x, GRIDS),
    "bicubic position table": (vision.VisionEncoder, "positions", bicubic, ["crop"]),
    "no layer scale": (vision.LayerScale, "forward", lambda self, x: x, GRIDS),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_would_see_a_mistake(tower, expected, monkeypatch, mistake) -> None:
    """Negative controls: each known way to get this tower wrong is far outside the tolerance."""
    owner, name, wrong, grids = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong)
    for grid in grids:
        assert difference(tower, expected[grid]) > 50 * TOLERANCE


def test_chunks_of_a_batch_give_what_the_whole_batch_gives(monkeypatch) -> None:
    config = Step3VLVisionConfig(image_size=56, patch_size=7, width=32, heads=2, layers=1)
    tower = VisionEncoder(config).eval()
    torch.nn.init.normal_(tower.positional_embedding)
    torch.nn.init.normal_(tower.transformer.resblocks[0].attn.in_proj_weight, std=0.1)
    pixels = torch.randn(5, 3, 56, 56)
    whole = tower(pixels)
    monkeypatch.setattr(vision, "TOKENS_AT_ONCE", 2 * 64)
    assert torch.allclose(tower(pixels), whole, atol=1e-6)


def test_refuses_a_picture_that_is_no_square_of_patches(tower) -> None:
    with pytest.raises(ValueError, match="squares of a multiple of 14"):
        tower(torch.zeros(1, 3, 728, 504))


def test_short_sequences_in_bfloat16_get_the_same_attention_as_the_fused_kernel() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 64, 32, dtype=torch.bfloat16) for _ in range(3))
    fused = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    assert (vision.attend(query, key, value).float() - fused).abs().max() < 2e-2
