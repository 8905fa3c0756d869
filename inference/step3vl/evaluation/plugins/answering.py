"""What the models of both harnesses share: who answers, and how."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.context_limit import WithinContext
from step3vl.evaluation.runner import PAPER_SAMPLING
from step3vl.inference.client import Backend, OpenAIBackend, Request, Sampling, Usage, collect, gather, run_sync
from step3vl.inference.pacore import LEVELS, PaCoRe, PaCoReConfig


@dataclass(frozen=True)
class Answer:
    """An answer without its reasoning.

    Args:
        text: The answer; empty where a model that reasons never ended its reasoning.
        usage: Token counts, over all rollouts of PaCoRe; None where unknown.
    """

    text: str
    usage: Usage | None


class HarnessModel:
    """A model folder, or a model of an OpenAI-compatible server, that answers the requests of a harness.

    Args:
        model: A model folder, or the address of a server (`http://…`).
        pacore: PaCoRe's rounds: `4`, `16`, `32+4`, or a level (`low`, `medium`, `high`); "off" for single replies.
        max_new_tokens: The longest reply, as far as the context allows. The report's by default: the tasks of both
            harnesses ask for as little as 16 tokens, which cuts the reasoning off.
        temperature: The report's by default.
        seed: Each request has a seed of its own, derived from this and its name.
        reasoning: Whether the model reasons: a reply whose reasoning never ended has no answer then.
        device: Where a model folder runs.
        backend_model: The server's name for the model; by default its first.
        api_key: The server's key.

    Raises:
        UserError: there is no such folder, or the rounds are none.
    """

    def __init__(
        self,
        model: str,
        pacore: str | int = "off",
        max_new_tokens: int = PAPER_SAMPLING.max_new_tokens,
        temperature: float = PAPER_SAMPLING.temperature,
        seed: int = 0,
        reasoning: bool = True,
        device: str = "cpu",
        backend_model: str | None = None,
        api_key: str | None = None,
    ):
        rounds = parse_rounds(str(pacore))
        self.sampling = Sampling(max_new_tokens=int(max_new_tokens), temperature=float(temperature))
        self.pacore = PaCoReConfig(rounds=rounds, sampling=self.sampling) if rounds else None
        self.seed, self.reasoning = int(seed), reasoning
        self.backend = WithinContext(_open_backend(model, device, backend_model, api_key))

    def answer(self, request: Request, name: str) -> Answer:
        """Answer a request and wait for the answer; threads may do so at once.

        Args:
            request: The request.
            name: What its seed is derived from, such as a task and the number of a question.
        """
        return run_sync(self._answer(request, name))

    def answer_all(self, requests: Sequence[tuple[Request, str]]) -> list[Answer]:
        """Answer requests with their names, all at once, and return the answers in order."""
        return run_sync(gather(self._answer(request, name) for request, name in requests))

    async def _answer(self, request: Request, name: str) -> Answer:
        digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
        seed = (self.seed + int.from_bytes(digest)) % 2**31
        if self.pacore is not None:
            result = await PaCoRe(self.backend, self.pacore.model_copy(update={"seed": seed})).answer(request)
            return self._finished(result.answer, result.reasoning, result.usage)
        sampling = self.sampling.model_copy(update={"seed": seed})
        (completion,), usage = await collect(self.backend, request, sampling)
        return self._finished(completion.answer, completion.reasoning, usage)

    def _finished(self, answer: str, reasoning: str, usage: Usage | None) -> Answer:
        return Answer("" if self.reasoning and not reasoning else answer.strip(), usage)


def parse_rounds(value: str) -> tuple[int, ...]:
    """PaCoRe's rounds of `16`, `32+4` (harnesses split their arguments at commas) or a level; none of `off`.

    Raises:
        UserError: they are none of these.
    """
    if value in ("off", "", "0"):
        return ()
    if value in LEVELS:
        return LEVELS[value]
    try:
        rounds = tuple(int(number) for number in value.split("+"))
    except ValueError:
        rounds = (0,)
    if min(rounds) < 1:
        raise UserError(f"pacore: '{value}' is none of off, {', '.join(LEVELS)}, nor rounds such as 16 or 32+4")
    return rounds


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Settings of a command line, `name=value`: numbers, true and false are JSON, all else is a text.

    Raises:
        UserError: there is no `=` in one.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"'{pair}' is no setting; write name=value, such as pacore=16")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _open_backend(model: str, device: str, backend_model: str | None, api_key: str | None) -> Backend:
    if model.startswith(("http://", "https://")):
        return OpenAIBackend(model, backend_model, api_key=api_key)
    from step3vl.inference import Engine, EngineBackend
    from step3vl.model import load_model

    return EngineBackend(Engine(*load_model(model, device=device), device))
