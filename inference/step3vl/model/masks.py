"""Which token may look at which, and what position it has: packed, padded or plain sequences.

In a pack attention is causal inside each sample and never crosses into another. The library derives the mask from
positions that start again; padding (id 0) is a sample of its own, so that no row of a softmax is empty.
"""

from typing import Any

import torch
from torch import Tensor


def packed_positions(sequence_ids: Tensor) -> Tensor:
    """Positions [B, T] that start again from 0 with every sample of a pack."""
    index = torch.arange(sequence_ids.shape[1], device=sequence_ids.device).expand_as(sequence_ids)
    starts = starts_of_samples(sequence_ids)
    return index - torch.where(starts, index, 0).cummax(dim=1).values


def sample_bounds(positions: Tensor) -> dict[str, Any]:
    """What variable-length attention kernels ask for: where each sample of the flattened rows starts, and the longest.

    positions [B, T] start from 0 with every sample, and so with every row.
    """
    starts = torch.nonzero(positions.flatten() == 0).flatten()
    bounds = torch.nn.functional.pad(starts, (0, 1), value=positions.numel()).int()
    longest = int(positions.max()) + 1
    return {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest}


def padded_positions(attention_mask: Tensor) -> Tensor:
    """Positions [B, T] that count only real tokens, so that padding on the left changes nothing."""
    return (attention_mask.long().cumsum(dim=1) - 1).clamp_min(0)


def starts_of_samples(sequence_ids: Tensor) -> Tensor:
    """Boolean [B, T], true on the first token of each sample: it has no token of its own sample before it."""
    starts = torch.ones_like(sequence_ids, dtype=torch.bool)
    starts[:, 1:] = sequence_ids[:, 1:] != sequence_ids[:, :-1]
    return starts


def predicted(loss_weights: Tensor, labels: Tensor, sequence_ids: Tensor) -> Tensor:
    """Weights [B, T] in float32, zero on tokens that nothing predicts: padding, ignored labels, first of a sample."""
    weights = loss_weights.float()
    usable = (sequence_ids > 0) & (labels >= 0) & ~starts_of_samples(sequence_ids)
    return weights * usable
