"""Two real ranks with unequal batches, against one process that sees both: losses, gradients, networks of RL."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from step3vl.training.config import OptimizerConfig
from step3vl.training.engine import parameter_groups

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # for the fixture, on a busy machine


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """The results of one process in float32, with plain torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        ranks = importlib.import_module("uneven_ranks")
    model, optimizer = ranks.make_model(), OptimizerConfig()
    critic = ranks.make_critic(model)
    sums = [ranks.score_responses(model, critic, model, rank) for rank in (0, 1)]
    adam = torch.optim.AdamW(
        parameter_groups(model, optimizer),
        lr=ranks.RATE,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.eps,
    )
    losses, norms = [], []
    for number in range(len(ranks.STEPS)):
        outputs = [model(**ranks.make_batch(number, rank)) for rank in (0, 1)]
        weight = sum(output.loss_weight for output in outputs)
        loss = sum(output.loss * output.loss_weight for output in outputs) / weight
        adam.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer.grad_clip)))
        losses.append(loss.item())
        adam.step()
    with torch.no_grad():
        outputs = [model(**ranks.make_batch(0, rank)) for rank in (0, 1)]
    evaluation = sum(o.loss * o.loss_weight for o in outputs) / sum(o.loss_weight for o in outputs)
    responses = [sum(parts) for parts in zip(*sums, strict=True)]
    return {"losses": losses, "norms": norms, "evaluation": float(evaluation), "responses": responses}


CASES: dict[str, dict[str, Any]] = {
    "zero1": {"zero_stage": 1, "precision": "fp32"},
    "zero2": {"zero_stage": 2, "precision": "fp32"},
    "zero3": {"zero_stage": 3, "precision": "fp32"},
    "zero3-checkpointing": {"zero_stage": 3, "precision": "fp32", "gradient_checkpointing": True},
    "zero3-autocast": {"zero_stage": 3, "precision": "autocast"},
    "zero1-bf16": {"zero_stage": 1, "precision": "bf16"},
    "zero3-bf16": {"zero_stage": 3, "precision": "bf16"},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of each case, NAME.json, which one pair of ranks runs one after the other."""
    folder = tmp_path_factory.mktemp("uneven")
    (folder / "cases.json").write_text(json.dumps(CASES))
    code = f"from step3vl.training.launch import launch; launch('uneven_ranks', {str(folder / 'cases.json')!r}, 2)"
    path = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=800, env={**os.environ, "PYTHONPATH": path})
    return folder


@pytest.mark.parametrize("name", CASES)
def test_ranks_with_unequal_batches_have_the_results_of_one_process(
    expected: dict[str, Any], results: Path, name: str
) -> None:
    measured = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    tolerance = 1e-4 if CASES[name]["precision"] == "fp32" else 3e-2
    for field, values in expected.items():
        assert measured[field] == pytest.approx(values, rel=tolerance), field
