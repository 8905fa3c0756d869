"""Which device a model runs on."""

import torch

from step3vl.data.errors import UserError


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name.

    Args:
        name: `auto` (the first GPU where torch sees one, else the CPU), or a name of torch such as `cpu` or `cuda:1`.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device: '{name}' is no device; use auto, cpu, cuda or cuda:N") from None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(f"device: '{name}' is not there, torch sees {gpus} GPUs; use auto or cpu")
    return device
