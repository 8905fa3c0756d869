"""The protocol of a domain, by a small one."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import apache_beam as beam
import pytest

from step3vl.data.dataset import LedgerStep
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.accounts import collect_accounts, read_accounts
from step3vl.pipelines.core.beam import run_pipeline
from step3vl.pipelines.core.domain import ApplySteps, GeneratedEntry, generated
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.steps import Dropped, Record
from step3vl.pipelines.domains import DOMAINS


class EchoEntry(GeneratedEntry):
    """Questions that contain their answers."""

    domain: Literal["echo"]

    def files(self) -> list[Path]:
        return []


class Echo:
    """Worker: a number becomes a question; every third number is dropped."""

    def __init__(self, entry: EchoEntry) -> None:
        self._entry = entry

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        if record.value % 3 == 0:
            raise Dropped("third")
        word = rng.choice(("yes", "no"))
        yield compose(
            kind=self._entry.kind,
            domain="echo",
            task="echo.word",
            question=f"Say {word}.",
            answer=word,
            truth=TextTruth(text=word),
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
        )


ECHO = generated(EchoEntry, version=1, worker=lambda entry, _seed: Echo(entry))


@pytest.mark.parametrize("name", ["e", "accounts", "dead-letters"])  # also those that label parts of the pipeline
def test_a_generated_domain_is_an_entry_and_a_worker(tmp_path: Path, name: str) -> None:
    assert ECHO.name == "echo"
    entry = EchoEntry(domain="echo", name=name, count=9)

    def wire(pipeline: beam.Pipeline) -> None:
        collect_accounts(pipeline | ApplySteps(entry, 0, ECHO.build), tmp_path, pipeline)

    run_pipeline("echo", (), wire)
    account = LedgerStep(name=f"{name}.build", read=9, kept=6, dropped={"third": 3})
    assert read_accounts(tmp_path).accounts == (account,)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_registered_domain_is_named_by_its_entry(name: str) -> None:
    domain = DOMAINS[name]
    assert domain.name == name
    assert domain.version >= 1
    assert domain.entry.__doc__
    fields = domain.entry.model_fields
    assert {"domain", "name", "kind"} <= set(fields)
