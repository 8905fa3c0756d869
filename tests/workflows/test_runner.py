"""Stages run once for their fingerprint, resume where they were killed, and never lose a finished result."""

import json
import shutil
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.config import Config
from step3vl.data.errors import UserError
from step3vl.workflows import plan as plan_module
from step3vl.workflows.plan import CHANGED, Action, NeedsForce, PlannedStage
from step3vl.workflows.records import read_record
from step3vl.workflows.runner import Outcome, plan_workflow, run_alone, run_workflow
from step3vl.workflows.stages import Context, Kind, Work


class AddConfig(Config):
    """A stage that adds up numbers, one file for each, as a training run leaves checkpoints."""

    numbers: tuple[int, ...] = ()
    reads: str | None = None
    fail_after: int | None = None


def add(config: AddConfig, context: Context) -> None:
    steps = context.out / "steps"
    steps.mkdir(exist_ok=True)
    start = int(Path(config.reads).read_text()) if config.reads else 0
    for index, number in enumerate(config.numbers):
        if not (steps / str(index)).exists():
            if (context.out.parent / f"stop-{context.out.name}").exists() and index == 1:
                raise KeyboardInterrupt
            (steps / str(index)).write_text(str(number))
    if config.fail_after is None:
        total = start + sum(int(path.read_text()) for path in steps.iterdir())
        (context.out / "sum.txt").write_text(str(total))


def kinds(version: int = 1, package: str = "json") -> dict[str, Kind]:
    return {
        "add": Kind(lambda: Work(AddConfig, add), version, "sum.txt", (package,)),
        "last": Kind(lambda: Work(AddConfig, add), 1, "sum.txt", (package,), reads_all=True),
    }


KINDS = kinds()
WORKFLOW = """
output: OUT
stages:
  - {name: first, run: add, with: {numbers: [1, 2]}}
  - {name: second, run: add, config: second.yaml}
  - {name: third, run: add, with: {numbers: [7]}}
  - {name: end, run: last}
"""


def write_workflow(folder: Path) -> Path:
    (folder / "second.yaml").write_text("numbers: [3]\nreads: ${root}/first/sum.txt\n")
    path = folder / "run.yaml"
    path.write_text(WORKFLOW.replace("OUT", str(folder / "out")))
    return path


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    return write_workflow(tmp_path)


def actions(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.name: outcome.action for outcome in outcomes}


def planned_actions(planned: list[PlannedStage] | tuple[PlannedStage, ...]) -> dict[str, str]:
    return {entry.stage.name: str(entry.decision.action) for entry in planned}


def total(workflow: Path, stage: str) -> int:
    return int((workflow.parent / "out" / stage / "sum.txt").read_text())


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def interrupt(workflow: Path, stage: str, **arguments: object) -> None:
    """Run the workflow, and stop in the middle of a stage."""
    stop = workflow.parent / "out" / f"stop-{stage}"
    stop.parent.mkdir(exist_ok=True)
    stop.touch()
    with pytest.raises(KeyboardInterrupt):
        run_workflow(workflow, **{"overrides": {}, "kinds": KINDS, **arguments})
    stop.unlink()


def test_a_second_run_skips_every_stage(workflow: Path) -> None:
    assert set(actions(run_workflow(workflow, {}, KINDS)).values()) == {"ran"}
    assert total(workflow, "second") == 6
    assert set(actions(run_workflow(workflow, {}, KINDS)).values()) == {"skipped"}


def test_a_changed_configuration_stops_before_anything_is_done(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    before = tree(workflow.parent / "out")
    with pytest.raises(NeedsForce, match=r"first is finished.*numbers\.1: 2 -> 9.*redoes first, second, end") as error:
        run_workflow(workflow, {"first.numbers": [1, 9]}, KINDS)
    assert planned_actions(error.value.plan) == {
        "first": "needs --force",
        "second": "needs --force",
        "third": "skip",
        "end": "needs --force",
    }
    assert tree(workflow.parent / "out") == before


def test_force_redoes_what_changed_and_keeps_every_earlier_result(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    out = workflow.parent / "out"
    results = {"first": [tree(out / "first")], "second": [tree(out / "second")], "end": [tree(out / "end")]}
    for number in (9, 11):
        changes = {"first.numbers": [1, number]}
        outcomes = actions(run_workflow(workflow, changes, KINDS, force=[CHANGED]))
        assert outcomes == {"first": "ran", "second": "ran", "third": "skipped", "end": "ran"}
        for name, trees in results.items():
            trees.append(tree(out / name))
    assert total(workflow, "second") == 15
    for name, trees in results.items():
        assert [tree(out / f"{name}.{number}") for number in (1, 2)] == trees[:-1]
    assert not (out / "third.1").exists()


def test_forcing_a_stage_also_redoes_what_reads_its_result(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    outcomes = run_workflow(workflow, {"first.numbers": [1, 9]}, KINDS, force=["first"])
    assert actions(outcomes) == {"first": "ran", "second": "ran", "third": "skipped", "end": "ran"}
    with pytest.raises(NeedsForce, match="third is finished"):
        run_workflow(workflow, {"first.numbers": [1, 8], "third.numbers": [8]}, KINDS, force=["first"])


def test_forcing_an_unchanged_stage_runs_it_again(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    assert actions(run_workflow(workflow, {}, KINDS, only=["third"], force=["third"])) == {"third": "ran"}
    assert (workflow.parent / "out" / "third.1" / "sum.txt").exists()


def test_an_equal_result_does_not_redo_what_reads_it(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    outcomes = actions(run_workflow(workflow, {"first.numbers": [2, 1]}, KINDS, force=["first"]))
    assert outcomes == {"first": "ran", "second": "skipped", "third": "skipped", "end": "skipped"}


@pytest.mark.parametrize("comment", ["", "# twice\n"])
def test_a_comment_in_a_module_leaves_nothing_to_do(
    workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, comment: str
) -> None:
    package = tmp_path / "copied_package"
    package.mkdir()
    shutil.copy(plan_module.__file__, package / "__init__.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    copied = kinds(package="copied_package")
    run_workflow(workflow, {}, copied)
    with (package / "__init__.py").open("a") as file:
        file.write(f"# a new comment\n{comment}")
    caplog.set_level("INFO")
    before = tree(workflow.parent / "out")
    assert set(actions(run_workflow(workflow, {}, copied)).values()) == {"skipped"}
    assert tree(workflow.parent / "out") == before
    assert "first: unchanged, made by other code (" in caplog.text


def test_a_new_version_of_a_kind_needs_force(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    with pytest.raises(NeedsForce, match="version of add: 1 -> 2"):
        run_workflow(workflow, {}, kinds(version=2))
    assert actions(run_workflow(workflow, {}, kinds(version=2), force=[CHANGED]))["third"] == "ran"


def test_a_field_that_was_added_counts_with_its_default(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)

    class Extended(AddConfig):
        added: int = 0

    extended = {**KINDS, "add": Kind(lambda: Work(Extended, add), 1, "sum.txt", ("json",))}
    assert set(actions(run_workflow(workflow, {}, extended)).values()) == {"skipped"}
    with pytest.raises(NeedsForce, match=r"third is finished.*added: 0 -> 1"):
        run_workflow(workflow, {"third.added": 1}, extended)


def test_a_killed_stage_resumes_from_what_it_had(workflow: Path) -> None:
    interrupt(workflow, "first")
    step = workflow.parent / "out" / "first" / "steps" / "0"
    before = step.stat().st_mtime_ns
    assert actions(run_workflow(workflow, {}, KINDS))["first"] == "resumed"
    assert step.stat().st_mtime_ns == before
    assert total(workflow, "first") == 3


def test_an_interrupted_stage_does_not_resume_under_another_configuration(workflow: Path) -> None:
    interrupt(workflow, "first")
    assert actions(run_workflow(workflow, {"first.numbers": [5, 5]}, KINDS))["first"] == "ran"
    assert total(workflow, "first") == 10
    assert (workflow.parent / "out" / "first.1" / "steps" / "0").read_text() == "1"


def test_a_redone_stage_that_is_killed_resumes_and_keeps_the_earlier_result(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    changes = {"first.numbers": [4, 5]}
    interrupt(workflow, "first", overrides=changes, force=[CHANGED])
    with pytest.raises(NeedsForce, match="second is finished"):
        run_workflow(workflow, changes, KINDS)
    outcomes = actions(run_workflow(workflow, changes, KINDS, force=[CHANGED]))
    assert outcomes == {"first": "resumed", "second": "ran", "third": "skipped", "end": "ran"}
    assert total(workflow, "second") == 12
    assert (workflow.parent / "out" / "first.1" / "sum.txt").read_text() == "3"
    assert not (workflow.parent / "out" / "first.2").exists()


def test_a_run_that_is_killed_after_the_rename_runs_the_stage(workflow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_workflow(workflow, {}, KINDS)
    changes = {"first.numbers": [4, 5]}
    with monkeypatch.context() as patch:
        patch.setattr("step3vl.workflows.runner.write_record", lambda out, record: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_workflow(workflow, changes, KINDS, force=[CHANGED])
    assert not list((workflow.parent / "out" / "first").iterdir())
    assert actions(run_workflow(workflow, changes, KINDS, force=[CHANGED]))["first"] == "ran"
    assert (workflow.parent / "out" / "first.1" / "sum.txt").read_text() == "3"


def test_files_without_a_record_are_set_aside(workflow: Path) -> None:
    foreign = workflow.parent / "out" / "first" / "steps" / "5"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("100")
    run_workflow(workflow, {}, KINDS)
    assert total(workflow, "first") == 3
    assert (workflow.parent / "out" / "first.1" / "steps" / "5").exists()


def test_a_result_without_a_record_needs_force(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    (workflow.parent / "out" / "third" / "stage.json").write_text('{"fingerprint": ')
    with pytest.raises(NeedsForce, match=r"third is finished.*files of which there is no record"):
        run_workflow(workflow, {}, KINDS)


@pytest.mark.parametrize(("changes", "action"), [([], "resumed"), (["seed: 0 -> 1"], None)])
def test_a_kind_may_say_whether_a_result_without_a_record_is_of_the_configuration(
    workflow: Path, changes: list[str], action: str | None
) -> None:
    run_workflow(workflow, {}, KINDS)
    (workflow.parent / "out" / "third" / "stage.json").unlink()
    work = Work(AddConfig, add, lambda config, out: changes)
    comparing = {**KINDS, "add": Kind(lambda: work, 1, "sum.txt", ("json",))}
    if action:
        assert actions(run_workflow(workflow, {}, comparing, only=["third"])) == {"third": action}
    else:
        with pytest.raises(NeedsForce, match=r"third is finished.*seed: 0 -> 1"):
            run_workflow(workflow, {}, comparing)


def test_a_missing_result_is_made_again(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    (workflow.parent / "out" / "third" / "sum.txt").unlink()
    assert actions(run_workflow(workflow, {}, KINDS, only=["third"])) == {"third": "resumed"}
    assert set(actions(run_workflow(workflow, {}, KINDS)).values()) == {"skipped"}


def test_a_changed_input_file_is_named(workflow: Path, tmp_path: Path) -> None:
    source = tmp_path / "start.txt"
    source.write_text("1")
    changes = {"third.reads": str(source)}
    run_workflow(workflow, changes, KINDS)
    source.write_text("2")
    with pytest.raises(NeedsForce, match=rf"the content of {source} has changed"):
        run_workflow(workflow, changes, KINDS)
    assert actions(run_workflow(workflow, changes, KINDS, force=[CHANGED]))["third"] == "ran"
    assert total(workflow, "third") == 9


def test_only_needs_what_the_stage_reads(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"stage 'second' reads .*first, and the stage that makes it is not done"):
        run_workflow(workflow, {}, KINDS, only=["second"])


def test_a_stage_without_its_result_is_a_mistake_and_not_done(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"stage 'first' ended without its result .*sum.txt"):
        run_workflow(workflow, {"first.fail_after": 1}, KINDS)
    record = read_record(workflow.parent / "out" / "first")
    assert record and record.state == "running"


def test_two_runs_do_not_share_a_directory(workflow: Path) -> None:
    def inner(config: AddConfig, context: Context) -> None:
        with pytest.raises(UserError, match="another run is at work here"):
            run_workflow(workflow, {}, KINDS)
        add(config, context)

    nested = {**KINDS, "add": Kind(lambda: Work(AddConfig, inner), 1, "sum.txt", ("json",))}
    run_workflow(workflow, {}, nested)


def test_an_output_that_is_a_file_is_named(workflow: Path) -> None:
    with pytest.raises(UserError, match=r"run\.yaml: is a file or lies below one; give a folder"):
        run_workflow(workflow, {"output": str(workflow)}, KINDS)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"frist.numbers": [1]},
            "starts with neither a field of the workflow nor the name of a stage; did you mean 'first'",
        ),
        ({"stages.0.run": "ad"}, "stages.0.run: no kind of stage is called 'ad'; did you mean 'add'"),
        ({"stages.0.run": "messages"}, "no kind of stage is called 'messages'; it is now 'synthesis_data'"),
        ({"stages.0.name": "second"}, "two stages are named 'second'"),
        ({"second.numbrs": 1}, "second.yaml: override numbrs=1: numbrs: unknown key; did you mean 'numbers'"),
        ({"first.numbers": ["x"]}, "run.yaml: override numbers=.*: numbers.0: "),
    ],
)
def test_mistakes_are_reported_before_anything_runs(workflow: Path, overrides: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_workflow(workflow, overrides, KINDS)
    assert not (workflow.parent / "out" / "first").exists()


def test_an_unknown_stage_name_is_reported(workflow: Path) -> None:
    with pytest.raises(UserError, match="no stage is called 'thrid'; did you mean 'third'"):
        run_workflow(workflow, {}, KINDS, force=["thrid"])


def test_a_stage_by_itself_counts_in_its_workflow(workflow: Path) -> None:
    out = workflow.parent / "out" / "first"
    config = AddConfig(numbers=(1, 2))
    assert run_alone("add", KINDS, config, out).action == "ran"
    assert run_alone("add", KINDS, config, out).action == "skipped"
    assert actions(run_workflow(workflow, {}, KINDS))["first"] == "skipped"
    with pytest.raises(NeedsForce, match=r"numbers\.1: 2 -> 3"):
        run_alone("add", KINDS, AddConfig(numbers=(1, 3)), out)
    assert run_alone("add", KINDS, AddConfig(numbers=(1, 3)), out, force=True).action == "ran"
    assert (out.parent / "first.1" / "sum.txt").read_text() == "3"


def test_a_stage_by_itself_reads_other_stages_as_in_its_workflow(workflow: Path) -> None:
    run_workflow(workflow, {}, KINDS)
    out = workflow.parent / "out"
    config = AddConfig(numbers=(3,), reads=str(out / "first" / "sum.txt"))
    assert run_alone("add", KINDS, config, out / "second").action == "skipped"


def test_under_a_launcher_nothing_is_renamed_and_rank_0_writes_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run_alone("add", KINDS, AddConfig(numbers=(1,)), tmp_path / "a").action == "ran"
    assert read_record(tmp_path / "a") is None
    monkeypatch.setenv("RANK", "0")
    assert run_alone("add", KINDS, AddConfig(numbers=(1,)), tmp_path / "b").action == "ran"
    with pytest.raises(UserError, match="move it away before launching"):
        run_alone("add", KINDS, AddConfig(numbers=(2,)), tmp_path / "b", force=True)
    assert not (tmp_path / "b.1").exists()


def test_a_plan_changes_nothing(workflow: Path) -> None:
    assert set(planned_actions(plan_workflow(workflow, {}, KINDS)).values()) == {"run"}
    assert not (workflow.parent / "out").exists()


# What a person may do between two runs: change fields, touch nothing, damage or remove parts of an output.
_STAGES = ("first", "second", "third", "end")
_changes = st.fixed_dictionaries(
    {},
    optional={
        "first.numbers": st.sampled_from([[1, 2], [2, 1], [1, 5]]),
        "second.numbers": st.sampled_from([[3], [4]]),
        "third.numbers": st.sampled_from([[7], [8]]),
    },
)
_damage = st.tuples(st.sampled_from(_STAGES), st.sampled_from(["nothing", "result", "record", "output", "state"]))
_runs = st.tuples(
    _changes,
    _damage,
    st.sampled_from([(), *combinations(_STAGES, 1), ("first", "second")]),
    st.sampled_from([(), (CHANGED,), ("first",), ("third",), ("second", "end")]),
    st.sampled_from([None, None, "first"]),
)


def _break(out: Path, stage: str, what: str) -> None:
    folder = out / stage
    if what == "result":
        (folder / "sum.txt").unlink(missing_ok=True)
    elif what == "record":
        (folder / "stage.json").unlink(missing_ok=True)
    elif what == "output":
        shutil.rmtree(folder, ignore_errors=True)
    elif what == "state" and (folder / "stage.json").exists():
        record = json.loads((folder / "stage.json").read_text())
        (folder / "stage.json").write_text(json.dumps({**record, "state": "running"}))


def _results(out: Path) -> Iterator[str]:
    """The content of every finished result, current or kept."""
    for path in out.glob("*/sum.txt"):
        yield path.parent.name.split(".")[0] + ":" + path.read_text()


@settings(max_examples=40)
@given(runs=st.lists(_runs, min_size=1, max_size=4))
def test_a_run_does_what_the_plan_shows_and_loses_no_result(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple]
) -> None:
    workflow = write_workflow(tmp_path_factory.mktemp("workflow"))
    out = workflow.parent / "out"
    for changes, damage, only, force, stop in runs:
        _break(out, *damage)
        results = sorted(_results(out))
        try:
            planned = plan_workflow(workflow, changes, KINDS, only, force)
        except UserError:
            with pytest.raises(UserError, match="is not done"):
                run_workflow(workflow, changes, KINDS, only, force)
            continue
        if any(entry.decision.action == Action.NEEDS_FORCE for entry in planned):
            before = tree(out)
            with pytest.raises(NeedsForce) as error:
                run_workflow(workflow, changes, KINDS, only, force)
            assert planned_actions(error.value.plan) == planned_actions(planned)
            assert tree(out) == before
            continue
        if stop:
            (out / f"stop-{stop}").parent.mkdir(exist_ok=True)
            (out / f"stop-{stop}").touch()
        try:
            outcomes = actions(run_workflow(workflow, changes, KINDS, only, force))
        except KeyboardInterrupt:
            outcomes = None
        finally:
            (out / f"stop-{stop}").unlink(missing_ok=True)
        if outcomes is not None:
            words = {Action.SKIP: "skipped", Action.RESUME: "resumed", Action.RUN: "ran"}
            for entry in planned:
                allowed = {words[a] for a in (entry.decision.action, entry.decision.alternative) if a}
                assert outcomes[entry.stage.name] in allowed, entry.decision
        remaining = sorted(_results(out))
        for result in set(results):
            assert remaining.count(result) >= results.count(result), (result, remaining)
