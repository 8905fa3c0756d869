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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)  # the first test waits for both runs; a busy machine takes several times as long

HOUSE = Path(__file__).parents[2]  # the configurations name icons and fonts from here
MICRO = Path(__file__).parent / "micro"
STAGES = ("corpus", "pretrain", "sft", "rl", "scores", "report")
KILLED = STAGES[:-1]  # the report is written in a moment, and is one file that is replaced
MARK = "STEP3VL_TEST_MARK"
# Ray's two agents see at once that their raylet is gone, and then try for a minute to tell a head node that is gone
# as well.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Attempt:
    """One run that was killed: what it said, and the checkpoint that it left in the stage where it was killed."""

    log: str
    latest: str | None


@dataclass(frozen=True)
class Runs:
    """A run that nobody disturbed, and one that was killed in each stage of `KILLED` before it was let end."""

    whole: Path
    whole_log: str
    resumed: Path
    attempts: dict[str, Attempt]
    """Stage -> the run that was killed in it."""
    logs: dict[str, str]
    """Stage -> what the run after that said."""
    mark: str
    """What the marks of all processes of both runs start with."""


def start(log: Path, mark: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", MARK: mark}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "step3vl.workflows.cli", *arguments],
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


def killed_in(stage: str, out: Path, log: Path, mark: str) -> Attempt:
    """Run the workflow, kill the command when `stage` is under way, and see that nothing of it lives on."""
    run = start(log, mark, "run", str(MICRO / "run.yaml"), f"output={out}")
    reached = moment(stage, out / stage)
    wait_for(lambda: reached() or run.poll() is not None, 600, log.read_text)
    assert run.poll() is None, log.read_text()
    run.kill()
    run.wait()
    assert json.loads((out / stage / "stage.json").read_text())["state"] == "running", "it was over too soon"
    wait_for(lambda: all(line in AGENTS for line in processes(mark)), 60, lambda: processes(mark))
    latest = out / stage / "checkpoints" / "latest"
    return Attempt(log.read_text(), latest.read_text() if latest.exists() else None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Both runs side by side: most of their time is that of one process which starts."""
    folder = tmp_path_factory.mktemp("chain")
    whole, resumed, mark = folder / "whole", folder / "resumed", uuid.uuid4().hex
    first = start(folder / "whole.log", mark, "run", str(MICRO / "run.yaml"), f"output={whole}")
    last = None
    try:
        attempts = {stage: killed_in(stage, resumed, folder / f"{stage}.log", f"{mark}-{stage}") for stage in KILLED}
        last = start(folder / "last.log", mark, "run", str(MICRO / "run.yaml"), f"output={resumed}")
        assert last.wait(600) == 0, (folder / "last.log").read_text()
        assert first.wait(600) == 0, (folder / "whole.log").read_text()
    finally:
        for run in (first, last):
            if run is not None and run.poll() is None:
                run.kill()
    after = [*(attempts[stage].log for stage in KILLED[1:]), (folder / "last.log").read_text()]
    logs = dict(zip(KILLED, after, strict=True))
    yield Runs(whole, (folder / "whole.log").read_text(), resumed, attempts, logs, mark)


def content(folder: Path, pattern: str) -> dict[str, str]:
    """Name -> hash of the files below a folder."""
    files = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def metrics(stage: Path) -> list[dict[str, Any]]:
    """The rows of a stage, without the times."""
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def test_a_run_leaves_what_every_stage_promises(runs: Runs) -> None:
    promised = [
        *("corpus/dataset.json", "corpus/card.html", "corpus/tokenizer/tokenizer.json"),
        *(
            f"{stage}/{name}"
            for stage in ("pretrain", "sft", "rl")
            for name in ("metrics.jsonl", "checkpoints/latest")
        ),
        *(f"{stage}/export/model.safetensors" for stage in ("pretrain", "sft", "rl")),
        *("rl/eval_start.json", "rl/eval_end.json", "scores/scores.json", "scores/answers/rl.pacore.json"),
        "report/report.html",
    ]
    assert [name for name in promised if not (runs.whole / name).is_file()] == []
    for stage in STAGES:
        assert json.loads((runs.whole / stage / "stage.json").read_text())["state"] == "done"
    assert "Traceback" not in runs.whole_log


@pytest.mark.parametrize("stage", KILLED)
def test_a_killed_stage_goes_on_where_it_stood(runs: Runs, stage: str) -> None:
    attempt, log = runs.attempts[stage], runs.logs[stage]
    assert re.search(rf"\] {stage}: starts, in ", attempt.log)
    assert re.search(rf"\] {stage}: resumes, in ", log)
    for earlier in STAGES[: STAGES.index(stage)]:
        assert f"] {earlier}: unchanged, skipped" in log
    if attempt.latest:
        unit = "iteration" if stage == "rl" else "step"
        assert f"{stage} goes on from {unit} {int(attempt.latest.removeprefix('step-'))}\n" in log
    if stage == "scores":
        assert "sft: has answered before" in log


def test_a_killed_run_ends_with_the_same_dataset(runs: Runs) -> None:
    dataset = content(runs.whole / "corpus", "[!s]*") | content(runs.whole / "corpus", "shards/*")
    assert {"dataset.json", "shards/micro-train-00001-of-00002.tar"} <= dataset.keys()
    assert content(runs.resumed / "corpus", "[!s]*") | content(runs.resumed / "corpus", "shards/*") == dataset


@pytest.mark.parametrize("stage", ["pretrain", "sft", "rl"])
def test_a_killed_run_ends_with_the_same_weights_and_metrics(runs: Runs, stage: str) -> None:
    weights = content(runs.whole / stage, "export/*")
    assert "export/model.safetensors" in weights
    assert content(runs.resumed / stage, "export/*") == weights
    rows = metrics(runs.whole / stage)
    assert metrics(runs.resumed / stage) == rows
    steps = [row["step"] for row in rows if not any(name.startswith("heldout/") for name in row)]
    assert steps == list(range(1, {"pretrain": 12, "sft": 8, "rl": 4}[stage] + 1))


def test_a_killed_run_ends_with_the_same_answers(runs: Runs) -> None:
    answers = content(runs.whole / "scores", "answers/*")
    assert len(answers) == 3
    assert content(runs.resumed / "scores", "answers/*") == answers


def test_nothing_was_set_aside(runs: Runs) -> None:
    assert sorted(path.name for path in runs.resumed.iterdir() if path.is_dir()) == sorted(STAGES)


def test_a_second_run_skips_every_stage(runs: Runs, tmp_path: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in runs.whole.glob("*/*")}
    again = start(tmp_path / "log", runs.mark, "run", str(MICRO / "run.yaml"), f"output={runs.whole}")
    assert again.wait(120) == 0
    said = (tmp_path / "log").read_text()
    assert [stage for stage in STAGES if f"] {stage}: unchanged, skipped" not in said] == []
    assert {path: path.stat().st_mtime_ns for path in runs.whole.glob("*/*")} == files


def mistake(tmp_path: Path, *arguments: str) -> str:
    """The one line that bad input ends in, after whatever the work said before it came upon it."""
    run = start(tmp_path / "log", uuid.uuid4().hex, *arguments)
    assert run.wait(300) == 2, (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error: ")] == said.splitlines()[-1:]
    return said.splitlines()[-1]


def test_a_corrupt_picture_is_named(runs: Runs, tmp_path: Path) -> None:
    picture = tmp_path / "page.jpg"
    picture.write_bytes((runs.whole / "corpus" / "contact_sheet.png").read_bytes()[:2000])
    said = mistake(tmp_path, "chat", str(runs.whole / "sft" / "export"), "--image", str(picture), "What is this?")
    assert re.search(rf"{picture}: .*; give a whole JPEG, PNG", said)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert re.search(r"no model folder at .*absent", mistake(tmp_path, "chat", str(tmp_path / "absent"), "Who?"))


def test_a_shard_cut_in_half_is_named(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs.whole / "corpus", tmp_path / "corpus")
    for tar in (tmp_path / "corpus" / "shards").glob("*-train-*.tar"):
        os.truncate(tar, tar.stat().st_size // 2)
    said = mistake(tmp_path, "train", "pretrain", str(MICRO / "pretrain.yaml"), f"root={tmp_path}")
    assert re.search(
        r"micro-train-0000\d-of-00002\.tar at byte \d+: .*; verify it with `step3vl corpus inspect`", said
    )
    assert re.search(
        r"corpus is damaged: .*-train-00000-of-00002\.tar has changed .*; build it again",
        mistake(tmp_path, "corpus", "inspect", str(tmp_path / "corpus")),
    )


def test_a_model_of_another_shape_is_named(runs: Runs, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(runs.whole / "pretrain" / "export", model)
    config = json.loads((model / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (model / "config.json").write_text(json.dumps(config))
    changes = (f"root={runs.whole}", f"output={tmp_path}/sft", f"init={model}")
    said = mistake(tmp_path, "train", "sft", str(MICRO / "sft.yaml"), *changes)
    assert re.search(rf"{model}.* do not fit its config\.json: .* of another shape", said)


def test_no_process_outlives_the_runs(runs: Runs) -> None:
    wait_for(lambda: not processes(runs.mark), 120, lambda: processes(runs.mark))
