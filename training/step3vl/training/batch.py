"""Samples to tensors: one prepared sample, and the packs of a micro-batch side by side. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from step3vl.data.sample import Sample
from step3vl.data.tokens import encode_sample
from step3vl.model import Step3VLImageProcessor
from step3vl.model.masks import packed_positions, predicted


class Pixels(NamedTuple):
    """Of the n pictures of a sample: views [n, 3, S, S] and crops [sum(counts), 3, C, C] float32, counts int64 [n]."""

    views: Tensor
    crops: Tensor
    counts: Tensor


class Prepared(NamedTuple):
    """One sample, ready to be packed: ids int32 [t] and loss weights float32 [t]."""

    ids: np.ndarray
    weights: np.ndarray
    pixels: Pixels | None

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return self.ids.nbytes + self.weights.nbytes + sum(tensor.nbytes for tensor in self.pixels or ())


@dataclass(frozen=True, slots=True)
class Batch:
    """The micro-batch of one rank.

    inputs: what the model's forward takes. weight: the sum of the loss weights in it. tokens: those of the
    micro-batches of all ranks together, without padding. tasks: for each row, those of its samples 1, 2, ...
    """

    inputs: dict[str, Tensor]
    weight: float
    tokens: int
    tasks: tuple[tuple[str, ...], ...]

    def on(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """The inputs on a device, pixels in the dtype of the model's weights."""
        return {
            name: value.to(device, dtype if "pixel_values" in name else value.dtype, non_blocking=True)
            for name, value in self.inputs.items()
        }


def prepare(sample: Sample, tokenizer: Tokenizer, processor: Step3VLImageProcessor) -> Prepared:
    """Encode a sample and decode its pictures."""
    encoded = encode_sample(sample, tokenizer, processor.spec)
    pixels = None
    if sample.images:
        made = processor([image.open() for image in sample.images])
        pixels = Pixels(made["pixel_values"], made["patch_pixel_values"], made["num_patches"])
    return Prepared(encoded.input_ids, encoded.loss_weights, pixels)


def collate(packs: Sequence[Sequence[Prepared]], pad: int) -> tuple[dict[str, Tensor], float]:
    """Lay B packs side by side; returns the model's inputs and the sum of the weights that its loss will count.

    input_ids (also the labels), sequence_ids (0 padding, then 1, 2, ... for the samples), position_ids (from 0 in each
    sample) are int64 [B, T], loss_weights float32 [B, T], with T the longest pack; pixels are in prompt order.
    """
    rows, longest = len(packs), max(sum(len(sample.ids) for sample in pack) for pack in packs)
    ids = np.full((rows, longest), pad, np.int64)
    sequences = np.zeros((rows, longest), np.int64)
    weights = np.zeros((rows, longest), np.float32)
    for row, pack in enumerate(packs):
        end = 0
        for number, sample in enumerate(pack, start=1):
            start, end = end, end + len(sample.ids)
            ids[row, start:end] = sample.ids
            sequences[row, start:end] = number
            weights[row, start:end] = sample.weights
    input_ids, sequence_ids = torch.from_numpy(ids), torch.from_numpy(sequences)
    # The first token of a sample has nothing before it to be predicted from.
    loss_weights = predicted(torch.from_numpy(weights), input_ids, sequence_ids)
    inputs = {
        "input_ids": input_ids,
        "labels": input_ids,
        "sequence_ids": sequence_ids,
        "position_ids": packed_positions(sequence_ids),
        "loss_weights": loss_weights,
    }
    pixels = [sample.pixels for pack in packs for sample in pack if sample.pixels is not None]
    if pixels:
        inputs["pixel_values"] = torch.cat([part.views for part in pixels])
        inputs["patch_pixel_values"] = torch.cat([part.crops for part in pixels])
        inputs["num_patches"] = torch.cat([part.counts for part in pixels])
    return inputs, float(loss_weights.sum(dtype=torch.float64))
