"""Sample the next token from logits: pure functions over tensors [R, V], each row with settings of its own.

The order is that of transformers: bias, penalties, temperature, top-k, top-p, min-p. Randomness is an input, one
uniform number per row (`UniformStream`), so what a row samples never depends on the other rows.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from step3vl.inference.client.sampling import Sampling

UNIFORM_BLOCK = 256  # uniform numbers that are generated at a time


class UniformStream:
    """Uniform numbers in [0, 1) for one rollout: number i is a function of (seed, rollout, i) alone.

    Philox is counter-based and its raw stream is fixed by NumPy's compatibility policy. 32 bits, so that a product
    with a float64 sum never rounds up to the sum itself.
    """

    def __init__(self, seed: int, rollout: int):
        self._bits = np.random.Philox(key=np.array([seed % 2**64, rollout], np.uint64))
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            raw = self._bits.random_raw(UNIFORM_BLOCK)
            self._block = ((raw >> np.uint64(32)) * 2.0**-32).tolist()[::-1]
        return self._block.pop()


class RowSetting(NamedTuple):
    """A setting that is on for r of the rows: their indices [r] and its values [r, 1]."""

    rows: Tensor
    values: Tensor

    @classmethod
    def of(cls, values: Sequence[float], off: float, device: torch.device) -> Self | None:
        """Select the rows whose value is not `off`; None when there are none."""
        rows = [row for row, value in enumerate(values) if value != off]
        if not rows:
            return None
        column = torch.tensor([[values[row]] for row in rows], device=device)
        return cls(torch.tensor(rows, device=device), column)


class LogitBias(NamedTuple):
    """Biases of single tokens: rows [b], token ids [b] and what is added to their logits [b]."""

    rows: Tensor
    ids: Tensor
    values: Tensor

    @classmethod
    def of(cls, samplings: Sequence[Sampling], device: torch.device) -> Self | None:
        """Collect the biases of R rows; None when there are none."""
        entries = [(row, *entry) for row, sampling in enumerate(samplings) for entry in sampling.logit_bias.items()]
        if not entries:
            return None
        rows, ids, values = zip(*entries, strict=True)
        return cls(
            torch.tensor(rows, device=device),
            torch.tensor(ids, device=device),
            torch.tensor(values, dtype=torch.float32, device=device),
        )


class BatchSampling(NamedTuple):
    """The sampling settings of R rows as tensors. Greedy rows have no temperature and no filters.

    Attributes:
        greedy: [R] bool, None when no row is greedy.
        any_sampled: Whether any row is not greedy.
        temperature: Rows whose temperature is not 1.
        top_k: Rows with top-k.
        top_p: Rows with top-p.
        min_p: Rows with min-p.
        bias: Biases of single tokens.
        penalties: [p, 3] repetition, presence and frequency penalty of the penalised rows.
        penalised_rows: [p] their indices.
        logprobs: Whether any row records log-probabilities.
        top: The most alternatives that any row records.
    """

    greedy: Tensor | None
    any_sampled: bool
    temperature: RowSetting | None
    top_k: RowSetting | None
    top_p: RowSetting | None
    min_p: RowSetting | None
    bias: LogitBias | None
    penalties: Tensor | None
    penalised_rows: Tensor | None
    logprobs: bool
    top: int

    @classmethod
    def of(cls, samplings: Sequence[Sampling], device: torch.device) -> Self:
        """Convert the settings of R rows."""
        greedy = [sampling.temperature == 0 for sampling in samplings]

        def setting(name: str, off: float) -> RowSetting | None:
            values = [
                off if is_greedy else getattr(sampling, name)
                for sampling, is_greedy in zip(samplings, greedy, strict=True)
            ]
            return RowSetting.of(values, off, device)

        rows = [row for row, sampling in enumerate(samplings) if sampling.penalised]
        penalties = [
            (samplings[row].repetition_penalty, samplings[row].presence_penalty, samplings[row].frequency_penalty)
            for row in rows
        ]
        logprobs = [sampling.logprobs for sampling in samplings if sampling.logprobs is not None]
        return cls(
            greedy=torch.tensor(greedy, device=device) if any(greedy) else None,
            any_sampled=not all(greedy),
            temperature=setting("temperature", 1.0),
            top_k=setting("top_k", 0),
            top_p=setting("top_p", 1.0),
            min_p=setting("min_p", 0.0),
            bias=LogitBias.of(samplings, device),
            penalties=torch.tensor(penalties, device=device) if rows else None,
            penalised_rows=torch.tensor(rows, device=device) if rows else None,
            logprobs=bool(logprobs),
            top=max(logprobs, default=0),
        )


class TokenHistory(NamedTuple):
    """Tokens of the p penalised rows: counts [p, V] in the reply; present [p, V] in prompt or reply."""

    counts: Tensor
    present: Tensor


class SampledTokens(NamedTuple):
    """tokens [R] int64; logprobs [R], top_ids and top_logprobs [R, k], each None unless recorded."""

    tokens: Tensor
    logprobs: Tensor | None
    top_ids: Tensor | None
    top_logprobs: Tensor | None


def sample_tokens(
    logits: Tensor,
    settings: BatchSampling,
    uniforms: Tensor,
    suppressed_token_ids: Tensor,
    history: TokenHistory | None = None,
    withheld: Tensor | None = None,
) -> SampledTokens:
    """Sample one token for each row.

    Log-probabilities are those of the very distribution that was sampled from: penalised, at its temperature, without
    suppressed ids, filtered and normalised. Those of a greedy row are at temperature 1.

    Args:
        logits: [R, V], of any floating type.
        settings: The rows' settings.
        uniforms: [R] uniform numbers in [0, 1), float64.
        suppressed_token_ids: [s] ids that are never sampled.
        history: Tokens of the penalised rows; needed when there are any.
        withheld: [w, 2] pairs of a row and an id that this row does not sample now.
    """
    logits = logits.float().index_fill(-1, suppressed_token_ids, float("-inf"))
    if withheld is not None:
        logits[withheld[:, 0], withheld[:, 1]] = float("-inf")
    if settings.bias is not None:
        rows, ids, values = settings.bias
        logits = logits.index_put((rows, ids), values, accumulate=True)
    if settings.penalised_rows is not None and settings.penalties is not None and history is not None:
        rows = settings.penalised_rows
        logits = logits.index_copy(0, rows, penalise(logits[rows], history, settings.penalties))
    if settings.temperature is not None:
        rows, values = settings.temperature
        logits = logits.index_copy(0, rows, logits[rows] / values)
    for setting, keep in ((settings.top_k, keep_top_k), (settings.top_p, keep_top_p), (settings.min_p, keep_min_p)):
        logits = _filter(logits, setting, keep)
    tokens = _invert_cdf(logits, uniforms) if settings.any_sampled else logits.argmax(dim=-1)
    if settings.any_sampled and settings.greedy is not None:
        tokens = torch.where(settings.greedy, logits.argmax(dim=-1), tokens)
    if not settings.logprobs:
        return SampledTokens(tokens, None, None, None)
    logprobs = logits.log_softmax(dim=-1)
    sampled = logprobs.gather(-1, tokens[:, None]).squeeze(-1)
    if not settings.top:
        return SampledTokens(tokens, sampled, None, None)
    values, ids = logprobs.topk(min(settings.top, logprobs.shape[-1]), dim=-1)
    return SampledTokens(tokens, sampled, ids, values)


def penalise(logits: Tensor, history: TokenHistory, penalties: Tensor) -> Tensor:
    """Apply penalties [p, 3] (repetition, presence, frequency) to logits [p, V]."""
    repetition, presence, frequency = penalties[:, :, None].unbind(dim=1)
    weighed = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(history.present, weighed, logits)
    return logits - presence * (history.counts > 0) - frequency * history.counts


def keep_top_k(logits: Tensor, k: Tensor) -> Tensor:
    """Set logits [r, V] below the k-th likeliest token to minus infinity, k [r, 1]; ties with it stay."""
    k = k.clamp(max=logits.shape[-1])
    lowest = logits.topk(int(k.max()), dim=-1).values.gather(-1, k - 1)
    return logits.masked_fill(logits < lowest, float("-inf"))


def keep_top_p(logits: Tensor, p: Tensor) -> Tensor:
    """Set logits [r, V] outside the fewest tokens whose probabilities reach p [r, 1] to minus infinity."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    # A token stays while those before it have not reached p; so the likeliest token always stays.
    beyond = probabilities.cumsum(dim=-1) - probabilities >= p
    return logits.masked_fill(beyond.scatter(-1, order, beyond), float("-inf"))


def keep_min_p(logits: Tensor, share: Tensor) -> Tensor:
    """Set logits [r, V] below a share [r, 1] of the likeliest token's probability to minus infinity."""
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + share.log(), float("-inf"))


def _filter(logits: Tensor, setting: RowSetting | None, keep: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if setting is None:
        return logits
    return logits.index_copy(0, setting.rows, keep(logits[setting.rows], setting.values))


def _invert_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Invert the cumulative distribution at one uniform number per row: much cheaper than one number per token.

    In float64 the 32 bits of a uniform number stay clear of 1, so a token of probability 0 is never hit.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    return torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True).squeeze(-1)
