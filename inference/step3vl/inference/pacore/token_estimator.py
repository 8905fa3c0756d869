"""Tokens of a synthesis prompt: counted by the backend, or estimated from the usage of the first round."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from step3vl.data.sample import TextPart
from step3vl.inference.client.backend import Backend
from step3vl.inference.client.requests import Request
from step3vl.inference.pacore.synthesis import synthesis_request
from step3vl.inference.pacore.trace import RolloutTrace

TOKENS_PER_BYTE = 0.6  # before any measurement; English text has about 0.25, numbers 1
MARGIN = 1.1  # a measured density is raised by this factor


class TokenEstimator:
    """Counts or estimates the tokens of one question's prompt around any conclusions."""

    def __init__(self, backend: Backend, request: Request, template: Path):
        self._backend = backend
        self._request = request
        self._template = template
        self._question_tokens: int | None = None  # of the question's prompt, its images included
        self._uncounted: int | None = None  # those of them that the backend's count leaves out
        self._density = TOKENS_PER_BYTE

    def calibrate(self, prompt_tokens: int | None, rollouts: Sequence[RolloutTrace]) -> None:
        """Learn from the round that was asked the plain question."""
        self._question_tokens = prompt_tokens
        counted = [rollout for rollout in rollouts if rollout.tokens is not None and rollout.text]
        if counted:
            tokens = sum(rollout.tokens or 0 for rollout in counted)
            self._density = min(1.0, MARGIN * tokens / sum(len(rollout.text.encode()) for rollout in counted))

    def upper_bound(self, conclusions: Sequence[str]) -> float:
        """Return a bound on the prompt's tokens: each has at least one byte. Infinity before calibration."""
        if self._question_tokens is None:
            return float("inf")
        return self._question_tokens + self._added_bytes(conclusions)

    async def measure(self, conclusions: Sequence[str]) -> int:
        """Return the tokens of the prompt around the conclusions."""
        ids = await self._backend.tokenize(synthesis_request(self._request, conclusions, self._template))
        if ids is None:
            question = self._question_tokens if self._question_tokens is not None else _text_bytes(self._request)
            return question + ceil(self._added_bytes(conclusions) * self._density)
        if self._uncounted is None:
            question_ids = await self._backend.tokenize(self._request)
            self._uncounted = max(0, (self._question_tokens or 0) - len(question_ids or ()))
        return len(ids) + self._uncounted

    def _added_bytes(self, conclusions: Sequence[str]) -> int:
        return _text_bytes(synthesis_request(self._request, conclusions, self._template)) - _text_bytes(self._request)


def _text_bytes(request: Request) -> int:
    return sum(
        len(part.text.encode())
        for message in request.messages
        for part in message.content
        if isinstance(part, TextPart)
    )
