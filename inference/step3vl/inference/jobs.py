"""What goes into the engine and what comes out: requests, deltas, completions, and the job between them."""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL.Image import Image as Picture
from tokenizers import Tokenizer

from step3vl.data.sample import Image, Message, ToolCall
from step3vl.data.tokens import parse_reply
from step3vl.inference.sampling import Noise, Sampling
from step3vl.inference.stops import Spelling, whole_text

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Request:
    """A conversation that waits for an answer. Image parts name `images` by index.

    `tools` are JSON-schema function signatures. In place of messages `text` is a prompt that is continued as it is;
    names of special tokens in it are plain text. `token_ids` is a prompt that is already encoded; its image tokens are
    those of `images` in order. Beside messages or a text it is these, encoded for the engine.
    """

    messages: Sequence[Message] = ()
    images: Sequence[Picture | Image] = ()
    tools: Sequence[dict[str, Any]] = ()
    text: str | None = None
    token_ids: Sequence[int] | None = None


@dataclass(frozen=True)
class TokenLogprob:
    """A token that was drawn and the likeliest ones in its place, each as (token_id, text, logprob), likeliest first.

    Log-probabilities are those of the distribution that the token was drawn from; see `sampling.draw`. Tokens that
    could not be drawn are left out of `top`. A text may be part of a character.
    """

    token_id: int
    text: str
    logprob: float
    top: tuple[tuple[int, str, float], ...] = ()


@dataclass(frozen=True)
class Delta:
    """What one step adds to rollout `index` of a job. The last one of a rollout has a `finish_reason`.

    `text` may lag behind `token_ids`: it holds whole characters only, and never what may begin a stop string.
    """

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None


@dataclass(frozen=True)
class Completion:
    """One answer. `token_ids` holds what was drawn, with the end token when one was, and the tokens of a stop string.

    `logprobs` are those of the distribution that was sampled, one per token; `token_logprobs` says the same with the
    likeliest alternatives, where `Sampling.logprobs` asks for some. `text` ends before a stop string.
    """

    token_ids: list[int]
    text: str
    reasoning: str
    answer: str
    logprobs: list[float] | None
    finish_reason: FinishReason
    prompt_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()
    token_logprobs: tuple[TokenLogprob, ...] | None = None


class Prompt(NamedTuple):
    """A request as the model will read it: ids [T], the key [T] that it shares with equal prompts, its pictures.

    In the key, image tokens carry their picture's identity, so that equal keys mean equal keys and values.
    """

    ids: np.ndarray
    key: np.ndarray
    pictures: tuple[tuple[int, Picture], ...]


Listener = Callable[[Delta], None]


@dataclass(eq=False)
class Row:
    """One rollout of a job, as far as it has come."""

    job: "Job"
    index: int
    noise: Noise | None
    spelling: Spelling | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    token_logprobs: list[TokenLogprob] = field(default_factory=list)
    counts: np.ndarray | None = None  # [V], how often the reply holds each token; for penalties
    finish_reason: FinishReason | None = None


class Job:
    """n rollouts of one request on their way. Made by `Engine.submit`."""

    def __init__(
        self,
        prompt: Prompt,
        sampling: Sampling,
        n: int,
        tokenizer: Tokenizer,
        end_ids: frozenset[int],
        listener: Listener | None = None,
        first: int = 0,
    ):
        """Rollout i draws with the noise of number `first` + i."""
        self.prompt = prompt
        self.sampling = sampling
        self.listener = listener
        self.tokenizer = tokenizer
        self.end_ids = end_ids
        self.cancelled = False
        self.error: Exception | None = None
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        spells = listener is not None or bool(sampling.stop)
        self.rows = [
            Row(
                job=self,
                index=index,
                noise=Noise(seed, first + index) if sampling.temperature else None,
                spelling=Spelling(tokenizer, sampling.stop) if spells else None,
            )
            for index in range(n)
        ]
        self._running = n
        self._started = 0
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def waiting(self) -> int:
        """Rollouts that have not joined the batch."""
        return len(self.rows) - self._started

    def start(self, count: int) -> list[Row]:
        """The next `count` rollouts, which join now."""
        rows = self.rows[self._started : self._started + count]
        self._started += count
        return rows

    def let_pictures_go(self) -> None:
        """Once all rollouts have joined, what the prompt shows is in the keys and values."""
        if not self.waiting:
            self.prompt = self.prompt._replace(pictures=())

    def cancel(self) -> None:
        """End all rollouts at the next step; what was drawn stays. The rows and their memory are free after it."""
        self.cancelled = True

    def result(self, timeout: float | None = None) -> list[Completion]:
        """Wait for all rollouts. Raises what the engine failed with, or TimeoutError after `timeout` seconds."""
        if not self._done.wait(timeout):
            raise TimeoutError(f"the job has not ended within {timeout} s")
        if self.error is not None:
            raise self.error
        return [self._completion(row) for row in self.rows]

    def take(self, row: Row, token: int, logprob: float | None, top: Sequence[tuple[int, float]]) -> None:
        """Add a drawn token to one of the rows, end the row if it ends here, and tell the listener."""
        row.token_ids.append(token)
        if row.counts is not None:
            row.counts[token] += 1
        detail = None
        if logprob is not None:
            row.logprobs.append(logprob)
            if self.sampling.logprobs is not None and (self.listener is not None or self.sampling.logprobs):
                detail = self._detail(token, logprob, top)
                row.token_logprobs.append(detail)
        piece = row.spelling.take(token) if row.spelling else ""
        if token in self.end_ids or (row.spelling is not None and row.spelling.stopped):
            row.finish_reason = "stop"
        elif len(row.token_ids) == self.sampling.max_new_tokens:
            row.finish_reason = "length"
        if row.finish_reason is not None and row.spelling is not None:
            piece += row.spelling.finish()
        self._tell(row, Delta(row.index, piece, [token], None if detail is None else [detail], row.finish_reason))

    def end(self, error: Exception | None = None) -> None:
        """End the rows that still run: as cancelled, or because the engine failed."""
        self.error = self.error or error
        for row in self.rows:
            if row.finish_reason is None:
                row.finish_reason = "cancelled"
                piece = row.spelling.finish() if row.spelling else ""
                self._tell(row, Delta(row.index, piece, [], None, "cancelled"))

    def _tell(self, row: Row, delta: Delta) -> None:
        if self.listener is not None:
            try:
                self.listener(delta)
            except Exception as error:  # a listener's fault ends its own job, not the batch
                self.listener, self.error = None, error
                self.cancel()
        if row.finish_reason is not None:
            self._running -= 1
            if not self._running:
                self._done.set()

    def _detail(self, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> TokenLogprob:
        alternatives = tuple((id_, self._spell(id_), value) for id_, value in top if value > float("-inf"))
        return TokenLogprob(token, self._spell(token), logprob, alternatives)

    def _spell(self, token: int) -> str:
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def _completion(self, row: Row) -> Completion:
        text = row.spelling.text if row.spelling else whole_text(self.tokenizer, row.token_ids)
        reply = parse_reply(text)
        return Completion(
            token_ids=row.token_ids,
            text=text,
            reasoning=reply.reasoning,
            answer=reply.answer,
            tool_calls=reply.tool_calls,
            logprobs=None if self.sampling.logprobs is None else row.logprobs,
            token_logprobs=tuple(row.token_logprobs) if self.sampling.logprobs else None,
            finish_reason=row.finish_reason or "cancelled",
            prompt_tokens=len(self.prompt.ids),
        )
