"""Responses, from this project's files or in the layout of a benchmark's authors, and their scores."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.tokens import split_answer
from step3vl.evaluation.benchmark import Benchmark, JudgedBenchmark, Rule
from step3vl.evaluation.files import read_records
from step3vl.evaluation.item import Item, Score, Scored

_FIELDS = frozenset(
    {"id", "repeat", "response", "truncated", "tokens", "seconds"}
    | {"group", "category", "question", "answer", "fields"}
    | {"extracted", "trace", "verdict", "value", "details", "recorded"}
)
"""Of a file of responses, and those that the `items.jsonl` of a run has beside them."""


@dataclass(frozen=True)
class Response:
    """A response to an item, with what is known of how it came about.

    Args:
        item: The item's id.
        text: The answer, without reasoning.
        repeat: Which of several responses to the item, from 0.
        truncated: Whether it reached its token limit.
        unfinished: Whether it is reasoning that never ended, so that there is no answer.
        error: Why there is no response; empty where there is.
        tokens: Sampled tokens, reasoning included; None where unknown.
        seconds: How long it took; None where unknown.
        recorded: The verdict of the benchmark's authors, where recorded outputs have one.
    """

    item: str
    text: str
    repeat: int = 0
    truncated: bool = False
    unfinished: bool = False
    error: str = ""
    tokens: int | None = None
    seconds: float | None = None
    recorded: Any = None


@dataclass(frozen=True)
class ScoredResponse:
    """A response and its score."""

    response: Response
    scored: Scored


def load_items(benchmark: Benchmark, data: Path, images: bool = False) -> dict[str, Item]:
    """The items of a benchmark by id, in order.

    Raises:
        UserError: a file is missing or broken, two items have the same id, or there are none.
    """
    items: dict[str, Item] = {}
    for item in benchmark.items(data, images=images):
        if item.id in items:
            raise UserError(f"{data}: two items have the id '{item.id}'; is a file of {benchmark.about.name} doubled?")
        items[item.id] = item
    if not items:
        raise UserError(f"{data}: no items of {benchmark.about.name}; are the files complete?")
    return items


def is_response_file(path: Path) -> bool:
    """Whether a file has this project's layout of responses: `id`, `response`, and no fields but those it knows."""
    return unknown_fields(path) == set()


def unknown_fields(path: Path) -> set[str] | None:
    """The fields that a file of `id` and `response` has besides those of this layout; None for any other file."""
    first = next(read_records(path), {}) if ".jsonl" in path.suffixes else {}
    return first.keys() - _FIELDS if first.keys() >= {"id", "response"} else None


def read_responses(path: Path) -> Iterator[Response]:
    """Read responses from JSON lines of `id`, `response` and, with several to an item, `repeat` from 0.

    The `items.jsonl` of a run is such a file, too. Reasoning up to `</think>` is removed.

    Raises:
        UserError: the file is missing or broken, or a line lacks a field (while iterating).
    """
    for number, record in enumerate(read_records(path), 1):
        try:
            yield _read_response(record)
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}:{number}: not {{id, response[, repeat]}}: {error}") from None


def _read_response(record: Mapping[str, Any]) -> Response:
    """The response of a record. Raises KeyError for a missing field, and ValueError for a value of another type."""
    if not isinstance(record["response"], str):
        raise ValueError("the response is no text")
    repeat, truncated = record.get("repeat", 0), record.get("truncated", False)
    if not _is_number(repeat) or repeat != int(repeat):
        raise ValueError("repeat is a whole number from 0")
    if not isinstance(truncated, bool):
        raise ValueError("truncated is true or false")
    for name in ("tokens", "seconds"):
        if record.get(name) is not None and not _is_number(record[name]):
            raise ValueError(f"{name} is a number or null")
    _, text = split_answer(record["response"])
    return Response(
        str(record["id"]),
        text,
        int(repeat),
        truncated=truncated,
        tokens=record.get("tokens"),
        seconds=record.get("seconds"),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def score_response(benchmark: Benchmark, item: Item, response: Response, rule: Rule) -> Score:
    """Score a response. Under the strict rule nothing is read from one that was cut off."""
    if response.error:
        return Score.unparsable(f"failed: {response.error}")
    if response.truncated and rule == "strict":
        return Score.unparsable("truncated")
    if response.unfinished:
        return Score.unparsable("reasoning that never ended")
    return benchmark.score(item, response.text, rule)


def score_responses(
    benchmark: Benchmark, items: Mapping[str, Item], responses: Iterable[Response], rule: Rule
) -> Iterator[ScoredResponse]:
    """Score responses in their order.

    Raises:
        UserError: a response is to an item that does not exist, or there are two of the same repeat.
    """
    seen: set[tuple[str, int]] = set()
    for response in responses:
        item = items.get(response.item)
        if item is None:
            raise UserError(f"'{response.item}' is no item of {benchmark.about.name}; was another benchmark answered?")
        if (response.item, response.repeat) in seen:
            raise UserError(f"'{response.item}' is answered twice as repeat {response.repeat}; number repeats")
        seen.add((response.item, response.repeat))
        yield ScoredResponse(response, Scored(item, score_response(benchmark, item, response, rule), response.repeat))


def score_recorded(
    benchmark: Benchmark, outputs: Sequence[Path], data: Path, rule: Rule = "official"
) -> list[ScoredResponse]:
    """Score outputs in the layout of the benchmark's authors, whole as they were recorded.

    What was recorded beside a response is added to its item's fields; a recorded reply of a judge (`judgement`) is
    read in place of the response.

    Args:
        benchmark: The benchmark.
        outputs: The files that `Benchmark.recorded` reads.
        data: The folder with the official files, read where the outputs hold no items.
        rule: How responses are read.

    Raises:
        UserError: a file is missing or has another layout, or an output answers an item that does not exist.
    """
    items: Mapping[str, Item] = {}
    scored: list[ScoredResponse] = []
    for path in outputs:
        for item, recorded in benchmark.recorded(path):
            if item is None:
                items = items or load_items(benchmark, data)
                item = items.get(recorded.item)
                if item is None:
                    raise UserError(f"{path}: '{recorded.item}' is no item of {benchmark.about.name} in {data}")
            if recorded.fields:
                item = replace(item, fields={**item.fields, **recorded.fields})
            if isinstance(benchmark, JudgedBenchmark) and "judgement" in recorded.fields:
                score = benchmark.read_judgement(item, recorded.response, str(recorded.fields["judgement"]))
            else:
                score = benchmark.score(item, recorded.response, rule)
            response = Response(recorded.item, recorded.response, recorded.repeat, recorded=recorded.verdict)
            scored.append(ScoredResponse(response, Scored(item, score, recorded.repeat)))
    return scored
