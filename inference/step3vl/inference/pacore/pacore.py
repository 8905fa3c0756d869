"""PaCoRe: reason in parallel, pass on only the conclusions, and answer from them (PaCoRe report, section 2.1).

Each round samples its rollouts from the question and the conclusions of the previous round; reasoning is left behind.
A last round with a single rollout, which is always added, gives the answer.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from step3vl.data.config import Config
from step3vl.inference.client.backend import Backend, Usage
from step3vl.inference.client.event_loop import run_sync
from step3vl.inference.client.requests import Completion, Request
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.pacore.context_budget import fit_conclusions
from step3vl.inference.pacore.round import AnswerDelta, HypothesisDelta, RetryPolicy, RolloutsRestarted, Round
from step3vl.inference.pacore.synthesis import (
    ORDER_SEED,
    TEMPLATE,
    extract_conclusion,
    shuffle_conclusions,
    synthesis_request,
)
from step3vl.inference.pacore.token_estimator import TokenEstimator
from step3vl.inference.pacore.trace import RoundTrace, Savings, Trace

if TYPE_CHECKING:
    from step3vl.inference.engine import Engine

# Rollouts of each round (PaCoRe report, section 3.2); the final synthesis follows them.
LEVELS = {"low": (4,), "medium": (16,), "high": (32, 4)}


class PaCoReConfig(Config):
    """How PaCoRe answers a question."""

    RENAMED: ClassVar[Mapping[str, str]] = {"unfinished": "include_truncated", "minimum": "min_rollouts"}

    rounds: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(4,), min_length=1)
    """Rollouts of each exploring round: (4,) is the report's low level, (16,) medium, (32, 4) high."""
    sampling: Sampling = Sampling()
    """How each rollout is sampled."""
    seed: int | None = None
    """Round r samples with `seed` + r. None takes the seed of `sampling`, else a random one; the trace names it."""
    template: Path = TEMPLATE
    """The synthesis prompt, for a checkpoint that was trained on another one; see `load_template`."""
    order_seed: int = ORDER_SEED
    """Seed of the order of the conclusions."""
    include_truncated: bool = True
    """Whether a rollout that reached its token limit passes on what it had; in the published code it does."""
    min_rollouts: int = Field(default=1, ge=1)
    """Rollouts of a round that must finish; the others may be lost. Capped at the round's size."""
    retries: int = Field(default=2, ge=0)
    """How often lost rollouts are retried."""
    deadline: float | None = Field(default=None, gt=0)
    """Seconds for exploring. Then running rollouts end, and the answer is made from the finished ones."""
    consensus: float | None = Field(default=None, gt=0, le=1)
    """Share of a round's rollouts that, once they agree, give the answer; all remaining work is skipped."""


@dataclass(frozen=True)
class PaCoReResult:
    """A finished question.

    Attributes:
        answer: The final answer.
        reasoning: The reasoning before it.
        rounds: Every completion that finished, by round. `rounds[-1][0]` is the answer's; after a consensus it is the
            selected one.
        conclusions: What each exploring round passed on.
        usage: Token counts of all rounds.
        trace: The full record, with times.
    """

    answer: str
    reasoning: str
    rounds: list[list[Completion]]
    conclusions: list[list[str]]
    usage: Usage
    trace: Trace = field(compare=False)


@dataclass(frozen=True)
class RoundStarted:
    """Round `round` samples `rollouts` with the conclusions of the previous one; the last round gives the answer."""

    round: int
    rollouts: int
    conclusions: tuple[str, ...]
    last: bool


@dataclass(frozen=True)
class RoundFinished:
    """A round has ended; `trace` is its record."""

    round: int
    trace: RoundTrace


@dataclass(frozen=True)
class Finished:
    """The last event."""

    result: PaCoReResult


PaCoReEvent = RoundStarted | HypothesisDelta | AnswerDelta | RolloutsRestarted | RoundFinished | Finished
DEFAULT = PaCoReConfig()


class PaCoRe:
    """Runs the rounds over a backend, or over an engine of this process."""

    def __init__(self, backend: "Backend | Engine", config: PaCoReConfig = DEFAULT):
        self.backend = _as_backend(backend)
        self.config = config

    def run(self, request: Request) -> PaCoReResult:
        """Answer one request and wait for the result.

        Raises:
            UserError: The request has no user message, or cannot be answered.
        """
        return run_sync(self.answer(request))

    async def answer(self, request: Request) -> PaCoReResult:
        """Answer one request within an event loop. Raises as `stream` does."""
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.result
        raise AssertionError("the last event is Finished")

    async def stream(self, request: Request) -> AsyncGenerator[PaCoReEvent, None]:
        """Answer one request, yielding events. Closing the iterator cancels everything that runs.

        Use it in `contextlib.aclosing`.

        Raises:
            BackendError: Fewer rollouts finished than the minimum.
            UserError: The request has no user message, or the template cannot be used.
        """
        synthesis_request(request, ["-"], self.config.template)  # refuses what could not be synthesised later
        run = _Run(self.backend, self.config, request)
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event


def _as_backend(backend: "Backend | Engine") -> Backend:
    if isinstance(backend, Backend):
        return backend
    from step3vl.inference.engine import EngineBackend  # needs torch, which an engine has loaded already

    return EngineBackend(backend)


def _first_seed(config: PaCoReConfig) -> int:
    seed = config.sampling.seed if config.seed is None else config.seed
    return secrets.randbelow(2**31) if seed is None else seed


class _Run:
    """The state of one question through the rounds."""

    def __init__(self, backend: Backend, config: PaCoReConfig, request: Request):
        self.backend = backend
        self.config = config
        self.request = request
        self.seed = _first_seed(config)
        self.start_time = time.perf_counter()
        self.rounds: list[Round] = []
        self.estimator = TokenEstimator(backend, request, config.template)

    async def events(self) -> AsyncGenerator[PaCoReEvent, None]:
        loop = asyncio.get_running_loop()
        end = None if self.config.deadline is None else loop.time() + self.config.deadline
        counts = (*self.config.rounds, 1)
        conclusions: list[str] = []
        number = 0
        while number < len(counts):
            current = await self._prepare(number, counts[number], conclusions)
            self.rounds.append(current)
            yield RoundStarted(number, counts[number], tuple(current.trace.conclusions), not current.exploring)
            async with aclosing(current.events(end if current.exploring else None)) as events:
                async for event in events:
                    yield event
            yield RoundFinished(number, current.trace)
            if current.selected is not None and current.exploring:
                yield AnswerDelta(current.rollouts[current.selected].as_delta(0))
                break
            if number == 0:
                self.estimator.calibrate(current.prompt_tokens or None, current.trace.trajectories)
            conclusions = self._conclusions(current.completions())
            late = end is not None and loop.time() >= end
            number = max(number + 1, len(counts) - 1 if late else 0)
        yield Finished(self._result(counts))

    async def _prepare(self, number: int, count: int, conclusions: list[str]) -> Round:
        sampling = self.config.sampling.model_copy(update={"seed": self.seed + number})
        request, cut, cut_characters = self.request, 0, 0
        context = self.backend.context
        if (
            conclusions
            and context is not None
            and self.estimator.upper_bound(conclusions) > context - sampling.max_new_tokens
        ):
            # A reply may take half of the context, and more where the conclusions leave it.
            limit = max(context - sampling.max_new_tokens, context // 2)
            fitted = await fit_conclusions(conclusions, limit, self.estimator.measure)
            conclusions, tokens, cut, cut_characters = fitted
            max_new_tokens = max(1, min(sampling.max_new_tokens, context - tokens))
            sampling = sampling.model_copy(update={"max_new_tokens": max_new_tokens})
        if conclusions:
            request = synthesis_request(self.request, conclusions, self.config.template)
        trace = RoundTrace(number, count, conclusions, cut, cut_characters)
        exploring = number < len(self.config.rounds)
        policy = RetryPolicy(self.config.min_rollouts, self.config.retries, self.config.consensus)
        return Round(self.backend, policy, request, sampling, trace, exploring)

    def _result(self, counts: tuple[int, ...]) -> PaCoReResult:
        completions = [current.completions() for current in self.rounds]
        explored = zip(self.rounds, completions, strict=True)
        conclusions = [self._conclusions(finished) for current, finished in explored if current.exploring]
        final = self.rounds[-1]
        if final.selected is not None:
            selected = final.rollouts[final.selected].completion(final.prompt_tokens)
            others = [completion for completion in completions[-1] if completion != selected]
            completions[-1] = [selected, *others]
        traces = [current.trace for current in self.rounds]
        usage = sum((current.usage for current in self.rounds if current.usage), Usage(0, 0))
        trace = Trace(
            rounds=traces,
            seed=self.seed,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=time.perf_counter() - self.start_time,
            savings=Savings.of(traces, counts) if final.selected is not None and final.exploring else None,
        )
        answer = completions[-1][0]
        return PaCoReResult(answer.answer, answer.reasoning, completions, conclusions, usage, trace)

    def _conclusions(self, completions: list[Completion]) -> list[str]:
        return collect_conclusions(completions, self.config.order_seed, self.config.include_truncated)


def collect_conclusions(
    completions: Iterable[Completion], seed: int = ORDER_SEED, include_truncated: bool = True
) -> list[str]:
    """Return what a round passes on: the non-empty conclusions of its completions, in neutral order.

    Args:
        completions: The round's completions.
        seed: Seed of the order.
        include_truncated: Whether completions that reached their token limit count.
    """
    eligible = (reply for reply in completions if include_truncated or reply.finish_reason == "stop")
    return shuffle_conclusions((extract_conclusion(reply.text) for reply in eligible), seed)
