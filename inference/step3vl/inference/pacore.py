"""PaCoRe: think in parallel, pass on only the conclusions, and answer from them (PaCoRe report, section 2.1).

Each round samples its rollouts from the question and the messages of the round before. A message is what a rollout
concluded; its thoughts are left behind. A last round of one rollout, which is always added, gives the answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from step3vl.data.config import Config
from step3vl.inference.backend import Backend, EngineBackend, Usage
from step3vl.inference.budget import fit
from step3vl.inference.engine import Engine
from step3vl.inference.gauge import Gauge
from step3vl.inference.jobs import Completion, Request
from step3vl.inference.round import AnswerDelta, HypothesisDelta, Patience, Restarted, Round
from step3vl.inference.sampling import Sampling
from step3vl.inference.synthesis import ORDER_SEED, TEMPLATE, compact, in_neutral_order, synthesis_request
from step3vl.inference.trace import RoundTrace, Saving, Trace
from step3vl.inference.waiting import wait_for

# Rollouts of each round (PaCoRe report, section 3.2); the final synthesis follows them.
LEVELS = {"low": (4,), "medium": (16,), "high": (32, 4)}


class PaCoReConfig(Config):
    """How an answer is thought out. `rounds` says how many rollouts each round explores.

    (4,) is the report's low level, (16,) medium, (32, 4) high. Round r draws with seed `seed` + r; the seed inside
    `sampling` is not used.
    """

    rounds: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(4,), min_length=1)
    sampling: Sampling = Sampling()
    seed: int = 0
    template: Path = TEMPLATE
    """The synthesis prompt, for a checkpoint that was trained on another one; see `synthesis.load_template`."""
    order_seed: int = ORDER_SEED
    unfinished: bool = True
    """Whether a rollout that reached its limit of tokens passes on what it had; in the published code it does."""
    minimum: int = Field(default=1, ge=1)
    """Rollouts of a round that must end well; the others may be lost. No more than the round has."""
    retries: int = Field(default=2, ge=0)
    """How often lost rollouts are asked for again."""
    deadline: float | None = Field(default=None, gt=0)
    """Seconds for exploring. Then running rollouts end, and the answer is made from those that are there."""
    consensus: float | None = Field(default=None, gt=0, le=1)
    """Share of a round's rollouts that, once they agree, give the answer; what is not yet drawn is saved."""


@dataclass(frozen=True)
class PaCoReResult:
    """`rounds` holds every completion that ended well, round by round, `messages[r]` what round r passed on.

    `rounds[-1][0]` is the answer's; after a consensus it is the one that spoke for the others.
    """

    answer: str
    reasoning: str
    rounds: list[list[Completion]]
    messages: list[list[str]]
    usage: Usage
    trace: Trace = field(compare=False)  # it has times


@dataclass(frozen=True)
class RoundStarted:
    """Round `round` asks for `rollouts` with the messages of the one before; the last round gives the answer."""

    round: int
    rollouts: int
    messages: tuple[str, ...]
    last: bool


@dataclass(frozen=True)
class RoundFinished:
    """What became of a round."""

    round: int
    trace: RoundTrace


@dataclass(frozen=True)
class Finished:
    """The last event."""

    result: PaCoReResult


PaCoReEvent = RoundStarted | HypothesisDelta | AnswerDelta | Restarted | RoundFinished | Finished
DEFAULT = PaCoReConfig()


class PaCoRe:
    """Runs the rounds over a backend, or over an engine of this process."""

    def __init__(self, backend: Backend | Engine, config: PaCoReConfig = DEFAULT):
        self.backend: Backend = EngineBackend(backend) if isinstance(backend, Engine) else backend
        self.config = config

    def run(self, request: Request) -> PaCoReResult:
        """Answer one request and wait for it. Raises UserError when it has no user message or cannot be answered."""
        return wait_for(self.answer(request))

    async def answer(self, request: Request) -> PaCoReResult:
        """Answer one request, within an event loop. Raises as `stream` does."""
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.result
        raise AssertionError("the last event is Finished")

    async def stream(self, request: Request) -> AsyncGenerator[PaCoReEvent, None]:
        """Answer one request; closing the iterator ends everything that runs. Use it in `contextlib.aclosing`.

        Raises BackendError when fewer rollouts than the minimum could be had, UserError as `run` does.
        """
        synthesis_request(request, ["-"], self.config.template)  # refuses what could not be synthesised later
        run = _Run(self.backend, self.config, request)
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event


class _Run:
    """One question on its way through the rounds."""

    def __init__(self, backend: Backend, config: PaCoReConfig, request: Request):
        self.backend = backend
        self.config = config
        self.request = request
        self.began = time.perf_counter()
        self.rounds: list[Round] = []
        self.gauge = Gauge(backend, request, config.template)

    async def events(self) -> AsyncGenerator[PaCoReEvent, None]:
        loop = asyncio.get_running_loop()
        end = None if self.config.deadline is None else loop.time() + self.config.deadline
        counts = (*self.config.rounds, 1)
        messages: list[str] = []
        number = 0
        while number < len(counts):
            current = await self._prepare(number, counts[number], messages)
            self.rounds.append(current)
            yield RoundStarted(number, counts[number], tuple(current.trace.messages), not current.exploring)
            async with aclosing(current.events(end if current.exploring else None)) as events:
                async for event in events:
                    yield event
            yield RoundFinished(number, current.trace)
            if current.chosen is not None and current.exploring:
                yield AnswerDelta(current.rollouts[current.chosen].whole(0))
                break
            if number == 0:
                self.gauge.learn(current.prompt_tokens or None, current.trace.trajectories)
            messages = self._messages(current.completions())
            late = end is not None and loop.time() >= end
            number = max(number + 1, len(counts) - 1 if late else 0)
        yield Finished(self._result(counts))

    async def _prepare(self, number: int, count: int, messages: list[str]) -> Round:
        sampling = self.config.sampling.model_copy(update={"seed": self.config.seed + number})
        asked, cut, characters = self.request, 0, 0
        context = self.backend.context
        if messages and context is not None and self.gauge.bound(messages) > context - sampling.max_new_tokens:
            # A reply may take half of the context, and more where the messages leave it.
            room = max(context - sampling.max_new_tokens, context // 2)
            messages, tokens, cut, characters = await fit(messages, room, self.gauge.measure)
            limit = max(1, min(sampling.max_new_tokens, context - tokens))
            sampling = sampling.model_copy(update={"max_new_tokens": limit})
        if messages:
            asked = synthesis_request(self.request, messages, self.config.template)
        trace = RoundTrace(number, count, messages, cut, characters)
        exploring = number < len(self.config.rounds)
        patience = Patience(self.config.minimum, self.config.retries, self.config.consensus)
        return Round(self.backend, patience, asked, sampling, trace, exploring)

    def _result(self, counts: tuple[int, ...]) -> PaCoReResult:
        completions = [current.completions() for current in self.rounds]
        explored = (own for current, own in zip(self.rounds, completions, strict=True) if current.exploring)
        messages = [self._messages(own) for own in explored]
        final = self.rounds[-1]
        if final.chosen is not None:
            spokesman = final.rollouts[final.chosen].completion(final.prompt_tokens)
            completions[-1] = [spokesman, *(one for one in completions[-1] if one != spokesman)]
        traces = [current.trace for current in self.rounds]
        usage = sum((current.usage for current in self.rounds if current.usage), Usage(0, 0))
        trace = Trace(
            rounds=traces,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=time.perf_counter() - self.began,
            saving=Saving.of(traces, counts) if final.chosen is not None and final.exploring else None,
        )
        answer = completions[-1][0]
        return PaCoReResult(answer.answer, answer.reasoning, completions, messages, usage, trace)

    def _messages(self, completions: list[Completion]) -> list[str]:
        return passed_on(completions, self.config.order_seed, self.config.unfinished)


def passed_on(completions: Iterable[Completion], seed: int = ORDER_SEED, unfinished: bool = True) -> list[str]:
    """The messages that a round hands to the next: what each completion concluded, in neutral order.

    `unfinished` says whether those that reached their limit of tokens are among them.
    """
    ended = (one for one in completions if unfinished or one.finish_reason == "stop")
    return in_neutral_order((compact(one.text) for one in ended), seed)
