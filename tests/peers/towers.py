"""Other implementations of the vision tower, with the weights of ours: for parity tests and for benchmarks."""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.step3p7 import Step3p7VisionConfig
from transformers.models.step3p7.modeling_step3p7 import Step3p7VisionModel

from step3vl.model.configuration import Step3VLVisionConfig
from step3vl.model.vision import VisionEncoder

EncodeImages = Callable[[Tensor], Tensor]  # pixels [n, 3, S, S] to features [n, t, 4W]

# `make setup` puts timm here and not beside the other packages: it needs torchvision, which has no build for every
# build of torch, and where transformers sees the one it expects the other.
TIMM = Path(sys.prefix) / "peers"

_STEP3P7 = {
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


def random_tower(config: Step3VLVisionConfig) -> VisionEncoder:
    """Weights strong enough that a mistake anywhere shows in the features."""
    tower = VisionEncoder(config).eval()
    torch.manual_seed(0)
    for name, parameter in tower.named_parameters():
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_pre.weight", "gamma")):
            nn.init.uniform_(parameter, 0.5, 1.5)
        elif parameter.ndim > 1 and name != "positional_embedding":
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            nn.init.normal_(parameter, std=0.3)
    return tower


def step3p7(tower: VisionEncoder, config: Step3VLVisionConfig) -> EncodeImages:
    """transformers' encoder of Step-3.7: other names, and the rotated pairs of channels as two halves."""
    theirs = Step3p7VisionModel(
        Step3p7VisionConfig(
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            image_size=config.image_size,
            patch_size=config.patch_size,
        )
    )
    state = {}
    for name, tensor in tower.state_dict().items():
        for old, new in _STEP3P7.items():
            name = name.replace(old, new)
        stem, joined, kind = name.partition("in_proj_")
        if not joined:
            state[name] = tensor
            continue
        query, key, value = tensor.chunk(3)
        halves = {"q": _halves(query, config.heads), "k": _halves(key, config.heads), "v": value}
        state |= {f"{stem}{projection}_proj.{kind}": part for projection, part in halves.items()}
    theirs.load_state_dict(state)
    theirs.eval()
    return lambda pixels: theirs(pixels).last_hidden_state


def _halves(tensor: Tensor, heads: int) -> Tensor:
    """Rows of each head reordered from pairs (0, 1), (2, 3), … to all first members, then all second ones."""
    return tensor.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def timm_pe(tower: VisionEncoder, config: Step3VLVisionConfig, grid: int) -> EncodeImages:
    """timm's Perception Encoder on a grid of its own, with the activation of this tower, then our two convolutions."""
    eva = _import_timm("timm.models.eva")
    theirs = eva.Eva(
        img_size=grid * config.patch_size,
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.layers,
        num_heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        init_values=config.ls_init_value,
        norm_layer=lambda width, **kwargs: nn.LayerNorm(width, eps=config.layer_norm_eps, **kwargs),
        attn_type="rope",
        class_token=False,
        use_rot_pos_emb=True,
        ref_feat_shape=(grid, grid),
        rope_grid_indexing="xy",
        use_pre_transformer_norm=True,
        use_post_transformer_norm=False,
        use_fc_norm=False,
        num_classes=0,
        global_pool="",
    )
    for block in theirs.blocks:
        block.mlp.act = _QuickGELU()
    state = dict(tower.state_dict())
    state["positional_embedding"] = _resampled(state["positional_embedding"], config.grid, grid)
    convolutions = [
        (state.pop(f"vit_downsampler{number}.weight"), state.pop(f"vit_downsampler{number}.bias")) for number in (1, 2)
    ]
    theirs.load_state_dict(eva._convert_pe(state, theirs, prefix=""))
    theirs.eval()

    def features(pixels: Tensor) -> Tensor:
        x = theirs.forward_features(pixels).transpose(1, 2).unflatten(2, (grid, grid))
        for weight, bias in convolutions:
            x = F.conv2d(x, weight, bias, stride=2, padding=1)
        return x.flatten(2).transpose(1, 2)

    return features


def has_timm() -> bool:
    return (TIMM / "timm").is_dir()


class _QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def _resampled(table: Tensor, old: int, new: int) -> Tensor:
    if old == new:
        return table
    square = table.reshape(1, old, old, -1).movedim(-1, 1)
    square = F.interpolate(square, (new, new), mode="bilinear", align_corners=False)
    return square.movedim(1, -1).reshape(new * new, -1)


class _Unused(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what timm imports and its tower never calls: torchvision, and its own reading of data."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        unused = name.partition(".")[0] == "torchvision" or name.startswith("timm.data")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if unused else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _import_timm(name: str) -> ModuleType:
    """Import a module of timm, and leave no trace by which other libraries would believe in timm or torchvision."""
    finder = _Unused()
    sys.path.insert(0, str(TIMM))
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TIMM))
        sys.meta_path.remove(finder)
        for module in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
            del sys.modules[module]
