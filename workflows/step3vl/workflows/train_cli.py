"""`step3vl train`: pretraining, supervised fine-tuning, reinforcement learning."""

from pathlib import Path
from typing import Annotated, Any

import typer

from step3vl.workflows.command import SETTINGS, ConfigFile, DryRun, Overrides, command_context, resolve_config

train = typer.Typer(help="Train a model: pretraining, supervised fine-tuning, reinforcement learning.", **SETTINGS)

Redo = Annotated[
    bool,
    typer.Option("--force", help="Train from the start; an earlier output is kept as NAME.1, NAME.2 ..."),
]


@train.command("pretrain", epilog="Example:  step3vl train pretrain workflows/tiny/pretrain.yaml root=runs/tiny")
def train_pretrain(
    config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, force: Redo = False
) -> None:
    """Train all parts of the model on documents and conversations, from random weights or a checkpoint."""
    _train("pretrain", config, overrides, dry_run, force)


@train.command("sft", epilog="Example:  step3vl train sft workflows/tiny/sft.yaml root=runs/tiny")
def train_sft(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, force: Redo = False) -> None:
    """Fine-tune a pretrained model on conversations."""
    _train("sft", config, overrides, dry_run, force)


@train.command("rl", epilog="Example:  step3vl train rl workflows/tiny/rl.yaml root=runs/tiny")
def train_rl(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, force: Redo = False) -> None:
    """Improve a fine-tuned model by PPO on questions whose answers can be verified."""
    _train("rl", config, overrides, dry_run, force)


def _train(kind: str, path: Path, overrides: list[str] | None, dry_run: bool, force: bool) -> None:
    with command_context(
        "interrupted; to continue, run the same command without --force"
        if force
        else "interrupted; run the same command again to continue"
    ):
        from step3vl.workflows.kinds import KINDS
        from step3vl.workflows.runner import run_alone

        config: Any = resolve_config(path, overrides, KINDS[kind].load().config_class, dry_run)
        if config:
            run_alone(kind, KINDS, config, Path(config.output), force)
