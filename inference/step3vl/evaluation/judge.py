"""Grading by a model behind any OpenAI-compatible server, for benchmarks whose authors do so.

Judgements are kept in a file beside the answers, by a hash of what the judge was asked: an interrupted run continues,
and the same response is graded once.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImagePart, Message
from step3vl.evaluation.benchmark import JudgedBenchmark
from step3vl.evaluation.item import Score
from step3vl.evaluation.price import TokenPrice
from step3vl.evaluation.scoring import ScoredResponse
from step3vl.inference.batch import AnswerFile, AnswerRow, BatchConfig, Question, answer_all
from step3vl.inference.client import Backend, RemoteBackend, Request, Sampling


class JudgeConfig(Config):
    """How the judge is asked, and what it costs."""

    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=8192)
    """The authors of most benchmarks grade at temperature 0."""
    concurrency: int = Field(default=16, ge=1)
    """Judgements that run at a time."""
    price: TokenPrice = TokenPrice()


@dataclass(frozen=True)
class Judge:
    """A model that grades.

    Args:
        backend: Who answers; its name is recorded with the results.
        config: How it is asked.
    """

    backend: Backend
    config: JudgeConfig


async def judge_responses(
    benchmark: JudgedBenchmark,
    data: Path,
    scored: Sequence[ScoredResponse],
    judge: Judge,
    file: Path,
    on_row: Callable[[AnswerRow], None] = lambda row: None,
) -> tuple[list[ScoredResponse], dict[str, Any]]:
    """Have the judge grade what no rule has decided: responses that are there, complete, and still unparsable.

    Args:
        benchmark: The benchmark.
        data: Its official files, read again where the judge is to see images.
        scored: All responses, as the rules score them.
        judge: Who grades.
        file: Where judgements are kept.
        on_row: Called with every judgement as it is written.

    Returns:
        All responses in their order, and the record of the judge: its name, its tokens and their price, over the
        whole file. A response that the judge failed on stays unparsable, with the reason in its trace.

    Raises:
        UserError: the file holds judgements of another judge.
        BackendError: the server refuses, or fails again and again.
    """
    calls = [
        benchmark.judge_calls(each.scored.item, each.response.text) if needs_judge(each) else () for each in scored
    ]
    asked = [(each.scored.item.id, messages) for each, some in zip(scored, calls, strict=True) for messages in some]
    images = _images(benchmark, data, {item for item, messages in asked if _shows_images(messages)})
    requests: dict[str, tuple[str, tuple[Message, ...]]] = {}
    ids: list[list[str]] = []
    for each, some in zip(scored, calls, strict=True):
        ids.append([_digest(messages, each.scored.item.id, images) for messages in some])
        requests |= {id_: (each.scored.item.id, messages) for id_, messages in zip(ids[-1], some, strict=True)}
    if isinstance(judge.backend, RemoteBackend):
        await judge.backend.resolve_model()
    config = judge.config
    settings = {"judge": judge.backend.name, "sampling": config.sampling.model_dump(mode="json")}
    with AnswerFile(file, settings, retry_failed=True) as output:
        batch = BatchConfig(sampling=config.sampling, concurrency=config.concurrency)
        await answer_all(judge.backend, _questions(benchmark, requests, images), output, batch, on_row)
    rows = _rows(file)
    judged = [
        replace(each, scored=replace(each.scored, score=_score(benchmark, each, [rows[id_] for id_ in each_ids])))
        if each_ids
        else each
        for each, each_ids in zip(scored, ids, strict=True)
    ]
    return judged, _record(judge, rows)


def needs_judge(each: ScoredResponse) -> bool:
    """Whether a rule has left the verdict to the judge; never for a response that is missing or cut off."""
    return each.scored.score.verdict == "unparsable" and bool(each.response.text) and not each.response.truncated


def _images(benchmark: JudgedBenchmark, data: Path, items: set[str]) -> dict[str, tuple[bytes | Path, ...]]:
    """The images of items, which the judge is shown; scored items have none."""
    return {item.id: item.images for item in benchmark.items(data) if item.id in items} if items else {}


def _questions(
    benchmark: JudgedBenchmark,
    requests: Mapping[str, tuple[str, tuple[Message, ...]]],
    images: Mapping[str, Sequence[bytes | Path]],
) -> Iterator[Question]:
    for id_, (item, messages) in requests.items():
        load = partial(_request, messages, images.get(item, ()))
        yield Question(id_, f"{benchmark.about.name} {item}", {"item": item}, load)


def _request(messages: tuple[Message, ...], images: Sequence[bytes | Path]) -> Request:
    if not _shows_images(messages):
        return Request(messages)
    try:
        return Request(messages, [Image.from_bytes(_read(image)) for image in images])
    except ValueError as error:
        raise UserError(f"an image for the judge: {error}") from None


def _read(image: bytes | Path) -> bytes:
    try:
        return image if isinstance(image, bytes) else image.read_bytes()
    except OSError as error:
        raise UserError(f"an image for the judge: {error}") from None


def _shows_images(messages: tuple[Message, ...]) -> bool:
    return any(isinstance(part, ImagePart) for message in messages for part in message.content)


def _score(benchmark: JudgedBenchmark, each: ScoredResponse, rows: Sequence[AnswerRow]) -> Score:
    if error := next((row["error"] for row in rows if row["status"] == "failed"), None):
        return Score.unparsable(f"the judge failed: {error}")
    return benchmark.read_judgements(each.scored.item, each.response.text, [row["answer"] for row in rows])


def _rows(file: Path) -> dict[str, AnswerRow]:
    with file.open(encoding="utf-8") as lines:
        rows: list[AnswerRow] = [json.loads(line) for line in lines]
    return {row["id"]: row for row in rows}


def _record(judge: Judge, rows: Mapping[str, AnswerRow]) -> dict[str, Any]:
    return {
        "model": judge.backend.name,
        "sampling": judge.config.sampling.model_dump(mode="json"),
        "requests": len(rows),
        "failed": sum(row["status"] == "failed" for row in rows.values()),
        **judge.config.price.record(rows.values()),
    }


def _digest(messages: tuple[Message, ...], item: str, images: Mapping[str, Sequence[bytes | Path]]) -> str:
    """What a judgement is kept by: the item, and all that the judge is told and shown."""
    asked: list[Any] = [item, *(message.model_dump(mode="json") for message in messages)]
    if _shows_images(messages):
        asked.append([hashlib.blake2b(_read(image), digest_size=12).hexdigest() for image in images.get(item, ())])
    content = json.dumps(asked)
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
