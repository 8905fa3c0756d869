"""The workflows that we ship are valid as they stand."""

from pathlib import Path

import pytest

from step3vl.workflows.kinds import KINDS
from step3vl.workflows.stages import load_workflow, plan

HOUSE = Path(__file__).parents[2] / "workflows"


@pytest.mark.parametrize("path", sorted(HOUSE.glob("*/run.yaml")), ids=lambda path: path.parent.name)
def test_a_shipped_workflow_plans(path: Path) -> None:
    planned = plan(load_workflow(path, {}, KINDS), path, KINDS)
    kinds = [one.stage.run for one in planned]
    assert kinds[:4] == ["corpus", "pretrain", "sft", "rl"]
    assert kinds[-2:] == ["evaluate", "report"]


def test_the_full_recipe_trains_on_the_tokens_of_the_report() -> None:
    path = HOUSE / "10b" / "run.yaml"
    by_name = {one.stage.name: one.config.model_dump() for one in plan(load_workflow(path, {}, KINDS), path, KINDS)}
    assert sum(phase["tokens"] for phase in by_name["pretrain"]["phases"]) == 1_200_000_000_000
    assert sum(phase["tokens"] for phase in by_name["sft"]["phases"]) == 226_000_000_000
    rlvr = by_name["rlvr"]
    assert rlvr["iterations"] * rlvr["prompts_per_iteration"] * rlvr["rollouts_per_prompt"] == 4_915_200
