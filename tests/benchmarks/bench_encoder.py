"""The vision tower beside timm's Perception Encoder and transformers' Step-3.7: equal weights, on both grids."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import Row, race
from torch import Tensor

from step3vl.model.configuration import Step3VLVisionConfig

sys.path.append(str(Path(__file__).parents[1] / "peers"))
import towers

CONFIG = Step3VLVisionConfig(width=64, heads=2, layers=2, mlp_ratio=4.0)
GRIDS = ((52, 1), (36, 2))  # patches along a side of the released images, and how many images


def rows(rounds: int) -> list[Row]:
    ours = towers.random_tower(CONFIG)
    table = []
    for grid, count in GRIDS:
        side = grid * CONFIG.patch_size
        pixels = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(side))
        contenders: dict[str, towers.EncodeImages] = {"ours": ours, "transformers": towers.step3p7(ours, CONFIG)}
        if towers.has_timm():
            contenders["timm"] = towers.timm_pe(ours, CONFIG, grid)
        for title, run in (("forward", _forward), ("forward and backward", _backward)):
            runs = {name: partial(run, tower, pixels) for name, tower in contenders.items()}
            rates = {name: count / taken for name, taken in race(runs, rounds, same=_close).items()}
            for name, peer in (("timm", "timm's PE"), ("transformers", "transformers' Step3p7VisionModel")):
                note = f"{peer}, float32; width {CONFIG.width}, {CONFIG.layers} layers, equal weights"
                if name in rates:
                    what = f"{count} of {side}x{side}, {title}"
                    table.append(Row(what, rates["ours"], rates[name], "images/cpu-s", note))
    return table


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
