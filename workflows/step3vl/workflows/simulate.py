"""`corpus simulate`: what a run, or an epoch of a dataset, would read on so many nodes."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import typer
from pydantic import ValidationError
from rich.console import Console

from step3vl.data.config import explain_validation_error
from step3vl.data.errors import UserError
from step3vl.data.inspect import Cluster, Simulation, print_sections, simulate, simulation_page, simulation_tables
from step3vl.data.plan import Mixture, MixtureSource, PlanPhase
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class SimulationOptions(NamedTuple):
    """What the command line says of a simulation."""

    cluster: dict[str, Any]
    """Fields of `Cluster`; None where an option is not given."""
    cut: dict[str, Any]
    """`kind`, `task`, `where`, `split` and `oversize` of a dataset; of a configuration, `kind` alone."""
    batches: int
    """Batches of all ranks."""
    length: int | None = None
    """Tokens of a pack."""
    seed: int | None = None
    """Seed of the order."""
    store: StoreConfig = DEFAULT_STORE
    """How remote stores are used."""


def simulate_command(source: str, overrides: Sequence[str], options: SimulationOptions, out: str | None) -> None:
    """Compute, print, and write the page where one is asked for.

    Args:
        source: A configuration of `train pretrain` or `train sft`, or a dataset.
        overrides: Fields of the configuration to change.
        options: What to simulate.
        out: Where the page is written.
    """
    if source.endswith((".yaml", ".yml")):
        simulation = _of_config(source, overrides, options)
    else:
        if overrides:
            raise UserError(f"'{overrides[0]}' changes a field of a configuration, and {source} is a dataset")
        phases = [PlanPhase(Mixture(sources=(MixtureSource.model_validate({**options.cut, "dataset": source}),)))]
        simulation = simulate(
            phases,
            _cluster(options.cluster),
            sequence_length=options.length or 4096,
            batches=options.batches,
            seed=options.seed or 0,
            store=options.store,
        )
    print_sections([section for section in simulation_tables(simulation) if section.rows], Console())
    if out is not None:
        folder, _, name = out.rpartition("/")
        Store(folder or ".", options.store).put(name, simulation_page(simulation, source).encode())
        typer.echo(f"{out}: written")


def _of_config(path: str, overrides: Sequence[str], options: SimulationOptions) -> Simulation:
    """Simulate a training run by its configuration; what was given on the command line comes first."""
    from step3vl.training.config import TrainConfig
    from step3vl.workflows.config import load_config, parse_overrides

    for name in ("task", "where"):
        if options.cut[name] is not None:
            raise UserError(f"--{name} is of a dataset; the sources of {path} say what they select")
    config = load_config(path, parse_overrides(overrides), TrainConfig)
    data, engine = config.data, config.engine
    kind = {"kind": options.cut["kind"]} if options.cut["kind"] else {}
    phases = [
        PlanPhase(
            Mixture(sources=tuple(source.model_copy(update=kind) for source in phase.mixture.sources)),
            phase.tokens,
            None if phase.steps is None else phase.steps * data.global_batch,
        )
        for phase in config.phases
    ]
    cached = data.store.cache_bytes if data.store.cache else None
    defaults = {"ranks": engine.processes, "micro_batch": engine.micro_batch, "cache_bytes": cached}
    if data.workers is not None:
        defaults["workers"] = data.workers
    defaults["block"] = data.store.block
    return simulate(
        phases,
        _cluster({**defaults, **{name: value for name, value in options.cluster.items() if value is not None}}),
        sequence_length=options.length or data.sequence_length,
        batches=options.batches,
        seed=config.seed if options.seed is None else options.seed,
        group=data.global_batch,
        partitions=data.partitions,
        store=options.store if options.store != DEFAULT_STORE else data.store,
    )


def _cluster(fields: dict[str, Any]) -> Cluster:
    try:
        return Cluster.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise UserError(f"{explain_validation_error(error)}; change --cache or --block") from None


def parse_bytes(text: str | None, option: str) -> int | None:
    """A size such as `200GB`, `4MiB` or `10Gbit`, in bytes; None stays. Raises UserError."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?|)(bit|b|)(?:/s|ps)?", text.strip(), re.IGNORECASE)
    units = {name.lower(): value for name, value in _UNITS.items()}
    if match is None or not (size := float(match[1]) * units[match[2].lower()]):
        raise UserError(f"{option} '{text}': write it as 200GB, 4MiB or 10Gbit")
    return max(round(size / 8 if match[3].lower() == "bit" else size), 1)


def parse_seconds(text: str | None, option: str) -> float | None:
    """A time such as `30ms` or `0.03`, in seconds; None stays. Raises UserError."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|)", text.strip())
    if match is None:
        raise UserError(f"{option} '{text}': write it as 30ms or 0.03")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)
