"""What the language head says about chosen tokens, without ever holding the logits of a whole sequence."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LOGITS_AT_ONCE = 2**27  # half a gigabyte in float32: about 880 tokens of the released vocabulary


class TokenScores(NamedTuple):
    """Both [n], float32. `entropy` is for monitoring: it carries no gradient, and is None unless asked for."""

    logprobs: Tensor
    entropy: Tensor | None


def token_scores(
    head: nn.Linear,
    hidden: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    suppress: Tensor | None = None,
    entropy: bool = False,
    chunks: int = 1,
) -> TokenScores:
    """Log-probabilities of targets [n] given the hidden states [n, H] that precede them.

    The distribution is softmax(logits / temperature) with the ids in `suppress` left out, as the sampler does. With
    more than one chunk, the logits of each are recomputed in the backward pass instead of being kept.
    """
    score = partial(_score, head, temperature, suppress, entropy)
    if chunks == 1:
        return TokenScores(*score(hidden, targets))
    parts = [
        checkpoint(score, part, target, use_reentrant=False)
        for part, target in zip(hidden.tensor_split(chunks), targets.tensor_split(chunks), strict=True)
    ]
    logprobs, entropies = zip(*parts, strict=True)
    return TokenScores(torch.cat(logprobs), torch.cat(entropies) if entropy else None)


def _score(
    head: nn.Linear, temperature: float, suppress: Tensor | None, entropy: bool, hidden: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor | None]:
    logits = head(hidden).float() / temperature
    if suppress is not None:
        logits = logits.index_fill(-1, suppress, float("-inf"))
    logprobs = logits.log_softmax(dim=-1)
    chosen = logprobs.gather(-1, targets[:, None]).squeeze(-1)
    if not entropy:
        return chosen, None
    detached = logprobs.detach()
    return chosen, -(detached.exp() * detached.clamp_min(torch.finfo(torch.float32).min)).sum(dim=-1)
