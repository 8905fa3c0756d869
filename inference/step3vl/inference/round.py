"""One round of PaCoRe: rollouts side by side, lost ones asked for again, all of them accounted for."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from step3vl.inference.backend import Backend, BackendError, Deltas, Rollout, Usage
from step3vl.inference.consensus import agreed
from step3vl.inference.jobs import Completion, Delta, Request
from step3vl.inference.sampling import Sampling
from step3vl.inference.synthesis import compact
from step3vl.inference.trace import RoundTrace, Trajectory

ANOTHER_SEED = 1_000_003  # between the seeds of a round's attempts, so that a second one draws anew
PAUSE = 0.5  # seconds before rollouts that were lost are asked for again; it doubles


@dataclass(frozen=True)
class Patience:
    """How many rollouts must end well, how often lost ones are asked for again, which share of agreement is enough."""

    minimum: int
    retries: int
    consensus: float | None


@dataclass(frozen=True)
class HypothesisDelta:
    """What a step adds to rollout `delta.index` of an exploring round."""

    round: int
    delta: Delta


@dataclass(frozen=True)
class AnswerDelta:
    """What a step adds to the answer. After a consensus one delta holds all of it."""

    delta: Delta


@dataclass(frozen=True)
class Restarted:
    """These rollouts were lost and begin anew; what they said is void."""

    round: int
    indices: tuple[int, ...]
    reason: str


RoundEvent = HypothesisDelta | AnswerDelta | Restarted


class Round:
    """`chosen` is the rollout that gives the answer: the only one of the last round, or the voice of a consensus."""

    def __init__(
        self,
        backend: Backend,
        patience: Patience,
        request: Request,
        sampling: Sampling,
        trace: RoundTrace,
        exploring: bool,
    ):
        self.exploring = exploring
        self.rollouts = [Rollout() for _ in range(trace.rollouts)]
        self.chosen: int | None = None if exploring else 0
        self.trace = trace
        self.usage: Usage | None = None
        self.prompt_tokens = 0
        self._backend = backend
        self._patience = patience
        self._request = request
        self._sampling = sampling
        self._began = time.perf_counter()

    async def events(self, end: float | None) -> AsyncGenerator[RoundEvent, None]:
        """Run until all rollouts have ended, or the loop's time is `end`. Afterwards `trace` is complete.

        Raises BackendError when too few rollouts ended well.
        """
        pending = list(range(len(self.rollouts)))
        for attempt in range(self._patience.retries + 1):
            failure: BackendError | None = None
            sampling = self._sampling
            if attempt and sampling.seed is not None:
                sampling = sampling.model_copy(update={"seed": sampling.seed + attempt * ANOTHER_SEED})
            deltas = self._backend.stream(self._request, sampling, len(pending))
            try:
                async with aclosing(deltas):
                    async for delta in self._taken(deltas, pending, end):
                        yield HypothesisDelta(self.trace.round, delta) if self.exploring else AnswerDelta(delta)
            except BackendError as error:
                failure = error
                self.trace.failures.append(str(error))
            except TimeoutError:
                self.trace.failures.append("the deadline for exploring has come")
            self._account(deltas, pending)
            pending = [index for index in pending if self.rollouts[index].finish_reason is None]
            again = failure is not None and failure.retryable and attempt < self._patience.retries
            if not pending or not again:
                break
            for index in pending:
                self.rollouts[index] = Rollout()
            yield Restarted(self.trace.round, tuple(pending), str(failure))
            await asyncio.sleep(PAUSE * 2**attempt)
        self._finish(failure)

    async def _taken(self, deltas: Deltas, pending: list[int], end: float | None) -> AsyncGenerator[Delta, None]:
        """Deltas as they come, under the round's own numbers. Raises TimeoutError at the end of time."""
        while True:
            async with asyncio.timeout_at(end):
                delta = await anext(deltas, None)
            if delta is None:
                return
            delta = replace(delta, index=pending[delta.index])
            self.rollouts[delta.index].add(delta)
            yield delta
            if delta.finish_reason is not None and self._agree():
                return

    def _agree(self) -> bool:
        if not self.exploring or self._patience.consensus is None:
            return False
        ended = [index for index, rollout in enumerate(self.rollouts) if rollout.finish_reason == "stop"]
        answers = [compact(self.rollouts[index].text) for index in ended]
        place = agreed(answers, len(self.rollouts), self._patience.consensus)
        self.chosen = None if place is None else ended[place]
        self.trace.agreed = self.chosen
        return self.chosen is not None

    def _account(self, deltas: Deltas, pending: list[int]) -> None:
        for index, tokens in zip(pending, deltas.tokens, strict=True):
            self.rollouts[index].tokens = tokens
        if deltas.usage is not None:
            self.prompt_tokens = deltas.usage.prompt_tokens
            self.usage = deltas.usage if self.usage is None else self.usage + deltas.usage

    def _finish(self, failure: BackendError | None) -> None:
        self.trace.seconds = time.perf_counter() - self._began
        self.trace.trajectories = [self._trajectory(index) for index in range(len(self.rollouts))]
        if self.usage is not None:
            self.trace.prompt_tokens = self.usage.prompt_tokens
            self.trace.completion_tokens = self.usage.completion_tokens
        ended = sum(rollout.finish_reason is not None for rollout in self.rollouts)
        needed = min(self._patience.minimum, len(self.rollouts))
        if ended < needed and self.trace.agreed is None:
            if failure is not None:
                raise failure
            reason = f"{ended} of {len(self.rollouts)} rollouts had ended at the deadline, {needed} are needed"
            raise BackendError(reason, 504, retryable=False)

    def completions(self) -> list[Completion]:
        """Those that ended well."""
        return [rollout.completion(self.prompt_tokens) for rollout in self.rollouts if rollout.finish_reason]

    def _trajectory(self, index: int) -> Trajectory:
        rollout = self.rollouts[index]
        whole = rollout.completion(self.prompt_tokens)
        return Trajectory(
            index=index,
            text=whole.text,
            reasoning=whole.reasoning,
            answer=whole.answer,
            finish_reason=whole.finish_reason,
            tokens=rollout.tokens,
            first_seconds=None if rollout.first is None else rollout.first - self._began,
            seconds=max(0.0, rollout.last - self._began),
        )
