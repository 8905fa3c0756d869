"""Samples to tensors: one prepared sample, and the packs of a micro-batch side by side. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from step3vl.data.crops import ImageSpec, plan_crops
from step3vl.data.ledger import DeadLetter
from step3vl.data.packing import Piece
from step3vl.data.plan import Cursor
from step3vl.data.sample import Sample
from step3vl.data.tokens import TokenIds, encode_sample
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

    inputs: what the model's forward takes. weight: the sum of the loss weights in it. tokens: those in it, without
    padding. tasks: for each row, those of its samples 1, 2, ... dead: the samples of its packs that could not be read,
    and lost_tokens: what the plan had counted for them. cursor: where the plan stands after the packs of all ranks.
    """

    inputs: dict[str, Tensor]
    weight: float
    tokens: int
    tasks: tuple[tuple[str, ...], ...]
    dead: tuple[DeadLetter, ...]
    lost_tokens: int
    cursor: Cursor

    def pin_memory(self) -> "Batch":
        """DataLoader asks for it where there is a GPU."""
        return replace(self, inputs={name: value.pin_memory() for name, value in self.inputs.items()})

    def on(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """The inputs on a device, pixels in the dtype of the model's weights."""
        return {
            name: value.to(device, dtype if "pixel_values" in name else value.dtype, non_blocking=True)
            for name, value in self.inputs.items()
        }


def prepare(
    sample: Sample, tokenizer: Tokenizer, processor: Step3VLImageProcessor, piece: Piece | None = None
) -> Prepared:
    """Encode a sample, or a piece of it, and decode its pictures. A broken picture raises what its decoder raises."""
    encoded = encode_sample(sample, tokenizer, processor.spec)
    ids, weights, images = encoded.input_ids, encoded.loss_weights, sample.images
    if piece is not None:
        spans = picture_spans(sample, ids, TokenIds.of(tokenizer), processor.spec)
        begin, end = before_picture(piece.begin, spans), before_picture(piece.end, spans)
        ids, weights = ids[begin:end], weights[begin:end]
        images = tuple(image for image, span in zip(images, spans, strict=True) if begin <= span[0] < end)
    pixels = None
    if images:
        made = processor([image.open() for image in images])
        pixels = Pixels(made["pixel_values"], made["patch_pixel_values"], made["num_patches"])
    return Prepared(ids, weights, pixels)


def picture_spans(sample: Sample, ids: np.ndarray, names: TokenIds, spec: ImageSpec) -> list[tuple[int, int]]:
    """First token and the one after the last of each picture, its wrappers included."""
    ends = (np.flatnonzero(ids == names.image_end) + 1).tolist()
    sizes = [plan_crops(image.width, image.height, spec).tokens for image in sample.images]
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def before_picture(position: int, spans: Sequence[tuple[int, int]]) -> int:
    """The position, or the front of the picture that it falls into."""
    return next((start for start, end in spans if start < position < end), position)


def collate(packs: Sequence[Sequence[Prepared]], pad: int) -> tuple[dict[str, Tensor], float]:
    """Lay B packs side by side; returns the model's inputs and the sum of the weights that its loss will count.

    input_ids (also the labels), sequence_ids (0 padding, then 1, 2, ... for the samples), position_ids (from 0 in each
    sample) are int64 [B, T], loss_weights float32 [B, T], with T the longest pack; pixels are in prompt order.
    """
    # A pack may have lost all of its samples.
    rows, longest = len(packs), max(1, *(sum(len(sample.ids) for sample in pack) for pack in packs))
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
