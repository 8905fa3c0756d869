"""How the next token is drawn from logits. Pure functions over tensors [rows, V]; each row has settings of its own.

The order is that of transformers: penalties, temperature, top-k, top-p, min-p. Randomness comes from outside, one
uniform number a row (`Noise`), so what a row draws never depends on its neighbours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from step3vl.data.config import Config

NOISE_BLOCK = 256  # uniform numbers that a row draws at once


class Sampling(Config):
    """The released settings are temperature 1, top_p 1, top_k 0 (off). Temperature 0 takes the likeliest token.

    min_p drops tokens below that share of the likeliest one's probability. `repetition_penalty` divides the logits of
    tokens that stand in the prompt or the reply (multiplies negative ones); `presence_penalty` is subtracted once from
    the logit of each token that the reply holds, `frequency_penalty` once for each time. `stop` ends a reply before
    any of these strings. `logprobs` None records none, 0 that of the chosen token, k also those of the k likeliest.

    The same seed gives a request the same draws whatever else is in the batch; without a seed each call draws anew.
    """

    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    max_new_tokens: int = Field(default=1024, ge=1)
    stop: tuple[str, ...] = ()
    logprobs: int | None = Field(default=None, ge=0)
    seed: int | None = None

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("a stop string is empty: every reply would end before it begins")
        return stop

    @property
    def penalised(self) -> bool:
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)


DEFAULT = Sampling()


class Noise:
    """Uniform numbers in [0, 1) for one rollout: number i is a function of (seed, rollout, i) alone.

    Philox is counter-based and its raw stream is fixed by NumPy's promise. 32 bits, so that a product with a float64
    sum never rounds up to the sum itself.
    """

    def __init__(self, seed: int, rollout: int):
        self._bits = np.random.Philox(key=np.array([seed % 2**64, rollout], np.uint64))
        self._block: list[float] = []

    def __call__(self) -> float:
        if not self._block:
            raw = self._bits.random_raw(NOISE_BLOCK)
            self._block = ((raw >> np.uint64(32)) * 2.0**-32).tolist()[::-1]
        return self._block.pop()


class Some(NamedTuple):
    """A setting of some of the rows: their places [r] and values [r, 1]."""

    rows: Tensor
    values: Tensor

    @classmethod
    def of(cls, values: Sequence[float], off: float, device: torch.device) -> Self | None:
        """The rows whose value is not `off`; None when there are none."""
        rows = [row for row, value in enumerate(values) if value != off]
        if not rows:
            return None
        chosen = torch.tensor([[values[row]] for row in rows], device=device)
        return cls(torch.tensor(rows, device=device), chosen)


class Settings(NamedTuple):
    """The settings of a batch as tensors. A greedy row has no temperature and no cuts, which could not matter."""

    greedy: Tensor | None  # [rows] bool, None when no row is
    sampled: bool  # whether any row is not greedy
    temperature: Some | None
    top_k: Some | None
    top_p: Some | None
    min_p: Some | None
    penalties: Tensor | None  # [p, 3]: repetition, presence, frequency, of the rows that are `penalised`
    penalised: Tensor | None  # [p] their places
    logprobs: bool  # whether any row wants them
    top: int  # how many of the likeliest tokens any row wants

    @classmethod
    def of(cls, samplings: Sequence[Sampling], device: torch.device) -> Self:
        greedy = [sampling.temperature == 0 for sampling in samplings]

        def some(name: str, off: float) -> Some | None:
            values = [off if still else getattr(own, name) for own, still in zip(samplings, greedy, strict=True)]
            return Some.of(values, off, device)

        rows = [row for row, sampling in enumerate(samplings) if sampling.penalised]
        penalties = [
            (samplings[row].repetition_penalty, samplings[row].presence_penalty, samplings[row].frequency_penalty)
            for row in rows
        ]
        wanted = [sampling.logprobs for sampling in samplings if sampling.logprobs is not None]
        return cls(
            greedy=torch.tensor(greedy, device=device) if any(greedy) else None,
            sampled=not all(greedy),
            temperature=some("temperature", 1.0),
            top_k=some("top_k", 0),
            top_p=some("top_p", 1.0),
            min_p=some("min_p", 0.0),
            penalties=torch.tensor(penalties, device=device) if rows else None,
            penalised=torch.tensor(rows, device=device) if rows else None,
            logprobs=bool(wanted),
            top=max(wanted, default=0),
        )


class Seen(NamedTuple):
    """What penalised rows have read and said: counts [p, V] in the reply; present [p, V] in prompt or reply."""

    counts: Tensor
    present: Tensor


class Drawn(NamedTuple):
    """tokens [rows] int64; logprobs [rows], top_ids and top_logprobs [rows, k], each None unless wanted."""

    tokens: Tensor
    logprobs: Tensor | None
    top_ids: Tensor | None
    top_logprobs: Tensor | None


def draw(logits: Tensor, settings: Settings, noise: Tensor, suppress: Tensor, seen: Seen | None = None) -> Drawn:
    """Draw one token for each row of logits [rows, V] by the uniform numbers noise [rows]; never an id in `suppress`.

    Log-probabilities are those of the very distribution that the token was drawn from: penalised, at its temperature,
    without suppressed ids, cut and scaled to one. Those of a greedy row are at temperature 1, where it was not drawn.
    """
    logits = logits.float().index_fill(-1, suppress, float("-inf"))
    if settings.penalised is not None and settings.penalties is not None and seen is not None:
        rows = settings.penalised
        logits = logits.index_copy(0, rows, penalise(logits[rows], seen, settings.penalties))
    if settings.temperature is not None:
        rows, values = settings.temperature
        logits = logits.index_copy(0, rows, logits[rows] / values)
    for setting, keep in ((settings.top_k, keep_top_k), (settings.top_p, keep_top_p), (settings.min_p, keep_min_p)):
        logits = _cut(logits, setting, keep)
    tokens = _pick(logits, noise) if settings.sampled else logits.argmax(dim=-1)
    if settings.sampled and settings.greedy is not None:
        tokens = torch.where(settings.greedy, logits.argmax(dim=-1), tokens)
    if not settings.logprobs:
        return Drawn(tokens, None, None, None)
    logprobs = logits.log_softmax(dim=-1)
    chosen = logprobs.gather(-1, tokens[:, None]).squeeze(-1)
    if not settings.top:
        return Drawn(tokens, chosen, None, None)
    values, ids = logprobs.topk(min(settings.top, logprobs.shape[-1]), dim=-1)
    return Drawn(tokens, chosen, ids, values)


def penalise(logits: Tensor, seen: Seen, penalties: Tensor) -> Tensor:
    """Logits [p, V] under penalties [p, 3] (repetition, presence, frequency) for the tokens that rows have `seen`."""
    repetition, presence, frequency = penalties[:, :, None].unbind(dim=1)
    weighed = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen.present, weighed, logits)
    return logits - presence * (seen.counts > 0) - frequency * seen.counts


def keep_top_k(logits: Tensor, k: Tensor) -> Tensor:
    """Minus infinity below the k-th likeliest token of logits [r, V], k [r, 1]; equals of that one stay."""
    k = k.clamp(max=logits.shape[-1])
    lowest = logits.topk(int(k.max()), dim=-1).values.gather(-1, k - 1)
    return logits.masked_fill(logits < lowest, float("-inf"))


def keep_top_p(logits: Tensor, p: Tensor) -> Tensor:
    """Minus infinity outside the fewest tokens of logits [r, V] whose probabilities reach p [r, 1]."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    # A token stays while those before it have not reached p; so the likeliest one always stays.
    beyond = probabilities.cumsum(dim=-1) - probabilities >= p
    return logits.masked_fill(beyond.scatter(-1, order, beyond), float("-inf"))


def keep_min_p(logits: Tensor, share: Tensor) -> Tensor:
    """Minus infinity below that share [r, 1] of the likeliest token's probability, logits [r, V]."""
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + share.log(), float("-inf"))


def _cut(logits: Tensor, setting: Some | None, keep: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    if setting is None:
        return logits
    return logits.index_copy(0, setting.rows, keep(logits[setting.rows], setting.values))


def _pick(logits: Tensor, noise: Tensor) -> Tensor:
    """Invert the cumulative distribution at one uniform number per row: much cheaper than one number per token.

    In float64 the noise's 32 bits stay clear of 1, so a token of probability 0 is never hit.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    return torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True).squeeze(-1)
