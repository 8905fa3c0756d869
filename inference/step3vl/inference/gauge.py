"""How many tokens a synthesis prompt has: asked of the backend, or reckoned from what the first round has shown."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from step3vl.data.sample import TextPart
from step3vl.inference.backend import Backend
from step3vl.inference.jobs import Request
from step3vl.inference.synthesis import synthesis_request
from step3vl.inference.trace import Trajectory

TOKENS_PER_BYTE = 0.6  # before anything is known; English text has about 0.25, numbers 1
CAUTION = 1.1  # a reckoned density is taken this much higher


class Gauge:
    """Measures prompts of one question around any messages."""

    def __init__(self, backend: Backend, request: Request, template: Path):
        self._backend = backend
        self._request = request
        self._template = template
        self._own: int | None = None  # tokens of the question's prompt, its pictures included
        self._uncounted: int | None = None  # those of them that the backend's count leaves out
        self._density = TOKENS_PER_BYTE

    def learn(self, prompt_tokens: int | None, trajectories: Sequence[Trajectory]) -> None:
        """From the round that was asked the bare question."""
        self._own = prompt_tokens
        known = [one for one in trajectories if one.tokens is not None and one.text]
        if known:
            tokens = sum(one.tokens or 0 for one in known)
            self._density = min(1.0, CAUTION * tokens / sum(len(one.text.encode()) for one in known))

    def bound(self, messages: Sequence[str]) -> float:
        """The prompt has no more tokens than this: a token has at least one byte. Infinity where nothing is known."""
        return float("inf") if self._own is None else self._own + self._added(messages)

    async def measure(self, messages: Sequence[str]) -> int:
        """Tokens of the prompt around the messages."""
        ids = await self._backend.tokenize(synthesis_request(self._request, messages, self._template))
        if ids is None:
            own = self._own if self._own is not None else _bytes(self._request)
            return own + ceil(self._added(messages) * self._density)
        if self._uncounted is None:
            bare = await self._backend.tokenize(self._request)
            self._uncounted = max(0, (self._own or 0) - len(bare or ()))
        return len(ids) + self._uncounted

    def _added(self, messages: Sequence[str]) -> int:
        return _bytes(synthesis_request(self._request, messages, self._template)) - _bytes(self._request)


def _bytes(request: Request) -> int:
    return sum(
        len(part.text.encode()) for turn in request.messages for part in turn.content if isinstance(part, TextPart)
    )
