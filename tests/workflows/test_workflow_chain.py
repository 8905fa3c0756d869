"""The whole chain by the real command line: run once, and killed in each of its stages and run again.

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

pytestmark = pytest.mark.timeout(900)  # for the fixtures, on a busy machine

HOUSE = Path(__file__).parents[2]  # the configurations name icons and fonts from here
MICRO = Path(__file__).parent / "micro"
STAGES = ("corpus", "pretrain", "sft", "rl", "scores", "report")
TRAINED = STAGES[1:4]
KILLED = STAGES[:-1]  # the report is written in a moment, and is one file that is replaced
MARK = "STEP3VL_TEST_MARK"
# Ray's two agents see at once that their raylet is gone, and then try for a minute to tell a head node that is gone
# as well.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed: where it is, and what it said."""

    out: Path
    log: str


@dataclass(frozen=True)
class Killed:
    """A run that was killed in one stage, and what the run after it said."""

    log: str
    latest: str | None
    """The checkpoint to go on from, of a stage that trains."""
    log_after: str


@dataclass(frozen=True)
class Resumed:
    """What became of an output whose run was killed in each stage of `KILLED` before it was let end."""

    out: Path
    runs: dict[str, Killed]
    mark: str
    """What the marks of all its processes start with."""


def start(log: Path, mark: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", MARK: mark}
    with log.open("wb") as file:
        return subprocess.Popen(
            [Path(sys.executable).with_name("step3vl"), *arguments],
            cwd=HOUSE,
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
    """The command lines of all processes that still run and have a mark in their environment which starts so."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (place / "environ").read_bytes():  # empty once it has ended
                    found.append((place / "cmdline").read_text().replace("\0", " ").strip())
            except OSError:
                continue
    return found


def moment(stage: str, out: Path) -> Callable[[], bool]:
    """Whether the stage has come to where it is to be killed."""
    if stage == "corpus":
        return lambda: any(out.glob(".staging/samples-*/pictures-*"))
    if stage == "scores":
        return (out / "answers" / "sft.json").exists
    return (out / "checkpoints" / "latest").exists


def killed_in(stage: str, out: Path, log: Path, mark: str) -> str | None:
    """Run the workflow, kill the command when `stage` is under way, and see that nothing of it lives on.

    Returns the name of the checkpoint that it left, if the stage has any.
    """
    run = start(log, mark, "run", str(MICRO / "run.yaml"), f"output={out}")
    reached = moment(stage, out / stage)
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


def to_the_end(out: Path, log: Path, mark: str) -> str:
    """Run the workflow; returns what it said."""
    run = start(log, mark, "run", str(MICRO / "run.yaml"), f"output={out}")
    try:
        assert run.wait(600) == 0, log.read_text()
    finally:
        run.kill()
    return log.read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder / "out", to_the_end(folder / "out", folder / "log", uuid.uuid4().hex))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("resumed")
    out, mark = folder / "out", uuid.uuid4().hex
    latest = {stage: killed_in(stage, out, folder / stage, f"{mark}-{stage}") for stage in KILLED}
    to_the_end(out, folder / "end", mark)
    said = [(folder / name).read_text() for name in (*KILLED, "end")]
    runs = {stage: Killed(said[n], latest[stage], said[n + 1]) for n, stage in enumerate(KILLED)}
    return Resumed(out, runs, mark)


def content(folder: Path, pattern: str) -> dict[str, str]:
    """Name -> hash of the files below a folder."""
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metrics(stage: Path) -> list[dict[str, Any]]:
    """The rows of a stage, without the times."""
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def test_a_run_leaves_what_every_stage_promises(whole: Whole) -> None:
    promised = [
        *("corpus/dataset.json", "corpus/card.html", "corpus/tokenizer/tokenizer.json"),
        *(f"{stage}/{name}" for stage in TRAINED for name in ("metrics.jsonl", "checkpoints/latest")),
        *(f"{stage}/export/model.safetensors" for stage in TRAINED),
        *("rl/eval_start.json", "rl/eval_end.json", "scores/scores.json", "scores/answers/rl.pacore.json"),
        "report/report.html",
    ]
    assert [name for name in promised if not (whole.out / name).is_file()] == []
    for stage in STAGES:
        assert json.loads((whole.out / stage / "stage.json").read_text())["state"] == "done"
    assert "Traceback" not in whole.log


def test_a_second_run_skips_every_stage(whole: Whole, tmp_path: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in whole.out.glob("*/*")}
    said = to_the_end(whole.out, tmp_path / "log", uuid.uuid4().hex)
    assert [stage for stage in STAGES if f"] {stage}: unchanged, skipped" not in said] == []
    assert {path: path.stat().st_mtime_ns for path in whole.out.glob("*/*")} == files


@pytest.mark.parametrize("stage", KILLED)
def test_a_killed_stage_goes_on_where_it_stood(resumed: Resumed, stage: str) -> None:
    killed = resumed.runs[stage]
    assert f"] {stage}: starts, in " in killed.log
    assert f"] {stage}: resumes, in " in killed.log_after
    for earlier in STAGES[: STAGES.index(stage)]:
        assert f"] {earlier}: unchanged, skipped" in killed.log_after
    if stage in TRAINED:
        assert killed.latest is not None
        unit = "iteration" if stage == "rl" else "step"
        assert f"{stage} goes on from {unit} {int(killed.latest.removeprefix('step-'))}\n" in killed.log_after
    if stage == "scores":
        assert "sft: has answered before" in killed.log_after


def test_a_killed_run_ends_with_the_same_dataset(whole: Whole, resumed: Resumed) -> None:
    manifest, *rest = [content(run.out / "corpus", "dataset.json") for run in (whole, resumed)]
    assert manifest and rest == [manifest]
    shards, *rest = [content(run.out / "corpus", "shards/*") for run in (whole, resumed)]
    assert len(shards) == 12 and rest == [shards]


@pytest.mark.parametrize("stage", TRAINED)
def test_a_killed_run_ends_with_the_same_weights_and_metrics(whole: Whole, resumed: Resumed, stage: str) -> None:
    weights = content(whole.out / stage, "export/*")
    assert "export/model.safetensors" in weights
    assert content(resumed.out / stage, "export/*") == weights
    rows = metrics(whole.out / stage)
    assert metrics(resumed.out / stage) == rows
    steps = [row["step"] for row in rows if "heldout/reward_mean" not in row]
    assert steps == list(range(1, {"pretrain": 12, "sft": 8, "rl": 4}[stage] + 1))


def test_a_killed_run_ends_with_the_same_answers(whole: Whole, resumed: Resumed) -> None:
    answers = content(whole.out / "scores", "answers/*")
    assert len(answers) == 3
    assert content(resumed.out / "scores", "answers/*") == answers


def test_nothing_was_set_aside(resumed: Resumed) -> None:
    assert sorted(path.name for path in resumed.out.iterdir() if path.is_dir()) == sorted(STAGES)


def mistake(tmp_path: Path, *arguments: str) -> str:
    """The one line that bad input ends in, after whatever the work said before it came upon it."""
    run = start(tmp_path / "log", uuid.uuid4().hex, *arguments)
    assert run.wait(300) == 2, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error: ")] == said.splitlines()[-1:]
    return said.splitlines()[-1]


def test_a_corrupt_picture_is_named(whole: Whole, tmp_path: Path) -> None:
    picture = tmp_path / "page.jpg"
    picture.write_bytes((whole.out / "corpus" / "contact_sheet.png").read_bytes()[:2000])
    said = mistake(tmp_path, "chat", str(whole.out / "sft" / "export"), "--image", str(picture), "What is this?")
    assert re.search(rf"{picture}: .*; give a whole JPEG, PNG", said)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert re.search(r"no model folder at .*absent", mistake(tmp_path, "chat", str(tmp_path / "absent"), "Who?"))


def test_a_shard_cut_in_half_is_named(whole: Whole, tmp_path: Path) -> None:
    shutil.copytree(whole.out / "corpus", tmp_path / "corpus")
    for tar in (tmp_path / "corpus" / "shards").glob("*-train-*.tar"):
        os.truncate(tar, tar.stat().st_size // 2)
    said = mistake(tmp_path, "train", "pretrain", str(MICRO / "pretrain.yaml"), f"root={tmp_path}")
    assert re.search(r"could not be read, the last of them .*micro-train-0000\d-of-00002\.tar at byte \d+", said)
    assert "mend the dataset" in said
    verified = subprocess.run(
        [Path(sys.executable).with_name("step3vl"), "corpus", "verify", str(tmp_path / "corpus")],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 1
    assert re.search(r"micro-train-00000-of-00002\.tar", verified.stdout)


def test_a_model_of_another_shape_is_named(whole: Whole, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(whole.out / "pretrain" / "export", model)
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (model / "config.json").write_text(json.dumps(config))
    changes = (f"root={whole.out}", f"output={tmp_path}/sft", f"init={model}")
    said = mistake(tmp_path, "train", "sft", str(MICRO / "sft.yaml"), *changes)
    assert re.search(rf"{model}.* do not fit its config\.json: .* of another shape", said)


def test_no_process_outlives_the_runs(resumed: Resumed) -> None:
    wait_for(lambda: not processes(resumed.mark), 120, lambda: processes(resumed.mark))
