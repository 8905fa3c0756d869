"""The folder of a run: what was asked of whom (`run.json`), every response with its score, and the numbers.

`items.jsonl` has one line for each response, `metrics.json` the numbers with their standard error. Both are written
whole, after all responses are there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import TextPart
from step3vl.data.storage import write_durably
from step3vl.evaluation.benchmark import Benchmark, JudgedBenchmark, Rule
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.scoring import ScoredResponse, score_response
from step3vl.evaluation.statistics import standard_errors

RUN, ITEMS, METRICS = "run.json", "items.jsonl", "metrics.json"
VERSION = 2
"""Of the three files."""
_SOFTWARE = ("step3vl", "torch", "transformers", "math-verify", "numpy")


@dataclass(frozen=True)
class Result:
    """The numbers of a run.

    Args:
        run: What `run.json` says: who answered, and how.
        metrics: What `metrics.json` says.
        folder: The run's folder; None where the result is not written.
    """

    run: Mapping[str, Any]
    metrics: Mapping[str, Any]
    folder: Path | None = None

    @property
    def benchmark(self) -> str:
        """The benchmark's name."""
        return str(self.run["benchmark"])

    @property
    def name(self) -> str:
        """What tables call the run: the model, and the rounds of PaCoRe."""
        return str(self.run["name"])

    def items(self) -> Iterator[dict[str, Any]]:
        """Read the lines of `items.jsonl`."""
        if self.folder is not None:
            with (self.folder / ITEMS).open(encoding="utf-8") as file:
                yield from map(json.loads, file)


def software_versions() -> dict[str, str]:
    """The versions of the packages that scores depend on."""
    versions = {}
    for package in _SOFTWARE:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def summarise_responses(
    benchmark: Benchmark, run: Mapping[str, Any], responses: Sequence[ScoredResponse], asked: int, items: int
) -> Result:
    """Make the numbers of a run of its scored responses.

    Args:
        benchmark: The benchmark.
        run: What produced the responses: `name`, `rule` and anything else, as JSON values.
        responses: All responses with their scores.
        asked: How many responses there should be; the difference is counted as missing.
        items: How many items the files hold; for benchmarks whose release has no number of its own.

    Raises:
        UserError: there are no responses.
    """
    if not responses:
        raise UserError(f"{benchmark.about.name}: no responses to score")
    run = {"version": VERSION, "benchmark": benchmark.about.name, **run, "software": software_versions()}
    metrics = _metrics(benchmark, responses, asked, items)
    return Result(run, {**metrics, "rules": _values_by_rule(benchmark, run["rule"], metrics, responses)})


def write_results(folder: Path, result: Result, responses: Sequence[ScoredResponse]) -> Result:
    """Write the three files of a run, and return the result with its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_item_line(each), ensure_ascii=False) for each in responses)
    write_durably(folder / ITEMS, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    write_durably(folder / RUN, _json(result.run))
    write_durably(folder / METRICS, _json(result.metrics))
    return Result(result.run, result.metrics, folder)


def _metrics(benchmark: Benchmark, responses: Sequence[ScoredResponse], asked: int, items: int) -> dict[str, Any]:
    scored = [each.scored for each in responses]
    metrics, errors = benchmark.summarise(scored), standard_errors(benchmark, scored)
    tokens = [each.response.tokens for each in responses if each.response.tokens is not None]
    seconds = [each.response.seconds for each in responses if each.response.seconds is not None]
    return {
        "title": benchmark.about.title,
        "metric": benchmark.about.metric,
        "headline": metrics.headline,
        "value": metrics.value,
        "standard_error": errors.headline,
        "values": dict(metrics.values),
        "counts": dict(metrics.counts),
        "categories": dict(metrics.categories),
        "category_errors": {name: errors.categories.get(name) for name in metrics.categories},
        "items": len({each.item.id for each in scored}),
        "items_of_release": benchmark.about.items or items,
        "responses": len(responses),
        "missing": max(0, asked - len(responses)),
        "unparsable": sum(each.score.verdict == "unparsable" for each in scored),
        "truncated": sum(each.response.truncated for each in responses),
        "unfinished": sum(each.response.unfinished for each in responses),
        "failed": sum(bool(each.response.error) for each in responses),
        "mean_tokens": sum(tokens) / len(tokens) if tokens else None,
        "mean_seconds": sum(seconds) / len(seconds) if seconds else None,
    }


def _values_by_rule(
    benchmark: Benchmark, rule: Rule, metrics: Mapping[str, Any], responses: Sequence[ScoredResponse]
) -> dict[str, dict[str, Any]]:
    """The headline and the unparsable responses by both rules; by the run's alone where code runs or a judge decides.

    So everybody sees what a number owes to the way in which responses are read.
    """
    values: dict[str, dict[str, Any]] = {rule: {"value": metrics["value"], "unparsable": metrics["unparsable"]}}
    if benchmark.about.executes or isinstance(benchmark, JudgedBenchmark):
        return values
    other: Rule = "official" if rule == "strict" else "strict"
    scored = [
        replace(each.scored, score=score_response(benchmark, each.scored.item, each.response, other))
        for each in responses
    ]
    unparsable = sum(each.score.verdict == "unparsable" for each in scored)
    values[other] = {"value": benchmark.summarise(scored).value, "unparsable": unparsable}
    return {name: values[name] for name in ("strict", "official")}


def _item_line(each: ScoredResponse) -> dict[str, Any]:
    response, item, score = each.response, each.scored.item, each.scored.score
    line = {
        "id": item.id,
        "repeat": response.repeat,
        "group": item.group,
        "category": item.category,
        "response": response.text,
        "extracted": score.extracted,
        "answer": item.answer,
        "trace": list(score.trace),
        "verdict": score.verdict,
        "value": score.value,
        "details": dict(score.details),
        "fields": dict(item.fields),
        "tokens": response.tokens,
        "truncated": response.truncated,
        "seconds": response.seconds,
        "question": question_text(item),
    }
    return line if response.recorded is None else {**line, "recorded": response.recorded}


def question_text(item: Item) -> str:
    """The text of an item's prompt, images as `[image]`."""
    return "\n".join(
        part.text if isinstance(part, TextPart) else "[image]" for message in item.messages for part in message.content
    )


def read_scored(result: Result) -> list[Scored]:
    """The scores of a run's responses, with what the benchmark's summary needs of their items."""
    scored = []
    for line in result.items():
        kept = {name: line[name] for name in ("group", "category", "fields")}
        item = Item(line["id"], (), line["answer"], **kept)
        score = Score(line["value"], line["verdict"], line["extracted"], tuple(line["trace"]), line["details"])
        scored.append(Scored(item, score, line["repeat"]))
    return scored


def read_results(path: Path) -> list[Result]:
    """Read a run's folder, or all runs in a folder, by name.

    Raises:
        UserError: there is no finished run, or one of another version.
    """
    folders = [path] if (path / METRICS).is_file() else sorted(file.parent for file in path.glob(f"*/{METRICS}"))
    if not folders:
        raise UserError(f"{path}: no finished run of `step3vl eval`; {METRICS} is written when one has ended")
    return list(_read(folders))


def _read(folders: Sequence[Path]) -> Iterator[Result]:
    for folder in folders:
        try:
            run, metrics = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (RUN, METRICS))
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: not the folder of a run: {error}; run the evaluation again") from None
        if run.get("version") != VERSION:
            raise UserError(f"{folder / RUN}: version {run.get('version')}, not {VERSION}; score the outputs again")
        yield Result(run, metrics, folder)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode(errors="backslashreplace")
