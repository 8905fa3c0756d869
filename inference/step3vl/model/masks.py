"""Positions, attention bounds and loss masks of packed, padded and plain sequences.

In a pack attention is causal within each sample and never crosses into another. transformers derives that mask from
positions that restart at 0; padding (id 0) counts as a sample, so that no row of a softmax is empty.
"""

from typing import Any

import torch
from torch import Tensor

MAX_DENSE_MASK_TOKENS = 8192  # of a row: 64 MiB in eight bits, four times that for eager attention


def packed_positions(sequence_ids: Tensor) -> Tensor:
    """Position ids that restart at 0 with every sample of a pack.

    Args:
        sequence_ids: int64 [B, T]; 0 for padding, 1, 2, ... for the samples of a row.

    Returns:
        int64 [B, T].
    """
    index = torch.arange(sequence_ids.shape[1], device=sequence_ids.device).expand_as(sequence_ids)
    starts = sample_starts(sequence_ids)
    return index - torch.where(starts, index, 0).cummax(dim=1).values


def sample_bounds(positions: Tensor) -> dict[str, Any]:
    """The keyword arguments of variable-length attention kernels: sample bounds in the flattened rows.

    Args:
        positions: int64 [B, T], which restart at 0 with every sample, and so with every row.

    Returns:
        `cu_seq_lens_q`, `cu_seq_lens_k` (int32 [samples + 1]), `max_length_q` and `max_length_k`.
    """
    starts = torch.nonzero(positions.flatten() == 0).flatten()
    bounds = torch.nn.functional.pad(starts, (0, 1), value=positions.numel()).int()
    longest = int(positions.max()) + 1
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}


def padded_positions(attention_mask: Tensor) -> Tensor:
    """Position ids [B, T] that count only real tokens, so that padding on the left changes nothing.

    Args:
        attention_mask: [B, T]; 1 for real tokens, 0 for padding.
    """
    return (attention_mask.long().cumsum(dim=1) - 1).clamp_min(0)


def sample_starts(sequence_ids: Tensor) -> Tensor:
    """Boolean [B, T], true on the first token of each sample: no token of the same sample precedes it."""
    starts = torch.ones_like(sequence_ids, dtype=torch.bool)
    starts[:, 1:] = sequence_ids[:, 1:] != sequence_ids[:, :-1]
    return starts


def mask_loss_weights(loss_weights: Tensor, labels: Tensor, sequence_ids: Tensor) -> Tensor:
    """Zero the loss weights of tokens that are never predicted: padding, ignored labels, the first of each sample.

    Args:
        loss_weights: [B, T], the weight of predicting each token.
        labels: int64 [B, T], unshifted; negative where ignored.
        sequence_ids: int64 [B, T]; 0 for padding.

    Returns:
        float32 [B, T].
    """
    weights = loss_weights.float()
    usable = (sequence_ids > 0) & (labels >= 0) & ~sample_starts(sequence_ids)
    return weights * usable
