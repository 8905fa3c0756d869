"""What all commands share: settings of the command line, configurations, earlier results, and how a command ends."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from step3vl.data.config import Config
    from step3vl.data.storage import StoreConfig

C = TypeVar("C", bound="Config")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command even where Ctrl-C only ends a part of its work."""


INTERRUPTED = "interrupted; run the same command again to continue"

SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "pretty_exceptions_enable": False,
    "add_completion": False,
}

ConfigFile = Annotated[str, typer.Argument(metavar="CONFIG", help="The YAML file, a path or any fsspec URL.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to change, for example seed=1.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration as YAML and stop.")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Write although there is an earlier result, which is kept as NAME.1, NAME.2 ..."),
]


StoreOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--store",
        metavar="KEY=VALUE",
        help="How remote stores are used: endpoint=URL, anonymous=true, profile=NAME, cache=DIR and others; may be "
        "repeated.",
    ),
]


def ordered_group(*names: str, default: str | None = None) -> type[TyperGroup]:
    """A group that lists its commands in this order; typer would put groups of commands last.

    Args:
        names: Of the commands.
        default: The command that is meant where none is named, but options follow the first argument.
    """

    class OrderedGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(names)

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            named = args and (args[0] in names or args[0].startswith("-"))
            if default and not named and any(argument.startswith("--") for argument in args):
                args = [default, *args]
            return super().parse_args(ctx, args)

    return OrderedGroup


def resolve_config(path: Path | str, overrides: list[str] | None, config_class: type[C], dry_run: bool) -> C | None:
    """Load a configuration; for a dry run, print it and return None."""
    from step3vl.workflows.config import load_config, parse_overrides, to_yaml

    config = load_config(path, parse_overrides(overrides or []), config_class)
    if not dry_run:
        return config
    typer.echo(to_yaml(config), nl=False)
    return None


def resolve_store(options: list[str] | None) -> "StoreConfig":
    """How this command uses remote stores, also those of paths that its inputs name. Raises UserError."""
    from pydantic import ValidationError

    from step3vl.data.config import explain_validation_error
    from step3vl.data.errors import UserError
    from step3vl.data.storage import StoreConfig, use_store
    from step3vl.workflows.config import apply_overrides, parse_overrides

    try:
        config = StoreConfig.model_validate(apply_overrides({}, parse_overrides(options or [])))
    except ValidationError as error:
        raise UserError(f"--store {explain_validation_error(error)}") from None
    use_store(config)
    return config


def run_stage(kind: str, path: str, overrides: list[str] | None, *, dry_run: bool, force: bool) -> None:
    """Run a stage by itself, as a command of its own.

    Args:
        kind: The kind of the stage, see ``step3vl.workflows.kinds``.
        path: The YAML file of its configuration.
        overrides: Fields to change.
        dry_run: Whether to print the configuration instead.
        force: Whether to start from nothing.
    """
    with command_context("interrupted; to continue, run the same command without --force" if force else INTERRUPTED):
        from step3vl.workflows.kinds import KINDS
        from step3vl.workflows.runner import run_alone

        config: Any = resolve_config(path, overrides, KINDS[kind].load().config_class, dry_run)
        if config:
            run_alone(kind, KINDS, config, Path(config.output), force)


def make_room(out: Path, finished: bool, force: bool, sources: Iterable[str | Path] = ()) -> None:
    """Rename an earlier result at ``out`` to NAME.1, NAME.2, ..., which only ``--force`` allows.

    Args:
        out: Where the new result will be written.
        finished: Whether an earlier result is there.
        force: Whether it may be renamed.
        sources: What the command reads, which must not be renamed with it.

    Raises:
        UserError: ``out`` is a URL; or there is an earlier result, and ``force`` is not given or a source lies in it.
    """
    from step3vl.data.errors import UserError
    from step3vl.data.storage import require_local
    from step3vl.workflows.records import next_name, set_aside

    require_local(out)
    if not finished:
        return
    if not force:
        raise UserError(
            f"{out} already holds a result; give another folder, or --force, which keeps it as {next_name(out)}"
        )
    for source in sources:
        path = Path(source).resolve()
        if out.resolve() in (path, *path.parents):
            raise UserError(f"{out} is read by this command; give another folder for its result")
    typer.echo(f"{out}: the earlier result is kept as {set_aside(out)}", err=True)


@contextmanager
def command_context(interrupted: str = INTERRUPTED) -> Iterator[None]:
    """Log to the terminal, and treat SIGTERM like Ctrl-C, so that child processes end and files are closed.

    Args:
        interrupted: The line that is printed then.
    """
    import logging
    import signal

    # To stderr: stdout carries results alone. Warnings of the libraries underneath are for debugging.
    level = logging.WARNING if os.environ.get("STEP3VL_DEBUG") == "1" else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("step3vl").setLevel(logging.INFO)
    logging.captureWarnings(True)

    signals: list[int] = []

    def stop(signum: int, frame: object) -> None:
        signals.append(signum)
        logging.disable()  # what the libraries log about being interrupted is of no use
        raise Terminated if signum == signal.SIGTERM else KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except BaseException:
        if not signals:
            raise
        typer.echo(interrupted, err=True)  # whatever Beam or Ray made of the interrupt
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
