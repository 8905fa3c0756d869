"""The command line: quick to import, readable, and one line for a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest


def step3vl(*arguments: str, debug: bool = False) -> subprocess.CompletedProcess[str]:
    code = "import sys; from step3vl.workflows.cli import main; sys.argv[0] = 'step3vl'; main()"
    environment = {
        "PATH": "/usr/bin:/bin",
        "COLUMNS": "100",
        "PYTHONPATH": ":".join(sys.path),
        "OMP_NUM_THREADS": "1",
        **({"STEP3VL_DEBUG": "1"} if debug else {}),
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


def mistake(*arguments: str) -> str:
    """The one line that a user's mistake ends in."""
    done = step3vl(*arguments)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_help_lists_the_commands_in_the_order_of_the_work() -> None:
    text = step3vl("--help").stdout
    positions = [text.index(f"│ {name} ") for name in ("corpus", "train", "export", "chat", "run")]
    assert positions == sorted(positions)
    assert "step3vl run workflows/tiny/run.yaml" in text


@pytest.mark.parametrize(
    "command",
    [
        ("corpus", "build"),
        ("corpus", "inspect"),
        ("train", "pretrain"),
        ("train", "sft"),
        ("train", "rl"),
        ("export",),
        ("chat",),
        ("run",),
    ],
)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    done = step3vl(*command, "--help")
    assert done.returncode == 0
    assert "Usage: step3vl" in done.stdout


def test_a_missing_workflow_is_one_line(tmp_path: Path) -> None:
    assert mistake("run", str(tmp_path / "run.yaml")) == f"error: {tmp_path / 'run.yaml'}: no such file"


def test_a_typo_in_a_workflow_is_one_line_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("output: x\nstages:\n- {name: report, run: report, confg: a.yaml}\n")
    assert mistake("run", str(path)) == f"error: {path}:3: stages.0.confg: unknown key; did you mean 'config'?"


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = step3vl("run", str(tmp_path / "run.yaml"), debug=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A workflow of a report alone, which has run."""
    path = tmp_path / "run.yaml"
    path.write_text(f"title: A\noutput: {tmp_path}/out\nstages:\n- {{name: report, run: report}}\n")
    assert step3vl("run", str(path)).returncode == 0
    return path


def test_dry_run_prints_the_plan_and_the_configurations_and_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"output: {tmp_path}/out\nstages:\n- name: scores\n  run: evaluate\n  with:\n"
        "    dataset: ${root}/corpus\n    tasks: [count]\n    models: [{name: sft, path: '${root}/sft/export'}]\n"
    )
    done = step3vl("run", str(path), "--dry-run", "scores.limit=7", "scores.models.0.name=mine")
    assert done.returncode == 0, done.stderr
    assert f"dataset: {tmp_path}/out/corpus" in done.stdout
    assert "limit: 7" in done.stdout
    assert "name: mine" in done.stdout
    assert "│ scores │ run    │ not done yet" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_finished_result_is_only_redone_with_force(finished: Path) -> None:
    page = finished.parent / "out" / "report" / "report.html"
    record = page.with_name("stage.json")
    record.write_text(record.read_text().replace('"report": 1', '"report": 7'))
    before = page.stat().st_mtime_ns
    done = step3vl("run", str(finished))
    assert done.returncode == 2
    assert "needs --force │ version of report: 7 -> 1" in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert "out/report is finished, and what it was made from has changed (version of report: 7 -> 1)" in line
    assert line.endswith("--force redoes report and keeps the earlier output as " + str(page.parent) + ".1")
    assert page.stat().st_mtime_ns == before

    for number, arguments in enumerate([("--force",), ("--force", "report"), ("--force", "title=B")], start=1):
        plan = step3vl("run", str(finished), *arguments, "--dry-run")
        assert plan.returncode == 0, plan.stderr
        done = step3vl("run", str(finished), *arguments)
        assert done.returncode == 0, done.stderr
        kept = page.parent.with_name(f"report.{number}")
        if "title=B" in arguments:
            assert "skipped" in done.stderr and not kept.exists(), "a title is not part of the configuration"
        else:
            assert (kept / "report.html").exists() and f"report is kept as report.{number}" in plan.stderr


def test_force_before_a_word_is_the_name_of_a_stage(finished: Path) -> None:
    done = step3vl("run", str(finished), "--force", "reprot")
    assert done.returncode == 2
    assert "no stage is called 'reprot'; did you mean 'report'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chat", "absent", "Hello", "--image", "absent.png"), "absent.png: no such image"),
        (("corpus", "inspect", "absent"), "no dataset at absent"),
        (("train", "sft", "absent.yaml"), "absent.yaml: no such file"),
    ],
)
def test_missing_files_are_one_line_from_every_command(arguments: tuple[str, ...], words: str) -> None:
    assert words in mistake(*arguments)
