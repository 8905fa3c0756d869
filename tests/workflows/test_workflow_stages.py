"""Stages run once for what they depend on, resume where they were killed, and never on what something else left."""

import json
from pathlib import Path

import pytest

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.workflows.stages import Context, Kind, Outcome, run_workflow


class AddConfig(Config):
    """A stage that adds up numbers, one file a number, as a training run leaves one checkpoint a step."""

    numbers: tuple[int, ...] = ()
    reads: str | None = None
    fail_after: int | None = None


def add(config: AddConfig, context: Context) -> None:
    steps = context.out / "steps"
    steps.mkdir(exist_ok=True)
    start = int(Path(config.reads).read_text()) if config.reads else 0
    for index, number in enumerate(config.numbers):
        if not (steps / str(index)).exists():
            if (context.out.parent / "stop").exists() and index == 1:
                raise KeyboardInterrupt
            (steps / str(index)).write_text(str(number))
    if config.fail_after is None:
        total = start + sum(int(path.read_text()) for path in steps.iterdir())
        (context.out / "sum.txt").write_text(str(total))


KINDS = {
    "add": Kind(lambda: (AddConfig, add), "sum.txt", ("step3vl.data",)),
    "last": Kind(lambda: (AddConfig, add), "sum.txt", ("step3vl.data",), reads_all=True),
}

WORKFLOW = """
output: OUT
stages:
  - {name: one, run: add, with: {numbers: [1, 2]}}
  - {name: two, run: add, config: two.yaml}
  - {name: three, run: add, with: {numbers: [7]}}
  - {name: end, run: last}
"""


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text("numbers: [3]\nreads: ${root}/one/sum.txt\n")
    path = tmp_path / "run.yaml"
    path.write_text(WORKFLOW.replace("OUT", str(tmp_path / "out")))
    return path


def actions(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.action for outcome in outcomes}


def total(workflow: Path, stage: str) -> int:
    return int((workflow.parent / "out" / stage / "sum.txt").read_text())


def test_a_second_run_skips_everything(workflow: Path) -> None:
    assert set(actions(run_workflow(workflow, {}, KINDS)).values()) == {"ran"}
    assert total(workflow, "two") == 6
    assert set(actions(run_workflow(workflow, {}, KINDS)).values()) == {"skipped"}


def test_a_changed_configuration_runs_its_stage_and_those_that_read_its_result(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    again = actions(run_workflow(workflow, {"one.numbers": [1, 9]}, KINDS))
    assert again == {"one": "ran", "two": "ran", "three": "skipped", "end": "ran"}
    assert total(workflow, "two") == 13


def test_an_equal_result_does_not_run_what_reads_it(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    again = actions(run_workflow(workflow, {"one.numbers": [2, 1]}, KINDS))
    assert again == {"one": "ran", "two": "skipped", "three": "skipped", "end": "skipped"}


def test_a_killed_stage_resumes_from_what_it_had(workflow: Path) -> None:
    stop = workflow.parent / "out" / "stop"
    stop.parent.mkdir()
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        run_workflow(workflow, {}, KINDS)
    kept = workflow.parent / "out" / "one" / "steps" / "0"
    before = kept.stat().st_mtime_ns
    stop.unlink()
    assert actions(run_workflow(workflow, {}, KINDS))["one"] == "resumed"
    assert kept.stat().st_mtime_ns == before
    assert total(workflow, "one") == 3


def test_a_killed_stage_does_not_resume_under_another_configuration(workflow: Path) -> None:
    stop = workflow.parent / "out" / "stop"
    stop.parent.mkdir()
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        run_workflow(workflow, {}, KINDS)
    stop.unlink()
    assert actions(run_workflow(workflow, {"one.numbers": [5, 5]}, KINDS))["one"] == "ran"
    assert total(workflow, "one") == 10
    assert (workflow.parent / "out" / "one.old" / "steps" / "0").read_text() == "1"


def test_a_folder_that_no_stage_left_is_set_aside(workflow: Path) -> None:
    foreign = workflow.parent / "out" / "one" / "steps" / "5"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("100")
    run_workflow(workflow, {}, KINDS)
    assert total(workflow, "one") == 3
    assert (workflow.parent / "out" / "one.old" / "steps" / "5").exists()


def test_a_result_that_is_gone_is_made_again(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    (workflow.parent / "out" / "three" / "sum.txt").unlink()
    assert actions(run_workflow(workflow, {}, KINDS))["three"] == "resumed"


def test_a_changed_input_file_runs_its_stage(workflow: Path, tmp_path: Path) -> None:
    source = tmp_path / "start.txt"
    source.write_text("1")
    run_workflow(workflow, {"three.reads": str(source)}, KINDS)
    source.write_text("2")
    assert actions(run_workflow(workflow, {"three.reads": str(source)}, KINDS))["three"] == "ran"
    assert total(workflow, "three") == 9


def test_force_runs_from_nothing_and_only_considers_one(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    assert actions(run_workflow(workflow, {}, KINDS, only=["three"], force=["three"])) == {"three": "ran"}


def test_only_needs_what_the_stage_reads(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"stage 'two' reads .*one, and the stage that makes it is not done"):
        run_workflow(workflow, {}, KINDS, only=["two"])


def test_a_stage_without_its_result_is_a_mistake_and_not_done(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"stage 'one' ended without its result .*sum.txt"):
        run_workflow(workflow, {"one.fail_after": 1}, KINDS)
    assert json.loads((workflow.parent / "out" / "one" / "stage.json").read_text())["state"] == "running"


def test_a_damaged_state_counts_as_none(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    (workflow.parent / "out" / "three" / "stage.json").write_text('{"fingerprint": ')
    assert actions(run_workflow(workflow, {}, KINDS))["three"] == "ran"


def test_two_runs_do_not_share_a_directory(workflow: Path) -> None:
    def inner(config: AddConfig, context: Context) -> None:
        with pytest.raises(UserError, match="another run is at work here"):
            run_workflow(workflow, {}, KINDS)
        add(config, context)

    nested = {**KINDS, "add": Kind(lambda: (AddConfig, inner), "sum.txt", ("step3vl.data",))}
    run_workflow(workflow, {}, nested)


def test_an_output_that_is_a_file_is_named(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"run\.yaml: is a file or lies below one; give a folder"):
        run_workflow(workflow, {"output": str(workflow)}, KINDS)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"onne.numbers": [1]},
            "starts with neither a field of the workflow nor the name of a stage; did you mean 'one'",
        ),
        ({"stages.0.run": "ad"}, "stages.0.run: no kind of stage is called 'ad'; did you mean 'add'"),
        ({"stages.0.name": "two"}, "two stages are named 'two'"),
        ({"two.numbrs": 1}, "two.yaml: override numbrs=1: numbrs: unknown key; did you mean 'numbers'"),
        ({"one.numbers": ["x"]}, "run.yaml: override numbers=.*: numbers.0: "),
    ],
)
def test_mistakes_are_found_before_anything_runs(workflow: Path, overrides: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_workflow(workflow, overrides, KINDS)
    assert not (workflow.parent / "out" / "one").exists()


def test_an_unknown_stage_name_is_named(workflow: Path) -> None:
    with pytest.raises(UserError, match="no stage is called 'thre'; did you mean 'three'"):
        run_workflow(workflow, {}, KINDS, force=["thre"])
