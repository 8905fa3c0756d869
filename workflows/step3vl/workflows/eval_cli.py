"""`step3vl eval`: list benchmarks, run them, score recorded outputs, and compare runs."""

from pathlib import Path
from typing import Annotated

import typer

from step3vl.workflows.command import INTERRUPTED, SETTINGS, command_context, ordered_group

evaluation = typer.Typer(
    cls=ordered_group("list", "run", "score", "compare", "records", default="run"),
    help="Evaluate on benchmarks: their official files, prompts and metrics, with the report's numbers beside yours.",
    **SETTINGS,
)

Bench = Annotated[
    list[str],
    typer.Option(
        "--bench",
        metavar="NAME",
        help="A benchmark of `step3vl eval list`, or corpus:PATH[#TASKS] for a dataset's held-out split; repeat for "
        "more.",
    ),
]
Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The official files: DIR/NAME/ for each benchmark, or DIR itself.")
]
Official = Annotated[
    bool,
    typer.Option(
        "--official", help="Read responses as the official code does; by default, what is unclear is unparsable."
    ),
]
JudgeUrl = Annotated[
    str | None, typer.Option("--judge", metavar="URL", help="The OpenAI-compatible server of the judge.")
]
JudgeModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="The server's name for the judge; by default, its first.")
]
JudgeKey = Annotated[str | None, typer.Option(metavar="KEY", envvar="STEP3VL_JUDGE_KEY", help="The judge's key.")]
JudgePrice = Annotated[str, typer.Option(metavar="IN,OUT", help="As --price, of the judge's tokens.")]


@evaluation.command("list", epilog="Example:  step3vl eval list --data benchmarks; step3vl eval list mmmu")
def list_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Some of them, with files, licences and notes.")
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the files of each benchmark.")] = False,
) -> None:
    """List the benchmarks: what grades them, items, repeats, and which official files are there."""
    with command_context():
        from step3vl.workflows.eval_commands import list_benchmarks

        list_benchmarks(names or [], data, as_json)


@evaluation.command(
    "run",
    epilog="""
[bold]A model folder[/bold]   step3vl eval run MODEL --bench mmmu --bench math-vision --data benchmarks

[bold]A server[/bold]         step3vl eval run http://localhost:8000 --bench mmmu --data benchmarks --pacore 16

[bold]A held-out split[/bold] step3vl eval run MODEL --bench corpus:runs/tiny/corpus#counting.icons,grounding.*

[bold]A first look[/bold]     step3vl eval run MODEL --bench mmmu --data benchmarks --limit 100 --repeats 1
""",
)
def run_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL|URL", help="A model folder, or the address of an OpenAI-compatible server.")
    ],
    bench: Bench,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where results go, a folder for each benchmark: results/MODEL.")
    ] = None,
    pacore: Annotated[
        str,
        typer.Option(metavar="ROUNDS", help='PaCoRe: parallel answers, then a synthesis: 4, 16, "32,4", low, high.'),
    ] = "off",
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Responses to each item; by default the report's number, 1 with PaCoRe.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="About how many items, in whole groups; all by default.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Responses that are sampled at a time.")] = 16,
    temperature: Annotated[float, typer.Option(min=0.0, help="The report's by default.")] = 1.0,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest response, in tokens, as far as the context allows.")
    ] = 65536,
    seed: Annotated[int, typer.Option(help="The same seed gives the same responses.")] = 0,
    no_reasoning: Annotated[
        bool,
        typer.Option(
            "--no-reasoning", help="The model does not reason; otherwise a reply without </think> has no answer."
        ),
    ] = False,
    official: Official = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry items that failed in an earlier run.")
    ] = False,
    backend_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The server's name for the model; by default, its first.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", envvar="STEP3VL_BACKEND_KEY", help="The server's key.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What tables call the model; by default its folder, or the server's name for it."),
    ] = None,
    price: Annotated[
        str, typer.Option(metavar="IN,OUT", help="What a million prompt tokens and a million sampled tokens cost.")
    ] = "0,0",
    judge: JudgeUrl = None,
    judge_model: JudgeModel = None,
    judge_key: JudgeKey = None,
    judge_price: JudgePrice = "0,0",
) -> None:
    """Answer benchmarks and score the responses; after an interruption, the same command continues.

    `step3vl eval MODEL --bench NAME` is short for it.
    """
    with command_context(INTERRUPTED):
        from step3vl.workflows.backends import parse_rounds
        from step3vl.workflows.eval_commands import JudgeOptions, run_benchmarks

        run_benchmarks(
            model,
            bench,
            data,
            out,
            rounds=parse_rounds(pacore),
            repeats=repeats,
            limit=limit,
            concurrency=concurrency,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            reasoning=not no_reasoning,
            official=official,
            retry_failed=retry_failed,
            backend_model=backend_model,
            api_key=api_key,
            run_name=name,
            price=price,
            judge=JudgeOptions(judge, judge_model, judge_key, judge_price),
        )


@evaluation.command(
    "score",
    epilog="""
[bold]Lines of id and response[/bold]  step3vl eval score responses.jsonl --bench mmmu --data benchmarks

[bold]The authors' layout[/bold]       step3vl eval score output.json --bench math-vista --data benchmarks --official

[bold]An earlier run[/bold]            step3vl eval score results/MODEL/mmmu/items.jsonl --bench mmmu --data benchmarks
""",
)
def score_command(
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUTS...",
            help="JSON lines of {id, response[, repeat]}, or files in the layout of the benchmark's authors.",
        ),
    ],
    bench: Annotated[str, typer.Option("--bench", metavar="NAME", help="The benchmark.")],
    data: Data = None,
    official: Official = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the folder of a run: scores of every response.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; by default, that of the file.")] = None,
    judge: JudgeUrl = None,
    judge_model: JudgeModel = None,
    judge_key: JudgeKey = None,
    judge_price: JudgePrice = "0,0",
) -> None:
    """Score outputs that are there already."""
    with command_context():
        from step3vl.workflows.eval_commands import JudgeOptions, score_outputs

        options = JudgeOptions(judge, judge_model, judge_key, judge_price)
        score_outputs(outputs, bench, data, official=official, out=out, run_name=name, judge=options)


@evaluation.command("compare", epilog="Example:  step3vl eval compare results/a results/b --data benchmarks")
def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or folders that hold them.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("comparison.html"),
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The official files, for the images of examples.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Items of each benchmark that the page shows.")] = 6,
) -> None:
    """Put runs beside each other and beside the report's tables: a table here, and a page with what changed."""
    with command_context():
        from step3vl.workflows.eval_commands import compare_runs

        compare_runs(runs, out, data, examples)


@evaluation.command("records", epilog="Example:  step3vl eval records recorded-outputs --bench mmmu")
def records_command(
    records: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with recorded outputs of the authors.")],
    bench: Annotated[
        list[str] | None, typer.Option("--bench", metavar="NAME", help="Only this benchmark; repeat for more.")
    ] = None,
) -> None:
    """Score outputs that the benchmarks' authors published, and compare with the numbers that they published."""
    with command_context():
        from step3vl.workflows.eval_commands import print_records

        print_records(records, bench or [])
