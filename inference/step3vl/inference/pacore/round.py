"""One round of PaCoRe: concurrent rollouts, retries of lost ones, and the record of all of them."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from step3vl.inference.client.backend import Backend, BackendError, DeltaStream, RolloutBuilder, Usage
from step3vl.inference.client.requests import Completion, Delta, Request
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.pacore.consensus import find_consensus
from step3vl.inference.pacore.synthesis import extract_conclusion
from step3vl.inference.pacore.trace import RolloutTrace, RoundTrace

SEED_STRIDE = 1_000_003  # between the seeds of a round's attempts, so that a retry samples other tokens
RETRY_DELAY = 0.5  # seconds before lost rollouts are retried; doubles with each attempt


@dataclass(frozen=True)
class RetryPolicy:
    """When a round is done.

    Attributes:
        min_rollouts: Rollouts that must finish.
        retries: How often lost rollouts are retried.
        consensus: Share of agreeing rollouts that ends the round early, None for never.
    """

    min_rollouts: int
    retries: int
    consensus: float | None


@dataclass(frozen=True)
class HypothesisDelta:
    """What a step adds to rollout `delta.index` of an exploring round."""

    round: int
    delta: Delta


@dataclass(frozen=True)
class AnswerDelta:
    """What a step adds to the answer. After a consensus a single delta holds all of it."""

    delta: Delta


@dataclass(frozen=True)
class RolloutsRestarted:
    """These rollouts were lost and start again; discard their earlier deltas."""

    round: int
    indices: tuple[int, ...]
    reason: str


RoundEvent = HypothesisDelta | AnswerDelta | RolloutsRestarted


class Round:
    """Runs the rollouts of one round.

    `selected` is the index of the rollout that gives the answer: the only one of the last round, or that of a
    consensus.
    """

    def __init__(
        self,
        backend: Backend,
        policy: RetryPolicy,
        request: Request,
        sampling: Sampling,
        trace: RoundTrace,
        exploring: bool,
    ):
        self.exploring = exploring
        self.rollouts = [RolloutBuilder() for _ in range(trace.rollouts)]
        self.selected: int | None = None if exploring else 0
        self.trace = trace
        self.usage: Usage | None = None
        self.prompt_tokens = 0
        self._backend = backend
        self._policy = policy
        self._request = request
        self._sampling = sampling
        self._start_time = time.perf_counter()

    async def events(self, end: float | None) -> AsyncGenerator[RoundEvent, None]:
        """Run until all rollouts have ended, or the loop's time is `end`. Afterwards `trace` is complete.

        Raises:
            BackendError: Fewer rollouts finished than the policy requires.
        """
        pending = list(range(len(self.rollouts)))
        for attempt in range(self._policy.retries + 1):
            failure: BackendError | None = None
            sampling = self._sampling
            if attempt and sampling.seed is not None:
                sampling = sampling.model_copy(update={"seed": sampling.seed + attempt * SEED_STRIDE})
            deltas = self._backend.stream(self._request, sampling, len(pending))
            try:
                async with aclosing(deltas):
                    async for delta in self._receive(deltas, pending, end):
                        yield HypothesisDelta(self.trace.round, delta) if self.exploring else AnswerDelta(delta)
            except BackendError as error:
                failure = error
                self.trace.failures.append(str(error))
            except TimeoutError:
                self.trace.failures.append("the deadline for exploring has come")
            self._add_usage(deltas, pending)
            pending = [index for index in pending if self.rollouts[index].finish_reason is None]
            retry = failure is not None and failure.retryable and attempt < self._policy.retries
            if not pending or not retry:
                break
            for index in pending:
                self.rollouts[index] = RolloutBuilder()
            yield RolloutsRestarted(self.trace.round, tuple(pending), str(failure))
            await asyncio.sleep(RETRY_DELAY * 2**attempt)
        self._finish(failure)

    def completions(self) -> list[Completion]:
        """Return the rollouts that finished."""
        return [rollout.completion(self.prompt_tokens) for rollout in self.rollouts if rollout.finish_reason]

    async def _receive(
        self, deltas: DeltaStream, pending: list[int], end: float | None
    ) -> AsyncGenerator[Delta, None]:
        """Yield deltas under the round's own indices. Raises TimeoutError at `end`."""
        while True:
            async with asyncio.timeout_at(end):
                delta = await anext(deltas, None)
            if delta is None:
                return
            delta = replace(delta, index=pending[delta.index])
            self.rollouts[delta.index].add(delta)
            yield delta
            if delta.finish_reason is not None and self._has_consensus():
                return

    def _has_consensus(self) -> bool:
        if not self.exploring or self._policy.consensus is None:
            return False
        ended = [index for index, rollout in enumerate(self.rollouts) if rollout.finish_reason == "stop"]
        answers = [extract_conclusion(self.rollouts[index].text) for index in ended]
        answer_index = find_consensus(answers, len(self.rollouts), self._policy.consensus)
        self.selected = None if answer_index is None else ended[answer_index]
        self.trace.consensus_rollout = self.selected
        return self.selected is not None

    def _add_usage(self, deltas: DeltaStream, pending: list[int]) -> None:
        for index, tokens in zip(pending, deltas.tokens, strict=True):
            self.rollouts[index].tokens = tokens
        if deltas.usage is not None:
            self.prompt_tokens = deltas.usage.prompt_tokens
            self.usage = deltas.usage if self.usage is None else self.usage + deltas.usage

    def _finish(self, failure: BackendError | None) -> None:
        self.trace.seconds = time.perf_counter() - self._start_time
        self.trace.trajectories = [self._rollout_trace(index) for index in range(len(self.rollouts))]
        if self.usage is not None:
            self.trace.prompt_tokens = self.usage.prompt_tokens
            self.trace.completion_tokens = self.usage.completion_tokens
        ended = sum(rollout.finish_reason is not None for rollout in self.rollouts)
        needed = min(self._policy.min_rollouts, len(self.rollouts))
        if ended < needed and self.trace.consensus_rollout is None:
            if failure is not None:
                raise failure
            reason = f"{ended} of {len(self.rollouts)} rollouts had ended at the deadline, {needed} are needed"
            raise BackendError(reason, 504, retryable=False)

    def _rollout_trace(self, index: int) -> RolloutTrace:
        rollout = self.rollouts[index]
        completion = rollout.completion(self.prompt_tokens)
        return RolloutTrace(
            index=index,
            text=completion.text,
            reasoning=completion.reasoning,
            answer=completion.answer,
            finish_reason=completion.finish_reason,
            tokens=rollout.tokens,
            first_seconds=None if rollout.first_time is None else rollout.first_time - self._start_time,
            seconds=max(0.0, rollout.last_time - self._start_time),
        )
