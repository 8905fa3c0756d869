"""The kinds of stages, and the workflows of the repository."""

from pathlib import Path
from typing import Any, get_args

import pytest

from step3vl.data.config import Config
from step3vl.data.dataset import code_version
from step3vl.workflows.kinds import KINDS
from step3vl.workflows.stages import load_workflow, resolve_stages

WORKFLOWS = Path(__file__).parents[2] / "workflows"


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_kind_imports_what_it_names(name: str) -> None:
    kind = KINDS[name]
    work = kind.load()
    assert issubclass(work.config_class, Config)
    assert kind.out_field is None or kind.out_field in work.config_class.model_fields
    assert code_version(*kind.packages)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, kind in KINDS.items() for field in kind.free_fields]
)
def test_free_fields_exist(name: str, field: str) -> None:
    model: Any = KINDS[name].load().config_class
    for part in field.split("."):
        annotation = model.model_fields[part].annotation
        # A section that may be left out is a union with None.
        model = next((each for each in get_args(annotation) if hasattr(each, "model_fields")), annotation)


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*/run.yaml")), ids=lambda path: path.parent.name)
def test_a_workflow_of_the_repository_is_valid(path: Path) -> None:
    stages = resolve_stages(load_workflow(path, {}, KINDS), path, KINDS)
    kinds = [stage.kind_name for stage in stages if stage.name != "domains"]  # a second corpus, to look at
    assert kinds[:4] == ["corpus", "pretrain", "sft", "rl"]
    assert kinds[-2:] == ["evaluate", "report"]


def test_the_full_recipe_trains_on_the_tokens_of_the_report() -> None:
    path = WORKFLOWS / "10b" / "run.yaml"
    by_name = {
        stage.name: stage.config.model_dump() for stage in resolve_stages(load_workflow(path, {}, KINDS), path, KINDS)
    }
    assert sum(phase["tokens"] for phase in by_name["pretrain"]["phases"]) == 1_200_000_000_000
    assert sum(phase["tokens"] for phase in by_name["sft"]["phases"]) == 226_000_000_000
    rlvr = by_name["rlvr"]
    assert (
        rlvr["iterations"] * rlvr["rollout"]["prompts_per_iteration"] * rlvr["rollout"]["rollouts_per_prompt"]
        == 4_915_200
    )
