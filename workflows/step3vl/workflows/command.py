"""What all commands share: settings of the command line, configurations, and how a running command ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
    "add_completion": False,
}

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to change, for example optimizer.lr=1e-3.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration as YAML and stop.")]


def resolve(path: Path, overrides: list[str] | None, config_class: Any, dry_run: bool) -> Any:
    """The validated configuration; None after it was printed for a dry run."""
    from step3vl.workflows.config import load_config, parse_overrides, to_yaml

    resolved = load_config(path, parse_overrides(overrides or []), config_class)
    if not dry_run:
        return resolved
    typer.echo(to_yaml(resolved), nl=False)
    return None


@contextmanager
def work(stopped: str = "stopped; the same command goes on from here") -> Iterator[None]:
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
