"""The vision tower: images to image tokens (STEP3-VL-10B report, section 2.1; perception encoder PE-Lang-G14).

Module names are those of the released safetensors. Shapes: n images, a grid of g x g patches (row-major, y then x),
width W, h heads of d channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from step3vl.model.configuration import Step3VLVisionConfig
from step3vl.model.logprobs import is_sharded

ROPE_BASE = 10_000.0
PLAIN_ATTENTION_PATCHES = 256  # up to here plain products are the faster attention on a CPU
MAX_PATCHES_PER_PASS = 16_384  # in inference: 6 released global views, 64 tiny ones


def rotary_table(grid: int, head_dim: int, device: torch.device) -> Tensor:
    """The rotation of each pair of channels at each patch, by two-dimensional rotary positions.

    The first half of the pairs rotates with the column, the second with the row. Positions are integers from 0 in both
    grids: crops are not rescaled to the grid of the global view.

    Args:
        grid: Patches along one side, g.
        head_dim: Channels of an attention head, a multiple of 4.
        device: Where to put the table.

    Returns:
        complex64 [g*g, head_dim / 2], of absolute value 1.
    """
    frequencies = ROPE_BASE ** (-torch.arange(0, head_dim // 2, 2, device=device, dtype=torch.float32) * 2 / head_dim)
    angles = torch.arange(grid, device=device, dtype=torch.float32)[:, None] * frequencies
    columns = angles[None, :, :].expand(grid, grid, -1)
    rows = angles[:, None, :].expand(grid, grid, -1)
    table = torch.cat((columns, rows), dim=-1).reshape(grid * grid, head_dim // 2)
    return torch.polar(torch.ones_like(table), table)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotate adjacent pairs of channels, in float32 whatever the dtype of x.

    As a complex product this is one pass over memory; written out with real numbers it is the slowest part of a small
    tower.

    Args:
        x: [n, h, tokens, d].
        rotations: complex64 [tokens, d / 2].

    Returns:
        [n, h, tokens, d] in the dtype of x.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations).flatten(-2).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Full attention; all tensors are [n, h, tokens, d].

    On a CPU, torch's fused kernel is several times slower in bfloat16 than plain products over the short sequences of
    a small grid, forward and backward; a large grid's scores would not fit in memory.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[-2] <= PLAIN_ATTENTION_PATCHES:
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


class LayerScale(nn.Module):
    """A learned scale for each channel of a residual branch."""

    def __init__(self, width: int, init_value: float):
        super().__init__()
        self.init_value = init_value
        self.gamma = nn.Parameter(torch.full((width,), init_value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class VisionAttention(nn.Module):
    """Full attention over the patches of one image, with two-dimensional rotary positions."""

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.heads = config.heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * config.width, config.width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * config.width))
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        """[n, tokens, W] to [n, tokens, W]."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(rotate(query, rotations), rotate(key, rotations), value)
        return self.out_proj(mixed.transpose(1, 2).flatten(-2))


class VisionMLP(nn.Module):
    """Two layers with the sigmoid approximation of GELU; the exact GELU would be another model."""

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

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        x = x + self.ls_1(self.attn(self.ln_1(x), rotations))
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class VisionTransformer(nn.Module):
    """The blocks of the tower."""

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        self.resblocks = nn.ModuleList(VisionBlock(config) for _ in range(config.layers))

    def forward(self, x: Tensor, rotations: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x, rotations)
        return x


class VisionEncoder(nn.Module):
    """The vision tower: patches, transformer, and two downsampling convolutions.

    `max_patches_per_pass` bounds the memory of inference; set it to what the device can hold.

    Args:
        config: Sizes of the tower.
    """

    def __init__(self, config: Step3VLVisionConfig):
        super().__init__()
        width = config.width
        self.max_patches_per_pass = MAX_PATCHES_PER_PASS
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
        """The position table [g*g, W]; for another grid, resampled bilinearly in the dtype of the parameter."""
        if grid == self.grid:
            return self.positional_embedding
        table = self.positional_embedding.unflatten(0, (self.grid, self.grid)).permute(2, 0, 1)[None]
        table = F.interpolate(table, size=(grid, grid), mode="bilinear", align_corners=False)
        return table[0].flatten(1).transpose(0, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode square images.

        Args:
            pixels: [n, 3, S, S]; S is `image_size` for global views and the crop size for crops, a multiple of the
                patch size.

        Returns:
            [n, t, 4W], where t is a sixteenth of the patches, rounded up along each side.

        Raises:
            ValueError: For images of another shape.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3]:
            raise ValueError(f"images must be squares [n, 3, S, S], not {list(pixels.shape)}")
        if pixels.shape[-1] % self.patch_size:
            raise ValueError(f"a side of {pixels.shape[-1]} pixels is no multiple of the patch size {self.patch_size}")
        grid = pixels.shape[-1] // self.patch_size
        rotations = rotary_table(grid, self.head_dim, pixels.device)
        positions = self.positions(grid)
        # A training step is one pass: activations are kept anyway, and with sharded parameters ranks that call a
        # module a different number of times would wait for each other for ever, also in evaluation.
        at_once = self.training or (not torch.compiler.is_compiling() and is_sharded(self))
        images_per_pass = len(pixels) if at_once else self.max_patches_per_pass // grid**2
        chunks = [self._encode(chunk, positions, rotations) for chunk in pixels.split(max(1, images_per_pass))]
        return torch.cat(chunks)

    def _encode(self, pixels: Tensor, positions: Tensor, rotations: Tensor) -> Tensor:
        # Its own parameter tells the dtype: reading that of a module inside would gather it once more under ZeRO-3.
        x = self.conv1(pixels.to(self.positional_embedding.dtype)).flatten(2).transpose(1, 2)
        return self.downsample(self.transformer(self.ln_pre(x + positions), rotations))

    def downsample(self, x: Tensor) -> Tensor:
        """[n, g*g, W] to [n, t, 4W] by two convolutions without an activation between them."""
        grid = int(x.shape[1] ** 0.5)
        x = x.transpose(1, 2).unflatten(2, (grid, grid))
        return self.vit_downsampler2(self.vit_downsampler1(x)).flatten(2).transpose(1, 2)
