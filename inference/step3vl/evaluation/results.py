"""The folder of a run: what was asked of whom (`run.json`), every response with its score, and the numbers.

`items.jsonl` has one line for each response, `metrics.json` the numbers with their standard error. Both are written
whole, after all responses are there.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import TextPart
from step3vl.data.storage import write_durably
from step3vl.evaluation.benchmark import Benchmark
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.scoring import ScoredResponse
from step3vl.evaluation.statistics import standard_error

RUN, ITEMS, METRICS = "run.json", "items.jsonl", "metrics.json"
VERSION = 1
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
    benchmark: Benchmark, run: Mapping[str, Any], responses: Sequence[ScoredResponse], asked: int
) -> Result:
    """Make the numbers of a run of its scored responses.

    Args:
        benchmark: The benchmark.
        run: What produced the responses: `name` and anything else, as JSON values.
        responses: All responses with their scores.
        asked: How many responses there should be; the difference is counted as missing.

    Raises:
        UserError: there are no responses.
    """
    if not responses:
        raise UserError(f"{benchmark.about.name}: no responses to score")
    run = {"version": VERSION, "benchmark": benchmark.about.name, **run, "software": software_versions()}
    return Result(run, _metrics(benchmark, responses, asked))


def write_results(folder: Path, result: Result, responses: Sequence[ScoredResponse]) -> Result:
    """Write the three files of a run, and return the result with its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_item_line(each), ensure_ascii=False) for each in responses)
    write_durably(folder / ITEMS, "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
    write_durably(folder / RUN, _json(result.run))
    write_durably(folder / METRICS, _json(result.metrics))
    return Result(result.run, result.metrics, folder)


def _metrics(benchmark: Benchmark, responses: Sequence[ScoredResponse], asked: int) -> dict[str, Any]:
    scored = [each.scored for each in responses]
    metrics = benchmark.summarise(scored)
    tokens = [each.response.tokens for each in responses if each.response.tokens is not None]
    return {
        "title": benchmark.about.title,
        "metric": benchmark.about.metric,
        "headline": metrics.headline,
        "value": metrics.value,
        "standard_error": standard_error(benchmark, scored),
        "values": dict(metrics.values),
        "counts": dict(metrics.counts),
        "categories": dict(metrics.categories),
        "items": len({each.item.id for each in scored}),
        "items_of_release": benchmark.about.items,
        "responses": len(responses),
        "missing": max(0, asked - len(responses)),
        "unparsable": sum(each.score.verdict == "unparsable" for each in scored),
        "truncated": sum(each.response.truncated for each in responses),
        "unfinished": sum(each.response.unfinished for each in responses),
        "failed": sum(bool(each.response.error) for each in responses),
        "mean_tokens": sum(tokens) / len(tokens) if tokens else None,
    }


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
