"""Builds of pairs, mosaics and retrieved images with models on a server: what is asked, paid and kept."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.pair_files import pair_members, png, write_tar

from step3vl.data.dataset import Dataset, DeadLetter, LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.sample import Sample, TextPart
from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.grading import grade_answer
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import BeamStep, Files
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.rows import read_rows
from step3vl.pipelines.core.step_runners import step_runner
from step3vl.pipelines.core.steps import Record
from step3vl.pipelines.corpus import build_corpus, corpus_plan, staging_root
from step3vl.pipelines.cost import RecordFolder, Scale, compact, cost_tables, measure
from step3vl.pipelines.domains import DOMAINS

Configure = Callable[..., CorpusConfig]
TEXTS = (
    "An old mill by the river.", "A red boat on the lake.", "The tall tower of a church.",
    "A wild garden in spring.", "An iron bridge over a gorge.", "The busy market of Lima.",
    "A ruined castle at dusk.", "The dark forest in winter.",
)  # fmt: skip


@pytest.fixture
def configure(chat_server: Any, tmp_path: Path) -> Configure:
    """A corpus of an entry over a tar of eight pairs and two that are not wanted, served by the server."""
    members = [each for number, text in enumerate(TEXTS) for each in pair_members(number, text)]
    members += pair_members(90, "IMG_0042.jpg")
    members += [("000000091.png", png(91, (20, 16))), ("000000091.txt", b"Too small to be seen by anyone.")]
    write_tar(tmp_path / "pairs.tar", members)

    def configure(
        domain: str, models: tuple[str, ...] = ("recaption", "judge"), timeout: float = 30, **fields: Any
    ) -> CorpusConfig:
        endpoint = {
            "url": chat_server.url, "model": "m", "cache": str(tmp_path / "cache"), "attempts": 12, "backoff": 0,
            "timeout": timeout, "price_in": 2.0, "price_out": 8.0,
        }  # fmt: skip
        entry = {"domain": domain, "name": "e", **fields}
        source = {"files": [str(tmp_path / "pairs.tar")], "licence": "CC0-1.0"}
        entry |= {"images": [source]} if domain == "knowledge.retrieval" else {"sources": [source]}
        for model in models:
            entry[model] = {"endpoint": endpoint, **entry.get(model, {})}
        return CorpusConfig.model_validate({
            "name": "c", "shards": 1, "heldout": 0, "tokens": {"tokenizer": {"train": 320}},
            "models": {"engine": "beam", "workers": 1}, "domains": [entry],
        })  # fmt: skip

    chat_server.otherwise = describe
    return configure


def is_judging(body: dict[str, Any]) -> bool:
    return "score" in asked(body)


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"][-1]["text"])


def subject(body: dict[str, Any]) -> str:
    """The text that the request is about."""
    return asked(body).rpartition(": ")[2]


def describe(handler: Any, body: dict[str, Any]) -> None:
    """New texts that name the old one; judgements by whether a text speaks of a boat."""
    text = subject(body)
    reply = f"Seen from afar: {text}"
    if is_judging(body):
        reply = json.dumps({"reason": "seen", "score": 0.2 if "boat" in text else 0.9})
    handler.server.answer(reply)(handler, body)


@dataclass
class Outcome:
    """What became of the records of an entry, step by step."""

    samples: list[Sample] = field(default_factory=list)
    accounts: dict[str, LedgerStep] = field(default_factory=dict)
    paid: dict[str, dict[str, float]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)

    def kept(self, *steps: str) -> list[int]:
        return [self.accounts[step].kept for step in steps]


def run(config: CorpusConfig) -> Outcome:
    """The steps of the only entry, one after the other in this process: what a build does, without an engine."""
    (entry,) = config.domains
    context = StepContext(seed=0, base="/")
    inputs, outcome = entry.inputs(), Outcome()
    assert isinstance(inputs, Files)
    patterns = [(pattern, source.licence) for source in inputs.sources for pattern in source.files]
    records: list[Any] = [
        Record(file.key, file)
        for pattern, licence in patterns
        for file in list_pattern(pattern, licence, entry="e", base="/", store=DEFAULT_STORE)
    ]
    for step in DOMAINS[entry.domain].steps_of(entry):
        here = replace(step, time_limit=None) if isinstance(step, BeamStep) else step
        runner = step_runner(here, entry, context)
        runner.setup()
        runner.begin(outcome.dead.append)
        records = [output for outputs in runner.run(records, lambda _, outputs: outputs) for output in outputs]
        outcome.accounts[step.name], outcome.paid[step.name] = runner.account, runner.paid
    outcome.samples = records
    return outcome


@pytest.mark.slow
def test_pairs_are_recaptioned_and_judged_once_and_only_if_they_are_kept(
    configure: Configure, chat_server: Any, tmp_path: Path
) -> None:
    config = configure("knowledge.pairs", kind="conversation")
    dataset = build_corpus(config, tmp_path / "out")
    ledger = {step.name.removeprefix("e."): step for step in dataset.manifest.ledger}
    assert sum(ledger["build"].dropped.values()) == 2
    assert [ledger[name].kept for name in ("build", "recaption", "judge", "write")] == [8, 8, 8, 7]
    assert ledger["write"].dropped == {"low_judge_score": 1}
    assert Counter(map(is_judging, chat_server.bodies)) == {False: 8, True: 8}
    samples = list(dataset.samples())
    assert {sample.answer() for sample in samples} == {
        f"Seen from afar: {text}" for text in TEXTS if "boat" not in text
    }
    for sample in samples:
        assert sample.scores["judge"] == 0.9
        assert sample.source.traits.items() >= {
            "role": "recaption", "recaption": "replace", "recaption_model": "judge-1", "judge_model": "judge-1",
        }.items()  # fmt: skip
    segments, root = corpus_plan(config, tmp_path / "out").segments, staging_root(config, tmp_path / "out")
    (folder,) = {part.folder for part in segments if part.folder.startswith("e/recaption-")}
    store = Store(root, DEFAULT_STORE)
    files = [file.relative_to(root) for file in Path(root, folder).glob("*.parquet") if ".dead" not in file.name]
    originals = {row["value"]["recaption"]["original"] for file in files for row in read_rows(store, str(file))}
    assert originals == set(TEXTS)

    again = build_corpus(config, tmp_path / "again")
    assert shards(again) == shards(dataset) and len(chat_server.bodies) == 16

    folders = [RecordFolder(part.folder, part.entry, part.kind) for part in segments]
    tables = cost_tables(measure(root, folders, config.store), Scale(1e6))
    (row,) = [row for row in tables[-1].rows if row[0] == "all"]
    assert row[1:4] == (compact(1600), compact(160), compact(16 * (100 * 2 + 10 * 8) / 1e6))


def shards(dataset: Dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(dataset.url, "shards").iterdir()}


def test_an_appended_text_follows_the_one_that_came_with_the_image(configure: Configure) -> None:
    config = configure("knowledge.pairs", ("recaption",), recaption={"mode": "append", "prompt": "Say: {text}"})
    samples = run(config).samples
    assert {sample.last_text() for sample in samples} == {f"{text}\nSeen from afar: {text}" for text in TEXTS}
    assert {sample.source.traits["role"] for sample in samples} == {"caption"}
    assert all("judge" not in sample.scores for sample in samples)


def test_a_text_in_a_language_that_is_not_wanted_is_dropped_before_it_is_judged(
    configure: Configure, chat_server: Any
) -> None:
    german = "Eine alte Mühle am Fluss, deren Rad sich langsam im klaren Wasser dreht, und dahinter ein Wald."
    chat_server.otherwise = chat_server.answer(german)
    outcome = run(configure("knowledge.pairs", languages=["en"]))
    assert outcome.accounts["recaption"].dropped == {"recaption_language": 8}
    assert not any(map(is_judging, chat_server.bodies))


def test_captions_of_mosaics_are_written_once_for_each_image(configure: Configure, chat_server: Any) -> None:
    outcome = run(configure("knowledge.mosaic", rounds=4, longest=[300, 400]))
    built = outcome.accounts["build"].kept
    assert outcome.kept("recaption", "judge") == [built, built] and built >= 6
    requests = Counter((is_judging(body), subject(body)) for body in chat_server.bodies)
    assert set(requests.values()) == {1} and len(requests) <= 16
    dropped = outcome.accounts["write"].dropped["low_judge_score"]
    assert 0 < dropped <= 4 and len(outcome.samples) == built - dropped  # the boat is in a mosaic of each round
    assert outcome.paid["judge"]["prompt_tokens"] == built * 4 * 100
    for sample in outcome.samples:
        assert sample.scores == {"judge": 0.9}
        assert "Seen from afar" in "".join(part.text for part in sample.parts() if isinstance(part, TextPart))
        assert sample.truth is not None and grade_answer(sample.truth, sample.answer()).value == 1
        assert sample.source.traits["recaption_model"] == sample.source.traits["judge_model"] == "judge-1"


def test_new_captions_that_cannot_be_told_apart_are_dropped_before_they_are_judged(
    configure: Configure, chat_server: Any
) -> None:
    chat_server.otherwise = chat_server.answer("A fine view of a beautiful landscape.")
    outcome = run(configure("knowledge.mosaic", longest=[300, 400]))
    assert outcome.accounts["recaption"].dropped == {"captions_alike": 2}
    assert not any(map(is_judging, chat_server.bodies))


def test_retrieved_images_are_judged_beside_their_passages(
    configure: Configure, chat_server: Any, tmp_path: Path
) -> None:
    passage = "The mill stands by the river. An old mill grinds grain as long as the river drives its wheel."
    boat = "The red boat lies on the lake. A red boat on the lake is a boat that many who walk there have seen."
    (tmp_path / "texts.txt").write_text(f"{passage}\n\n{boat}\n")
    texts = [{"files": [str(tmp_path / "texts.txt")], "licence": "CC0-1.0"}]
    outcome = run(configure("knowledge.retrieval", ("judge",), texts=texts, kind="conversation", keywords=20))
    assert outcome.accounts["write"].dropped.keys() == {"low_judge_score"}
    assert {(sample.answer(), sample.scores["judge"]) for sample in outcome.samples} == {(passage, 0.9)}
    assert all(asked(body).startswith("The image is to illustrate the passage.") for body in chat_server.bodies)


def test_a_server_in_trouble_costs_time_and_no_sample(configure: Configure, chat_server: Any) -> None:
    whole = run(configure("knowledge.pairs"))
    chat_server.bodies.clear()
    troubles = [
        chat_server.refuse(429, "slow down", Retry_After="0.1"), chat_server.wait(4), chat_server.garble(b"<html>"),
        chat_server.cut, chat_server.drip, chat_server.hang_up, chat_server.refuse(503), chat_server.answer(""),
        chat_server.answer(None), chat_server.garble(b'{"choices": []}'), chat_server.refuse(529),
    ]  # fmt: skip
    chat_server.script = list(troubles)
    other = {"system": "Again."}  # so that the cache holds none of it
    troubled = run(configure("knowledge.pairs", timeout=3, recaption=other, judge=other))
    assert len(chat_server.bodies) == 16 + len(troubles)  # each trouble is one more request, and nothing else is
    assert troubled.samples == whole.samples and troubled.dead == whole.dead


def picky(handler: Any, body: dict[str, Any]) -> None:
    """Refuses, cuts, apologises and chats."""
    server, text = handler.server, subject(body)
    if "mill" in text:
        server.refuse(400, "this prompt is not allowed")(handler, body)
    elif "tower" in text:
        server.answer("I'm sorry, but I can't help with that.")(handler, body)
    elif "garden" in text and is_judging(body):
        server.answer("I like it")(handler, body)
    elif "bridge" in text:
        server.answer("A long description, which", ending="length")(handler, body)
    else:
        describe(handler, body)


def test_what_the_server_refuses_of_a_record_is_its_failure_and_is_remembered(
    configure: Configure, chat_server: Any
) -> None:
    chat_server.otherwise = picky
    outcome = run(configure("knowledge.pairs"))
    assert outcome.accounts["recaption"].failed == {"RequestFailed": 2}
    assert outcome.accounts["recaption"].dropped == {"recaption_refused": 1}
    assert outcome.accounts["judge"].failed == {"RequestFailed": 1}
    assert outcome.accounts["write"].dropped == {"low_judge_score": 1} and len(outcome.samples) == 3
    assert outcome.paid["recaption"]["prompt_tokens"] == 5 * 100  # those that were kept
    requests = len(chat_server.bodies)
    assert requests == 8 + 5
    assert run(configure("knowledge.pairs")) == outcome and len(chat_server.bodies) == requests


@pytest.mark.slow
def test_a_build_ends_when_the_server_refuses_more_than_the_failure_budget(
    configure: Configure, chat_server: Any, tmp_path: Path
) -> None:
    chat_server.otherwise = picky
    config = configure("knowledge.pairs").model_copy(update={"failure_budget": 0.2})
    with pytest.raises(UserError, match=r"e\.recaption: 2 of 8 records failed.*2 RequestFailed"):
        build_corpus(config, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_wrong_key_ends_the_step_and_the_next_run_asks_only_for_what_is_missing(
    configure: Configure, chat_server: Any
) -> None:
    def refuse_judges(handler: Any, body: dict[str, Any]) -> None:
        (chat_server.refuse(401, "bad key") if is_judging(body) else describe)(handler, body)

    chat_server.otherwise = refuse_judges
    with pytest.raises(InfrastructureError, match=r"the server answers 401: bad key"):
        run(configure("knowledge.pairs", ("recaption", "judge")))
    assert sum(not is_judging(body) for body in chat_server.bodies) == 8
    chat_server.bodies.clear()
    chat_server.otherwise = describe
    assert run(configure("knowledge.pairs")).kept("write") == [7]
    assert len(chat_server.bodies) == 8 and all(map(is_judging, chat_server.bodies))


@pytest.mark.parametrize("domain", ["knowledge.pairs", "knowledge.mosaic"])
def test_an_entry_without_a_server_asks_nothing(configure: Configure, chat_server: Any, domain: str) -> None:
    outcome = run(configure(domain, ()))
    assert not {"recaption", "judge"} & outcome.accounts.keys() and chat_server.bodies == []
    for sample in outcome.samples:
        assert not {"recaption", "recaption_model", "judge_model"} & set(sample.source.traits)
        assert "judge" not in sample.scores


@pytest.mark.parametrize("model", ["recaption", "judge"])
@pytest.mark.parametrize("domain", ["knowledge.pairs", "knowledge.mosaic"])
def test_prompts_are_checked_before_anything_runs(configure: Configure, domain: str, model: str) -> None:
    (entry,) = configure(domain, (model,), **{model: {"prompt": "{caption}"}}).domains
    with pytest.raises(UserError, match=r"the prompt uses \{caption\}; it may use \{text\}"):
        entry.check(StepContext(seed=0, base="/"))
