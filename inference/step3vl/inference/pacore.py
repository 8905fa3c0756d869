"""PaCoRe: think in parallel, pass on only the conclusions, and answer from them (PaCoRe report, section 2.1).

Each round samples its rollouts from the question and the messages of the round before. A message is what a rollout
concluded; its thoughts are left behind. A last round of one rollout, which is always added, gives the answer.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Part, TextPart, text
from step3vl.data.tokens import split_answer
from step3vl.inference.engine import Completion, Request
from step3vl.inference.sampling import Sampling

ORDER_SEED = 42  # messages are shuffled with this seed in the published code, so that their order says nothing


class Backend(Protocol):
    """Whatever samples n completions of a request: the Engine, or a server."""

    def generate(self, requests: Sequence[Request], n: int, sampling: Sampling) -> list[list[Completion]]: ...


class PaCoReConfig(Config):
    """`rounds` says how many rollouts each round explores: (4,) low, (16,) medium, (32, 4) high.

    Round r draws with seed `seed` + r; the seed inside `sampling` is not used.
    """

    rounds: tuple[int, ...] = Field(default=(4,), min_length=1)
    sampling: Sampling = Sampling()
    seed: int = 0


@dataclass(frozen=True)
class Usage:
    """Tokens over all rounds. A prompt counts once for a round, since its rollouts share it."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class PaCoReResult:
    """`rounds` holds every completion, the last round's single one too; `messages[r]` what round r passed on."""

    answer: str
    reasoning: str
    rounds: list[list[Completion]]
    messages: list[list[str]]
    usage: Usage


DEFAULT = PaCoReConfig()


class PaCoRe:
    """Runs the rounds over a backend."""

    def __init__(self, backend: Backend, config: PaCoReConfig = DEFAULT):
        self.backend = backend
        self.config = config

    def run(self, request: Request) -> PaCoReResult:
        """Answer one request. Raises UserError when it has no user message to build on."""
        rounds: list[list[Completion]] = []
        messages: list[list[str]] = []
        for index, count in enumerate((*self.config.rounds, 1)):
            asked = synthesis_request(request, messages[-1]) if messages else request
            sampling = self.config.sampling.model_copy(update={"seed": self.config.seed + index})
            rounds.append(self.backend.generate([asked], count, sampling)[0])
            if index < len(self.config.rounds):
                messages.append(passed_on(rounds[-1]))
        final = rounds[-1][0]
        usage = Usage(
            prompt_tokens=sum(completions[0].prompt_tokens for completions in rounds),
            completion_tokens=sum(len(completion.token_ids) for completions in rounds for completion in completions),
        )
        return PaCoReResult(final.answer, final.reasoning, rounds, messages, usage)


def passed_on(completions: Iterable[Completion]) -> list[str]:
    """The messages that a round hands to the next: what each completion concluded, in neutral order."""
    return in_neutral_order(compact(completion.text) for completion in completions)


def compact(reply: str) -> str:
    """The conclusion of a reply: what follows its last `</think>`, or all of it where there is none."""
    return split_answer(reply)[1].strip()


def in_neutral_order(messages: Iterable[str]) -> list[str]:
    """Without the empty ones, sorted by length and shuffled with a fixed seed."""
    ordered = sorted((message for message in messages if message), key=len)
    random.Random(ORDER_SEED).shuffle(ordered)
    return ordered


def synthesis_request(request: Request, messages: Sequence[str]) -> Request:
    """The request with its last user message rewritten around the messages; pictures and history stay.

    Without messages it is the request itself.
    """
    if not messages:
        return request
    turns = list(request.messages)
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        raise UserError("the request has no user message; ask something")
    turns[last] = turns[last].model_copy(update={"content": synthesis_content(turns[last].content, messages)})
    return Request(turns, request.images)


def synthesis_content(content: Sequence[Part], messages: Sequence[str]) -> tuple[Part, ...]:
    """All text becomes one text part, where the first one stood; image parts keep their order around it."""
    question = "\n".join(part.text for part in content if isinstance(part, TextPart))
    prompt = text(synthesis_prompt(question, messages))
    parts: list[Part] = []
    for part in content:
        if not isinstance(part, TextPart):
            parts.append(part)
        elif prompt not in parts:
            parts.append(prompt)
    return tuple(parts) if prompt in parts else (*parts, prompt)


def synthesis_prompt(question: str, messages: Sequence[str]) -> str:
    """The published template's slots in our own words: the question, the numbered references, the request."""
    references = "\n".join(f"Reference {number}:\n{message}" for number, message in enumerate(messages, start=1))
    return (
        "Below are a problem and several reference responses to it. Weigh the references against the problem and each "
        "other, then write a response of your own.\n\n"
        f"Original Problem:\n{question}\n\n"
        f"Reference Responses:\n{references}\n\n"
        "Using the problem and the references above, now give your own complete solution."
    )
