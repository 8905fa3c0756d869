"""The command line. Only typer and the standard library are imported here, so that help is there at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

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
SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
    "add_completion": False,
}


class InOrder(TyperGroup):
    """Lists the commands in the order of the work; typer would put groups of commands last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["corpus", "train", "export", "chat", "run"]


app = typer.Typer(cls=InOrder, help=GUIDE, epilog=EXAMPLES, **SETTINGS)
corpus = typer.Typer(help="Build a corpus from documents and pictures, or look into one.", **SETTINGS)
train = typer.Typer(help="Train: pretraining, supervised fine-tuning, reinforcement learning.", **SETTINGS)
app.add_typer(corpus, name="corpus", rich_help_panel="Data")
app.add_typer(train, name="train", rich_help_panel="Training")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to change, for example optimizer.lr=1e-3.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration as YAML and stop.")]


@corpus.command("build", epilog="Example:  step3vl corpus build workflows/tiny/corpus.yaml --out runs/corpus")
def corpus_build(
    config: ConfigFile,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The dataset's directory; an interrupted build goes on there.")
    ],
    overrides: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Build a sharded, indexed dataset from the sources that CONFIG names."""
    with _work():
        from step3vl.pipelines.corpus import CorpusConfig, build_corpus

        resolved = _resolve(config, overrides, CorpusConfig, dry_run)
        if resolved:
            build_corpus(resolved, out)


@corpus.command("inspect", epilog="Example:  step3vl corpus inspect runs/tiny/corpus")
def corpus_inspect(dataset: Annotated[Path, typer.Argument(metavar="DIR", help="A built dataset.")]) -> None:
    """Show what a dataset holds: samples, tokens and tasks, and what became of every record."""
    with _work():
        from step3vl.pipelines.corpus import inspect_corpus

        inspect_corpus(dataset)


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
    with _work():
        from step3vl.training.checkpoint import export_checkpoint

        export_checkpoint(checkpoint, out)
        typer.echo(f"{out}: written")


@app.command(
    rich_help_panel="Answers",
    epilog="""
[bold]One question[/bold]    step3vl chat MODEL --image page.png "What is the title?"

[bold]In parallel[/bold]     step3vl chat MODEL --image page.png "What is the title?" --pacore 4

[bold]A dialogue[/bold]      step3vl chat MODEL
""",
)
def chat(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder, as training exports it.")],
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="The question; without it, questions are read until an empty line."),
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A picture to ask about; give it again for more.")
    ] = None,
    pacore: Annotated[
        int, typer.Option(metavar="K", min=0, help="PaCoRe: K answers in parallel, then one synthesis of them.")
    ] = 0,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 1.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer, in tokens.")] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
) -> None:
    """Ask a model about pictures and text; the answer streams."""
    with _work("stopped"):
        from step3vl.workflows.chat import run_chat

        run_chat(
            model,
            prompt,
            image or [],
            pacore=pacore,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
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
    with _work():
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
    with _work():
        from step3vl.workflows.kinds import training

        config_class, work = training(stage)
        resolved = _resolve(config, overrides, config_class, dry_run)
        if resolved:
            work(resolved)


def _resolve(path: Path, overrides: list[str] | None, config_class: Any, dry_run: bool) -> Any:
    """The validated configuration; None after it was printed for a dry run."""
    from step3vl.workflows.config import load_config, parse_overrides, to_yaml

    resolved = load_config(path, parse_overrides(overrides or []), config_class)
    if not dry_run:
        return resolved
    typer.echo(to_yaml(resolved), nl=False)
    return None


@contextmanager
def _work(stopped: str = "stopped; the same command goes on from here") -> Iterator[None]:
    """Log lines on the terminal; SIGTERM like Ctrl-C, so that children are ended, files closed and one line said."""
    import logging
    import signal

    # To stderr: stdout carries results alone. Warnings of the libraries underneath are for whoever debugs.
    others = logging.WARNING if os.environ.get("STEP3VL_DEBUG") == "1" else logging.ERROR
    logging.basicConfig(level=others, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("step3vl").setLevel(logging.INFO)
    logging.captureWarnings(True)

    signals: list[int] = []

    def stop(signum: int, frame: object) -> None:
        signals.append(signum)
        logging.disable()  # what the libraries say about being interrupted tells the user nothing
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except BaseException:
        if not signals:
            raise
        typer.echo(stopped, err=True)  # whatever Beam or Ray made of the interrupt on its way
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
