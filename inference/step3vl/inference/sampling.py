"""How the next token is drawn from logits. Pure functions over tensors [rows, V]."""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from step3vl.data.config import Config


class Sampling(Config):
    """The released settings are temperature 1, top_p 1, top_k 0 (off). Temperature 0 takes the likeliest token.

    The same seed and the same requests give the same completions; without a seed each call draws anew.
    """

    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    max_new_tokens: int = Field(default=1024, ge=1)
    seed: int | None = None


DEFAULT = Sampling()


class Drawn(NamedTuple):
    """tokens [rows] int64; logprobs [rows] float32, None unless asked for."""

    tokens: Tensor
    logprobs: Tensor | None


def draw(
    logits: Tensor, sampling: Sampling, generator: torch.Generator, suppress: Tensor, logprobs: bool = False
) -> Drawn:
    """Draw one token for each row of logits [rows, V]; ids in `suppress` are never drawn.

    Log-probabilities are those of softmax(logits / temperature) without the suppressed ids, before top_k and top_p cut
    its tail; with both off, that is the distribution the token was drawn from. At temperature 0 they are those at 1.
    """
    logits = logits.float().index_fill(-1, suppress, float("-inf"))
    if sampling.temperature == 0:
        tokens = logits.argmax(dim=-1)
        return Drawn(tokens, _chosen(logits.log_softmax(dim=-1), tokens) if logprobs else None)
    logits = (logits / sampling.temperature).log_softmax(dim=-1)
    tokens = _pick(cut_tail(logits, sampling.top_k, sampling.top_p), generator)
    return Drawn(tokens, _chosen(logits, tokens) if logprobs else None)


def cut_tail(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Minus infinity outside the top_k likeliest tokens, and outside the fewest whose probabilities reach top_p."""
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, dim=-1).values[..., -1:], float("-inf"))
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        # A token stays while those before it have not reached top_p; so the likeliest one always stays.
        beyond = probabilities.cumsum(dim=-1) - probabilities >= top_p
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), float("-inf"))
    return logits


def _pick(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Invert the cumulative distribution at one uniform number per row: much cheaper than one number per token.

    In float64 the 24 random bits stay clear of 1, so a token of probability 0 is never hit.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.rand(len(logits), 1, generator=generator, device=logits.device).double()
    return torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True).squeeze(-1)


def _chosen(logprobs: Tensor, tokens: Tensor) -> Tensor:
    return logprobs.gather(-1, tokens[:, None]).squeeze(-1)
