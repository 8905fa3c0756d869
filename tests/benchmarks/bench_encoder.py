"""The vision tower beside transformers' own encoder of the same family, with the same weights on both grids."""

from collections.abc import Callable
from functools import partial

import torch
from measure import Row, race
from torch import Tensor, nn
from transformers.models.step3p7 import Step3p7VisionConfig
from transformers.models.step3p7.modeling_step3p7 import Step3p7VisionModel

from step3vl.model.configuration import Step3VLVisionConfig
from step3vl.model.vision import VisionEncoder

WIDTH, HEADS, LAYERS, MLP_RATIO = 64, 2, 2, 4.0
GRIDS = ((728, 1), (504, 2))  # side of the released pictures, and how many of them
RENAMED = {
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


def our_tower() -> VisionEncoder:
    tower = VisionEncoder(Step3VLVisionConfig(width=WIDTH, heads=HEADS, layers=LAYERS, mlp_ratio=MLP_RATIO))
    torch.manual_seed(0)
    for name, parameter in tower.named_parameters():
        if parameter.ndim > 1 and name != "positional_embedding":
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            nn.init.uniform_(parameter, 0.5, 1.0)
    return tower.eval()


def their_tower(tower: VisionEncoder) -> Step3p7VisionModel:
    """The same weights: other names, q, k and v apart, and each head's pairs of channels as two halves."""
    theirs = Step3p7VisionModel(
        Step3p7VisionConfig(
            hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, mlp_ratio=MLP_RATIO, image_size=728
        )
    )
    state = {}
    for name, tensor in tower.state_dict().items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        stem, joined, kind = name.partition("in_proj_")
        if not joined:
            state[name] = tensor
            continue
        query, key, value = tensor.chunk(3)
        state |= {f"{stem}q_proj.{kind}": _halves(query), f"{stem}k_proj.{kind}": _halves(key)}
        state[f"{stem}v_proj.{kind}"] = value
    theirs.load_state_dict(state)
    return theirs.eval()


def _halves(tensor: Tensor) -> Tensor:
    return tensor.unflatten(0, (HEADS, WIDTH // HEADS // 2, 2)).transpose(1, 2).flatten(0, 2)


def rows(rounds: int) -> list[Row]:
    tower = our_tower()
    reference = their_tower(tower)
    ours: Callable[[Tensor], Tensor] = tower

    def peer(pixels: Tensor) -> Tensor:
        return reference(pixels).last_hidden_state

    found = []
    for side, count in GRIDS:
        pixels = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side))
        what = f"{count} of {side}x{side}"
        for title, run in (("forward", _forward), ("forward and backward", _backward)):
            seconds = race(
                {"ours": partial(run, ours, pixels), "peer": partial(run, peer, pixels)}, rounds, same=_close
            )
            note = f"transformers' Step3p7VisionModel, sdpa, float32; width {WIDTH}, {LAYERS} layers, equal weights"
            rates = {name: count / taken for name, taken in seconds.items()}
            found.append(Row(f"{what}, {title}", rates["ours"], rates["peer"], "pictures/cpu-s", note))
    return found


def _close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@torch.inference_mode()
def _forward(model: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    return model(pixels)


def _backward(model: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """The gradient of the pixels; those of the weights are summed up in the weights, as in training."""
    pixels = pixels.clone().requires_grad_()
    model(pixels).square().sum().backward()
    assert pixels.grad is not None
    return pixels.grad
