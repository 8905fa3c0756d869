"""The command line. At module level it imports only typer and the standard library, so that help is quick."""

import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from step3vl.workflows.command import INTERRUPTED, SETTINGS, Force, command_context, make_room, ordered_group
from step3vl.workflows.dataset_cli import corpus
from step3vl.workflows.eval_cli import evaluation
from step3vl.workflows.train_cli import train

GUIDE = """
STEP3-VL from data to answers: build a multimodal corpus, train the model on it, align it, and ask it.

Every CONFIG is a YAML file. After it, [cyan]key=value[/cyan] arguments change single fields: dotted keys \
reach inside ([cyan]optimizer.weight_decay=0.1[/cyan]), numbers step into lists \
([cyan]phases.0.lr_start=1e-3[/cyan]), values are YAML. \
[cyan]--dry-run[/cyan] prints the resulting configuration and does nothing.
"""
EXAMPLES = """
[bold]Corpus, training and evaluation on two processor cores, in minutes[/bold]

  step3vl run workflows/tiny/run.yaml

[bold]Ask a model about an image[/bold]

  step3vl chat runs/tiny/rl/export --image page.png "How many birds are there?"

[dim]A mistake in a file or an argument ends in one line and exit code 2; STEP3VL_DEBUG=1 adds the traceback.[/dim]
"""
EVERY_CHANGED_STAGE = "*"  # plan.CHANGED, which is not imported yet


class RunCommand(TyperCommand):
    """Lets ``--force`` stand without a stage; typer knows no options whose value is optional."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        parsed: list[str] = []
        for argument, following in pairwise([*args, "-"]):
            parsed.append(argument)
            if argument == "--force" and (following.startswith("-") or "=" in following or "." in following):
                parsed.append(EVERY_CHANGED_STAGE)
        return super().parse_args(ctx, parsed)


app = typer.Typer(
    cls=ordered_group("corpus", "train", "export", "chat", "batch", "serve", "eval", "run"),
    help=GUIDE,
    epilog=EXAMPLES,
    **SETTINGS,
)
app.add_typer(corpus, name="corpus", rich_help_panel="Data")
app.add_typer(train, name="train", rich_help_panel="Training")
app.add_typer(evaluation, name="eval", rich_help_panel="Answers")

PaCoReRounds = Annotated[
    str,
    typer.Option(
        "--pacore",
        metavar="ROUNDS",
        help='PaCoRe: parallel answers, then a synthesis: 4, 16, "32,4", low, medium, high.',
    ),
]
BackendUrl = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="URL", help="Answer with this OpenAI-compatible server instead of a model folder."
    ),
]
BackendModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="The server's name for the model; by default, its first.")
]
ApiKey = Annotated[str | None, typer.Option(metavar="KEY", envvar="STEP3VL_BACKEND_KEY", help="The server's key.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 takes the most likely token.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]


@app.command(rich_help_panel="Training", epilog="Example:  step3vl export runs/tiny/sft/checkpoints model")
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A training run's output, its checkpoints folder, or one of them."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new model folder.")],
    force: Force = False,
) -> None:
    """Turn a training checkpoint into a Hugging Face model folder."""
    with command_context():
        from step3vl.training.checkpoint import export_checkpoint
        from step3vl.workflows.records import is_occupied

        make_room(out, is_occupied(out), force, sources=[checkpoint])
        export_checkpoint(checkpoint, out)
        typer.echo(f"{out}: written")


@app.command(
    rich_help_panel="Answers",
    epilog="""
[bold]One question[/bold]    step3vl chat MODEL --image page.png "What is the title?"

[bold]In parallel[/bold]     step3vl chat MODEL --image page.png "What is the title?" --pacore 16

[bold]From a server[/bold]   step3vl chat --backend http://localhost:8000 "What is the title?"

[bold]A dialogue[/bold]      step3vl chat MODEL
""",
)
def chat(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL [PROMPT]",
            help="A model folder and the question; with --backend, only the question. Without a question, it is read "
            "from standard input, or a dialogue starts.",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="An image to ask about; repeat for more.")
    ] = None,
    pacore: PaCoReRounds = "off",
    backend: BackendUrl = None,
    backend_model: BackendModel = None,
    api_key: ApiKey = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 1024,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer; random by default.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print answers as JSON lines, with reasoning and usage.")
    ] = False,
) -> None:
    """Ask a model about images and text; the answer is streamed."""
    with command_context("interrupted"):
        from step3vl.workflows.backends import parse_rounds
        from step3vl.workflows.chat import run_chat

        words: list[str | None] = [*(arguments or [])]
        model, *prompt = [backend_model, *words] if backend else words or [None]
        if len(prompt) > 1:
            raise typer.BadParameter(f"give one question, in quotes; there are {len(prompt)}")
        run_chat(
            model,
            prompt[0] if prompt else None,
            image or [],
            backend=backend,
            api_key=api_key,
            rounds=parse_rounds(pacore),
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            as_json=as_json,
        )


@app.command(
    rich_help_panel="Answers",
    epilog="""
[bold]A model folder[/bold]   step3vl batch MODEL questions.jsonl answers.jsonl

[bold]A server[/bold]         step3vl batch --backend http://localhost:8000 questions.jsonl answers.jsonl --pacore 16

[bold]A dataset[/bold]        step3vl batch MODEL runs/corpus answers.jsonl --split heldout
""",
)
def batch(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL INPUT OUT",
            help="A model folder (not with --backend); questions as JSONL, Parquet or a dataset; the file of answers.",
        ),
    ],
    pacore: PaCoReRounds = "off",
    template: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PaCoRe: the synthesis prompt, if the model was trained on another one."),
    ] = None,
    consensus: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="PaCoRe: share of equal answers at which a round ends early."),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(min=0.0, help="PaCoRe: seconds for the parallel answers to a question.")
    ] = None,
    min_rollouts: Annotated[int, typer.Option(min=1, help="PaCoRe: rollouts of a round that must succeed.")] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="PaCoRe: write every rollout and conclusion.")] = False,
    split: Annotated[Literal["heldout", "train"], typer.Option(help="The split of a dataset.")] = "heldout",
    concurrency: Annotated[int, typer.Option(min=1, help="Questions that are answered at the same time.")] = 16,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry questions that failed in an earlier run.")
    ] = False,
    backend: BackendUrl = None,
    backend_model: BackendModel = None,
    api_key: ApiKey = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Answer a file of questions, each exactly once; after an interruption, the same command continues."""
    with command_context():
        from step3vl.workflows.batch import run_batch

        paths = [backend_model, *arguments] if backend else arguments
        if len(paths) != 3:
            raise typer.BadParameter("give MODEL INPUT OUT, or --backend URL INPUT OUT")
        model, source, out = paths
        run_batch(
            str(source),
            Path(str(out)),
            rounds=pacore,
            template=template,
            consensus=consensus,
            deadline=deadline,
            min_rollouts=min_rollouts,
            trace=trace,
            split=split,
            concurrency=concurrency,
            retry_failed=retry_failed,
            model=model,
            backend=backend,
            api_key=api_key,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            as_json=as_json,
        )


@app.command(
    rich_help_panel="Answers",
    epilog="""
[bold]A model folder[/bold]              step3vl serve MODEL

[bold]PaCoRe in front of a server[/bold] step3vl serve --backend http://localhost:8000

[bold]Other settings[/bold]              step3vl serve MODEL concurrency=16 'image_hosts=\\[upload.wikimedia.org]'
""",
)
def serve(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [KEY=VALUE]...",
            help="A model folder, or with --backend the server's name for a model; then settings of the server.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Answer with this OpenAI-compatible server, such as vLLM, instead of a folder."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name for clients.")] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all, then also give --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="API keys, one a line, beside those in STEP3VL_API_KEYS."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1.")] = "cpu",
    drain: Annotated[
        int, typer.Option(min=0, help="Seconds that running answers get when the server is stopped.")
    ] = 60,
) -> None:
    """Serve a model with an OpenAI-compatible API, PaCoRe as further models, and a playground page."""
    with command_context("interrupted"):
        from step3vl.workflows.config import parse_overrides
        from step3vl.workflows.serve import run_serve

        model = arguments.pop(0) if arguments and "=" not in arguments[0] else None
        run_serve(
            model,
            parse_overrides(arguments or []),
            backend=backend,
            name=name,
            host=host,
            port=port,
            keys=keys,
            device=device,
            drain=drain,
        )


@app.command(
    cls=RunCommand,
    rich_help_panel="Everything in order",
    epilog="""
[bold]The demo[/bold]              step3vl run workflows/tiny/run.yaml

[bold]Somewhere else[/bold]        step3vl run workflows/tiny/run.yaml output=runs/try

[bold]A field of a stage[/bold]    step3vl run workflows/tiny/run.yaml sft.seed=1

[bold]Redo what changed[/bold]     step3vl run workflows/tiny/run.yaml sft.seed=1 --force

Nothing is ever deleted: an output that is redone is kept as NAME.1, NAME.2 ...
""",
)
def run(
    workflow: Annotated[Path, typer.Argument(metavar="WORKFLOW", help="The workflow's YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Fields to change, for example output=runs/try or sft.seed=1."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Consider only this stage; repeat for more.")
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[STAGE]",
            help="Redo finished stages that changed; with STAGE, that stage in any case, and what reads its result.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what each stage would do and its configuration, and stop.")
    ] = False,
) -> None:
    """Run a workflow's stages in order: skip finished ones, resume interrupted ones.

    A finished stage whose configuration, inputs or version changed is only redone with --force; otherwise the command
    prints what changed and stops with exit code 2.
    """
    restarts = [stage for stage in force or () if stage != EVERY_CHANGED_STAGE]
    interrupted = (
        "interrupted; to continue, run the same command with --force and no stage after it"
        if restarts
        else INTERRUPTED
    )
    with command_context(interrupted):
        from step3vl.workflows.config import parse_overrides, to_yaml
        from step3vl.workflows.kinds import KINDS
        from step3vl.workflows.plan import NeedsForce
        from step3vl.workflows.runner import plan_workflow, run_workflow
        from step3vl.workflows.tables import print_outcomes, print_plan

        changes = parse_overrides(overrides or [])
        if dry_run:
            planned = plan_workflow(workflow, changes, KINDS, only or [], force or [])
            for stage in (entry.stage for entry in planned):
                typer.echo(f"--- # {stage.name} ({stage.kind_name}) -> {stage.context.out}")
                typer.echo(to_yaml(stage.config), nl=False)
            print_plan(planned)
            return
        try:
            print_outcomes(run_workflow(workflow, changes, KINDS, only or [], force or []))
        except NeedsForce as error:
            print_plan(error.plan)
            raise


def main() -> None:
    """Run the command line: a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except Exception as error:
        if os.environ.get("STEP3VL_DEBUG") == "1":
            raise
        from step3vl.data.errors import UserError

        if isinstance(error, UserError):
            line = str(error)
        elif isinstance(error, OSError) and error.filename:
            line = f"{error.filename}: {error.strerror or error}"
        elif isinstance(error, ImportError) and error.name and not error.name.startswith("step3vl"):
            line = f"the package '{error.name}' is not installed; install what this command needs: step3vl[all]"
        else:
            typer.echo(f"unexpected {type(error).__name__}: {error}; STEP3VL_DEBUG=1 shows where", err=True)
            sys.exit(1)
        typer.echo(f"error: {' '.join(line.split())}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
