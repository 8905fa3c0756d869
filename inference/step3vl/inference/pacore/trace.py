"""A JSON-serialisable record of how a question was answered, down to every rollout."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RolloutTrace:
    """One rollout.

    Attributes:
        index: Its number in the round.
        text: The reply.
        reasoning: The part before `</think>`.
        answer: The part after it.
        finish_reason: "stop", "length", or "cancelled": ended by the deadline or a consensus, or lost.
        tokens: Sampled tokens, None where a server does not report them.
        first_seconds: When its first token arrived, counted from the start of the round.
        seconds: When its last token arrived, counted likewise.
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
    """One round.

    Attributes:
        round: Its number.
        rollouts: How many rollouts it has.
        conclusions: The references of its prompt.
        cut: How many of them were truncated to fit the context.
        cut_characters: How many characters that removed.
        prompt_tokens: Tokens of the prompt, None where a server does not report them.
        completion_tokens: Sampled tokens of all rollouts, None likewise.
        seconds: Duration.
        trajectories: The rollouts in detail.
        failures: Why rollouts were lost, attempt by attempt.
        consensus_rollout: Index of the rollout whose answer a consensus chose.
    """

    round: int
    rollouts: int
    conclusions: list[str]
    cut: int = 0
    cut_characters: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    trajectories: list[RolloutTrace] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    consensus_rollout: int | None = None


@dataclass(frozen=True)
class Savings:
    """What a consensus saved: rollouts that were stopped or never started, and an estimate of their tokens.

    The estimate takes them to be as long as the mean of those that ended; None where no lengths were reported.
    """

    rollouts: int
    tokens: int | None

    @classmethod
    def of(cls, rounds: Sequence[RoundTrace], planned: Sequence[int]) -> "Savings":
        """Compare the rounds that ran with the planned rollouts of each round, the final one included."""
        last = rounds[-1]
        ended = [rollout for rollout in last.trajectories if rollout.finish_reason != "cancelled"]
        stopped = [rollout for rollout in last.trajectories if rollout.finish_reason == "cancelled"]
        skipped = sum(planned[len(rounds) :])
        lengths = [rollout.tokens for rollout in ended if rollout.tokens is not None]
        if not lengths:
            return cls(len(stopped) + skipped, None)
        mean = sum(lengths) / len(lengths)
        remaining = sum(max(0.0, mean - (rollout.tokens or 0)) for rollout in stopped)
        return cls(len(stopped) + skipped, round(remaining + mean * skipped))


@dataclass(frozen=True)
class Trace:
    """All rounds of a question.

    Attributes:
        rounds: The rounds that ran.
        seed: `PaCoReConfig.seed` with which the answer repeats.
        prompt_tokens: Tokens of the prompts that are reported, summed over the rounds.
        completion_tokens: Sampled tokens likewise.
        seconds: Duration.
        savings: What a consensus saved, None without one.
    """

    rounds: list[RoundTrace]
    seed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    savings: Savings | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to plain lists and dictionaries."""
        return asdict(self)
