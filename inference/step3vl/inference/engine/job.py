"""A job of the engine: n rollouts of one request, from encoded prompt to completions."""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from PIL.Image import Image as PILImage
from tokenizers import Tokenizer

from step3vl.data.sample import Image
from step3vl.data.tokens import parse_reply
from step3vl.inference.client.requests import Completion, Delta, FinishReason, TokenLogprob
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.engine.detokenizer import IncrementalDetokenizer, decode_reply
from step3vl.inference.engine.sampling import UniformStream

Listener = Callable[[Delta], None]


class EncodedPrompt(NamedTuple):
    """A request as the model reads it.

    Attributes:
        ids: Token ids [T].
        key: The ids [T] with image tokens replaced by their image's identity, so that equal keys mean equal keys and
            values of the decoder.
        images: The images of the prompt in order, each with its identity: decoded and upright, or the file of one
            that was decoded before.
    """

    ids: np.ndarray
    key: np.ndarray
    images: tuple[tuple[int, Image | PILImage], ...]


@dataclass(eq=False)
class RolloutState:
    """The state of one rollout of a job."""

    job: "Job"
    index: int
    uniforms: UniformStream | None
    detokenizer: IncrementalDetokenizer | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    token_logprobs: list[TokenLogprob] = field(default_factory=list)
    counts: np.ndarray | None = None  # [V], occurrences of each token in the reply; for penalties
    finish_reason: FinishReason | None = None

    @property
    def prompt(self) -> EncodedPrompt:
        """What is prefilled to continue it: the job's prompt, and the reply so far where it was preempted."""
        prompt = self.job.prompt
        if not self.token_ids:
            return prompt
        ids, key = (np.append(values, self.token_ids).astype(values.dtype) for values in (prompt.ids, prompt.key))
        return EncodedPrompt(ids, key, prompt.images)

    @property
    def remaining(self) -> int:
        """The most tokens that may follow."""
        return self.job.sampling.max_new_tokens - len(self.token_ids)


class Job:
    """n rollouts of one request. Created by `Engine.submit`.

    Args:
        prompt: The encoded request.
        sampling: How to sample.
        n: Number of rollouts.
        tokenizer: Decodes the replies.
        end_ids: The model's end tokens. With those that the sampling adds or ignores they become `Job.end_ids`.
        listener: Called with every delta, on the engine's thread.
        first: Rollout i samples with the random stream of number `first` + i.
    """

    def __init__(
        self,
        prompt: EncodedPrompt,
        sampling: Sampling,
        n: int,
        tokenizer: Tokenizer,
        end_ids: frozenset[int],
        listener: Listener | None = None,
        first: int = 0,
    ):
        self.prompt = prompt
        self.sampling = sampling
        self.listener = listener
        self.tokenizer = tokenizer
        self.end_ids = frozenset(sampling.stop_token_ids) | (frozenset() if sampling.ignore_eos else end_ids)
        self.cancelled = False
        self.error: Exception | None = None
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        incremental = listener is not None or bool(sampling.stop or sampling.stop_token_ids)
        self.rollouts = [
            RolloutState(
                job=self,
                index=index,
                uniforms=UniformStream(seed, first + index) if sampling.temperature else None,
                detokenizer=(
                    IncrementalDetokenizer(tokenizer, sampling.stop, sampling.min_new_tokens) if incremental else None
                ),
            )
            for index in range(n)
        ]
        self._running = n
        self._waiting = deque(self.rollouts)
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether all rollouts have ended."""
        return self._done.is_set()

    @property
    def waiting(self) -> int:
        """Rollouts that are not in the batch and have not ended."""
        return len(self._waiting)

    def next_rollouts(self) -> list[RolloutState]:
        """Return the first waiting rollouts that share a prompt: all fresh ones, or a preempted one."""
        if self._waiting and self._waiting[0].token_ids:
            return [self._waiting[0]]
        return list(takewhile(lambda rollout: not rollout.token_ids, self._waiting))

    def start(self, count: int) -> list[RolloutState]:
        """Return the next `count` waiting rollouts, which join now."""
        return [self._waiting.popleft() for _ in range(count)]

    def preempt(self, rollout: RolloutState) -> None:
        """Let a rollout that left the batch wait before the others; it will continue where it was."""
        self._waiting.appendleft(rollout)

    def cancel(self) -> None:
        """End all rollouts at the next step, which frees their memory. What was sampled stays."""
        self.cancelled = True

    def result(self, timeout: float | None = None) -> list[Completion]:
        """Wait for all rollouts.

        Raises:
            TimeoutError: They have not ended within `timeout` seconds.
            Exception: What the engine or the listener failed with.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"the job has not ended within {timeout} s")
        if self.error is not None:
            raise self.error
        return [self._completion(rollout) for rollout in self.rollouts]

    def append(
        self, rollout: RolloutState, token: int, logprob: float | None, top: Sequence[tuple[int, float]]
    ) -> None:
        """Append a sampled token to a rollout, end it if it ends here, and call the listener.

        Args:
            rollout: One of the job's rollouts.
            token: The token's id.
            logprob: Its log-probability, None if not recorded.
            top: Ids and log-probabilities of the likeliest tokens.
        """
        rollout.token_ids.append(token)
        if rollout.counts is not None:
            rollout.counts[token] += 1
        detail = None
        if logprob is not None:
            rollout.logprobs.append(logprob)
            if self.sampling.logprobs is not None and (self.listener is not None or self.sampling.logprobs):
                detail = self._detail(token, logprob, top)
                rollout.token_logprobs.append(detail)
        ended = token in self.end_ids
        piece = rollout.detokenizer.add(token) if rollout.detokenizer and not ended else ""
        if ended or (rollout.detokenizer is not None and rollout.detokenizer.stopped):
            rollout.finish_reason = "stop"
        elif len(rollout.token_ids) == self.sampling.max_new_tokens:
            rollout.finish_reason = "length"
        if rollout.finish_reason is not None and rollout.detokenizer is not None:
            piece += rollout.detokenizer.finish()
        details = None if detail is None else [detail]
        self._notify(rollout, Delta(rollout.index, piece, [token], details, rollout.finish_reason))

    def end(self, error: Exception | None = None) -> None:
        """End the rollouts that still run: as cancelled, or because the engine failed."""
        self.error = self.error or error
        for rollout in self.rollouts:
            if rollout.finish_reason is None:
                rollout.finish_reason = "cancelled"
                piece = rollout.detokenizer.finish() if rollout.detokenizer else ""
                self._notify(rollout, Delta(rollout.index, piece, [], None, "cancelled"))

    def _notify(self, rollout: RolloutState, delta: Delta) -> None:
        if self.listener is not None:
            try:
                self.listener(delta)
            except Exception as error:  # a listener's fault ends its own job, not the batch
                self.listener, self.error = None, error
                self.cancel()
        if rollout.finish_reason is not None:
            self._running -= 1
            if not self._running:
                self.prompt = self.prompt._replace(images=())  # the job may be kept for its result
                self._done.set()

    def _detail(self, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> TokenLogprob:
        alternatives = tuple((id_, self._decode(id_), value) for id_, value in top if value > float("-inf"))
        return TokenLogprob(token, self._decode(token), logprob, alternatives)

    def _decode(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def _completion(self, rollout: RolloutState) -> Completion:
        text = rollout.detokenizer.text if rollout.detokenizer else decode_reply(self.tokenizer, rollout.token_ids)
        reply = parse_reply(text)
        return Completion(
            token_ids=rollout.token_ids,
            text=text,
            reasoning=reply.reasoning,
            answer=reply.answer,
            tool_calls=reply.tool_calls,
            logprobs=None if self.sampling.logprobs is None else rollout.logprobs,
            token_logprobs=tuple(rollout.token_logprobs) if self.sampling.logprobs else None,
            finish_reason=rollout.finish_reason or "cancelled",
            prompt_tokens=len(self.prompt.ids),
        )
