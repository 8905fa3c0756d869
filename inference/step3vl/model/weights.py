"""The tensors of a checkpoint's files: compared by name and shape with the model's, read one by one.

Nothing here builds a layer: `Step3VLForConditionalGeneration.from_pretrained` gives these tensors to the library's
loader, which places them on the devices it was asked for.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from step3vl.data.errors import UserError

NAMED = 5  # how many names an error lists before it counts the rest
BLOCK = (128, 128)  # rows and columns that share a scale where the caller does not say
SCALES = ("_scale_inv", "_scale")  # what the name of a weight's scale adds to the weight's; both are factors
UNUSED = ("input_scale", "activation_scale")  # of activations in eight bits, which are not used here
EIGHT_BITS = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")  # as safetensors names them
STORED_AS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

Shape = tuple[int, ...]


class StoredTensor:
    """A tensor that is read when the loader asks for `[...]`, and multiplied by its scale where it has one."""

    def __init__(self, stored: Any, scale: Any = None, block: tuple[int, int] = BLOCK):
        self.stored, self.scale, self.block = stored, scale, block
        self.shape = tuple(stored.get_shape())

    def get_shape(self) -> list[int]:
        return list(self.shape)

    def __getitem__(self, index: Any) -> Tensor:
        if self.scale is None:
            return self.stored[index]
        return dequantise(self.stored[...], self.scale[...], self.block)[index]


def dequantise(weight: Tensor, scale: Tensor, block: tuple[int, int] = BLOCK) -> Tensor:
    """float32 weight [R, ...] from eight bits and its scale.

    The scale holds one number for the tensor, one for each row ([R] or [R, 1]), or one for each block ([R / rows, C /
    columns], rounded up: the last blocks may be cut). Raises UserError for any other shape.
    """
    values, scale = weight.float(), scale.float()
    if scale.numel() == 1:
        return values.mul_(scale.reshape(()))
    if scale.numel() == values.shape[0] == scale.shape[0]:
        return values.mul_(scale.reshape(-1, *[1] * (values.ndim - 1)))
    expected = tuple(-(-size // part) for size, part in zip(values.shape, block, strict=False))
    if values.ndim != 2 or tuple(scale.shape) != expected:
        raise UserError(
            f"a weight of shape {tuple(values.shape)} has scales of shape {tuple(scale.shape)}, and blocks of "
            f"{block[0]}x{block[1]} need {expected}: weight_block_size in config.json does not fit the files"
        )
    for row, factors in enumerate(scale):
        rows = values[row * block[0] : (row + 1) * block[0]]
        rows.mul_(factors.repeat_interleave(block[1])[: values.shape[1]])
    return values


def open_tensors(
    files: Iterable[str | Path], dtype: torch.dtype | None, block: tuple[int, int]
) -> dict[str, StoredTensor]:
    """What can be read with `[...]`, by name; tensors in eight bits with their scales applied.

    Files stay mapped where `dtype` is the stored one: such tensors are never copied. Where they are converted they are
    read one by one, else the mapped pages would stand in memory beside the converted weights.
    Raises UserError for a broken file and for eight bits without a scale.
    """
    files = list(files)
    stored = _slices(files, "mmap")
    if {tensor.get_dtype() for tensor in stored.values()} != {STORED_AS.get(dtype)}:  # type: ignore[arg-type]
        stored = _slices(files, "pread")
    return _scaled(stored, block)


def _slices(files: Iterable[str | Path], backend: str) -> dict[str, Any]:
    slices = {}
    for file in files:
        try:
            tensors = safe_open(file, framework="pt", backend=backend)
            slices.update({name: tensors.get_slice(name) for name in tensors.keys()})  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            raise UserError(f"{file} is missing: export the model again, or download the file") from None
        except SafetensorError as error:
            raise UserError(f"{file} is cut short or broken ({error}): export or download it again") from None
    return slices


def _scaled(stored: dict[str, Any], block: tuple[int, int]) -> dict[str, StoredTensor]:
    tensors = {name: StoredTensor(tensor) for name, tensor in stored.items()}
    for name, tensor in stored.items():
        if tensor.get_dtype() not in EIGHT_BITS:
            continue
        scale = next((name + suffix for suffix in SCALES if name + suffix in stored), None)
        if scale is None:
            raise UserError(f"{name} is stored in eight bits without a {name}{SCALES[0]}: its values are unknown")
        tensors[name] = StoredTensor(tensor, stored[scale], block)
        del tensors[scale]
        for unused in UNUSED:
            tensors.pop(f"{name.rpartition('.')[0]}.{unused}", None)
    return tensors


def check_files(folder: Path) -> None:
    """Raises UserError where a file of a local checkpoint's weights is missing or broken; reads headers only."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    names = [SAFE_WEIGHTS_NAME]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError):
            raise UserError(f"{index} is no index of weights: export or download it again") from None
    _slices([folder / name for name in names], "mmap")


def check_names(found: Mapping[str, Shape], wanted: Mapping[str, Shape], where: str) -> None:
    """Raises UserError that lists the names which are missing, unexpected or of another shape."""
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ],
    }
    listed = [f"{len(names)} {kind}: {_some(names)}" for kind, names in problems.items() if names]
    if listed:
        raise UserError(f"the weights in {where} do not fit its config.json: {'; '.join(listed)}")


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
