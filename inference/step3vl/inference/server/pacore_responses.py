"""PaCoRe's events as OpenAI's responses: the hypotheses become the reasoning, the synthesis becomes the answer.

A plain client reads the conclusion of each hypothesis in the reasoning as soon as there is one, and then the
reasoning of the synthesis. A client that asks for `events` gets the deltas of the hypotheses instead, in chunks
without choices.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from step3vl.inference.client import Backend, ReplySplitter, Request, Sampling
from step3vl.inference.pacore import (
    AnswerDelta,
    Finished,
    HypothesisDelta,
    PaCoRe,
    PaCoReConfig,
    PaCoReEvent,
    PaCoReResult,
    RolloutsRestarted,
    RoundFinished,
    RoundStarted,
    RoundTrace,
    extract_conclusion,
)
from step3vl.inference.server.chat_completions import ChoiceBuilder, ChoiceStream
from step3vl.inference.server.protocol import PaCoReOptions
from step3vl.inference.server.responses import Envelope, Json, UsageCounter, reasoning_fields

SYNTHESIS_HEADING = "**Synthesis**\n\n"


@dataclass
class RoundProgress:
    """The text and tokens of each hypothesis of the current round so far."""

    round: int
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def conclusion(self, index: int) -> str:
        return extract_conclusion(self.texts[index]).strip()

    def summary(self, index: int) -> str:
        """What a plain client reads of a hypothesis that has ended."""
        conclusion = self.conclusion(index) or "(no answer)"
        return f"**Hypothesis {index + 1} of {len(self.texts)}, round {self.round + 1}**\n\n{conclusion}\n\n"


class PaCoReGeneration:
    """Generates one answer of PaCoRe; a `Generation`.

    Args:
        backend: Answers the rollouts.
        request: The chat.
        sampling: The settings of every rollout.
        rounds: The number of hypotheses of each round.
        options: The request's own settings.
        splitter: Creates the splitter of the answer.
        envelope: The fields that all chunks share.
        counter: Receives all tokens.
    """

    def __init__(
        self,
        backend: Backend,
        request: Request,
        sampling: Sampling,
        rounds: tuple[int, ...],
        options: PaCoReOptions,
        splitter: Callable[[], ReplySplitter],
        envelope: Envelope,
        counter: UsageCounter,
    ):
        settings = options.model_dump(exclude_none=True, exclude={"rounds", "events", "trace"})
        if sampling.seed is not None:
            settings.setdefault("seed", sampling.seed)
        config = PaCoReConfig(rounds=rounds, sampling=sampling, **settings)
        self.pacore = PaCoRe(backend, config)
        self.request = request
        self.options = options
        self.splitter = splitter
        self.envelope = envelope
        self.counter = counter
        self._progress = RoundProgress(0)
        self._answer_counter = UsageCounter()
        self._result: PaCoReResult | None = None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks, without the usage."""
        answer = ChoiceStream(self.envelope, 0, self.splitter(), self._answer_counter)
        events = self.pacore.stream(self.request)
        started = False
        async with aclosing(events):
            async for event in events:
                chunks = [] if started else [self.envelope.chat_chunk(0, {"role": "assistant", "content": ""})]
                started = True
                reasoning = self._follow(event)
                if self.options.events:
                    chunks += [self.envelope.chunk([], pacore=fields) for fields in self._event_fields(event)]
                elif reasoning:
                    chunks.append(self.envelope.chat_chunk(0, reasoning_fields(reasoning)))
                if isinstance(event, AnswerDelta):
                    chunks += answer.feed(event.delta)
                if isinstance(event, Finished) and self.options.trace:
                    chunks.append(self.envelope.chunk([], pacore={"type": "trace", **event.result.trace.to_json()}))
                if chunks:
                    yield b"".join(chunks)

    async def complete(self) -> Json:
        """The complete response."""
        answer, reasoning = ChoiceBuilder(self.splitter()), ""
        events = self.pacore.stream(self.request)
        async with aclosing(events):
            async for event in events:
                reasoning += self._follow(event)
                if isinstance(event, RolloutsRestarted) and event.round == len(self.pacore.config.rounds):
                    answer = ChoiceBuilder(self.splitter())
                if isinstance(event, AnswerDelta):
                    answer.feed(event.delta)
        self._answer_counter.completion, self._answer_counter.reasoning = answer.tokens, answer.reasoning_tokens
        self._settle_usage()
        choice = answer.choice(0, logprobs=False)
        choice["message"] |= reasoning_fields(reasoning + choice["message"]["reasoning"])
        trace = {"pacore": self._result.trace.to_json()} if self._result and self.options.trace else {}
        return self.envelope.response([choice], self.counter.to_json(), **trace)

    def _follow(self, event: PaCoReEvent) -> str:
        """Update the progress and the usage; return the text that the event adds to the reasoning."""
        progress = self._progress
        match event:
            case RoundStarted(last=True):
                return SYNTHESIS_HEADING if progress.texts else ""
            case RoundStarted():
                self._progress = RoundProgress(event.round, [""] * event.rollouts, [0] * event.rollouts)
            case HypothesisDelta(delta=delta):
                progress.texts[delta.index] += delta.text
                progress.tokens[delta.index] += len(delta.token_ids)
                self.counter.completion += len(delta.token_ids)
                if delta.finish_reason is not None:
                    return progress.summary(delta.index)
            case RolloutsRestarted():
                for index in event.indices:
                    progress.texts[index], progress.tokens[index] = "", 0
            case RoundFinished():
                self.counter.rounds.append(_round_usage(event.trace))
            case Finished():
                self._result = event.result
                self._settle_usage()
        return ""

    def _event_fields(self, event: PaCoReEvent) -> list[Json]:
        """The `pacore` objects of an event, for a client that shows hypotheses side by side."""
        match event:
            case RoundStarted(last=False):
                return [{"type": "round", "round": event.round, "rollouts": event.rollouts}]
            case HypothesisDelta(delta=delta):
                hypothesis = {"round": event.round, "index": delta.index}
                fields: list[Json] = [{"type": "delta", **hypothesis, "text": delta.text}] if delta.text else []
                if delta.finish_reason is not None:
                    end = {"conclusion": self._progress.conclusion(delta.index), "finish_reason": delta.finish_reason}
                    tokens = self._progress.tokens[delta.index]
                    fields.append({"type": "hypothesis", **hypothesis, **end, "tokens": tokens})
                return fields
            case RolloutsRestarted():
                indices = list(event.indices)
                return [{"type": "restarted", "round": event.round, "indices": indices, "reason": event.reason}]
            case RoundFinished(trace=trace) if trace.round < len(self.pacore.config.rounds):
                return [{"type": "usage", "round": event.round, "usage": _round_usage(trace)}]
        return []

    def _settle_usage(self) -> None:
        """All tokens count; those that are not the answer's count as reasoning."""
        if self._result is not None:
            self.counter.replace_by(self._result.usage)
            answer = self._answer_counter.completion - self._answer_counter.reasoning
            self.counter.reasoning = max(0, self.counter.completion - answer)


def _round_usage(trace: RoundTrace) -> Json:
    return {
        "round": trace.round,
        "rollouts": trace.rollouts,
        "prompt_tokens": trace.prompt_tokens,
        "completion_tokens": trace.completion_tokens,
        "seconds": round(trace.seconds, 3),
        "conclusions": len(trace.conclusions),
        "conclusions_cut": trace.cut,
        "lost": len(trace.failures),
        "consensus": trace.consensus_rollout is not None,
    }
