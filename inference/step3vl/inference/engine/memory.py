"""The engine's memory plan: how much keys, values and encoded images may take."""

from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from step3vl.data.errors import UserError
from step3vl.model.modeling import Step3VLForConditionalGeneration

# Of the memory that is free when the engine starts. On a GPU little else competes; activations need the rest.
RAM_SHARE, GPU_SHARE = 0.5, 0.8
# Of the budget: finished prompts that later requests may begin with, and encoded images; the rest is for rollouts.
PREFIX_SHARE, IMAGE_SHARE = 0.2, 0.1
CGROUP = Path("/sys/fs/cgroup")


class MemoryPlan(NamedTuple):
    """Limits of the engine's memory.

    Attributes:
        tokens: Tokens of keys and values that prompts and replies may have at a time.
        prefix_bytes: Bytes of keys and values kept of finished prompts.
        image_bytes: Bytes of encoded images.
    """

    tokens: int
    prefix_bytes: int
    image_bytes: int


def plan_memory(model: Step3VLForConditionalGeneration, device: torch.device, budget: int | None = None) -> MemoryPlan:
    """Divide a memory budget.

    Args:
        model: The model whose keys and values are held.
        device: Where.
        budget: Bytes, by default a share of what is free.

    Raises:
        UserError: The budget does not hold a single token.
    """
    if budget is None:
        share = GPU_SHARE if device.type == "cuda" else RAM_SHARE
        budget = int(share * free_memory(device))
    prefix_bytes, image_bytes = int(PREFIX_SHARE * budget), int(IMAGE_SHARE * budget)
    size = token_bytes(model)
    tokens = (budget - prefix_bytes - image_bytes) // size
    if tokens < 1:
        raise UserError(f"memory: {budget} bytes hold no token of {size} bytes of keys and values; give more")
    return MemoryPlan(tokens, prefix_bytes, image_bytes)


def token_bytes(model: Step3VLForConditionalGeneration) -> int:
    """Return the bytes of the keys and values of one token in all layers."""
    config = model.config.text_config
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * model.dtype.itemsize


def free_memory(device: torch.device) -> int:
    """Return the bytes that may still be allocated on the device, within a container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, _free_in_container())


def _free_in_container() -> float:
    """Return what a Linux control group (version 2) leaves of its limit; reclaimable page cache counts as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())["anon"]
    except (OSError, KeyError):
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - int(used))
