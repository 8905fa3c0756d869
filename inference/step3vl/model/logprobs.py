"""Log-probabilities and entropies of tokens in float32, without ever holding the logits of a whole sequence."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

MAX_LOGITS_PER_CHUNK = 2**27  # half a gigabyte in float32: about 880 tokens of the released vocabulary


class TokenScores(NamedTuple):
    """Log-probabilities and entropies of n tokens."""

    logprobs: Tensor
    """float32 [n]."""
    entropy: Tensor | None
    """float32 [n] without gradient, for monitoring; None unless requested."""


class LanguageHead(nn.Linear):
    """A linear layer to the vocabulary that can score target tokens.

    Scores are computed in one call, whatever the number of chunks: where parameters are sharded (ZeRO-3), a call is a
    collective, and ranks have different numbers of tokens. Their products are float32, also with weights in bfloat16
    and under autocast, because logits of bfloat16 have three significant digits.
    """

    def forward(  # type: ignore[override]  # a linear layer, and more
        self,
        hidden: Tensor,
        targets: Tensor | None = None,
        temperature: float = 1.0,
        suppress: Tensor | None = None,
        entropy: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Logits [..., V] in the dtype of the weights; with `targets` [n], what `token_scores` returns."""
        if targets is None:
            return super().forward(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            logits = partial(_float32_linear, self.weight.float())
            return _score_in_chunks(logits, self.out_features, hidden, targets, temperature, suppress, entropy)


class ValueHead(nn.Linear):
    """A linear layer without bias whose weights, products and outputs are float32, for the values of a critic."""

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., H] to [..., 1]."""
        with torch.autocast(hidden.device.type, enabled=False):
            return _float32_linear(self.weight.float(), hidden)


def is_sharded(module: nn.Module) -> bool:
    """Whether DeepSpeed has partitioned the parameters (ZeRO-3), so that each call of the module is a collective."""
    first = next(module.parameters(), None)  # it partitions all or none
    return hasattr(first, "ds_id")


def token_scores(
    head: nn.Module,
    hidden: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    suppress: Tensor | None = None,
    entropy: bool = False,
) -> TokenScores:
    """Score target tokens under the distribution of the language head.

    Args:
        head: The language head, from H to the vocabulary: a `LanguageHead`, or another layer (with an adapter).
        hidden: [n, H], the hidden state before each target.
        targets: int64 [n], token ids.
        temperature: Divides the logits.
        suppress: int64 [k], ids with probability 0, as in the sampler.
        entropy: Whether to compute the entropy as well.

    Returns:
        The scores under softmax(logits / temperature) without the suppressed ids.
    """
    if isinstance(head, LanguageHead):
        return TokenScores(*head(hidden, targets, temperature, suppress, entropy))
    # Each chunk would be a call: a sharded head takes all tokens at once.
    vocabulary = 0 if is_sharded(head) else int(head.out_features)  # type: ignore[arg-type]
    return TokenScores(*_score_in_chunks(head, vocabulary, hidden, targets, temperature, suppress, entropy))


def _score_in_chunks(
    head: Callable[[Tensor], Tensor],
    vocabulary: int,
    hidden: Tensor,
    targets: Tensor,
    temperature: float,
    suppress: Tensor | None,
    entropy: bool,
) -> tuple[Tensor, Tensor | None]:
    """With more than one chunk, the logits of each are recomputed in the backward pass instead of kept."""
    score = partial(_score, head, temperature, suppress, entropy)
    chunks = -(-len(targets) * vocabulary // MAX_LOGITS_PER_CHUNK)
    if chunks <= 1:
        return score(hidden, targets)
    parts = [
        checkpoint(score, part, target, use_reentrant=False)
        for part, target in zip(hidden.tensor_split(chunks), targets.tensor_split(chunks), strict=True)
    ]
    logprobs, entropies = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropies) if entropy else None


def _float32_linear(weight: Tensor, hidden: Tensor) -> Tensor:
    return F.linear(hidden.float(), weight)


def _score(
    head: Callable[[Tensor], Tensor],
    temperature: float,
    suppress: Tensor | None,
    entropy: bool,
    hidden: Tensor,
    targets: Tensor,
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
