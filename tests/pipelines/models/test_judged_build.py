"""A build with a judge on a server: what it drops, what it costs, and that a rebuild asks nothing."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset, LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.domain import BeamStep, Domain, GeneratedEntry, ModelStep
from step3vl.pipelines.core.ray import models_session
from step3vl.pipelines.corpus import build_corpus, corpus_plan, staging_root
from step3vl.pipelines.cost import RecordFolder, Scale, compact, cost_tables, measure
from step3vl.pipelines.domains import DOMAINS

Configure = Callable[..., CorpusConfig]


@pytest.fixture
def configure(chat_server: Any, tmp_path: Path) -> Configure:
    """A corpus of eight scenes, judged by the server unless the fields say otherwise."""

    def configure(engine: str = "beam", **judge: Any) -> CorpusConfig:
        endpoint = {
            "url": chat_server.url, "model": "m", "cache": str(tmp_path / "cache"), "attempts": 2, "backoff": 0,
            "price_in": 2.0, "price_out": 8.0,
        }  # fmt: skip
        entry: dict[str, Any] = {"domain": "vqa.scenes", "name": "scenes", "count": 8, "image_size": [160, 200]}
        if judge.get("judge", {}) is not None:
            entry["judge"] = {"endpoint": endpoint, "prompt": "{question} {answer}", **judge}
        tokens = {"tokenizer": {"train": 320}}
        models = {"engine": engine, "workers": 1}
        return CorpusConfig.model_validate(
            {"name": "c", "shards": 1, "heldout": 0, "tokens": tokens, "models": models, "domains": [entry]}
        )

    return configure


def verdict(handler: Any, body: dict[str, Any]) -> None:
    """Everything is right, unless the answer is a yes or a no."""
    text = body["messages"][0]["content"][1]["text"]
    word = "incorrect" if text.endswith((" yes", " no", " 是", " 否")) else "correct"
    handler.server.answer(json.dumps({"reason": "seen", "verdict": word}))(handler, body)


def steps(dataset: Dataset) -> dict[str, LedgerStep]:
    return {step.name: step for step in dataset.manifest.ledger}


def shards(dataset: Dataset) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(dataset.url, "shards").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["beam", "ray"])
def test_what_the_judge_finds_wrong_is_dropped_and_a_rebuild_asks_nothing(
    configure: Configure, chat_server: Any, tmp_path: Path, engine: str
) -> None:
    chat_server.otherwise = verdict
    config = configure(engine)
    with models_session(config.models) if engine == "ray" else nullcontext():  # Ray is started once for both
        dataset = build_corpus(config, tmp_path / "one")
        ledger = steps(dataset)
        assert ledger["scenes.judge"].read == ledger["scenes.judge"].kept >= 6
        dropped = ledger["scenes.build"].dropped.get("low_judge_score", 0)
        assert dropped > 0 and ledger["scenes.build"].kept == ledger["scenes.judge"].kept - dropped
        samples = list(dataset.samples())
        assert samples and all(sample.scores == {"judge": 1.0} for sample in samples)
        asked = len(chat_server.bodies)
        assert asked > len(samples)

        again = build_corpus(config, tmp_path / "two")
        assert len(chat_server.bodies) == asked and shards(again) == shards(dataset)

    segments = corpus_plan(config, tmp_path / "one").segments
    folders = [RecordFolder(part.folder, part.entry, part.kind) for part in segments]
    tables = cost_tables(measure(staging_root(config, tmp_path / "one"), folders, config.store), Scale(1e6))
    (row,) = [row for row in tables[-1].rows if row[0] == "all"]
    assert tables[-1].title.startswith("Tokens of models on servers")
    assert row[1:4] == (compact(asked * 100), compact(asked * 10), compact(asked * (100 * 2 + 10 * 8) / 1e6))


@pytest.mark.slow
def test_a_server_that_is_down_ends_the_build_and_the_next_one_resumes(
    configure: Configure, chat_server: Any, tmp_path: Path
) -> None:
    chat_server.otherwise, chat_server.is_up = chat_server.refuse(503), False
    with pytest.raises(InfrastructureError, match="the server answers 503"):
        build_corpus(configure(), tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    chat_server.otherwise, chat_server.is_up = verdict, True
    assert steps(build_corpus(configure(), tmp_path / "out"))["scenes.judge"].failed == {}


@pytest.mark.slow
def test_a_judge_that_gives_no_scores_ends_the_build_with_the_reason(
    configure: Configure, chat_server: Any, tmp_path: Path
) -> None:
    chat_server.otherwise = chat_server.answer("I like it")
    with pytest.raises(UserError, match=r"scenes.judge: all .* records failed.*the judge gives no score: I like it"):
        build_corpus(configure(), tmp_path / "out")


def test_an_entry_without_a_judge_has_no_such_step(configure: Configure, chat_server: Any, tmp_path: Path) -> None:
    dataset = build_corpus(configure(judge=None), tmp_path / "out")
    assert list(steps(dataset)) == ["scenes.ask", "scenes.build", "tokens", "shards"]
    assert chat_server.bodies == [] and all(not sample.scores for sample in dataset.samples())


def test_a_step_that_may_be_missing_emits_what_it_reads() -> None:
    entry = DOMAINS["vqa.scenes"].entry
    ask, judge, build = DOMAINS["vqa.scenes"].steps
    other = ModelStep("judge", 1, lambda entry: None, int, when=lambda entry: True)  # type: ignore[arg-type,return-value]
    for wrong in ((ask, other, build), (judge, build)):
        with pytest.raises(ValueError, match="it must emit what it reads"):
            Domain(entry, wrong)
    assert isinstance(judge, ModelStep) and isinstance(ask, BeamStep) and issubclass(entry, GeneratedEntry)
