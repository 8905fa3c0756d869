"""How much fits: the engine's plan for the memory that keys, values and encoded pictures may take."""

from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from step3vl.data.errors import UserError
from step3vl.model.modeling import Step3VLForConditionalGeneration

# Of the memory that is free when the engine starts. On a GPU little else competes; activations need the rest.
SHARE_OF_RAM, SHARE_OF_GPU = 0.5, 0.8
# Of the budget: finished prompts that later requests may begin with, encoded pictures; what runs gets the rest.
PREFIXES, PICTURES = 0.2, 0.1
CGROUP = Path("/sys/fs/cgroup")


class MemoryPlan(NamedTuple):
    """`tokens` of keys and values may run at a time, prompts and the longest possible replies counted."""

    tokens: int
    prefix_bytes: int
    picture_bytes: int


def plan_memory(model: Step3VLForConditionalGeneration, device: torch.device, budget: int | None = None) -> MemoryPlan:
    """Divide a budget of bytes, by default a share of what is free. Raises UserError when no token fits."""
    if budget is None:
        share = SHARE_OF_GPU if device.type == "cuda" else SHARE_OF_RAM
        budget = int(share * free_memory(device))
    prefix_bytes, picture_bytes = int(PREFIXES * budget), int(PICTURES * budget)
    size = token_bytes(model)
    tokens = (budget - prefix_bytes - picture_bytes) // size
    if tokens < 1:
        raise UserError(f"memory: {budget} bytes hold no token of {size} bytes of keys and values; give more")
    return MemoryPlan(tokens, prefix_bytes, picture_bytes)


def token_bytes(model: Step3VLForConditionalGeneration) -> int:
    """Bytes of the keys and values of one token in all layers."""
    config = model.config.text_config
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * model.dtype.itemsize


def free_memory(device: torch.device) -> int:
    """Bytes that may still be allocated on the device, within the container's limit where there is one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _left_by_container())


def _left_by_container() -> float:
    """What a Linux control group (version 2) leaves of its limit; page cache can be reclaimed and counts as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())["anon"]
    except (OSError, KeyError):
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - int(used))
