"""Evaluation of a real model on real held-out samples, by the code of `step3vl eval`."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.evaluation.heldout import HeldOut
from step3vl.evaluation.results import read_results
from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.inference import Engine, EngineBackend
from step3vl.inference.client import Backend, OpenAIBackend, Sampling
from step3vl.inference.server import create_app
from step3vl.model import load_model
from step3vl.workflows.evaluation import EvaluateConfig, evaluate


def settings(corpus: Path, model: Path, **changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate(
        {
            "dataset": str(corpus),
            "models": [{"name": "before", "path": str(model)}, {"name": "after", "path": str(model)}],
            "tasks": ["counting", "grounding.point"],
            "limit": 4,
            "repeats": 2,
            "max_new_tokens": 6,
            "concurrency": 3,
            "examples": 1,
            "pacore": {"rounds": [2], "limit": 2},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def scored(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scores")
    evaluate(settings(corpus, model), out)
    return out


def summary(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_text())


def test_the_same_model_twice_gains_exactly_nothing(scored: Path) -> None:
    result = summary(scored)
    assert [row["task"] for row in result["differences"]] == ["counting", "grounding.point", "all"]
    for row in result["differences"]:
        assert row["sampled"]["mean"] == row["greedy"]["mean"] == row["sampled"]["z"] == 0.0
        assert row["sampled"]["se"] > 0
    assert result["differences"][-1]["prompts"] == 8
    first, second = result["tasks"][0]["models"]
    assert {**first, "model": ""} == {**second, "model": ""}


def test_chance_is_the_best_constant_answer(scored: Path) -> None:
    counting, _ = summary(scored)["tasks"]
    assert counting["chance"] == {"answer": "1", "mean": 1.0}  # every training answer is "1", and so is every truth
    assert counting["prompts"] == 4


def test_every_run_has_the_folder_of_an_evaluation(scored: Path) -> None:
    runs = {path.name: {result.benchmark: result for result in read_results(path)} for path in scored.glob("runs/*")}
    assert sorted(runs) == ["after-greedy", "after-pacore", "after-sampled", "before-greedy", "before-sampled"]
    assert [len(of_run) for of_run in runs.values()] == [2] * 5
    sampled = next(iter(runs["after-sampled"].values()))
    assert (sampled.metrics["responses"], sampled.run["settings"]["sampling"]["temperature"]) == (8, 1.0)
    assert [result.metrics["items"] for result in runs["after-pacore"].values()] == [2, 2]
    assert {result.name for of_run in runs.values() for result in of_run.values()} == {
        *("before", "before, greedy", "after", "after, greedy", "after + PaCoRe 2"),
    }
    page = (scored / "comparison.html").read_text()
    assert "Sequential reasoning against PaCoRe" in page and "demo: counting" in page


def test_examples_keep_their_images_byte_for_byte(scored: Path, corpus: Path) -> None:
    examples = summary(scored)["examples"]
    assert {example["task"] for example in examples} == {"counting", "grounding.point"}
    heldout = {sample.id: sample for sample in Dataset.open(corpus).samples(split="heldout")}
    for example in examples:
        assert (scored / example["images"][0]).read_bytes() == heldout[example["id"]].images[0].read()
        assert [answer["model"] for answer in example["answers"]][:2] == ["before", "after"]
        assert example["question"].startswith(("How many", "Point to"))


def test_runs_that_finished_before_an_interruption_are_kept(
    corpus: Path, model: Path, scored: Path, tmp_path: Path
) -> None:
    config = settings(corpus, model, pacore=None, tasks=["counting"], greedy=False)
    (kept,) = scored.glob("runs/before-sampled/*counting")
    shutil.copytree(kept, tmp_path / "runs" / "before-sampled" / kept.name)
    lines = tmp_path / "runs" / "before-sampled" / kept.name / "items.jsonl"
    lines.write_text(
        "".join(f"{json.dumps({**json.loads(line), 'value': 1.0})}\n" for line in lines.read_text().splitlines())
    )
    evaluate(config, tmp_path)
    result = summary(tmp_path)
    before, after = result["tasks"][0]["models"]
    assert before["sampled"]["mean"] == 1.0 > after["sampled"]["mean"]
    assert (result["pacore"], before["greedy"], result["differences"][0]["greedy"]) == (None, None, None)


def test_a_server_and_this_process_give_the_same_items(corpus: Path, model: Path, tmp_path: Path, listening) -> None:
    engine = EngineBackend(Engine(*load_model(str(model))))

    def run(backend: Backend, name: str) -> list[dict]:
        sampling = Sampling(temperature=1.0, max_new_tokens=8)
        config = EvalConfig(sampling=sampling, repeats=2, concurrency=3, reasoning=False)
        work = run_benchmark(HeldOut(f"corpus:{corpus}"), Path(), backend, tmp_path / name, config, {"name": "tiny"})
        return [{**line, "seconds": None} for line in asyncio.run(work).items()]

    here = run(engine, "here")
    with listening(create_app({"tiny": engine})) as url:
        there = run(OpenAIBackend(url), "there")
    assert len(here) == 16 and len({line["response"] for line in here}) > 8
    assert here == there


def test_an_unknown_task_is_reported_with_the_nearest(corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no held-out conversations of task 'countin'; did you mean 'counting'"):
        evaluate(settings(corpus, model, tasks=["countin"]), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": 4}, "'prompts' is now 'limit'"),
        ({"samples": 2, "batch": 4}, "'samples' is now 'repeats', 'batch' is now 'concurrency'"),
        ({"pacore": {"rollouts": 4}}, "'rollouts' is now 'rounds'"),
        ({"tasks": []}, "give dataset and tasks together"),
        ({"benchmarks": ["gsm8k"]}, "benchmarks need data"),
        ({"tasks": [], "dataset": None}, "nothing to evaluate on"),
    ],
)
def test_a_mistake_in_the_configuration_names_the_field(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(Path("corpus"), Path("model"), **changes)
