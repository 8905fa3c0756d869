"""`step3vl train`: pretraining, supervised fine-tuning, reinforcement learning."""

from typing import Annotated

import typer

from step3vl.workflows.command import SETTINGS, ConfigFile, DryRun, Overrides, run_stage

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
    run_stage("pretrain", config, overrides, dry_run=dry_run, force=force)


@train.command("sft", epilog="Example:  step3vl train sft workflows/tiny/sft.yaml root=runs/tiny")
def train_sft(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, force: Redo = False) -> None:
    """Fine-tune a pretrained model on conversations."""
    run_stage("sft", config, overrides, dry_run=dry_run, force=force)


@train.command("rl", epilog="Example:  step3vl train rl workflows/tiny/rl.yaml root=runs/tiny")
def train_rl(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, force: Redo = False) -> None:
    """Improve a fine-tuned model by PPO on questions whose answers can be verified."""
    run_stage("rl", config, overrides, dry_run=dry_run, force=force)
