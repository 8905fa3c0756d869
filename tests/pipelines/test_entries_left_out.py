"""An optional entry whose program is missing is left out and named; with the program there it is built."""

import logging
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, MissingProgramError
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.samples import compose
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.corpus import CorpusConfig, build_corpus, corpus_plan, reuse_earlier
from step3vl.pipelines.domains import DOMAINS
from step3vl.pipelines.provenance import changes

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of a domain that a test adds

PROGRAM = "step3vl-test-echo"
WHY = f"echoes need {PROGRAM}, which is not installed"
SUMS = {"domain": "education", "name": "sums", "count": 20, "families": {"chain_sum": {}}, "modality": "text"}
TEXT = {"tokens": {"tokenizer": {"train": 320}}, "models": {"engine": "beam"}, "shards": 1}


class EchoEntry(GeneratedEntry):
    """Texts that a program makes."""

    domain: Literal["echo"]

    def check(self, context: StepContext) -> None:
        if shutil.which(PROGRAM) is None:
            raise MissingProgramError(WHY)


class Echo:
    """Worker: what the program prints."""

    def __init__(self, entry: EchoEntry, context: StepContext) -> None:
        pass

    def setup(self) -> None:
        """Nothing to load."""

    def process(self, record: Record[int], rng: random.Random) -> Iterator[Sample]:
        program = shutil.which(PROGRAM)
        assert program
        printed = subprocess.run([program, str(record.value)], check=True, capture_output=True, text=True).stdout
        yield compose(
            kind="conversation",
            domain="text",
            task="text.echo",
            question=f"Repeat {record.value}.",
            answer=printed.strip(),
            truth=TextTruth(text=printed.strip()),
            images=[],
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="tests"),
        )


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "echo", Domain(EchoEntry, steps=(BeamStep("build", 1, Echo, Sample),)))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that installs the program, or hides it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / PROGRAM
    program.write_text("#!/bin/sh\necho $1\n")
    program.chmod(0o755)
    path = os.environ["PATH"]

    def install(*, there: bool) -> None:
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{path}" if there else path)

    install(there=False)
    return install


def config(**fields: Any) -> CorpusConfig:
    """A corpus of sums and echoes; the fields are those of the echoes."""
    echoes = EchoEntry.model_validate({"domain": "echo", "name": "echoes", "count": 3, **fields})
    corpus = CorpusConfig.model_validate({"name": "c", "domains": [SUMS], **TEXT})
    return corpus.model_copy(update={"domains": (*corpus.domains, echoes)})


def counts(dataset: Dataset) -> dict[str, int]:
    return {step.name: step.read for step in dataset.manifest.ledger if step.name.endswith(".build")}


def test_an_entry_whose_program_is_missing_ends_the_build(install: Any, tmp_path: Path) -> None:
    with pytest.raises(
        MissingProgramError, match=f"^{WHY}; or give the entry echoes `optional: true`, which leaves it out$"
    ):
        build_corpus(config(), tmp_path / "out")
    with pytest.raises(MissingProgramError, match=WHY):
        corpus_plan(config(), tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()


@pytest.mark.slow
def test_an_optional_one_is_left_out_and_named_and_built_when_the_program_is_there(
    install: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, out = config(optional=True), tmp_path / "out"
    plan = corpus_plan(corpus, out)
    assert plan.left_out == {"echoes": WHY}
    assert {segment.entry.name for segment in plan.segments} == {"sums"}
    with caplog.at_level(logging.WARNING):
        dataset = build_corpus(corpus, out)
    assert caplog.messages == [f"echoes is left out: {WHY}", f"{out} is committed without echoes"]
    assert counts(dataset) == {"sums.build": 20}
    assert dataset.manifest.config["left_out"] == {"echoes": WHY}
    assert [entry["name"] for entry in dataset.manifest.config["domains"]] == ["sums"]
    for card in ("card.md", "card.html"):
        assert WHY in (out / card).read_text()
    assert changes(corpus, out) == []

    install(there=True)
    assert changes(corpus, out) == ["domains.echoes is new"]
    with pytest.raises(UserError, match="echoes is new"):
        build_corpus(corpus, out)
    out.rename(tmp_path / "kept")
    reuse_earlier(tmp_path / "kept", out)
    worked: list[str] = []
    work = SegmentRunner._work
    monkeypatch.setattr(SegmentRunner, "_work", lambda runner, *of: worked.append(of[1]) or work(runner, *of))
    dataset = build_corpus(corpus, out)
    assert worked == ["00000000-00000003"], "the sums are reused"
    assert counts(dataset) == {"sums.build": 20, "echoes.build": 3}
    assert "left_out" not in dataset.manifest.config
    assert WHY not in (out / "card.md").read_text()
    before = (out / "dataset.json").read_bytes()

    install(there=False)
    assert changes(corpus, out) == [], "a finished dataset stays as it is"
    build_corpus(corpus, out)
    assert (out / "dataset.json").read_bytes() == before


def test_whether_an_entry_is_optional_changes_nothing_of_its_samples() -> None:
    required, optional = config(), config(optional=True)
    assert required.content() == optional.content()
    fingerprints = [
        [part.fingerprint for part in segments_of(corpus.domains[1], 0, "")] for corpus in (required, optional)
    ]
    assert fingerprints[0] == fingerprints[1]


def test_a_corpus_of_which_nothing_is_left_is_not_built(install: Any, tmp_path: Path) -> None:
    corpus = config(optional=True)
    corpus = corpus.model_copy(update={"domains": corpus.domains[1:]})
    with pytest.raises(UserError, match="nothing is left to build: echoes need programs that are not installed"):
        build_corpus(corpus, tmp_path / "out")
