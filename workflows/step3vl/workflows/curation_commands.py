"""The work of `corpus explain`, `forget`, `ledger` and `balance`, which need the extra `pipelines`."""

from collections.abc import Sequence
from itertools import groupby

import typer
from rich.console import Console

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect import TableSection, ledger_table, print_sections
from step3vl.pipelines.cost import parse_count
from step3vl.pipelines.curation.account import FAILED, KEPT, LOST, GroupBy, account
from step3vl.pipelines.curation.balance import BalanceConfig, balance, tokens_by_domain
from step3vl.pipelines.curation.explain import explain
from step3vl.pipelines.curation.forget import forget


def explain_command(dataset: Dataset, name: str) -> None:
    """Print what became of a sample, step by step."""
    columns = ("step", "outcome", "reason", "detail")
    sections = [
        TableSection(id, columns, [(step.step, step.outcome, step.reason, step.detail) for step in steps])
        for id, steps in groupby(explain(dataset, name), lambda step: step.id)
    ]
    print_sections(sections, Console())


def forget_command(dataset: Dataset, values: Sequence[str]) -> None:
    """Exclude samples, and print how many there were."""
    path, request = forget(dataset, values)
    typer.echo(f"{dataset.url}/{path}: {len(request.ids)} samples are excluded")
    if not request.ids:
        typer.echo("no sample matches now; the request holds for later builds", err=True)


def ledger_command(dataset: Dataset, by: GroupBy | None) -> None:
    """Print what became of every record, by step or by group; exit with 1 if some are unaccounted for."""
    if by is None:
        print_sections([ledger_table(dataset.manifest.ledger)], Console())
        lost = sum(abs(step.balance) for step in dataset.manifest.ledger)
    else:
        groups = account(dataset, by)
        counts: list[Sequence[object]] = []
        drops: list[Sequence[object]] = []
        for group in groups:
            reasons = sorted(group.samples.keys() - {KEPT, FAILED, LOST})
            drops += [(group.name, reason, group.samples[reason], group.tokens[reason]) for reason in reasons]
            kept, failed, lost = (group.samples[outcome] for outcome in (KEPT, FAILED, LOST))
            read, dropped = group.samples.total(), sum(group.samples[reason] for reason in reasons)
            tokens = group.tokens.total(), group.tokens[KEPT], group.written
            counts.append((group.name, read, kept, dropped, failed, lost, *tokens))
        columns = (by, "read", KEPT, "dropped", FAILED, LOST, "tokens read", "of kept", "written")
        sections = [
            TableSection("Samples: read = kept + dropped + failed", columns, counts),
            TableSection("Dropped", (by, "reason", "samples", "tokens"), drops),
        ]
        print_sections([section for section in sections if section.rows], Console())
        lost = sum(group.samples[LOST] for group in groups)
    typer.echo(f"{dataset.url}: {f'{lost} records are unaccounted for' if lost else 'every record is accounted for'}")
    if lost:
        raise typer.Exit(1)


def balance_command(
    datasets: Sequence[Dataset], tokens: Sequence[str], *, temperature: float, caps: Sequence[str], epochs: float
) -> None:
    """Print the share of each domain in each phase, and what the datasets cannot give.

    Raises:
        UserError: A count or a cap cannot be read, or a cap names no domain of the datasets.
    """
    available = tokens_by_domain(tuple(datasets))
    for number, count in enumerate(tokens, 1):
        config = BalanceConfig(
            tokens=parse_count(count), temperature=temperature, caps=dict(map(_cap, caps)), epochs=epochs
        )
        result = balance(available, config)
        rows = [
            (part.name, part.available, f"{part.share:.1%}", round(part.tokens), f"{part.epochs:.2f}")
            for part in result.domains
        ]
        total = sum(part.tokens for part in result.domains)
        rows.append(("total", sum(available.values()), f"{total / config.tokens:.1%}", round(total), ""))
        columns = ("domain", "tokens", "share", "tokens of the phase", "epochs")
        print_sections([TableSection(f"Phase {number}: {count} tokens", columns, rows)], Console())
        if result.missing >= 1:
            typer.echo(
                f"{result.missing:,.0f} tokens are missing: build more, raise --epochs, or raise a --cap", err=True
            )


def _cap(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UserError(f"--cap {text}: write it as DOMAIN=SHARE with a share from 0 to 1, such as text=0.4")
    return name, value
