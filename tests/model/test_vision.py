"""Parity of the vision tower with transformers' encoder of Step-3.7 and timm's Perception Encoder."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import towers
from torch import Tensor, nn

from step3vl.model import vision
from step3vl.model.configuration import Step3VLVisionConfig
from step3vl.model.vision import VisionEncoder

CONFIG = Step3VLVisionConfig(width=32, heads=2, layers=3, mlp_ratio=2.0)  # the released images and patches
GRIDS = {"global": 52, "crop": 36}
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def tower() -> VisionEncoder:
    return towers.random_tower(CONFIG)


def images(grid: int) -> Tensor:
    side = grid * CONFIG.patch_size
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(grid))


@pytest.fixture(scope="module")
def expected(tower: VisionEncoder) -> dict[str, Tensor]:
    """The features of the independent model for each grid."""
    theirs = towers.step3p7(tower, CONFIG)
    with torch.inference_mode():
        return {name: theirs(images(grid)) for name, grid in GRIDS.items()}


def difference(tower: VisionEncoder, expected: dict[str, Tensor], name: str) -> float:
    with torch.inference_mode():
        return float((tower(images(GRIDS[name])) - expected[name]).abs().max())


@pytest.mark.parametrize("name", GRIDS)
def test_equals_the_encoder_of_transformers(tower, expected, name) -> None:
    assert expected[name].shape == (1, {"global": 169, "crop": 81}[name], 4 * CONFIG.width)
    assert difference(tower, expected, name) < TOLERANCE


@pytest.mark.skipif(not towers.has_timm(), reason="timm is not installed; `make setup` installs it for the tests")
@pytest.mark.parametrize("name", GRIDS)
def test_equals_the_perception_encoder_of_timm(tower, name) -> None:
    theirs = towers.timm_pe(tower, CONFIG, GRIDS[name])
    with torch.inference_mode():
        assert difference(tower, {name: theirs(images(GRIDS[name]))}, name) < TOLERANCE


def exact_gelu(self, x: Tensor) -> Tensor:
    return self.c_proj(F.gelu(self.c_fc(x)))


def swapped_axes(grid: int, head_dim: int, device: torch.device, right: Callable = vision.rotary_table) -> Tensor:
    return right(grid, head_dim, device).roll(head_dim // 4, dims=-1)


def rescaled(grid: int, head_dim: int, device: torch.device, right: Callable = vision.rotary_table) -> Tensor:
    """As if the patches of a crop were rescaled to the grid of a global view: angles grow by 52/36."""
    rotations = right(grid, head_dim, device)
    return torch.polar(torch.ones_like(rotations.real), positions_of(rotations) * (CONFIG.grid / grid))


def positions_of(rotations: Tensor) -> Tensor:
    """The angles of a rotary table, unwrapped along the axes of a square grid."""
    grid = int(len(rotations) ** 0.5)
    step_x = rotations.reshape(grid, grid, -1)[0, 1].angle()
    step_y = rotations.reshape(grid, grid, -1)[1, 0].angle()
    index = torch.arange(grid)
    return (index[None, :, None] * step_x + index[:, None, None] * step_y).flatten(0, 1)


def half_split(x: Tensor, rotations: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    rotated = torch.complex(first, second) * rotations
    return torch.cat((rotated.real, rotated.imag), dim=-1)


def resampled(mode: str, **options: bool) -> Callable[[VisionEncoder, int], Tensor]:
    def positions(self: VisionEncoder, grid: int) -> Tensor:
        table = self.positional_embedding.unflatten(0, (self.grid, self.grid)).permute(2, 0, 1)[None]
        return F.interpolate(table, size=(grid, grid), mode=mode, **options)[0].flatten(1).transpose(0, 1)

    return positions


def transposed(self: VisionEncoder, x: Tensor, right: Callable = VisionEncoder.downsample) -> Tensor:
    grid = int(x.shape[1] ** 0.5)
    return right(self, x.unflatten(1, (grid, grid)).transpose(1, 2).flatten(1, 2))


def activated(self: VisionEncoder, x: Tensor) -> Tensor:
    grid = int(x.shape[1] ** 0.5)
    x = self.vit_downsampler1(x.transpose(1, 2).unflatten(2, (grid, grid)))
    return self.vit_downsampler2(F.gelu(x)).flatten(2).transpose(1, 2)


MISTAKES = {
    "exact GELU": (vision.VisionMLP, "forward", exact_gelu, GRIDS),
    "no rotary positions": (vision, "rotate", lambda x, rotations: x, GRIDS),
    "rows and columns swapped": (vision, "rotary_table", swapped_axes, GRIDS),
    "rotary channels in two halves": (vision, "rotate", half_split, GRIDS),
    "rotary positions rescaled to the global grid": (vision, "rotary_table", rescaled, ["crop"]),
    "bicubic position table": (VisionEncoder, "positions", resampled("bicubic"), ["crop"]),
    "antialiased position table": (VisionEncoder, "positions", resampled("bilinear", antialias=True), ["crop"]),
    "position table with aligned corners": (
        VisionEncoder,
        "positions",
        resampled("bilinear", align_corners=True),
        ["crop"],
    ),
    "no layer scale": (vision.LayerScale, "forward", lambda self, x: x, GRIDS),
    "transposed grid": (VisionEncoder, "downsample", transposed, GRIDS),
    "an activation between the convolutions": (VisionEncoder, "downsample", activated, GRIDS),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_detects_a_mistake(tower, expected, monkeypatch, mistake) -> None:
    """Negative controls: each known way to get this tower wrong is far outside the tolerance."""
    owner, name, wrong, grids = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong)
    for grid in grids:
        assert difference(tower, expected, grid) > 50 * TOLERANCE


def test_the_comparison_detects_a_missing_first_norm(expected) -> None:
    tower = towers.random_tower(CONFIG)
    tower.ln_pre = nn.Identity()
    for name in GRIDS:
        assert difference(tower, expected, name) > 50 * TOLERANCE


def test_the_comparison_detects_another_epsilon() -> None:
    """Where activations are small; at the scale of the other tests, an epsilon of 1e-6 is lost in rounding."""
    small = towers.random_tower(CONFIG)
    with torch.no_grad():
        small.conv1.weight.mul_(1e-2)
        small.positional_embedding.mul_(1e-2)
        expected = {name: towers.step3p7(small, CONFIG)(images(grid)) for name, grid in GRIDS.items()}
    for name in GRIDS:
        assert difference(small, expected, name) < TOLERANCE
    for module in small.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    for name in GRIDS:
        assert difference(small, expected, name) > 50 * TOLERANCE


def test_a_constant_offset_of_rotary_positions_changes_nothing(tower, expected, monkeypatch) -> None:
    right = vision.rotary_table

    def shifted(grid: int, head_dim: int, device: torch.device) -> Tensor:
        larger = right(grid + 7, head_dim, device).unflatten(0, (grid + 7, grid + 7))
        return larger[3 : grid + 3, 5 : grid + 5].flatten(0, 1)

    monkeypatch.setattr(vision, "rotary_table", shifted)
    for name in GRIDS:
        assert difference(tower, expected, name) < TOLERANCE


def small_tower() -> VisionEncoder:
    return towers.random_tower(Step3VLVisionConfig(image_size=56, patch_size=7, width=32, heads=2, layers=1))


def test_a_batch_may_be_encoded_in_chunks() -> None:
    tower = small_tower()
    pixels = torch.randn(5, 3, 56, 56)
    whole = tower(pixels)
    batch_sizes = []
    tower.conv1.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(len(inputs[0])))
    tower.max_patches_per_pass = 2 * 64
    assert torch.allclose(tower(pixels), whole, atol=1e-5)
    assert batch_sizes == [2, 2, 1]
    tower.max_patches_per_pass = 1
    assert torch.allclose(tower(pixels), whole, atol=1e-5)
    batch_sizes.clear()
    tower.train()(pixels)
    assert batch_sizes == [5], "ranks with sharded parameters must call each module equally often"


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ((1, 3, 728, 504), r"squares \[n, 3, S, S\], not \[1, 3, 728, 504\]"),
        ((3, 728, 728), "squares"),
        ((1, 1, 728, 728), "squares"),
        ((1, 3, 700, 700 + 3), "squares"),
        ((1, 3, 505, 505), "505 pixels is no multiple of the patch size 14"),
    ],
)
def test_images_that_are_not_squares_of_patches_are_refused(tower, shape, named) -> None:
    with pytest.raises(ValueError, match=named):
        tower(torch.zeros(shape))


def test_plain_attention_equals_the_fused_kernel() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 64, 32, dtype=torch.bfloat16) for _ in range(3))
    fused = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    assert (vision.attend(query, key, value).float() - fused).abs().max() < 2e-2
