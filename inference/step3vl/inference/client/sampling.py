"""The sampling settings of a request."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from step3vl.data.config import Config


class Sampling(Config):
    """How tokens are sampled. The defaults are the released settings.

    The filters apply in the order of transformers: bias, penalties, temperature, top-k, top-p, min-p.
    """

    temperature: float = Field(default=1.0, ge=0)
    """0 takes the likeliest token."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Keep the fewest tokens whose probabilities reach this sum."""
    top_k: int = Field(default=0, ge=0)
    """Keep the k likeliest tokens; 0 is off."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Drop tokens below this fraction of the likeliest token's probability."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Divides the positive logits of tokens in the prompt or the reply, multiplies negative ones."""
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Subtracted once from the logit of each token that the reply contains."""
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    """Subtracted once per occurrence in the reply."""
    logit_bias: Mapping[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-100, le=100)]] = {}
    """Added to the logits of these token ids."""
    max_new_tokens: int = Field(default=1024, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    """Before so many tokens neither an end token nor a stop token is sampled, and no stop string is looked for."""
    ignore_eos: bool = False
    """Whether a reply continues after an end token, up to `max_new_tokens`, a stop string or a stop token."""
    stop: tuple[str, ...] = ()
    """A reply ends before the first of these strings."""
    stop_token_ids: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """A reply ends with the first of these tokens; its text ends before it."""
    logprobs: int | None = Field(default=None, ge=0)
    """None records no log-probabilities, 0 those of the sampled tokens, k also those of the k likeliest."""
    seed: int | None = None
    """The same seed gives a request the same samples whatever else is in the batch; None takes a random seed."""

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("a stop string is empty: every reply would end before it begins")
        return stop

    @model_validator(mode="after")
    def _ordered_limits(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(f"min_new_tokens {self.min_new_tokens} is above max_new_tokens {self.max_new_tokens}")
        return self

    @property
    def penalised(self) -> bool:
        """Whether any penalty is on."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)


DEFAULT = Sampling()
