"""Which token may look at which, and what position it has: packed, padded or plain sequences."""

import torch
from torch import Tensor


def packed_mask(sequence_ids: Tensor) -> Tensor:
    """[B, T] ids to a boolean mask [B, 1, T, T], true where the query (row) may see the key (column).

    Attention is causal inside one sample of a pack and never crosses into another. Padding (id 0) sees only other
    padding: nothing else sees it, and no row of the softmax is empty.
    """
    same = sequence_ids[:, :, None] == sequence_ids[:, None, :]
    return same.tril()[:, None]


def packed_positions(sequence_ids: Tensor) -> Tensor:
    """Positions [B, T] that start again from 0 with every sample of a pack."""
    index = torch.arange(sequence_ids.shape[1], device=sequence_ids.device).expand_as(sequence_ids)
    starts = starts_of_samples(sequence_ids)
    return index - torch.where(starts, index, 0).cummax(dim=1).values


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
