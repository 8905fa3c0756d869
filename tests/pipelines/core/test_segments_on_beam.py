"""Fragments through the segments of their entries: in Beam's workers, with a model on Ray, and with `RunInference`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from step3vl.data.dataset import LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines.core.accounts import InputTotal, Report
from step3vl.pipelines.core.beam import WriteList, WriteReport, read_list, read_report, run_pipeline
from step3vl.pipelines.core.fragments import BUCKETS, Fragment
from step3vl.pipelines.core.listing import ListInputs
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import segments_of
from step3vl.pipelines.core.segments_on_beam import RunLevel, inputs_for_ray
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.waves import Chains, Wave
from step3vl.pipelines.core.work_buckets import read_bucket
from step3vl.pipelines.core.work_list import ReadWorkLists, WriteWorkLists

MakeChains = Callable[..., Chains]


@pytest.fixture
def make_chains(cards: Any) -> MakeChains:
    def make_chains(*, models_on_ray: bool = True, **entries: Any) -> Chains:
        made = [cards.CardEntry(name=name, **fields) for name, fields in entries.items()]
        segments = [segment for entry in made for segment in segments_of(entry, 7, "")]
        return Chains(tuple(segments), models_on_ray)

    return make_chains


def run_wave(chains: Chains, index: int, staging: Staging, flags: tuple[str, ...] = (), budget: float = 1.0) -> Report:
    """One pipeline, as a build wires it, with everything that it writes."""
    wave = chains.waves()[index]

    def wire(pipeline: beam.Pipeline, staging: Staging) -> None:
        if index:
            starts = [(chains.work_list(number), number) for number in wave.levels[0]]
            work = pipeline | ReadWorkLists(staging, starts)
        else:
            work, totals = pipeline | ListInputs(chains, staging, 1.0)
        lists, reports = [work | inputs_for_ray(chains)], [] if index else [totals]
        for level in range(len(wave.levels)):
            outputs = work | RunLevel(chains, wave, level, staging, budget)
            work = outputs.work | f"deal {level}" >> beam.Reshuffle()
            lists.append(outputs.lists)
            reports.append(outputs.reports)
        names = [wave.samples, wave.dead_letters, *(segment.name for segment in chains.segments if segment.is_model)]
        _ = lists | "lists" >> beam.Flatten() | WriteWorkLists(staging, names)
        _ = reports | "reports" >> beam.Flatten() | WriteReport(staging, wave.report)
        if wave.levels:
            _ = work | WriteList(staging, "beyond.json")

    run_pipeline("wave", flags, staging, wire)
    assert not wave.levels or list(read_list(staging, "beyond.json")) == [], "nothing is left after the last level"
    return read_report(staging, wave.report)


def read(staging: Staging, name: str) -> list[Fragment]:
    store = staging.open()
    texts = [text for bucket in range(BUCKETS) for text in read_bucket(store, name, bucket)]
    return sorted(map(Fragment.model_validate_json, texts), key=lambda fragment: fragment.id)


def on_ray(chains: Chains, staging: Staging) -> None:
    """What Ray's actors do with the work lists of the models."""
    for segment in chains.segments:
        if segment.is_model:
            runner = staging.runner(segment)
            for fragment in read(staging, segment.name):
                runner.run(fragment)


def tree(staging: Staging) -> dict[str, bytes]:
    """Everything that was committed; of the commit records what does not depend on time."""
    root, kept = Path(staging.root), {}
    for path in sorted(root.glob("*/*-*/*")):
        content = path.read_bytes()
        if path.suffix == ".json":
            record = json.loads(content)
            content = json.dumps({name: record[name] for name in ("rows", "files", "accounts", "content")}).encode()
        kept[str(path.relative_to(root))] = content
    return kept


ENTRIES = {"a": {"count": 300, "faults": {3: "drop", 4: "fail"}}, "b": {"count": 5}}
PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")


def test_a_wave_ends_before_the_models_on_ray_and_the_next_one_begins_with_what_they_committed(
    make_chains: MakeChains, staging: Staging
) -> None:
    chains = make_chains(**ENTRIES)
    first = run_wave(chains, 0, staging)
    assert {step.name: (step.read, step.kept, step.emitted) for step in first.accounts} == {
        "a.make": (300, 298, 596),
        "b.make": (5, 5, 10),
    }
    assert first.inputs == {"a": InputTotal(count=300), "b": InputTotal(count=5)}
    assert first.fragments == {"a.make": 2, "b.make": 1}
    (example,) = first.examples
    assert (example.step, example.source, example.reason) == ("a.make", "a/4", "4 is broken")
    assert len(read(staging, "dead_letters.0")) == 1 and read(staging, "samples.0") == []
    with pytest.raises(InfrastructureError, match=r"what the model made of fragment .* was lost"):
        run_wave(chains, 1, staging)
    on_ray(chains, staging)
    second = run_wave(chains, 1, staging)
    steps = {step.name: (step.read, step.emitted) for step in second.accounts}
    assert steps == {"a.read": (596, 596), "a.ask": (596, 1192), "b.read": (10, 10), "b.ask": (10, 20)}
    assert sum(fragment.rows.stop for fragment in read(staging, "samples.1") if fragment.rows) == 1212
    assert second.text_bytes > 0


@pytest.mark.parametrize("flags", [(), PROCESSES, ("--direct_runner_bundle_repeat=1",)])
def test_every_engine_commits_the_same_files_and_reports_the_same(
    make_chains: MakeChains, staging: Staging, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    chains = make_chains(**ENTRIES)
    run_wave(chains, 0, staging)
    on_ray(chains, staging)
    run_wave(chains, 1, staging)
    other = staging._replace(root=str(tmp_path / "other"))
    in_beam = make_chains(models_on_ray=False, **ENTRIES)
    report = run_wave(in_beam, 0, other, flags)
    assert tree(other) == tree(staging)
    assert report.fragments["a.make"] == 2, "a repeated bundle counts once"
    assert [step.name for step in report.accounts] == ["a.ask", "a.make", "a.read", "b.ask", "b.make", "b.read"]
    assert read(other, "samples.0") == read(staging, "samples.1")


def test_what_is_committed_is_not_done_again(
    make_chains: MakeChains, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains = make_chains(models_on_ray=False, **ENTRIES)
    report = run_wave(chains, 0, staging)
    worked: list[str] = []
    work = SegmentRunner._work

    def counted(runner: SegmentRunner, fragment: Fragment, id: str) -> Any:
        worked.append(id)
        return work(runner, fragment, id)

    monkeypatch.setattr(SegmentRunner, "_work", counted)
    assert run_wave(chains, 0, staging) == report and worked == []
    part = next(path for path in sorted(Path(staging.root).glob("b/make-*/*.bin")))
    part.unlink()
    assert run_wave(chains, 0, staging) == report and worked == [part.stem]


def test_files_are_hashed_as_they_are_read(make_chains: MakeChains, staging: Staging, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(str(number))
    report = run_wave(make_chains(models_on_ray=False, a={"files": ("*.txt",)}), 0, staging)
    assert report.inputs.keys() == {"a"} and len(report.inputs["a"].content) == 32
    assert report.inputs["a"].count == 3
    assert report.accounts[1] == LedgerStep(name="a.make", read=3, kept=3, emitted=6)


def test_a_step_that_mostly_fails_is_stopped_before_its_end(make_chains: MakeChains, staging: Staging) -> None:
    chains = make_chains(a={"count": 100_000, "faults": dict.fromkeys(range(400), "fail")})
    with pytest.raises(UserError, match=r"a\.make: all 250 records failed.*250 ValueError, such as a/0: 0 is broken"):
        run_wave(chains, 0, staging, budget=0.05)
    assert len(list(Path(staging.root).glob("a/make-*/*.json"))) < 400


def test_inputs_that_a_model_on_ray_reads_go_to_its_work_list(
    make_chains: MakeChains, staging: Staging, cards: Any, use_domain: Callable[..., None]
) -> None:
    from step3vl.pipelines.core.domain import Domain

    use_domain(Domain(cards.CardEntry, steps=cards.DOMAIN.steps[1:]))
    chains = make_chains(a={"count": 600})
    report = run_wave(chains, 0, staging)
    assert report.accounts == ()
    assert [fragment.numbers for fragment in read(staging, "a.read")] == [(0, 250), (250, 500), (500, 600)]


def test_waves_know_their_segments(make_chains: MakeChains) -> None:
    chains = make_chains(**ENTRIES)
    assert [wave.numbers for wave in chains.waves()] == [(0, 3), (1, 4, 2, 5)]
    assert isinstance(chains.waves()[0], Wave)
