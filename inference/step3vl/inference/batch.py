"""Many questions to one file of answers: side by side, each exactly once, going on after any interruption.

The file is appended to, one JSON line for each question, in the order in which they end. A process that dies leaves
at most one torn line, which the next one takes back before it goes on.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.files import write_durably
from step3vl.inference.backend import Backend, BackendError, Usage, collect
from step3vl.inference.jobs import Completion
from step3vl.inference.pacore import PaCoRe, PaCoReConfig
from step3vl.inference.questions import Question
from step3vl.inference.sampling import Sampling

HOPELESS = frozenset({401, 403, 404})  # no other question would fare better
LOST = 8  # questions in a row that a backend may fail for its own reasons before the run ends


class BatchConfig(Config):
    """How questions are answered: in one go, or by PaCoRe where `pacore` says how.

    Each question draws from a seed of its own, made of `seed` and its id, so that its answer does not depend on the
    others.
    """

    sampling: Sampling = Sampling()
    pacore: PaCoReConfig | None = None
    """Its `sampling` and `seed` give way to those here."""
    seed: int = 0
    trace: bool = False
    """Whether PaCoRe's answers come with every rollout and message."""
    concurrency: int = Field(default=16, ge=1)


@dataclass(frozen=True)
class Summary:
    """What became of the questions: `total` = `before` + `answered` + `failed`. Tokens are those of this run."""

    total: int
    before: int
    answered: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Output:
    """The file of answers, held by one process at a time. `done` are the ids that it has."""

    def __init__(self, path: Path, settings: dict[str, Any], retry_failed: bool = False):
        """Open a new file, or one that was begun with the same settings. Raises UserError otherwise.

        `retry_failed` takes out the rows that failed, so that they are asked again.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            self._lock()
            self._check_settings(settings)
            self.done = self._repair(retry_failed)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row and count its id as done."""
        line = json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        self.done.add(row["id"])

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(self._file).st_ino == self.path.stat().st_ino  # not one that was replaced meanwhile
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise UserError(f"{self.path}: another batch is writing it; wait for that one or give another file")

    def _check_settings(self, settings: dict[str, Any]) -> None:
        place = self.path.with_name(f"{self.path.name}.settings.json")
        wanted = json.loads(json.dumps(settings))
        if not place.exists():
            if os.fstat(self._file).st_size:
                raise UserError(f"{self.path}: is there already and no batch of ours began it; give another file")
            write_durably(place, json.dumps(wanted, indent=1).encode())
            return
        begun = json.loads(place.read_text(encoding="utf-8"))
        for name in sorted({*begun, *wanted}):
            if begun.get(name) != wanted.get(name):
                raise UserError(
                    f"{self.path}: was begun with {name} = {json.dumps(begun.get(name))}, not "
                    f"{json.dumps(wanted.get(name))}; give another file, or the same settings to go on"
                )

    def _repair(self, retry_failed: bool) -> set[str]:
        """Cut a torn last line off; give the ids of the others."""
        done: set[str] = set()
        whole = 0
        kept: list[bytes] = []
        dropped = False
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    row = json.loads(line)
                    id_, failed = row["id"], row["status"] == "failed"
                except (ValueError, LookupError, TypeError):
                    raise UserError(f"{self.path}: a line is no answer of a batch: {line[:80]!r}") from None
                if retry_failed and failed:
                    dropped = True
                    continue
                done.add(id_)
                if retry_failed:
                    kept.append(line)
        if dropped:
            self._replace(b"".join(kept))
        else:
            os.ftruncate(self._file, whole)
        return done

    def _replace(self, content: bytes) -> None:
        """The new file is locked before it takes the old one's place."""
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        file = os.open(temporary, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o644)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(file, content)
        os.fsync(file)
        temporary.replace(self.path)
        os.close(self._file)
        self._file = file


async def answer_all(
    backend: Backend,
    questions: Iterable[Question],
    output: Output,
    config: BatchConfig,
    heard: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Summary:
    """Answer the questions that the output has not, each exactly once. `heard` is told every row that was written.

    A question that cannot be answered becomes a row that says why. Raises BackendError when no question could be: the
    server does not know us or the model, or fails again and again.
    """
    began = time.perf_counter()
    counts = {"before": 0, "ok": 0, "failed": 0}
    usage = Usage(0, 0)
    lost = 0
    async with aclosing(_rows(backend, questions, output.done, config, counts)) as rows:
        async for row, error in rows:
            lost = lost + 1 if error is not None and error.retryable else 0
            if error is not None and (error.status in HOPELESS or lost >= LOST):
                raise error
            output.write(row)
            counts[row["status"]] += 1
            if row.get("usage"):
                usage += Usage(**row["usage"])
            heard(row)
    return Summary(
        total=sum(counts.values()),
        before=counts["before"],
        answered=counts["ok"],
        failed=counts["failed"],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=time.perf_counter() - began,
    )


async def _rows(
    backend: Backend,
    questions: Iterable[Question],
    done: set[str],
    config: BatchConfig,
    counts: dict[str, int],
) -> AsyncGenerator[tuple[dict[str, Any], BackendError | None], None]:
    """Rows as they come, from so many questions at once; the next is read when one has ended."""
    running: set[asyncio.Task[tuple[dict[str, Any], BackendError | None]]] = set()

    def waiting() -> Iterator[Question]:
        for question in questions:
            if question.id in done:
                counts["before"] += 1
            else:
                yield question

    source = waiting()
    try:
        more = True
        while more or running:
            while more and len(running) < config.concurrency:
                question = next(source, None)
                if question is None:
                    more = False
                else:
                    running.add(asyncio.create_task(_row(backend, question, config)))
            if running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _row(
    backend: Backend, question: Question, config: BatchConfig
) -> tuple[dict[str, Any], BackendError | None]:
    """The row of one question, and the backend's failure if there was one."""
    began = time.perf_counter()
    row: dict[str, Any] = {"id": question.id, "status": "ok"}
    failure: BackendError | None = None
    try:
        request = await asyncio.to_thread(question.load)
        seed = (config.seed + _number(question.id)) % 2**31
        if config.pacore is None:
            sampling = config.sampling.model_copy(update={"seed": seed})
            (completion,), used = await collect(backend, request, sampling)
            row |= _answer(completion, used)
        else:
            settings = config.pacore.model_copy(update={"sampling": config.sampling, "seed": seed})
            result = await PaCoRe(backend, settings).answer(request)
            row |= _answer(result.rounds[-1][0], result.usage)
            trace = result.trace.to_json()
            row["pacore"] = trace if config.trace else _short(trace)
    except UserError as error:
        row |= {"status": "failed", "error": f"{question.place}: {error}"}
        failure = error if isinstance(error, BackendError) else None
    row["seconds"] = round(time.perf_counter() - began, 3)
    if question.fields:
        row["fields"] = dict(question.fields)
    return row, failure


def _answer(completion: Completion, usage: Usage | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "answer": completion.answer.strip(),
        "reasoning": completion.reasoning,
        "finish_reason": completion.finish_reason,
        "usage": asdict(usage) if usage else None,
    }
    if completion.tool_calls:
        answer["tool_calls"] = [call.model_dump() for call in completion.tool_calls]
    return answer


def _short(trace: dict[str, Any]) -> dict[str, Any]:
    """The account of the rounds without what was said in them."""
    rounds = [{name: value for name, value in one.items() if name not in ("messages", "trajectories")}
              for one in trace["rounds"]]  # fmt: skip
    return {**trace, "rounds": rounds}


def _number(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(errors="backslashreplace"), digest_size=4).digest())
