"""Evaluation of a real model on real held-out samples."""

import json
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.workflows.evaluation import EvaluateConfig, evaluate


def settings(corpus: Path, model: Path, **changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate(
        {
            "dataset": str(corpus),
            "models": [{"name": "before", "path": str(model)}, {"name": "after", "path": str(model)}],
            "tasks": ["counting", "grounding.point"],
            "prompts": 4,
            "samples": 2,
            "max_new_tokens": 6,
            "batch": 3,
            "examples": 1,
            "pacore": {"prompts": 2, "rollouts": 2},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def scored(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scores")
    evaluate(settings(corpus, model), out)
    return out


def test_the_same_model_twice_gains_exactly_nothing(scored: Path) -> None:
    result = json.loads((scored / "scores.json").read_text())
    assert [row["task"] for row in result["differences"]] == ["counting", "grounding.point", "all"]
    for row in result["differences"]:
        assert row["sampled"]["mean"] == row["greedy"]["mean"] == 0.0
    first, second = result["tasks"][0]["models"]
    assert {**first, "model": ""} == {**second, "model": ""}


def test_chance_is_the_best_constant_answer(scored: Path) -> None:
    counting, _ = json.loads((scored / "scores.json").read_text())["tasks"]
    assert counting["chance"] == {"answer": "1", "mean": 1.0}  # every training answer is "1", and so is every truth
    assert counting["prompts"] == 4


def test_examples_keep_their_images_byte_for_byte(scored: Path, corpus: Path) -> None:
    from step3vl.data.dataset import Dataset

    examples = json.loads((scored / "scores.json").read_text())["examples"]
    assert {example["task"] for example in examples} == {"counting", "grounding.point"}
    heldout = {sample.id: sample for sample in Dataset.open(corpus).samples(split="heldout")}
    for example in examples:
        assert (scored / example["images"][0]).read_bytes() == heldout[example["id"]].images[0].read()
        assert [answer["model"] for answer in example["answers"]] == ["before", "after", "after + PaCoRe"]


def test_pacore_answers_are_those_of_one_prompt_at_a_time(scored: Path, corpus: Path, model: Path) -> None:
    from step3vl.data.dataset import Dataset
    from step3vl.inference import Engine, PaCoRe, PaCoReConfig, Request, Sampling
    from step3vl.model import load_model

    engine = Engine(*load_model(str(model)))
    answers = json.loads((scored / "answers" / "after.pacore.json").read_text())
    for task in ("counting", "grounding.point"):
        for number, sample in zip(range(2), Dataset.open(corpus).samples(split="heldout", task=task), strict=False):
            rounds = PaCoReConfig(rounds=(2,), sampling=Sampling(temperature=1.0, max_new_tokens=6), seed=2 * number)
            alone = PaCoRe(engine, rounds).run(Request.from_sample(sample))
            assert answers.pop(sample.id)["text"] == alone.rounds[-1][0].text
    assert not answers


def test_models_that_answered_before_an_interruption_are_kept(corpus: Path, model: Path, tmp_path: Path) -> None:
    config = settings(corpus, model, pacore=None, tasks=["counting"])
    evaluate(config, tmp_path)
    path = tmp_path / "answers" / "before.json"
    answers = json.loads(path.read_text())
    for replies in answers.values():
        replies["greedy"]["value"] = 1.0
    path.write_text(json.dumps(answers))
    evaluate(config, tmp_path)
    result = json.loads((tmp_path / "scores.json").read_text())
    assert result["tasks"][0]["models"][0]["greedy"]["mean"] == 1.0
    assert result["pacore"] is None


def test_an_unknown_task_is_reported_with_the_nearest(corpus: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no held-out conversations of task 'countin'; did you mean 'counting'"):
        evaluate(settings(corpus, model, tasks=["countin"]), tmp_path)
