"""What became of a question, to the last rollout, in a form that JSON can hold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trajectory:
    """One rollout. `tokens` is None where a server does not tell; seconds count from the beginning of its round.

    `finish_reason` is "stop", "length", or "cancelled": ended by the deadline or a consensus, or lost.
    """

    index: int
    text: str
    reasoning: str
    answer: str
    finish_reason: str
    tokens: int | None
    first_seconds: float | None
    seconds: float


@dataclass
class RoundTrace:
    """One round. `messages` are what it was given, of which `cut` had to be shortened by `cut_characters` in all.

    `failures` says why rollouts were lost, attempt by attempt; `agreed` which rollout spoke for a consensus.
    """

    round: int
    rollouts: int
    messages: list[str]
    cut: int = 0
    cut_characters: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    trajectories: list[Trajectory] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    agreed: int | None = None


@dataclass(frozen=True)
class Saving:
    """What a consensus saved: rollouts that were stopped or never begun, and about how many tokens they would have.

    They are taken to be as long as the mean of those that ended.
    """

    rollouts: int
    tokens: int | None

    @classmethod
    def of(cls, rounds: Sequence[RoundTrace], planned: Sequence[int]) -> "Saving":
        """`planned` holds the rollouts of each round that there would have been, the answer's included."""
        last = rounds[-1]
        ended = [one for one in last.trajectories if one.finish_reason != "cancelled"]
        stopped = [one for one in last.trajectories if one.finish_reason == "cancelled"]
        skipped = sum(planned[len(rounds) :])
        lengths = [one.tokens for one in ended if one.tokens is not None]
        if not lengths:
            return cls(len(stopped) + skipped, None)
        mean = sum(lengths) / len(lengths)
        rest = sum(max(0.0, mean - (one.tokens or 0)) for one in stopped)
        return cls(len(stopped) + skipped, round(rest + mean * skipped))


@dataclass(frozen=True)
class Trace:
    """A whole question. The tokens are those that are known, summed over all rounds."""

    rounds: list[RoundTrace]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    saving: Saving | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries."""
        return asdict(self)
