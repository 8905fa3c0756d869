"""A complete workflow by the real command line: run once, and killed in each of its stages and run again.

The runs are those of ``micro/``: a few hundred samples and a model that learns nothing, through the real Beam,
DeepSpeed, Ray and PaCoRe.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from step3vl.data.errors import UserError
from step3vl.workflows.cli import app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # for the fixtures, on a busy machine

REPOSITORY = Path(__file__).parents[2]  # relative paths of icons and fonts start here
MICRO = Path(__file__).parent / "micro"
STAGES = ("corpus", "pretrain", "sft", "rl", "scores", "report")
TRAINED = STAGES[1:4]
# SFT is killed as pretraining is; the report is written in a moment, and is one file that is replaced.
KILLED = tuple(stage for stage in STAGES if stage not in ("sft", "report"))
MARK = "STEP3VL_TEST_MARK"
# Ray's two agents see at once that their raylet is gone, and then try for a minute to tell a head node that is gone
# as well.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class CompleteRun:
    """A run without interruptions: its output and its log."""

    out: Path
    log: str


@dataclass(frozen=True)
class KilledRun:
    """A run that was killed in one stage, and the log of the next run."""

    log: str
    latest: str | None
    """The checkpoint to resume from, of a stage that trains."""
    log_after: str


@dataclass(frozen=True)
class ResumedRun:
    """An output whose run was killed in each stage of `KILLED`, and then completed."""

    out: Path
    runs: dict[str, KilledRun]
    mark: str
    """The prefix of the marks of all its processes."""


def start(log: Path, mark: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), MARK: mark}
    with log.open("wb") as file:
        return subprocess.Popen(
            [Path(sys.executable).with_name("step3vl"), *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.005)


def processes(mark: str) -> list[str]:
    """The command lines of all running processes whose mark in the environment has this prefix."""
    commands = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():  # empty once it has ended
                    commands.append((folder / "cmdline").read_text().replace("\0", " ").strip())
            except OSError:
                continue
    return commands


def has_reached(stage: str, out: Path) -> Callable[[], bool]:
    """A condition that holds once the stage is where it is to be killed."""
    if stage == "corpus":
        return lambda: any(out.glob(".staging/*/build-*/*.json"))
    if stage == "scores":
        return lambda: any(out.glob("runs/sft-sampled/*/metrics.json"))
    return (out / "checkpoints" / "latest").exists


def killed_in(stage: str, out: Path, log: Path, mark: str) -> str | None:
    """Run the workflow, kill the command in the middle of `stage`, and check that all its processes end.

    Returns the name of the latest checkpoint, if the stage has any.
    """
    run = start(log, mark, "run", str(MICRO / "run.yaml"), f"output={out}")
    reached = has_reached(stage, out / stage)
    try:
        wait_for(lambda: reached() or run.poll() is not None, 600, log.read_text)
        assert run.poll() is None, log.read_text()
    finally:
        run.kill()
        run.wait()
    assert json.loads((out / stage / "stage.json").read_text())["state"] == "running", "it was over too soon"
    wait_for(lambda: all(line in AGENTS for line in processes(mark)), 60, lambda: processes(mark))
    latest = out / stage / "checkpoints" / "latest"
    return latest.read_text() if latest.exists() else None


def complete(out: Path, log: Path, mark: str) -> str:
    """Run the workflow to its end; returns its log."""
    run = start(log, mark, "run", str(MICRO / "run.yaml"), f"output={out}")
    try:
        assert run.wait(600) == 0, log.read_text()
    finally:
        run.kill()
    return log.read_text()


@pytest.fixture(scope="module")
def complete_run(tmp_path_factory: pytest.TempPathFactory) -> CompleteRun:
    folder = tmp_path_factory.mktemp("complete")
    return CompleteRun(folder / "out", complete(folder / "out", folder / "log", uuid.uuid4().hex))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> ResumedRun:
    folder = tmp_path_factory.mktemp("resumed")
    out, mark = folder / "out", uuid.uuid4().hex
    latest = {stage: killed_in(stage, out, folder / stage, f"{mark}-{stage}") for stage in KILLED}
    complete(out, folder / "end", mark)
    logs = [(folder / name).read_text() for name in (*KILLED, "end")]
    runs = {stage: KilledRun(logs[n], latest[stage], logs[n + 1]) for n, stage in enumerate(KILLED)}
    return ResumedRun(out, runs, mark)


def content(folder: Path, pattern: str) -> dict[str, str]:
    """Name -> hash of the files below a folder."""
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def responses(stage: Path) -> dict[str, list[dict[str, Any]]]:
    """The scored responses of each run of an evaluation, without the times."""
    return {
        str(path.relative_to(stage)): [
            {**json.loads(line), "seconds": None} for line in path.read_text(encoding="utf-8").splitlines()
        ]
        for path in stage.glob("runs/*/*/items.jsonl")
    }


def metrics(stage: Path) -> list[dict[str, Any]]:
    """The rows of a stage, without the times."""
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def test_every_stage_leaves_its_files(complete_run: CompleteRun) -> None:
    expected = [
        *("corpus/dataset.json", "corpus/card.html", "corpus/tokenizer/tokenizer.json"),
        *(f"{stage}/{name}" for stage in TRAINED for name in ("metrics.jsonl", "checkpoints/latest")),
        *(f"{stage}/export/model.safetensors" for stage in TRAINED),
        *("rl/eval_start.json", "rl/eval_end.json", "scores/evaluation.json", "scores/comparison.html"),
        "report/report.html",
    ]
    assert [name for name in expected if not (complete_run.out / name).is_file()] == []
    for stage in STAGES:
        assert json.loads((complete_run.out / stage / "stage.json").read_text())["state"] == "done"
    assert "Traceback" not in complete_run.log


def invoke(*arguments: str) -> Result:
    """The command in this process: what it finds before any work, without the seconds of a start."""
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_a_second_run_skips_every_stage(complete_run: CompleteRun, caplog: pytest.LogCaptureFixture) -> None:
    files = {path: path.stat().st_mtime_ns for path in complete_run.out.glob("*/*")}
    assert invoke("run", str(MICRO / "run.yaml"), f"output={complete_run.out}").exit_code == 0
    assert [stage for stage in STAGES if not re.search(rf"\] {stage}: unchanged.*, skipped", caplog.text)] == []
    assert {path: path.stat().st_mtime_ns for path in complete_run.out.glob("*/*")} == files


@pytest.mark.parametrize("stage", KILLED)
def test_a_killed_stage_resumes_from_its_last_state(resumed: ResumedRun, stage: str) -> None:
    killed = resumed.runs[stage]
    assert f"] {stage}: starts, in " in killed.log
    assert f"] {stage}: resumes, in " in killed.log_after
    for earlier in STAGES[: STAGES.index(stage)]:
        assert re.search(rf"\] {earlier}: unchanged.*, skipped", killed.log_after)
    if stage in TRAINED:
        assert killed.latest is not None
        unit = "iteration" if stage == "rl" else "step"
        assert f"{stage} resumes from {unit} {int(killed.latest.removeprefix('step-'))}\n" in killed.log_after
    if stage == "scores":
        assert re.search(r"sft, corpus:\S+: evaluated before", killed.log_after)


def test_a_killed_run_ends_with_the_same_dataset(complete_run: CompleteRun, resumed: ResumedRun) -> None:
    manifest, *rest = [content(run.out / "corpus", "dataset.json") for run in (complete_run, resumed)]
    assert manifest and rest == [manifest]
    shards, *rest = [content(run.out / "corpus", "shards/*") for run in (complete_run, resumed)]
    assert len(shards) == 12 and rest == [shards]


@pytest.mark.parametrize("stage", TRAINED)
def test_a_killed_run_ends_with_the_same_weights_and_metrics(
    complete_run: CompleteRun, resumed: ResumedRun, stage: str
) -> None:
    weights = content(complete_run.out / stage, "export/*")
    assert "export/model.safetensors" in weights
    assert content(resumed.out / stage, "export/*") == weights
    rows = metrics(complete_run.out / stage)
    assert metrics(resumed.out / stage) == rows
    steps = [row["step"] for row in rows if "heldout/reward_mean" not in row]
    assert steps == list(range(1, {"pretrain": 12, "sft": 8, "rl": 4}[stage] + 1))


def test_a_killed_run_ends_with_the_same_answers(complete_run: CompleteRun, resumed: ResumedRun) -> None:
    runs = [responses(run.out / "scores") for run in (complete_run, resumed)]
    assert len(runs[0]) == 10, "two tasks, sampled and greedily by two models, and by PaCoRe"
    assert runs[0] == runs[1]


def test_nothing_was_set_aside(resumed: ResumedRun) -> None:
    assert sorted(path.name for path in resumed.out.iterdir() if path.is_dir()) == sorted(STAGES)


def test_a_corrupt_image_is_reported(complete_run: CompleteRun, tmp_path: Path) -> None:
    image = tmp_path / "page.jpg"
    image.write_bytes((complete_run.out / "corpus" / "contact_sheet.png").read_bytes()[:2000])
    error = invoke("chat", str(complete_run.out / "sft" / "export"), "--image", str(image), "What is this?").exception
    assert isinstance(error, UserError)
    assert re.search(rf"{image}: .*; give a complete JPEG, PNG", str(error))


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    error = invoke("chat", str(tmp_path / "absent"), "Who?").exception
    assert isinstance(error, UserError)
    assert re.search(r"no model folder at .*absent", str(error))


def mistake(tmp_path: Path, *arguments: str) -> str:
    """The one line that bad input ends in, after the log of the work before it."""
    run = start(tmp_path / "log", uuid.uuid4().hex, *arguments)
    assert run.wait(300) == 2, (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert [line for line in log.splitlines() if line.startswith("error: ")] == log.splitlines()[-1:]
    return log.splitlines()[-1]


def test_a_truncated_shard_is_reported(complete_run: CompleteRun, tmp_path: Path) -> None:
    shutil.copytree(complete_run.out / "corpus", tmp_path / "corpus")
    for tar in (tmp_path / "corpus" / "shards").glob("*-train-*.tar"):
        os.truncate(tar, tar.stat().st_size // 2)
    changes = (f"root={tmp_path}", "engine.processes=1")
    message = mistake(tmp_path, "train", "pretrain", str(MICRO / "pretrain.yaml"), *changes)
    assert re.search(r"could not be read, the last of them .*micro-train-0000\d-of-00002\.tar at byte \d+", message)
    assert "raise data.max_unreadable (0.001)" in message
    verified = invoke("corpus", "verify", str(tmp_path / "corpus"))
    assert verified.exit_code == 1
    assert "micro-train-00000-of-00002.tar" in verified.output


def test_a_model_of_another_shape_is_reported(complete_run: CompleteRun, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(complete_run.out / "pretrain" / "export", model)
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (model / "config.json").write_text(json.dumps(config))
    changes = (f"root={complete_run.out}", f"output={tmp_path}/sft", f"init={model}")
    message = mistake(tmp_path, "train", "sft", str(MICRO / "sft.yaml"), *changes)
    assert re.search(rf"{model}.* do not fit its config\.json: .* of another shape", message)


def test_no_process_outlives_the_runs(resumed: ResumedRun) -> None:
    wait_for(lambda: not processes(resumed.mark), 120, lambda: processes(resumed.mark))
