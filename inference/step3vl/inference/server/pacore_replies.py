"""PaCoRe's events as OpenAI's replies: the hypotheses are the thought, the synthesis is the answer.

A plain client sees in the thought what each hypothesis concluded, as soon as it has, and then the synthesis's own
thought. A client that asks for `events` gets the hypotheses' deltas instead, in chunks without choices.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from step3vl.inference.backend import Backend
from step3vl.inference.jobs import Request
from step3vl.inference.pacore import (
    AnswerDelta,
    Finished,
    HypothesisDelta,
    PaCoRe,
    PaCoReConfig,
    PaCoReEvent,
    PaCoReResult,
    Restarted,
    RoundFinished,
    RoundStarted,
)
from step3vl.inference.sampling import Sampling
from step3vl.inference.server.api import PaCoReOptions
from step3vl.inference.server.shapes import Envelope, Json, Tally, thought
from step3vl.inference.server.streams import ChoiceStream, Whole
from step3vl.inference.synthesis import compact
from step3vl.inference.trace import RoundTrace

SYNTHESIS = "**Synthesis**\n\n"


@dataclass
class Explored:
    """The hypotheses of the round that runs: their text and tokens so far."""

    number: int
    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def conclusion(self, index: int) -> str:
        return compact(self.texts[index]).strip()

    def told(self, index: int) -> str:
        """What a plain client reads of a hypothesis that has ended."""
        conclusion = self.conclusion(index) or "(no answer)"
        return f"**Hypothesis {index + 1} of {len(self.texts)}, round {self.number + 1}**\n\n{conclusion}\n\n"


class PaCoReReply:
    """One answer of PaCoRe, as a stream of chunks or whole."""

    def __init__(
        self,
        backend: Backend,
        request: Request,
        sampling: Sampling,
        rounds: tuple[int, ...],
        options: PaCoReOptions,
        envelope: Envelope,
        tally: Tally,
    ):
        settings = options.model_dump(exclude_none=True, exclude={"rounds", "events", "trace"})
        if sampling.seed is not None:
            settings.setdefault("seed", sampling.seed)
        config = PaCoReConfig(rounds=rounds, sampling=sampling, **settings)
        self.pacore = PaCoRe(backend, config)
        self.request = request
        self.options = options
        self.envelope = envelope
        self.tally = tally
        self._now = Explored(0)
        self._final = Tally()
        self._result: PaCoReResult | None = None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        answer = ChoiceStream(self.envelope, 0, bool(self.request.tools), self._final)
        events = self.pacore.stream(self.request)
        opened = False
        async with aclosing(events):
            async for event in events:
                chunks = [] if opened else [self.envelope.delta(0, {"role": "assistant", "content": ""})]
                opened = True
                told = self._follow(event)
                if self.options.events:
                    chunks += [self.envelope.chunk([], pacore=shown) for shown in self._shown(event)]
                elif told:
                    chunks.append(self.envelope.delta(0, thought(told)))
                if isinstance(event, AnswerDelta):
                    chunks += answer.feed(event.delta)
                if isinstance(event, Finished) and self.options.trace:
                    chunks.append(self.envelope.chunk([], pacore={"type": "trace", **event.result.trace.to_json()}))
                if chunks:
                    yield b"".join(chunks)

    async def whole(self) -> Json:
        answer, told = Whole(), ""
        events = self.pacore.stream(self.request)
        async with aclosing(events):
            async for event in events:
                told += self._follow(event)
                if isinstance(event, Restarted) and event.round == len(self.pacore.config.rounds):
                    answer = Whole()
                if isinstance(event, AnswerDelta):
                    answer.feed(event.delta)
        self._final.completion, self._final.reasoning = answer.tokens, answer.thought_tokens
        self._settle()
        choice = answer.choice(0, bool(self.request.tools), logprobs=False)
        choice["message"] |= thought(told + choice["message"]["reasoning"])
        trace = {"pacore": self._result.trace.to_json()} if self._result and self.options.trace else {}
        return self.envelope.whole([choice], self.tally.usage(), **trace)

    def _follow(self, event: PaCoReEvent) -> str:
        """Keep account, and give what the thought has more to tell."""
        now = self._now
        match event:
            case RoundStarted(last=True):
                return SYNTHESIS if now.texts else ""
            case RoundStarted():
                self._now = Explored(event.round, [""] * event.rollouts, [0] * event.rollouts)
            case HypothesisDelta(delta=delta):
                now.texts[delta.index] += delta.text
                now.tokens[delta.index] += len(delta.token_ids)
                self.tally.completion += len(delta.token_ids)
                if delta.finish_reason is not None:
                    return now.told(delta.index)
            case Restarted():
                for index in event.indices:
                    now.texts[index], now.tokens[index] = "", 0
            case RoundFinished():
                self.tally.rounds.append(_account(event.trace))
            case Finished():
                self._result = event.result
                self._settle()
        return ""

    def _shown(self, event: PaCoReEvent) -> list[Json]:
        """The event for a client that shows hypotheses side by side."""
        match event:
            case RoundStarted(last=False):
                return [{"type": "round", "round": event.round, "rollouts": event.rollouts}]
            case HypothesisDelta(delta=delta):
                place = {"round": event.round, "index": delta.index}
                shown: list[Json] = [{"type": "delta", **place, "text": delta.text}] if delta.text else []
                if delta.finish_reason is not None:
                    end = {"message": self._now.conclusion(delta.index), "finish_reason": delta.finish_reason}
                    shown.append({"type": "hypothesis", **place, **end, "tokens": self._now.tokens[delta.index]})
                return shown
            case Restarted():
                places = list(event.indices)
                return [{"type": "restarted", "round": event.round, "indices": places, "reason": event.reason}]
            case RoundFinished(trace=trace) if trace.round < len(self.pacore.config.rounds):
                return [{"type": "usage", "round": event.round, "usage": _account(trace)}]
        return []

    def _settle(self) -> None:
        """All tokens count; those that are not the answer's are thought."""
        if self._result is not None:
            self.tally.settle(self._result.usage)
            answer = self._final.completion - self._final.reasoning
            self.tally.reasoning = max(0, self.tally.completion - answer)


def _account(trace: RoundTrace) -> Json:
    return {
        "round": trace.round,
        "rollouts": trace.rollouts,
        "prompt_tokens": trace.prompt_tokens,
        "completion_tokens": trace.completion_tokens,
        "seconds": round(trace.seconds, 3),
        "messages": len(trace.messages),
        "messages_cut": trace.cut,
        "lost": len(trace.failures),
        "consensus": trace.agreed is not None,
    }
