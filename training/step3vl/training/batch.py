"""Samples to tensors: one prepared sample, and the packs of a micro-batch side by side. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from step3vl.data.dataset import DeadLetter
from step3vl.data.plan import Cursor, PackItem, PackPiece
from step3vl.data.sample import ImageSpec, Sample, plan_crops
from step3vl.data.tokens import TokenIds, encode_sample
from step3vl.model import Step3VLImageProcessor
from step3vl.model.masks import mask_loss_weights, packed_positions


class ImagePixels(NamedTuple):
    """Pixels of the n images of a sample, with global views of side S and crops of side C.

    views: float32 [n, 3, S, S]. crops: float32 [sum(counts), 3, C, C]. counts: crops of each image, int64 [n].
    """

    views: Tensor
    crops: Tensor
    counts: Tensor


class PreparedSample(NamedTuple):
    """One sample, ready to be packed: ids int32 [t] and loss weights float32 [t]."""

    ids: np.ndarray
    weights: np.ndarray
    pixels: ImagePixels | None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        return self.ids.nbytes + self.weights.nbytes + sum(tensor.nbytes for tensor in self.pixels or ())


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """The micro-batch of one rank: B packs in rows of T tokens."""

    inputs: dict[str, Tensor]
    """Arguments of the model's forward; see `collate`."""
    weight: float
    """Sum of the loss weights."""
    tokens: int
    """Tokens without padding."""
    trained_tokens: int
    """Tokens with a loss weight."""
    items: tuple[tuple[PackItem, ...], ...]
    """For each row, its samples 1, 2, ..., without unreadable ones."""
    unreadable: tuple[DeadLetter, ...]
    """The samples of its packs that could not be read."""
    unreadable_tokens: int
    """Tokens that the plan counted for them."""
    cursor: Cursor
    """Position in the plan after the packs of all ranks."""

    def pin_memory(self) -> Self:
        """Copy the inputs to pinned memory; DataLoader calls it where there is a GPU."""
        return replace(self, inputs={name: value.pin_memory() for name, value in self.inputs.items()})

    def on(self, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """The inputs on a device, pixels in the dtype of the model's weights."""
        return {
            name: value.to(device, dtype if "pixel_values" in name else value.dtype, non_blocking=True)
            for name, value in self.inputs.items()
        }


def prepare_sample(
    sample: Sample, tokenizer: Tokenizer, processor: Step3VLImageProcessor, piece: PackPiece | None = None
) -> PreparedSample:
    """Encode a sample and decode its images.

    Args:
        sample: The sample with the bytes of its images.
        tokenizer: Tokenizer of the model.
        processor: Image processor of the model.
        piece: The part of the sample's tokens to keep; None keeps all of them.

    Raises:
        Exception: An image is broken; the exception is its decoder's.
    """
    encoded = encode_sample(sample, tokenizer, processor.spec)
    ids, weights, images = encoded.input_ids, encoded.loss_weights, sample.images
    if piece is not None:
        spans = image_spans(sample, ids, TokenIds.of(tokenizer), processor.spec)
        begin, end = before_image(piece.begin, spans), before_image(piece.end, spans)
        ids, weights = ids[begin:end], weights[begin:end]
        images = tuple(image for image, span in zip(images, spans, strict=True) if begin <= span[0] < end)
    pixels = None
    if images:
        processed = processor([image.read() for image in images])
        pixels = ImagePixels(processed["pixel_values"], processed["patch_pixel_values"], processed["num_patches"])
    return PreparedSample(ids, weights, pixels)


def image_spans(sample: Sample, ids: np.ndarray, token_ids: TokenIds, spec: ImageSpec) -> list[tuple[int, int]]:
    """First token of each image and the one after its last, wrappers included."""
    ends = (np.flatnonzero(ids == token_ids.image_end) + 1).tolist()
    sizes = [plan_crops(image.width, image.height, spec).tokens for image in sample.images]
    return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def before_image(position: int, spans: Sequence[tuple[int, int]]) -> int:
    """The position, or the start of the image that it falls into."""
    return next((start for start, end in spans if start < position < end), position)


def collate(packs: Sequence[Sequence[PreparedSample]], pad: int) -> tuple[dict[str, Tensor], float]:
    """Stack B packs into the model's inputs.

    Args:
        packs: The samples of each pack; a pack may be empty.
        pad: Id of padding.

    Returns:
        The inputs, and the sum of the weights that the model's loss will count. input_ids (also the labels),
        sequence_ids (0 padding, then 1, 2, ... for the samples) and position_ids (from 0 in each sample) are int64
        [B, T], loss_weights float32 [B, T], with T the longest pack; pixels are in prompt order.
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
    loss_weights = mask_loss_weights(torch.from_numpy(weights), input_ids, sequence_ids)
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
