"""Letting a model play the episodes of a benchmark: many at a time, each step by step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from step3vl.data.environment import Suite
from step3vl.data.storage import write_durably
from step3vl.evaluation.episodes import SCREENS, PlayedEpisode
from step3vl.inference.agent import AgentEpisode
from step3vl.inference.batch import BatchConfig, Question, Reply, question_seed, reply_to
from step3vl.inference.client import Backend, Usage

ContentT = TypeVar("ContentT")


class Player:
    """Answers questions whose fields name an instance of a task: `task`, `number`.

    Args:
        suite: The environments.
        max_steps: Answers after which an episode ends.
        folder: Of the run, which receives the screens.
        reasoning: Whether the model reasons before it answers: a reply whose reasoning never ended is no action then.
    """

    def __init__(self, suite: Suite, max_steps: int, folder: Path, reasoning: bool) -> None:
        self._suite, self._max_steps, self._reasoning = suite, max_steps, reasoning
        self._screens = folder / SCREENS
        self._screens.mkdir(parents=True, exist_ok=True)

    async def __call__(self, backend: Backend, question: Question, config: BatchConfig) -> Reply:
        """Play an episode. Each step has a seed of its own.

        Raises:
            UserError: The environment or the backend fails.
        """
        instance = self._suite.open(question.fields["task"], question.fields["number"], "heldout")
        seed = question_seed(question, config)
        usages: list[Usage] = []  # none of a server that counts no tokens
        async with _entered(instance) as environment:
            episode = await asyncio.to_thread(AgentEpisode, environment, self._max_steps)
            while episode.outcome is None:
                reply = await reply_to(backend, episode.request, config, (seed + len(episode.steps)) % 2**31)
                usages += [Usage(**usage)] if (usage := reply["usage"]) else []
                answer, reasoning = reply["answer"], reply["reasoning"]
                if self._reasoning and not reply["reasoning_ended"]:
                    answer, reasoning = "", answer
                await asyncio.to_thread(episode.answer, answer, reasoning)
        await asyncio.to_thread(self._keep, episode)
        return {
            "answer": PlayedEpisode.of(episode).model_dump_json(),
            "reasoning": "",
            "reasoning_ended": True,
            "finish_reason": "stop",
            "usage": asdict(sum(usages, Usage(0, 0))) if usages else None,
        }

    def _keep(self, episode: AgentEpisode) -> None:
        for image in episode.images:
            path = self._screens / f"{image.sha256}.{image.format}"
            if not path.exists():
                write_durably(path, image.read())


@asynccontextmanager
async def _entered(manager: AbstractContextManager[ContentT]) -> AsyncIterator[ContentT]:
    """Enter and leave a context manager in threads, for it blocks."""
    content = await asyncio.to_thread(manager.__enter__)
    try:
        yield content
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)
