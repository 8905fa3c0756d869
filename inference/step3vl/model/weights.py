"""The tensors in a checkpoint's files: checked by name and shape, read one by one, dequantised.

`Step3VLForConditionalGeneration.from_pretrained` hands these tensors to the loader of transformers, which places them
on their devices.
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

MAX_LISTED = 5  # names in an error before the rest is counted
BLOCK = (128, 128)  # rows and columns that share a scale, by default
SCALE_SUFFIXES = ("_scale_inv", "_scale")  # follow the name of the weight; both are factors
ACTIVATION_SCALES = ("input_scale", "activation_scale")  # of activations in eight bits, which are not used here
EIGHT_BIT_DTYPES = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")  # as safetensors names them
SAFETENSORS_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

Shape = tuple[int, ...]


class StoredTensor:
    """A tensor that is read when it is indexed, and dequantised where it has a scale.

    Args:
        stored: A slice of an open safetensors file.
        scale: The slice that holds its scale.
        block: Rows and columns that share a scale.
    """

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
    """Multiply a weight in eight bits by its scale.

    Args:
        weight: [R, ...].
        scale: One number for the tensor, one for each row ([R] or [R, 1]), or one for each block ([R / rows, C /
            columns], rounded up: the last blocks may be incomplete).
        block: Rows and columns of a block.

    Returns:
        float32, in the shape of the weight.

    Raises:
        UserError: For a scale of any other shape.
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
    """Open the tensors of safetensors files without reading them.

    Files stay mapped where `dtype` is the stored one: such tensors are never copied. Where they are converted they are
    read one by one, else the mapped pages would be resident beside the converted weights.

    Args:
        files: The safetensors files.
        dtype: The dtype that the tensors will be converted to.
        block: Rows and columns that share a scale in eight-bit files.

    Returns:
        The tensors by name; those in eight bits are dequantised when they are read.

    Raises:
        UserError: For a missing or broken file, and for eight bits without a scale.
    """
    files = list(files)
    stored = _slices(files, "mmap")
    if {tensor.get_dtype() for tensor in stored.values()} != {SAFETENSORS_DTYPES.get(dtype)}:  # type: ignore[arg-type]
        stored = _slices(files, "pread")
    return _with_scales(stored, block)


def _slices(files: Iterable[str | Path], backend: str) -> dict[str, Any]:
    slices = {}
    for file in files:
        try:
            tensors = safe_open(file, framework="pt", backend=backend)
            slices.update({name: tensors.get_slice(name) for name in tensors.keys()})  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            raise UserError(f"{file} is missing: export the model again, or download the file") from None
        except SafetensorError as error:
            raise UserError(f"{file} is truncated or broken ({error}): export or download it again") from None
    return slices


def _with_scales(stored: dict[str, Any], block: tuple[int, int]) -> dict[str, StoredTensor]:
    tensors = {name: StoredTensor(tensor) for name, tensor in stored.items()}
    for name, tensor in stored.items():
        if tensor.get_dtype() not in EIGHT_BIT_DTYPES:
            continue
        scale = next((name + suffix for suffix in SCALE_SUFFIXES if name + suffix in stored), None)
        if scale is None:
            raise UserError(
                f"{name} is stored in eight bits without a {name}{SCALE_SUFFIXES[0]}: its values are unknown"
            )
        tensors[name] = StoredTensor(tensor, stored[scale], block)
        del tensors[scale]
        for activation_scale in ACTIVATION_SCALES:
            tensors.pop(f"{name.rpartition('.')[0]}.{activation_scale}", None)
    return tensors


def check_files(folder: Path) -> None:
    """Check that all weight files of a local checkpoint can be opened; reads headers only.

    Raises:
        UserError: Names a file that is missing or broken.
    """
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    names = [SAFE_WEIGHTS_NAME]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError):
            raise UserError(f"{index} is not an index of weights: export or download it again") from None
    _slices([folder / name for name in names], "mmap")


def check_tensors(actual: Mapping[str, Shape], expected: Mapping[str, Shape], source: str) -> None:
    """Compare the shapes of a checkpoint's tensors with the model's.

    Args:
        actual: The shape of each tensor in the files.
        expected: The shape of each parameter of the model.
        source: Where the files are, for the error.

    Raises:
        UserError: Lists the names that are missing, unexpected or of another shape.
    """
    problems = {
        "missing": [name for name in expected if name not in actual],
        "unexpected": [name for name in actual if name not in expected],
        "of another shape": [
            f"{name} {actual[name]} instead of {shape}"
            for name, shape in expected.items()
            if name in actual and actual[name] != shape
        ],
    }
    lines = [f"{len(names)} {problem}: {_abbreviate(names)}" for problem, names in problems.items() if names]
    if lines:
        raise UserError(f"the weights in {source} do not fit its config.json: {'; '.join(lines)}")


def _abbreviate(names: list[str]) -> str:
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
