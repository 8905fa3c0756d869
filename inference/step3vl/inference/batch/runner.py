"""Answer many questions concurrently, each exactly once, into an `AnswerFile`."""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.tokens import END_THINK
from step3vl.inference.batch.answer_file import AnswerFile, AnswerRow, Reply
from step3vl.inference.batch.questions import Question
from step3vl.inference.client.backend import Backend, BackendError, Usage, collect
from step3vl.inference.client.requests import Completion, Request
from step3vl.inference.client.sampling import Sampling
from step3vl.inference.pacore import PaCoRe, PaCoReConfig

FATAL_STATUSES = frozenset({401, 403, 404})  # every other question would fail alike
MAX_CONSECUTIVE_FAILURES = 8  # retryable failures of the backend before the run ends


class BatchConfig(Config):
    """How questions are answered: with a single reply each, or by PaCoRe."""

    sampling: Sampling = Sampling()
    pacore: PaCoReConfig | None = None
    """PaCoRe's settings, None for single replies. Its `sampling` and `seed` are replaced by those here."""
    seed: int = 0
    """Each question has a seed of its own, derived from this and its id, so answers do not depend on each other."""
    trace: bool = False
    """Whether PaCoRe's answers include every rollout and conclusion."""
    concurrency: int = Field(default=16, ge=1)
    """Questions that run at a time."""


@dataclass(frozen=True)
class BatchSummary:
    """Counts of questions, `total` = `already_answered` + `answered` + `failed`, and of this run's tokens."""

    total: int
    already_answered: int
    answered: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


Respond: TypeAlias = Callable[[Backend, Question, BatchConfig], Awaitable[Reply]]
"""Answers a question. Raises UserError for one that cannot be answered."""


class _Outcome(NamedTuple):
    """A finished question, with the backend's error if that is why it failed."""

    row: AnswerRow
    error: BackendError | None


class _Pending:
    """The questions that are not answered yet; counts those that are."""

    def __init__(self, questions: Iterable[Question], done: set[str]):
        self.already_answered = 0
        self._questions = questions
        self._done = done

    def __iter__(self) -> Iterator[Question]:
        for question in self._questions:
            if question.id in self._done:
                self.already_answered += 1
            else:
                yield question


async def answer_all(
    backend: Backend,
    questions: Iterable[Question],
    output: AnswerFile,
    config: BatchConfig,
    on_row: Callable[[AnswerRow], None] = lambda row: None,
    respond: Respond | None = None,
) -> BatchSummary:
    """Answer the questions that the output does not have, each exactly once.

    A question that cannot be answered becomes a row with the reason.

    Args:
        backend: Who answers.
        questions: The questions, read as they are needed.
        output: The file that the rows are appended to.
        config: How to answer.
        on_row: Called with every row that was written.
        respond: What becomes of a question; by default its request is asked once, or by PaCoRe.

    Raises:
        BackendError: The server refuses the key or the model, or fails again and again.
    """
    start_time = time.perf_counter()
    pending = _Pending(questions, output.done)
    answered, failed, consecutive_failures = 0, 0, 0
    usage = Usage(0, 0)
    async with aclosing(_outcomes(backend, pending, config, respond or _respond)) as outcomes:
        async for row, error in outcomes:
            consecutive_failures = consecutive_failures + 1 if error is not None and error.retryable else 0
            if error is not None and (
                error.status in FATAL_STATUSES or consecutive_failures >= MAX_CONSECUTIVE_FAILURES
            ):
                raise error
            output.write(row)
            answered += row["status"] == "ok"
            failed += row["status"] == "failed"
            if row_usage := row.get("usage"):
                usage += Usage(**row_usage)
            on_row(row)
    return BatchSummary(
        total=pending.already_answered + answered + failed,
        already_answered=pending.already_answered,
        answered=answered,
        failed=failed,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=time.perf_counter() - start_time,
    )


async def _outcomes(
    backend: Backend, questions: Iterable[Question], config: BatchConfig, respond: Respond
) -> AsyncGenerator[_Outcome, None]:
    """Yield outcomes as they come; the next question is read when one has ended."""
    running: set[asyncio.Task[_Outcome]] = set()
    source = iter(questions)
    try:
        more = True
        while more or running:
            while more and len(running) < config.concurrency:
                question = next(source, None)
                if question is None:
                    more = False
                else:
                    running.add(asyncio.create_task(_answer(backend, question, config, respond)))
            if running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _answer(backend: Backend, question: Question, config: BatchConfig, respond: Respond) -> _Outcome:
    start_time = time.perf_counter()
    row: AnswerRow = {"id": question.id, "status": "ok"}
    backend_error: BackendError | None = None
    try:
        row |= await respond(backend, question, config)
    except UserError as error:
        row["status"] = "failed"
        row["error"] = f"{question.location}: {error}"
        backend_error = error if isinstance(error, BackendError) else None
    row["seconds"] = round(time.perf_counter() - start_time, 3)
    if question.fields:
        row["fields"] = dict(question.fields)
    return _Outcome(row, backend_error)


async def _respond(backend: Backend, question: Question, config: BatchConfig) -> Reply:
    return await reply_to(backend, await asyncio.to_thread(question.load), config, question_seed(question, config))


def question_seed(question: Question, config: BatchConfig) -> int:
    """The seed of a question's reply."""
    return (config.seed + _id_hash(question.id)) % 2**31


async def reply_to(backend: Backend, request: Request, config: BatchConfig, seed: int) -> Reply:
    """Ask for a single reply, or for PaCoRe's.

    Args:
        backend: Who answers.
        request: What is asked.
        config: How to answer; its seed is not used.
        seed: Of the sampling.

    Raises:
        UserError: The request cannot be answered, or the backend fails.
    """
    if config.pacore is None:
        sampling = config.sampling.model_copy(update={"seed": seed})
        (completion,), usage = await collect(backend, request, sampling)
        return _reply(completion, usage)
    settings = config.pacore.model_copy(update={"sampling": config.sampling, "seed": seed})
    result = await PaCoRe(backend, settings).answer(request)
    trace = result.trace.to_json()
    return {**_reply(result.rounds[-1][0], result.usage), "pacore": trace if config.trace else _without_texts(trace)}


def _reply(completion: Completion, usage: Usage | None) -> Reply:
    reply: Reply = {
        "answer": completion.answer.strip(),
        "reasoning": completion.reasoning,
        "reasoning_ended": END_THINK in completion.text,
        "finish_reason": completion.finish_reason,
        "usage": asdict(usage) if usage else None,
    }
    if completion.tool_calls:
        reply["tool_calls"] = [call.model_dump() for call in completion.tool_calls]
    return reply


def _without_texts(trace: dict[str, Any]) -> dict[str, Any]:
    rounds = [
        {name: value for name, value in round_.items() if name not in ("conclusions", "trajectories")}
        for round_ in trace["rounds"]
    ]
    return {**trace, "rounds": rounds}


def _id_hash(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(errors="backslashreplace"), digest_size=4).digest())
