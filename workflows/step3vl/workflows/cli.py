"""The command line. Only typer and the standard library are imported at first, so that help is there at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from step3vl.workflows.command import SETTINGS, ConfigFile, DryRun, Overrides, resolve, work
from step3vl.workflows.corpus_cli import corpus

GUIDE = """
STEP3-VL, the whole chain: build a multimodal corpus, train the model on it, align it, and ask it.

Every CONFIG is a YAML file. After it, [cyan]key=value[/cyan] arguments change single fields: dotted keys \
reach inside ([cyan]optimizer.lr=1e-3[/cyan]), numbers step into lists ([cyan]sources.0.weight=2[/cyan]), values \
are YAML. [cyan]--dry-run[/cyan] prints the configuration that results and does nothing.
"""
EXAMPLES = """
[bold]The whole chain on two processor cores, in minutes[/bold]

  step3vl run workflows/tiny/run.yaml

[bold]Ask a model about a picture[/bold]

  step3vl chat runs/tiny/rl/export --image page.png "How many birds are there?"

[dim]A mistake in a file or an argument ends in one line and exit code 2; STEP3VL_DEBUG=1 adds the traceback.[/dim]
"""


class InOrder(TyperGroup):
    """Lists the commands in the order of the work; typer would put groups of commands last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["corpus", "train", "export", "chat", "batch", "serve", "run"]


app = typer.Typer(cls=InOrder, help=GUIDE, epilog=EXAMPLES, **SETTINGS)
train = typer.Typer(help="Train: pretraining, supervised fine-tuning, reinforcement learning.", **SETTINGS)
app.add_typer(corpus, name="corpus", rich_help_panel="Data")
app.add_typer(train, name="train", rich_help_panel="Training")

PaCoReRounds = Annotated[
    str,
    typer.Option(
        "--pacore", metavar="ROUNDS", help='PaCoRe: answers in parallel, then a synthesis: 4, 16, "32,4", low, high.'
    ),
]
BackendUrl = Annotated[
    str | None,
    typer.Option("--backend", metavar="URL", help="Answer by this OpenAI-compatible server, not by a model folder."),
]
BackendModel = Annotated[
    str | None, typer.Option(metavar="NAME", help="The server's name for the model; by default its first.")
]
ApiKey = Annotated[str | None, typer.Option(metavar="KEY", envvar="STEP3VL_BACKEND_KEY", help="The server's key.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")]


@train.command("pretrain", epilog="Example:  step3vl train pretrain workflows/tiny/pretrain.yaml root=runs/tiny")
def train_pretrain(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train every part of the model on documents, from its configuration or a checkpoint."""
    _train("pretrain", config, overrides, dry_run)


@train.command("sft", epilog="Example:  step3vl train sft workflows/tiny/sft.yaml root=runs/tiny")
def train_sft(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Fine-tune a pretrained model on conversations."""
    _train("sft", config, overrides, dry_run)


@train.command("rl", epilog="Example:  step3vl train rl workflows/tiny/rl.yaml root=runs/tiny")
def train_rl(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Improve a fine-tuned model by PPO on questions whose answers can be verified."""
    _train("rl", config, overrides, dry_run)


@app.command(rich_help_panel="Training", epilog="Example:  step3vl export runs/tiny/sft/checkpoints model")
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A training stage's checkpoints.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new model folder.")],
) -> None:
    """Turn a training checkpoint into a Hugging Face model folder."""
    with work():
        from step3vl.training.checkpoint import export_checkpoint

        export_checkpoint(checkpoint, out)
        typer.echo(f"{out}: written")


@app.command(
    rich_help_panel="Answers",
    epilog="""
[bold]One question[/bold]    step3vl chat MODEL --image page.png "What is the title?"

[bold]In parallel[/bold]     step3vl chat MODEL --image page.png "What is the title?" --pacore 16

[bold]Of a server[/bold]     step3vl chat --backend http://localhost:8000 "What is the title?"

[bold]A dialogue[/bold]      step3vl chat MODEL
""",
)
def chat(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL [PROMPT]",
            help="A model folder and the question; with --backend the question alone. Without a question, they are "
            "read from standard input or typed in turn.",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A picture to ask about; give it again for more.")
    ] = None,
    pacore: PaCoReRounds = "off",
    backend: BackendUrl = None,
    backend_model: BackendModel = None,
    api_key: ApiKey = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Answers as lines of JSON, with what led to them.")] = False,
) -> None:
    """Ask a model about pictures and text; the answer streams."""
    with work("stopped"):
        from step3vl.workflows.answering import parse_rounds
        from step3vl.workflows.chat import run_chat

        given: list[str | None] = [*(arguments or [])]
        model, *prompt = [backend_model, *given] if backend else given or [None]
        if len(prompt) > 1:
            raise typer.BadParameter(f"one question at a time, in quotes; there are {len(prompt)}")
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
[bold]By this machine[/bold]   step3vl batch MODEL questions.jsonl answers.jsonl

[bold]By a server[/bold]       step3vl batch --backend http://localhost:8000 questions.jsonl answers.jsonl --pacore 16

[bold]A dataset[/bold]         step3vl batch MODEL runs/corpus answers.jsonl --split heldout
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
        Path | None, typer.Option(metavar="FILE", help="PaCoRe's synthesis prompt, if the model learned another one.")
    ] = None,
    consensus: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="PaCoRe: share of equal answers that ends the exploration.")
    ] = None,
    deadline: Annotated[float | None, typer.Option(min=0.0, help="PaCoRe: seconds for exploring a question.")] = None,
    minimum: Annotated[int, typer.Option(min=1, help="PaCoRe: rollouts of a round that must end well.")] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="PaCoRe: write every rollout and message.")] = False,
    split: Annotated[Literal["heldout", "train"], typer.Option(help="Of a dataset.")] = "heldout",
    concurrency: Annotated[int, typer.Option(min=1, help="Questions that are answered side by side.")] = 16,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask those again that an earlier run could not answer.")
    ] = False,
    backend: BackendUrl = None,
    backend_model: BackendModel = None,
    api_key: ApiKey = None,
    temperature: Temperature = 1.0,
    max_new_tokens: MaxNewTokens = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Answer a file of questions, each exactly once; the same command goes on after any interruption."""
    with work():
        from step3vl.workflows.batch import run_batch

        places = [backend_model, *arguments] if backend else arguments
        if len(places) != 3:
            raise typer.BadParameter("give MODEL INPUT OUT, or --backend URL INPUT OUT")
        model, source, out = places
        run_batch(
            str(source),
            Path(str(out)),
            rounds=pacore,
            template=template,
            consensus=consensus,
            deadline=deadline,
            minimum=minimum,
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
[bold]A model of this machine[/bold]     step3vl serve MODEL

[bold]PaCoRe before a server[/bold]      step3vl serve --backend http://localhost:8000

[bold]A limit of one's own[/bold]        step3vl serve MODEL concurrency=16 'image_hosts=[upload.wikimedia.org]'
""",
)
def serve(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [KEY=VALUE]...",
            help="A model folder, with --backend its server's name for a model; then fields of the server's settings.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Answer with this OpenAI-compatible server, such as vLLM, not with a folder."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What clients call the model.")] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others in; then give --keys as well.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="API keys, one a line; those in STEP3VL_API_KEYS count too."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1.")] = "cpu",
    drain: Annotated[int, typer.Option(min=0, help="Seconds that running answers have when the server ends.")] = 60,
) -> None:
    """Serve a model by OpenAI's interface, with PaCoRe as further models and a playground page."""
    with work("stopped"):
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
    rich_help_panel="Everything in order",
    epilog="""
[bold]The demo[/bold]              step3vl run workflows/tiny/run.yaml

[bold]Somewhere else[/bold]        step3vl run workflows/tiny/run.yaml output=runs/try

[bold]A stage's own field[/bold]   step3vl run workflows/tiny/run.yaml sft.seed=1
""",
)
def run(
    workflow: Annotated[Path, typer.Argument(metavar="WORKFLOW", help="The workflow's YAML file.")],
    overrides: Overrides = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Consider this stage only; give it again for more.")
    ] = None,
    force: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Run this stage again from nothing.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Run a workflow's stages in order; skip what is done and unchanged, resume where it stopped."""
    with work():
        from step3vl.workflows.config import parse_overrides
        from step3vl.workflows.kinds import KINDS
        from step3vl.workflows.show import show_plan, show_times
        from step3vl.workflows.stages import run_workflow

        changes = parse_overrides(overrides or [])
        if dry_run:
            show_plan(workflow, changes)
        else:
            show_times(run_workflow(workflow, changes, KINDS, only=only or [], force=force or []))


def _train(stage: str, config: Path, overrides: list[str] | None, dry_run: bool) -> None:
    with work():
        from step3vl.workflows.kinds import training

        config_class, run_training = training(stage)
        resolved = resolve(config, overrides, config_class, dry_run)
        if resolved:
            run_training(resolved)


def main() -> None:
    """The entry point: a user's mistake is one line and exit code 2."""
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
