"""`corpus balance`: how many tokens of each domain a run of some length takes, and how often it repeats them.

Shares follow the sizes of the domains to a power (the temperature of Devlin et al., 2019, and of the mixtures of
multilingual models): 1 takes domains as large as they are, 0 all alike. A cap bounds the share of a domain. What a
run repeats more often than a few times teaches little more (Muennighoff et al., 2023: four epochs).
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from step3vl.data.config import Config
from step3vl.data.dataset import Dataset, Split
from step3vl.data.errors import UserError


class BalanceConfig(Config):
    """How the tokens of a run are shared among domains."""

    tokens: float = Field(gt=0)
    """Of the run: STEP3-VL-10B was pretrained on 900e9 in its first phase, and on 300e9 in its second."""
    temperature: float = Field(default=1.0, ge=0, le=1)
    """The power of the sizes that shares follow: 1 is proportional, 0 is uniform."""
    caps: dict[str, float] = Field(default_factory=dict)
    """The largest share of a domain, 0..1, by its name."""
    epochs: float = Field(default=4.0, gt=0)
    """Passes over a domain at most; what it then cannot give goes to the others."""

    @model_validator(mode="after")
    def _caps_are_shares(self) -> Self:
        for name, cap in self.caps.items():
            if not 0 <= cap <= 1:
                raise ValueError(f"caps.{name} is {cap}; give a share from 0 to 1")
        return self


class DomainShare(NamedTuple):
    """The part of a domain in a run.

    Attributes:
        name: Of the domain.
        available: Tokens that the datasets have of it.
        share: Of the run's tokens, 0..1.
        tokens: The same in tokens.
        epochs: How often the run passes over the domain.
    """

    name: str
    available: int
    share: float
    tokens: float
    epochs: float


class Balance(NamedTuple):
    """The parts of all domains, and the tokens of the run that none of them can give."""

    domains: tuple[DomainShare, ...]
    missing: float


def balance(available: Mapping[str, int], config: BalanceConfig) -> Balance:
    """Share the tokens of a run among domains.

    Each domain gets its share by temperature, but no more than its cap and its epochs allow. What is left is shared
    among the others alike, until nothing is left or all are at their bounds.

    Args:
        available: Tokens of each domain.
        config: Of the run.

    Raises:
        UserError: A cap names a domain that there is none of.
    """
    if unknown := sorted(config.caps.keys() - available.keys()):
        raise UserError(f"a cap names {', '.join(unknown)}; the datasets have {', '.join(sorted(available))}")
    weights = {name: float(count) ** config.temperature for name, count in available.items() if count}
    bounds = {
        name: min(config.caps.get(name, 1.0) * config.tokens, config.epochs * available[name]) for name in weights
    }
    tokens = dict.fromkeys(available, 0.0)
    free, rest = dict(weights), config.tokens
    while free and rest > 0:
        total = sum(free.values())
        full = [name for name, weight in free.items() if rest * weight / total >= bounds[name]] if total else [*free]
        if not full:
            tokens |= {name: rest * weight / total for name, weight in free.items()}
            rest = 0.0
        for name in full:
            tokens[name] = bounds[name]
            del free[name]
        if full:
            rest = config.tokens - sum(tokens.values())
    domains = tuple(
        DomainShare(name, count, tokens[name] / config.tokens, tokens[name], tokens[name] / count if count else 0.0)
        for name, count in sorted(available.items())
    )
    return Balance(domains, max(0.0, config.tokens - sum(tokens.values())))


def tokens_by_domain(datasets: tuple[Dataset, ...], split: Split = "train") -> dict[str, int]:
    """The tokens of the samples that may be used, by domain. Only indexes are read."""
    totals: dict[str, int] = {}
    for dataset in datasets:
        for batch in dataset.index_batches(["domain", "text_tokens", "image_tokens"], split=split):
            columns = (batch[name].to_pylist() for name in ("domain", "text_tokens", "image_tokens"))
            for domain, text, image in zip(*columns, strict=True):
                totals[domain] = totals.get(domain, 0) + text + image
    return totals
