"""What a corpus of any size costs, computed from a small run: `corpus cost`.

The model is linear. The commit records of a run tell what the records of each entry took: processor time, time of
model workers, bytes, requests. A corpus of N tokens takes N / (tokens of the run) times as much, in the run's
proportions of entries. Not in it are what does not grow with the corpus, such as starting workers, and what a cluster
loses to idle workers, the engine itself, lost machines and repeated work.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from pydantic import Field

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.data.inspect import TableSection
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig
from step3vl.pipelines.core.domain import DomainEntry
from step3vl.pipelines.view.records import CommitRecord, all_records

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


class Prices(Config):
    """What things cost, in any currency."""

    core_hour: float = Field(default=0.0, ge=0)
    """Of a processor core."""
    gpu_hour: float = Field(default=0.0, ge=0)
    """Of a GPU."""
    terabyte: float = Field(default=0.0, ge=0)
    """Of 10^12 bytes, for as long as they are kept."""
    million_requests: float = Field(default=0.0, ge=0)
    """Of 10^6 requests to the store, reads and writes alike."""


class Scale(NamedTuple):
    """What the large build is like.

    Attributes:
        tokens: That it should have.
        gpus: Of a model worker; 0 where models run on cores, as in the run.
        gpu_speedup: How many times as fast as in the run a model worker is with them.
        prices: What things cost.
    """

    tokens: float
    gpus: float = 0.0
    gpu_speedup: float = 1.0
    prices: Prices = Prices()


@dataclass(frozen=True)
class Usage:
    """What a part of a run took, or would take.

    Attributes:
        samples: That were counted, duplicates included.
        tokens: Of their texts and images.
        cpu_seconds: Processor time of all but models.
        model_seconds: Time that model workers were busy.
        model_cpu_seconds: Processor time of models.
        staged_bytes: Rows and images under the root.
        shard_bytes: Shards with their indexes.
        requests: To the store.
        prompt_tokens: That models on servers read.
        completion_tokens: That they wrote.
        paid: What they cost, at the prices of the entries.
    """

    samples: float = 0
    tokens: float = 0
    cpu_seconds: float = 0
    model_seconds: float = 0
    model_cpu_seconds: float = 0
    staged_bytes: float = 0
    shard_bytes: float = 0
    requests: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    paid: float = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))

    def __mul__(self, factor: float) -> "Usage":
        return Usage(*(getattr(self, item.name) * factor for item in fields(self)))

    def hours(self, scale: Scale) -> tuple[float, float]:
        """Core-hours and GPU-hours. With GPUs, a model worker keeps one core busy while it works."""
        if not scale.gpus:
            return (self.cpu_seconds + self.model_cpu_seconds) / 3600, 0.0
        busy = self.model_seconds / scale.gpu_speedup
        return (self.cpu_seconds + busy) / 3600, busy * scale.gpus / 3600

    def price(self, scale: Scale) -> float:
        """What it costs."""
        cores, gpus = self.hours(scale)
        prices = scale.prices
        return (
            cores * prices.core_hour
            + gpus * prices.gpu_hour
            + (self.staged_bytes + self.shard_bytes) / 1e12 * prices.terabyte
            + self.requests / 1e6 * prices.million_requests
            + self.paid
        )


class RecordFolder(NamedTuple):
    """A folder of commit records.

    Attributes:
        path: Relative to the root.
        entry: What was worked on.
        part: `step`, `model` or `tokens`.
    """

    path: str
    entry: DomainEntry
    part: str


class EntryUsage(NamedTuple):
    """What an entry took in a run."""

    entry: str
    domain: str
    usage: Usage


def measure(root: str, folders: Iterable[RecordFolder], store: StoreConfig = DEFAULT_STORE) -> list[EntryUsage]:
    """Add up the commit records of a run, in the order of the entries.

    What writing the shards took is divided among the entries by their staged bytes.

    Args:
        root: URL of the staging root.
        folders: Of the run.
        store: How a remote store is used.

    Raises:
        UserError: There is no commit record, or none of counted tokens.
        StoreError: The store does not answer.
    """
    staged = Store(root, store)
    totals: dict[str, EntryUsage] = {}
    for folder in folders:
        name = folder.entry.name
        before = totals.get(name, EntryUsage(name, folder.entry.domain, Usage()))
        usage = sum((_usage(record, folder.part) for record in all_records(staged, folder.path)), Usage())
        totals[name] = before._replace(usage=before.usage + usage)
    entries = list(totals.values())
    whole = sum((entry.usage for entry in entries), Usage())
    if not whole.tokens:
        raise UserError(f"{root} has no commit records of a finished run; was it cleaned? Build a small corpus first")
    shards = sum((_usage(record, "shards") for record in all_records(staged, "shards")), Usage())
    return [
        entry._replace(usage=entry.usage + shards * (entry.usage.staged_bytes / max(whole.staged_bytes, 1)))
        for entry in entries
    ]


def _usage(record: CommitRecord, part: str) -> Usage:
    common = Usage(requests=record.requests)
    match part:
        case "model":
            return replace(
                common,
                model_seconds=record.seconds,
                model_cpu_seconds=record.cpu_seconds,
                staged_bytes=record.written_bytes,
                prompt_tokens=record.paid.get("prompt_tokens", 0),
                completion_tokens=record.paid.get("completion_tokens", 0),
                paid=record.paid.get("price", 0),
            )
        case "tokens":
            return replace(
                common,
                samples=record.accounts[0].kept if record.accounts else 0,
                tokens=record.text_tokens + record.image_tokens,
                cpu_seconds=record.cpu_seconds,
                staged_bytes=record.written_bytes,
            )
        case "shards":
            return replace(common, cpu_seconds=record.cpu_seconds, shard_bytes=record.written_bytes)
        case _:
            return replace(common, cpu_seconds=record.cpu_seconds, staged_bytes=record.written_bytes)


def parse_count(text: str) -> float:
    """A number such as `300B`, `1.2T` or `5e9`.

    Raises:
        UserError: It is none, or not above 0.
    """
    match = re.fullmatch(r"([0-9][0-9_,.]*(?:e[+-]?[0-9]+)?)\s*([KMBGT]?)", text.strip(), re.IGNORECASE)
    try:
        number = float(match[1].replace(",", "").replace("_", "")) * _UNITS[match[2].upper()] if match else 0.0
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UserError(f"'{text}' is no number of tokens; write it as 300B, 1.2T or 5e9")
    return number


def cost_tables(entries: Sequence[EntryUsage], scale: Scale) -> list[TableSection]:
    """The run as it was measured, and the large build as it follows from it: by domain and entry, and in all.

    Args:
        entries: As `measure` returns them.
        scale: What the large build is like.
    """
    whole = sum((entry.usage for entry in entries), Usage())
    factor = scale.tokens / whole.tokens
    parts = [*_by_domain(entries), ("all", whole)]
    run = [
        (*_head(name, usage), compact(usage.cpu_seconds + usage.model_cpu_seconds), *_tail(usage))
        for name, usage in parts
    ]
    columns = ("entry", "tokens", "samples", "each", "core-h", "GPU-h", "staged", "shards", "requests", "price")
    large = [
        (*_head(name, usage), *map(compact, usage.hours(scale)), *_tail(usage), compact(usage.price(scale)))
        for name, usage in ((name, usage * factor) for name, usage in parts)
    ]
    title = f"{compact(scale.tokens)} tokens: {factor:,.0f} times the run"
    sections = [
        TableSection("The run", ("entry", "tokens", "samples", "each", "core-s", "staged", "shards", "requests"), run),
        TableSection(title, columns, large),
    ]
    if whole.prompt_tokens:
        asked = [(name, *_served(usage), *_served(usage * factor)) for name, usage in parts if usage.prompt_tokens]
        heads = ("entry", "read", "written", "price", "read at scale", "written at scale", "price at scale")
        sections.append(TableSection("Tokens of models on servers, in the run and at scale", heads, asked))
    return sections


def _served(usage: Usage) -> tuple[str, ...]:
    return compact(usage.prompt_tokens), compact(usage.completion_tokens), compact(usage.paid)


def _by_domain(entries: Sequence[EntryUsage]) -> Iterator[tuple[str, Usage]]:
    """The sum of each domain, and below it, where it has several entries, each of them."""
    for domain in dict.fromkeys(entry.domain for entry in entries):
        members = [entry for entry in entries if entry.domain == domain]
        yield domain, sum((entry.usage for entry in members), Usage())
        if len(members) > 1:
            for entry in members:
                yield f"· {entry.entry}", entry.usage


def _head(name: str, usage: Usage) -> tuple[str, ...]:
    each = f"{usage.tokens / usage.samples:,.0f}" if usage.samples else ""
    return name, compact(usage.tokens), compact(usage.samples), each


def _tail(usage: Usage) -> tuple[str, ...]:
    return f"{compact(usage.staged_bytes)}B", f"{compact(usage.shard_bytes)}B", compact(usage.requests)


def compact(number: float) -> str:
    """Three digits and a unit, such as `1.24M`; T is 10^12."""
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g}{unit}" if number / size < 999.5 else f"{number / size:,.0f}{unit}"
    return f"{number:.3g}"


def assumptions(scale: Scale) -> list[str]:
    """What the estimate takes for granted, a sentence each."""
    models = (
        f"a model worker has {scale.gpus:g} GPUs, is {scale.gpu_speedup:g} times as fast as in the run, "
        "and keeps one core busy"
        if scale.gpus
        else "models run on cores, as in the run"
    )
    return [
        "each: tokens of a sample, all entries of a domain together in its row",
        "everything grows with the tokens, in the run's proportions of entries",
        models,
        "staged bytes are kept beside the shards until `corpus clean`",
        "the engine's own time (Beam, Ray), idle workers, lost machines and repeated work come on top",
    ]
