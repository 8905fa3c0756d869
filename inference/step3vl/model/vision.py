"""The vision tower: pictures to image tokens (STEP3-VL-10B report, section 2.1; perception encoder PE-Lang-G14).

Module names are those of the released safetensors. Shapes: n pictures, a grid of g x g patches (row-major, y then x),
width W, h heads of d channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from step3vl.model.configuration import Step3VLVisionConfig

ROPE_BASE = 10_000.0
SHORT = 256  # patches up to which plain products are the faster attention on a CPU
TOKENS_AT_ONCE = 16_384  # patches in one pass of inference: 6 released global views, 64 tiny ones


def rotary_table(grid: int, head_dim: int, device: torch.device) -> Tensor:
    """Unit complex numbers [g*g, head_dim/2], the turn of each pair of channels at each patch.

    The first half of the pairs turns with the column, the second with the row. Positions are plain integers from 0 in
    both grids: crops are not rescaled to the grid of the global view.
    """
    frequencies = ROPE_BASE ** (-torch.arange(0, head_dim // 2, 2, device=device, dtype=torch.float32) * 2 / head_dim)
    angles = torch.arange(grid, device=device, dtype=torch.float32)[:, None] * frequencies
    columns = angles[None, :, :].expand(grid, grid, -1)
    rows = angles[:, None, :].expand(grid, grid, -1)
    table = torch.cat((columns, rows), dim=-1).reshape(grid * grid, head_dim // 2)
    return torch.polar(torch.ones_like(table), table)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn adjacent pairs of channels of x [n, h, tokens, d] by [tokens, d/2], in float32 whatever x is.

    As a complex product this is one pass over memory; written out with real numbers it is the slowest part of a small
    tower.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Full attention over [n, h, tokens, d].

    On a CPU, torch's fused kernel is several times slower in bfloat16 than plain products over the short sequences of
    a small grid, forward and backward; a large grid's scores would not fit in memory.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[-2] <= SHORT:
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


class LayerScale(nn.Module):
    """A learned scale for each channel of a residual branch."""

    def __init__(self, width: int, initial: float):
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class VisionAttention(nn.Module):
    """Full attention over the patches of one picture, with rotary positions in two axes."""

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.heads = config.heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.width, config.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * config.width))
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """[n, tokens, W] -> [n, tokens, W]."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(rotate(query, turns), rotate(key, turns), value)
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class VisionMLP(nn.Module):
    """Two layers with the sigmoid form of GELU; the exact GELU is a different model."""

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.c_fc = nn.Linear(config.width, config.intermediate_size)
        self.c_proj = nn.Linear(config.intermediate_size, config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))


class VisionBlock(GradientCheckpointingLayer):
    """Pre-norm block with scaled residual branches."""

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attn = VisionAttention(config)
        self.ls_1 = LayerScale(config.width, config.ls_init_value)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)
        self.ls_2 = LayerScale(config.width, config.ls_init_value)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.ls_1(self.attn(self.ln_1(x), turns))
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.resblocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x, turns)
        return x


class VisionEncoder(nn.Module):
    """Square pictures [n, 3, S, S] to [n, t, 4W], where t is a sixteenth of the patches, rounded up along each side.

    S is `image_size` for global views and the crop size for crops: any multiple of the patch size. `tokens_at_once`
    bounds the patches of one pass, and so the memory of inference; set it to what the device can hold.
    """

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        width = config.width
        self.tokens_at_once = TOKENS_AT_ONCE
        self.grid = config.grid
        self.patch_size = config.patch_size
        self.conv1 = nn.Conv2d(3, width, config.patch_size, stride=config.patch_size, bias=False)
        self.positional_embedding = nn.Parameter(torch.empty(config.grid**2, width))
        self.ln_pre = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.transformer = VisionTransformer(config)
        self.vit_downsampler1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.vit_downsampler2 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.head_dim = config.head_dim

    def positions(self, grid: int) -> Tensor:
        """The position table [g*g, W]; for another grid, resampled bilinearly in the parameter's own dtype."""
        if grid == self.grid:
            return self.positional_embedding
        table = self.positional_embedding.unflatten(0, (self.grid, self.grid)).permute(2, 0, 1)[None]
        table = F.interpolate(table, size=(grid, grid), mode="bilinear", align_corners=False)
        return table[0].flatten(1).transpose(0, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3]:
            raise ValueError(f"pictures must be squares [n, 3, S, S], not {list(pixels.shape)}")
        if pixels.shape[-1] % self.patch_size:
            raise ValueError(f"a side of {pixels.shape[-1]} pixels is no multiple of a patch's {self.patch_size}")
        grid = pixels.shape[-1] // self.patch_size
        turns = rotary_table(grid, self.head_dim, pixels.device)
        positions = self.positions(grid)
        # A training step runs in one pass: activations are kept anyway, and ranks that call a module a different
        # number of times would wait for each other for ever when parameters are sharded.
        at_once = len(pixels) if self.training else self.tokens_at_once // grid**2
        chunks = [self._encode(chunk, positions, turns) for chunk in pixels.split(max(1, at_once))]
        return torch.cat(chunks)

    def _encode(self, pixels: Tensor, positions: Tensor, turns: Tensor) -> Tensor:
        x = self.conv1(pixels.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        return self.downsample(self.transformer(self.ln_pre(x + positions), turns))

    def downsample(self, x: Tensor) -> Tensor:
        """[n, g*g, W] to [n, t, 4W] by two convolutions with nothing between them."""
        grid = int(x.shape[1] ** 0.5)
        x = x.transpose(1, 2).unflatten(2, (grid, grid))
        return self.vit_downsampler2(self.vit_downsampler1(x)).flatten(2).transpose(1, 2)
