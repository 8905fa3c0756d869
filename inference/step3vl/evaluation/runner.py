"""A run: the items of a benchmark are answered by a model, and its responses scored.

Answers are appended to `answers.jsonl` as they come, by the code that answers files of questions. A row's id holds a
hash of the prompt with its images, so that an interrupted run continues, `--limit` and `--repeats` may grow, and a
prompt that changed is asked again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.sample import Image
from step3vl.evaluation.benchmark import Benchmark, JudgedBenchmark, Rule
from step3vl.evaluation.context_limit import WithinContext
from step3vl.evaluation.episodes import EpisodeBenchmark
from step3vl.evaluation.item import Item
from step3vl.evaluation.judge import Judge, judge_responses
from step3vl.evaluation.play import Player
from step3vl.evaluation.price import TokenPrice
from step3vl.evaluation.results import Result, summarise_responses, write_results
from step3vl.evaluation.scoring import Response, load_items, score_responses
from step3vl.inference.batch import AnswerFile, AnswerRow, BatchConfig, Question, answer_all
from step3vl.inference.client import Backend, Request, Sampling
from step3vl.inference.pacore import PaCoReConfig

ANSWERS, JUDGEMENTS = "answers.jsonl", "judgements.jsonl"
PAPER_SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=65536)
"""Of all benchmarks in the paper (section 4.1 and appendix C)."""


class EvalConfig(Config):
    """How a benchmark is answered and scored."""

    sampling: Sampling = PAPER_SAMPLING
    """`max_new_tokens` is lowered to what a prompt leaves of the context."""
    pacore: PaCoReConfig | None = None
    """PaCoRe's settings, None for single replies."""
    repeats: int | None = Field(default=None, ge=1)
    """Responses to each item; by default those behind the paper's number, with PaCoRe one."""
    limit: int | None = Field(default=None, ge=1)
    """About how many items to ask: whole groups, chosen by the hash of their name. A larger limit asks these, too."""
    seed: int = 0
    """Each response has a seed of its own, derived from this and its id."""
    concurrency: int = Field(default=16, ge=1)
    """Responses that are sampled at a time."""
    rule: Rule = "strict"
    """How responses are read."""
    reasoning: bool = True
    """Whether the model reasons before it answers: a reply whose reasoning never ended then has no answer."""
    retry_failed: bool = False
    """Whether items that failed in an earlier run are asked again."""


@dataclass(frozen=True)
class _Asked:
    """A response that a run needs: the item's id, and its number among the responses to it."""

    item: str
    repeat: int


async def run_benchmark(
    benchmark: Benchmark,
    data: Path,
    backend: Backend,
    folder: Path,
    config: EvalConfig,
    model: Mapping[str, Any],
    judge: Judge | None = None,
    price: TokenPrice | None = None,
    on_start: Callable[[int, int], None] = lambda total, done: None,
    on_row: Callable[[AnswerRow], None] = lambda row: None,
) -> Result:
    """Answer a benchmark, score the responses, and write the run's folder.

    Args:
        benchmark: The benchmark.
        data: The folder with its official files.
        backend: Who answers.
        folder: The run's folder; answers that are there already are kept.
        config: How to answer and score.
        model: What identifies the model: `name` and its fingerprint, as JSON values.
        judge: Who grades the responses of a judged benchmark.
        price: What the tokens of the answers cost; by default nothing.
        on_start: Called with how many responses the run needs, and how many of them the folder has at most.
        on_row: Called with every answer as it is written.

    Raises:
        UserError: the files are missing or broken; a judged benchmark has no judge; the folder holds the answers of
            another model or of other settings.
        BackendError: the server refuses, or fails again and again.
    """
    if isinstance(benchmark, JudgedBenchmark) and judge is None:
        raise UserError(f"{benchmark.about.name}: graded by a judge ({benchmark.about.judge}); give --judge URL")
    release = load_items(benchmark, data)
    items = sample_groups(release, config.limit)
    repeats = config.repeats or (1 if config.pacore else benchmark.about.repeats)
    asked: dict[str, _Asked] = {}
    settings = _settings(benchmark, config, model)
    batch = BatchConfig(
        sampling=config.sampling, pacore=config.pacore, seed=config.seed, concurrency=config.concurrency
    )
    respond = None
    with ExitStack() as stack:
        if isinstance(benchmark, EpisodeBenchmark):
            suite = benchmark.suite(data)
            stack.callback(suite.close)
            settings["settings"]["environments"] = benchmark.settings(suite)
            batch = batch.model_copy(update={"concurrency": min(batch.concurrency, suite.concurrency)})
            respond = Player(suite, benchmark.max_steps, folder, config.reasoning)
        output = stack.enter_context(AnswerFile(folder / ANSWERS, settings, config.retry_failed))
        on_start(len(items) * repeats, min(len(output.done), len(items) * repeats))
        questions = _questions(benchmark, data, items, repeats, asked)
        await answer_all(WithinContext(backend), questions, output, batch, on_row, respond)
    rows = _rows(folder / ANSWERS, asked)
    responses = [_response(row, asked[id_], config.reasoning) for id_, row in rows.items()]
    scored = list(score_responses(benchmark, items, responses, config.rule))
    run: dict[str, Any] = {
        "name": run_name(str(model["name"]), config),
        "model": dict(model),
        "settings": settings["settings"],
        "repeats": repeats,
        "limit": config.limit,
        "rule": config.rule,
        "prompts": benchmark.about.family,
        "prompts_digest": name_hash("".join(sorted(asked))),
        "paper_repeats": benchmark.about.repeats,
        "usage": (price or TokenPrice()).record(rows.values()),
    }
    if isinstance(benchmark, JudgedBenchmark) and judge is not None:
        scored, run["judge"] = await judge_responses(benchmark, data, scored, judge, folder / JUDGEMENTS)
    return write_results(
        folder, summarise_responses(benchmark, run, scored, len(items) * repeats, len(release)), scored
    )


def sample_groups(items: Mapping[str, Item], limit: int | None) -> dict[str, Item]:
    """The items of some whole groups, in their order; all without a limit.

    Groups are taken in the order of a hash of their name until there are `limit` items, so that what a smaller limit
    chooses is part of what a larger one does.
    """
    if limit is None or limit >= len(items):
        return dict(items)
    groups: dict[str, list[str]] = {}
    for item in items.values():
        groups.setdefault(item.cluster, []).append(item.id)
    chosen: set[str] = set()
    for name in sorted(groups, key=name_hash):
        if len(chosen) >= limit:
            break
        chosen.update(groups[name])
    return {id_: item for id_, item in items.items() if id_ in chosen}


def run_name(model: str, config: EvalConfig) -> str:
    """What tables call a run: the model, the rounds of PaCoRe, and whether it samples."""
    pacore = f" + PaCoRe {','.join(map(str, config.pacore.rounds))}" if config.pacore else ""
    return model + pacore + (", greedy" if config.sampling.temperature == 0 else "")


def _settings(benchmark: Benchmark, config: EvalConfig, model: Mapping[str, Any]) -> dict[str, Any]:
    """What the answers depend on, beside their prompts."""
    values = config.model_dump(mode="json", include={"sampling", "pacore", "seed"})
    if config.pacore:  # the content of the template, which a path does not identify
        values["pacore"]["template"] = config.pacore.template.read_text(encoding="utf-8")
    return {"benchmark": benchmark.about.name, "model": dict(model), "settings": values}


def _questions(
    benchmark: Benchmark, data: Path, items: Mapping[str, Item], repeats: int, asked: dict[str, _Asked]
) -> Iterator[Question]:
    """The questions of a run, in the order of the items; what is asked is noted in `asked` by the id of its row."""
    for item in benchmark.items(data):
        if item.id not in items:
            continue
        images = read_images(item)
        digest = request_digest(item, images)
        for repeat in range(repeats):
            id_ = f"{item.id}/{repeat}/{digest}"
            asked[id_] = _Asked(item.id, repeat)
            load = partial(build_request, item, images)
            fields = {"item": item.id, "repeat": repeat}
            if isinstance(benchmark, EpisodeBenchmark):
                fields |= item.fields
            yield Question(id_, f"{benchmark.about.name} {item.id}", fields, load)


def read_images(item: Item) -> list[bytes]:
    """The encoded images of an item. Raises UserError where a file is missing."""
    try:
        return [image if isinstance(image, bytes) else image.read_bytes() for image in item.images]
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; download the benchmark's images") from None


def request_digest(item: Item, images: list[bytes]) -> str:
    """A hash of a prompt with its images."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([message.model_dump(mode="json") for message in item.messages]).encode())
    for image in images:
        digest.update(hashlib.blake2b(image).digest())
    if item.tools:
        digest.update(json.dumps(item.tools).encode())
    return digest.hexdigest()


def build_request(item: Item, images: list[bytes]) -> Request:
    """The request of an item. Raises UserError for an image that cannot be decoded."""
    try:
        return Request(item.messages, [Image.from_bytes(image) for image in images], item.tools)
    except ValueError as error:
        raise UserError(f"an image of item {item.id}: {error}") from None


def _rows(path: Path, asked: Mapping[str, _Asked]) -> dict[str, AnswerRow]:
    """The rows of an answer file for what was asked, in the order in which it was; rows of other runs are left."""
    rows: dict[str, AnswerRow] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row: AnswerRow = json.loads(line)
            if row["id"] in asked:
                rows[row["id"]] = row
    return {id_: rows[id_] for id_ in asked if id_ in rows}


def _response(row: AnswerRow, asked: _Asked, reasoning: bool) -> Response:
    ended = row.get("reasoning_ended", bool(row.get("reasoning")))  # rows of earlier versions do not say it
    unfinished = reasoning and row["status"] == "ok" and not ended
    usage = row.get("usage") or {}
    return Response(
        asked.item,
        "" if unfinished else row.get("answer", ""),
        asked.repeat,
        truncated=row.get("finish_reason") == "length",
        unfinished=unfinished,
        error=row.get("error", ""),
        tokens=usage.get("completion_tokens"),
        seconds=row.get("seconds"),
    )


def name_hash(name: str) -> str:
    """A hash by which names are put into an order that means nothing."""
    return hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=8).hexdigest()
