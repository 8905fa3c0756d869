"""The report shows what its files say, and its claims follow the figures."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.workflows.claims import beats_chance, loss_fell, pacore_helps, rl_raised
from step3vl.workflows.report import FinishedStage, read_metrics, render_report


def figures(mean: float, se: float, chance: float = 0.0) -> dict[str, float]:
    return {"mean": mean, "se": se, "z": (mean - chance) / se}


def scores(out: Path, samples: list[Sample], gain: float = 0.1, pacore: float = 0.01) -> dict:
    out.mkdir(parents=True)
    models = ("pretrain", "sft", "rl")
    level = {"pretrain": 0.31, "sft": 0.62, "rl": 0.62 + gain}
    tasks = [
        {
            "task": task,
            "prompts": 200,
            "chance": {"answer": "1", "mean": 0.25},
            "models": [
                {
                    "model": model,
                    "sampled": figures(level[model], 0.033, 0.25),
                    "greedy": figures(level[model] + 0.04, 0.03, 0.25),
                    "verdicts": {"correct": 100, "wrong": 100},
                }
                for model in models
            ],
        }
        for task in ("counting", "grounding.point", "ocr.word")
    ]
    differences = [
        {
            "task": task,
            "from": before,
            "to": after,
            "prompts": 200,
            "sampled": figures(level[after] - level[before], 0.02),
            "greedy": figures(0.05, 0.02),
        }
        for before, after in (("pretrain", "sft"), ("sft", "rl"))
        for task in ("counting", "grounding.point", "ocr.word", "all")
    ]
    rows = [
        {
            "task": task,
            "prompts": 50,
            "single": figures(0.7, 0.04),
            "pacore": figures(0.7 + pacore, 0.05),
            "difference": figures(pacore, 0.03),
        }
        for task in ("counting", "all")
    ]
    examples = []
    for sample in samples[:4]:
        (out / f"{sample.id}.png").write_bytes(sample.images[0].read())
        examples.append(
            {
                "task": sample.task,
                "id": sample.id,
                "question": "Where? <b>&",
                "images": [f"{sample.id}.png"],
                "expected": sample.answer(),
                "truth": sample.truth.model_dump(mode="json"),
                "answers": [
                    {
                        "model": "sft",
                        "text": '{"point_2d": [300, 640]}',
                        "reasoning": "It is left.",
                        "verdict": "wrong",
                    },
                    {"model": "rl", "text": sample.answer(), "reasoning": "", "verdict": "correct"},
                ],
            }
        )
    result = {
        "settings": {
            "repeats": 1,
            "greedy": True,
            "models": [{"name": name, "path": str(out.parent / name / "export")} for name in models],
        },
        "tasks": tasks,
        "differences": differences,
        "pacore": {"model": "rl", "rounds": [4], "rows": rows},
        "benchmarks": [
            {"benchmark": "GSM8K", "items": 1319, "runs": [{"run": "rl", "value": 12.34, "se": 0.5}]},
        ],
        "examples": examples,
    }
    (out / "evaluation.json").write_text(json.dumps(result))
    return result


def training(out: Path, rl: bool = False) -> None:
    out.mkdir(parents=True)
    noise = random.Random(0)
    rows = []
    for step in range(1, 201):
        loss = 6.0 / (1 + step / 30)
        row: dict[str, Any] = {"step": step, "loss": loss + noise.gauss(0, 0.1), "lr": 1e-3 * (1 - step / 220)}
        if step % 50 == 0:
            row["evaluation"] = {"loss": loss + 0.1, "tasks": {"counting": loss, "grounding.point": loss + 0.2}}
        if rl:
            row = {
                "step": step,
                "reward_mean": 0.4 + step / 900 + noise.gauss(0, 0.03),
                "reward_se": 0.03,
                "kl": step / 9000,
                "entropy": 1.2 - step / 400,
                "length": 14 + noise.random(),
                "value_loss": 1 / step,
            }
        rows.append(row)
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def complete_run(root: Path, corpus: Path, gain: float = 0.1, pacore: float = 0.01) -> list[FinishedStage]:
    samples = list(Dataset.open(corpus).samples(split="heldout"))
    for name in ("pretrain", "sft"):
        training(root / name)
    training(root / "rl", rl=True)
    scores(root / "scores", samples, gain, pacore)
    times = {"corpus": 140.0, "pretrain": 260.0, "sft": 121.0, "rl": 170.0, "scores": 75.0}
    folders = {name: corpus if name == "corpus" else root / name for name in times}
    kinds = {"scores": "evaluate"}
    return [FinishedStage(folders[name], name, kinds.get(name, name), seconds) for name, seconds in times.items()]


def test_a_complete_run_becomes_one_self_contained_page(tmp_path: Path, corpus: Path) -> None:
    page = render_report("A run", complete_run(tmp_path, corpus))
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("data:image/") == 3 + 4 + 1 + 2  # curves, examples, the contact sheet, those of two tasks
    assert "12 min 46 s" in page
    assert "1 too small" in page
    assert "12.34 ± 0.50" in page
    assert page.count("held-out loss by task") == 2
    assert "Where? &lt;b&gt;&amp;" in page
    assert page.count("✓ holds") == 4
    assert page.count("undecided") == 1


def test_claims_follow_the_figures(tmp_path: Path, corpus: Path) -> None:
    page = render_report("A run", complete_run(tmp_path, corpus, gain=0.01, pacore=-0.2))
    assert page.count("✓ holds") == 3
    assert page.count("✗ does not hold") == 2


def test_a_corpus_alone_has_a_report(corpus: Path) -> None:
    page = render_report("Only a corpus", [FinishedStage(corpus, "corpus", "corpus", 3.0)])
    assert "Scores" not in page
    assert "grounding.point" in page


def test_a_repeated_step_counts_once_and_a_truncated_line_never(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 9}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 3}, {"step": 2, "loss": 2}]


def test_rows_of_a_step_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 0, "heldout/reward_mean": 0.2}\n{"step": 1, "reward_mean": 0.3}\n'
        '{"step": 1, "heldout/reward_mean": 0.4}\n'
    )
    assert read_metrics(path)[1] == {"step": 1, "reward_mean": 0.3, "heldout/reward_mean": 0.4}


@pytest.mark.parametrize(
    ("losses", "holds"),
    [
        ([5 - step / 50 for step in range(100)], True),
        ([3 + step % 7 / 10 for step in range(100)], False),
        ([3 + step / 50 for step in range(100)], False),
        ([3.0, 2.0], None),
        ([3.0, 2.0, float("nan"), 1.0], False),
    ],
)
def test_a_loss_must_fall_beyond_its_scatter(losses: list[float], holds: bool | None) -> None:
    assert loss_fell("sft", losses).holds is holds


def test_three_tasks_must_beat_chance(tmp_path: Path) -> None:
    result = scores(tmp_path / "scores", [])
    assert beats_chance(result, "sft").holds
    assert not beats_chance(result, "pretrain").holds
    result["tasks"][0]["models"][1]["sampled"]["z"] = 4.9
    assert not beats_chance(result, "sft").holds


@pytest.mark.parametrize(("gain", "holds"), [(0.061, True), (0.059, False), (-0.1, False)])
def test_rl_must_gain_three_standard_errors(tmp_path: Path, gain: float, holds: bool) -> None:
    claim = rl_raised(scores(tmp_path / "scores", [], gain=gain), "rl")
    assert claim.holds is holds
    assert "at temperature 1" in claim.statement
    assert claim.evidence.endswith("; +0.050 ± 0.020 greedily")


@pytest.mark.parametrize(("gain", "holds"), [(0.061, True), (0.02, None), (-0.061, False)])
def test_pacore_is_judged_by_its_paired_difference(tmp_path: Path, gain: float, holds: bool | None) -> None:
    assert pacore_helps(scores(tmp_path / "scores", [], pacore=gain)["pacore"]).holds is holds
