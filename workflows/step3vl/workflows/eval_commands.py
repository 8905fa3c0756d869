"""The work of the `eval` commands: open, run, and print tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from step3vl.data.errors import UserError
from step3vl.data.storage import require_local, write_durably
from step3vl.evaluation.benchmark import Benchmark, JudgedBenchmark, Rule
from step3vl.evaluation.comparison import compare
from step3vl.evaluation.episodes import EpisodeBenchmark
from step3vl.evaluation.files import missing_files
from step3vl.evaluation.heldout import SCHEME
from step3vl.evaluation.judge import Judge, JudgeConfig, judge_responses, needs_judge
from step3vl.evaluation.model_identity import identify_model
from step3vl.evaluation.page import render_comparison
from step3vl.evaluation.paper import departures, domain, paper_value
from step3vl.evaluation.price import TokenPrice
from step3vl.evaluation.records import RecordRow, score_records
from step3vl.evaluation.registry import benchmark_names, data_folder, load_benchmark
from step3vl.evaluation.results import Result, read_results, summarise_responses, write_results
from step3vl.evaluation.runner import JUDGEMENTS, PAPER_SAMPLING, EvalConfig, run_benchmark
from step3vl.evaluation.scoring import (
    ScoredResponse,
    is_response_file,
    load_items,
    read_responses,
    score_recorded,
    score_responses,
    unknown_fields,
)
from step3vl.inference import Backend, BackendError, OpenAIBackend, PaCoReConfig
from step3vl.inference.batch import AnswerRow
from step3vl.inference.client import run_sync
from step3vl.workflows.backends import open_backend

_RESULTS_WIDTH = 96
"""Columns of the table of results, also where the terminal is narrower, or a file: no number is cut off."""


@dataclass(frozen=True)
class JudgeOptions:
    """How the command line names a judge: address, model, key, and what its tokens cost, see `parse_price`."""

    url: str | None = None
    model: str | None = None
    key: str | None = None
    price: str = "0,0"

    def open(self) -> Judge | None:
        """The judge; None where no address is given. Raises UserError for a price that cannot be read."""
        if self.url is None:
            return None
        config = JudgeConfig(price=parse_price(self.price, "--judge-price"))
        return Judge(OpenAIBackend(self.url, self.model, api_key=self.key), config)


def parse_price(text: str, option: str) -> TokenPrice:
    """The price "IN,OUT": of a million prompt tokens, and of a million sampled ones. Raises UserError."""
    try:
        prompt, completion = map(float, text.split(","))
        return TokenPrice(prompt=prompt, completion=completion)
    except ValueError:
        raise UserError(f"{option}: '{text}' is not two numbers such as 2.5,10") from None


def list_benchmarks(names: Sequence[str], data: Path | None, as_json: bool) -> None:
    """Print the benchmarks, and which of their files a folder has; of some that are named, all that is known."""
    benchmarks = [load_benchmark(name) for name in names or benchmark_names()]
    facts = [_facts(benchmark, data) for benchmark in benchmarks]
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    elif names:
        typer.echo("\n\n".join(_description(each) for each in facts))
    else:
        Console().print(_overview(facts, data))
        typer.echo("\nFiles, licences, metrics and notes: step3vl eval list NAME")


def _overview(facts: Sequence[Mapping[str, Any]], data: Path | None) -> Table:
    """A line for each benchmark, by the groups of the report's tables."""
    table = Table(title=f"{len(facts)} benchmarks", title_justify="left", box=None)
    table.add_column("benchmark", no_wrap=True, min_width=19)
    for column in ("items", "repeats"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column) + 1)
    table.add_column("graded by", no_wrap=True, max_width=26)
    if data:
        table.add_column("official files", no_wrap=True)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for each in facts:
        groups.setdefault(domain(each["title"]) or "not in the report", []).append(each)
    for group, members in groups.items():
        table.add_row(f"[bold]{group}[/bold]")
        for each in members:
            items = "" if each["items"] is None else f"{each['items']:,}"
            present = (each["present"],) if data else ()
            table.add_row(f"  {each['name']}", items, str(each["repeats"]), each["judge"] or each["grader"], *present)
    return table


def _description(facts: Mapping[str, Any]) -> str:
    """All that is known of a benchmark, in lines."""
    files = [
        f"    {file['name']}  {file['size']}{', optional' if file['optional'] else ''}\n      from {file['source']}"
        for file in facts["files"]
    ]
    graded = f"the judge {facts['judge']}" if facts["judge"] else f"a {facts['grader']}"
    return "\n".join(
        [
            f"{facts['name']}: {facts['title']}, {facts['items']} items x {facts['repeats']}, {facts['paper']}",
            f"  metric: {facts['metric']}; graded by {graded}",
            f"  prompt: {facts['family']}; licence: {facts['licence']}",
            f"  files{': ' + facts['present'] if facts['present'] else ''}",
            *files,
            *(f"  note: {note}" for note in facts["notes"]),
        ]
    )


def _facts(benchmark: Benchmark, data: Path | None) -> dict[str, Any]:
    about = benchmark.about
    missing = missing_files(data_folder(data, about.name), about) if data else []
    needed = [file for file in missing if not file.optional]
    if needed:
        present = f"missing, {needed[0].size}" + (f" and {len(needed) - 1} more" if len(needed) > 1 else "")
    else:
        present = "there, without images" if missing else "there" if data else ""
    names = ("name", "title", "items", "repeats", "family", "metric", "modality", "judge", "licence", "paper", "notes")
    facts = {name: getattr(about, name) for name in names}
    grader = "sandbox" if about.executes else "rule"
    files = [{**vars(file), **({"missing": file in missing} if data else {})} for file in about.files]
    return {**facts, "grader": grader, "files": files, "present": present}


def run_benchmarks(
    model: str,
    names: Sequence[str],
    data: Path | None,
    out: Path | None,
    *,
    rounds: tuple[int, ...],
    repeats: int | None,
    limit: int | None,
    concurrency: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    reasoning: bool,
    official: bool,
    retry_failed: bool,
    backend_model: str | None,
    api_key: str | None,
    run_name: str | None,
    price: str,
    judge: JudgeOptions,
) -> None:
    """Run benchmarks one after another and print the table of results. Arguments are those of ``step3vl eval run``."""
    benchmarks = [load_benchmark(name) for name in names]
    for benchmark in benchmarks:  # before the model, which takes longer to load
        if data is None and benchmark.about.files:
            raise UserError(f"{benchmark.about.name}: give --data DIR, the folder of its official files")
        folder = data_folder(data or Path(), benchmark.folder)
        load_items(benchmark, folder)
        if isinstance(benchmark, EpisodeBenchmark):
            benchmark.suite(folder).check()
    sampling = PAPER_SAMPLING.model_copy(update={"temperature": temperature, "max_new_tokens": max_new_tokens})
    config = EvalConfig(
        sampling=sampling,
        pacore=PaCoReConfig(rounds=rounds) if rounds else None,
        repeats=repeats,
        limit=limit,
        seed=seed,
        concurrency=concurrency,
        rule="official" if official else "strict",
        reasoning=reasoning,
        retry_failed=retry_failed,
    )
    cost = parse_price(price, "--price")
    grader = judge.open()
    url = model if model.startswith(("http://", "https://")) else None
    backend = open_backend(backend_model if url else model, url, api_key)
    try:
        identity = run_sync(identify_model(backend, None if url else Path(model)))
        identity = {**identity, "name": run_name or identity["name"]}
        folder = out or Path("results") / str(identity["name"]).replace("/", "_")
        require_local(folder)
        results = [_run(each, data or Path(), backend, folder, config, identity, grader, cost) for each in benchmarks]
    finally:
        run_sync(backend.close())
        if grader:
            run_sync(grader.backend.close())
    print_results(results)
    typer.echo(f"{folder}: written")


def _run(
    benchmark: Benchmark,
    data: Path,
    backend: Backend,
    folder: Path,
    config: EvalConfig,
    identity: Mapping[str, Any],
    judge: Judge | None,
    price: TokenPrice,
) -> Result:
    about = benchmark.about
    with _progress() as progress:
        task = progress.add_task(about.name, total=None, failed=0)
        failed = 0

        def start(total: int, done: int) -> None:
            progress.update(task, total=total, completed=done)

        def advance(row: AnswerRow) -> None:
            nonlocal failed
            failed += row["status"] == "failed"
            progress.update(task, advance=1, failed=failed)

        run = run_benchmark(
            benchmark,
            data_folder(data, benchmark.folder),
            backend,
            folder / benchmark.folder,
            config,
            identity,
            judge,
            price,
            on_start=start,
            on_row=advance,
        )
        try:
            return run_sync(run)
        except BackendError as error:
            raise UserError(f"{about.name}: {error}; answers are kept, the same command continues") from None


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=4)


def score_outputs(
    outputs: Sequence[Path],
    name: str,
    data: Path | None,
    *,
    official: bool,
    out: Path | None,
    run_name: str | None,
    judge: JudgeOptions,
) -> None:
    """Score files of outputs and print the result. Arguments are those of ``step3vl eval score``."""
    benchmark = load_benchmark(name)
    folder = data_folder(data, benchmark.folder) if data else outputs[0].parent
    rule: Rule = "official" if official else "strict"
    if all(is_response_file(path) for path in outputs):
        items = load_items(benchmark, folder)
        responses = [response for path in outputs for response in read_responses(path)]
        scored = list(score_responses(benchmark, items, responses, rule))
        release = len(items)
        asked = len(items) * (1 + max((response.repeat for response in responses), default=0))
    else:
        scored = _score_official_layout(benchmark, outputs, folder, rule)
        release = len({each.scored.item.id for each in scored})
        asked = len(scored)
    run: dict[str, Any] = {
        "name": run_name or outputs[0].name.partition(".")[0],
        "outputs": [str(path) for path in outputs],
        "rule": rule,
    }
    if isinstance(benchmark, JudgedBenchmark) and (undecided := sum(needs_judge(each) for each in scored)):
        grader = judge.open()
        if grader is None or out is None:
            raise UserError(
                f"{name}: {undecided} responses need a judge, for the authors {benchmark.about.judge}; give --judge "
                "URL, and --out DIR, where judgements are kept"
            )
        scored, run["judge"] = _judge(benchmark, folder, scored, grader, out / JUDGEMENTS)
    result = summarise_responses(benchmark, run, scored, asked, release)
    if out is not None:
        require_local(out)
        result = write_results(out, result, scored)
    print_results([result])


def _score_official_layout(
    benchmark: Benchmark, outputs: Sequence[Path], data: Path, rule: Rule
) -> list[ScoredResponse]:
    try:
        return score_recorded(benchmark, outputs, data, rule)
    except UserError as error:
        for path in outputs:
            if unknown := unknown_fields(path):
                raise UserError(
                    f"{error}; to read {path} as lines of {{id, response}}, leave out {', '.join(sorted(unknown))}"
                ) from None
        raise


def _judge(
    benchmark: JudgedBenchmark, data: Path, scored: Sequence[ScoredResponse], judge: Judge, file: Path
) -> tuple[list[ScoredResponse], dict[str, Any]]:
    with _progress() as progress:
        task = progress.add_task("judgements", total=None, failed=0)
        failed = 0

        def advance(row: AnswerRow) -> None:
            nonlocal failed
            failed += row["status"] == "failed"
            progress.update(task, advance=1, failed=failed)

        try:
            return run_sync(judge_responses(benchmark, data, scored, judge, file, advance))
        finally:
            run_sync(judge.backend.close())


def print_results(results: Sequence[Result]) -> None:
    """Print a row for each result, with the report's number and how the run differs from the report's."""
    title = "Results: by the run's rule, by the official rule, and in the report"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("benchmark", no_wrap=True)
    for column in ("items", "responses", "value", "official", "report"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    for column in ("unpars.", "trunc.", "failed"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
    notes: list[str] = []
    for result in results:
        metrics, about = result.metrics, load_benchmark(result.benchmark).about
        error = metrics["standard_error"]
        published = paper_value(about.title, pacore=bool((result.run.get("settings") or {}).get("pacore")))
        table.add_row(
            _short_name(result.benchmark),
            f"{metrics['items']:,}",
            f"{metrics['responses']:,}",
            f"{metrics['value']:.2f}" + (f" ± {error:.2f}" if error is not None else ""),
            _official_value(metrics),
            "" if published is None else f"{published:.2f}",
            *(f"{metrics[name]:,}" for name in ("unparsable", "truncated", "failed")),
        )
        if metrics["unfinished"] == metrics["responses"]:
            notes.append(f"{result.benchmark}: no reply ends its reasoning; for a model without any, --no-reasoning")
        if differences := departures(about, result.run, metrics):
            reference = "not as in the report: " if published is not None else ""
            notes.append(f"{result.benchmark}: {reference}{'; '.join(differences)}")
    Console(width=max(Console().width, _RESULTS_WIDTH)).print(table)
    for note in notes:
        typer.echo(note)


def _official_value(metrics: Mapping[str, Any]) -> str:
    """The headline by the official rule; empty where there is none, or where it reads no response by itself."""
    official = metrics["rules"].get("official")
    return f"{official['value']:.2f}" if official and official["unparsable"] < metrics["responses"] else ""


def _short_name(name: str) -> str:
    """A name for a narrow column: of a dataset's held-out split, the last two folders and the tasks."""
    url, mark, tasks = name.partition("#")
    return name if not name.startswith(SCHEME) else "/".join(url.removeprefix(SCHEME).split("/")[-2:]) + mark + tasks


def compare_runs(runs: Sequence[Path], out: Path, data: Path | None, examples: int) -> None:
    """Print runs side by side and write the page. Arguments are those of ``step3vl eval compare``."""
    require_local(out)
    comparison = compare([result for path in runs for result in read_results(path)], data, examples)
    table = Table(title="Runs", title_justify="left", box=None)
    table.add_column("benchmark", no_wrap=True)
    for name in comparison.runs:
        table.add_column(name, justify="right")
    table.add_column("report", justify="right")
    for row in comparison.rows:
        cells = ("" if cell is None else cell.text for cell in row.cells)
        table.add_row(_short_name(row.benchmark), *cells, "" if row.published is None else f"{row.published:.2f}")
    Console().print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_durably(out, render_comparison(comparison).encode())
    typer.echo(f"{out}: written")


def print_records(records: Path, names: Sequence[str]) -> None:
    """Score recorded outputs and print our numbers beside those that were published, run by run as they are ready.

    Exits with 1 if a number differs and no note of its run explains why.
    """
    rows: list[RecordRow] = []
    absent: list[str] = []
    with Console(stderr=True).status("scoring") as status:
        for (benchmark, run), group in groupby(score_records(records, names), lambda row: (row.benchmark, row.run)):
            status.update(f"scoring {benchmark}")
            metrics = list(group)
            rows += metrics
            if metrics[0].ours is None:
                absent.append(f"{run} ({len(metrics)})")
            else:
                typer.echo(_run_text(metrics))
    if absent:
        typer.echo(
            f"\nOutputs that are not in {records}, and how many numbers were published of them: {', '.join(absent)}"
        )
    scored = [row for row in rows if row.ours is not None]
    equal = sum(row.equal for row in scored)
    explained = sum(bool(row.note) and not row.equal for row in scored)
    typer.echo(
        f"\n{len(rows)} published numbers: {equal} reproduced to the last digit, {explained} not for the reason in a "
        f"note, {len(scored) - equal - explained} not without one, {len(rows) - len(scored)} of absent outputs"
    )
    if equal + explained < len(scored):
        raise typer.Exit(1)


def _run_text(metrics: Sequence[RecordRow]) -> str:
    """A run in lines of its own: what was scored, each number beside the published one, and the note."""
    first = metrics[0]
    verdicts = "" if first.agreeing is None else f", {first.agreeing[0]:,} of {first.agreeing[1]:,} verdicts agree"
    lines = [f"{first.benchmark}: {first.run}, {first.responses:,} responses{verdicts}"]
    for row in metrics:
        difference = "equal" if row.equal else f"{(row.ours or 0) - row.published:+.6g}"
        lines.append(f"    {row.metric:<32}{row.ours!r:>20}{row.published!r:>20}  {difference}")
    return "\n".join([*lines, *([f"    {first.note}"] if first.note else [])])
