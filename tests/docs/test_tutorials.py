"""Every command of the tutorials runs, in the order of the pages, in an empty folder."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs/tutorials"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def follow(name: str, folder: Path) -> str:
    """Write the titled blocks of a page as files and run its bash blocks as one script. Returns what they print."""
    blocks = FENCE.findall((TUTORIALS / name).read_text(encoding="utf-8"))
    for _, title, body in blocks:
        if title:
            (folder / title).write_text(body, encoding="utf-8")
    commands = "".join(body for language, title, body in blocks if language == "bash")
    for port in sorted(set(re.findall(r"\b87\d\d\b", commands))):  # those of the page may be in use
        commands = commands.replace(port, str(free_port()))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    output = folder / f"{name}.log"
    with output.open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"set -eux\n{commands}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=600)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # the servers that the page started
    text = output.read_text()
    assert code == 0, text[-4000:]
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tutorials")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


@pytest.fixture(scope="module")
def corpus_tutorial(folder: Path) -> str:
    return follow("build-a-corpus.md", folder)


@pytest.fixture(scope="module")
def training_tutorial(corpus_tutorial: str, folder: Path) -> str:
    return follow("train-a-model.md", folder)


@pytest.fixture(scope="module")
def inference_tutorial(training_tutorial: str, folder: Path) -> str:
    return follow("ask-a-model.md", folder)


def test_the_data_engineers_tutorial_leaves_datasets(corpus_tutorial: str, folder: Path) -> None:
    assert all((folder / name / "dataset.json").is_file() for name in ("corpus", "more-sums", "chats"))
    assert list((folder / "card").glob("*.html"))


def test_the_trainers_tutorial_leaves_models(training_tutorial: str, folder: Path) -> None:
    assert all(list((folder / stage / "export").glob("*.safetensors")) for stage in ("pretrain", "sft", "rl"))
    assert (folder / "rl/eval_end.json").is_file()


def test_the_inference_users_tutorial_answers(inference_tutorial: str, folder: Path) -> None:
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 2
    assert '"tiny-pacore-low"' in inference_tutorial
    assert '"finish_reason"' in inference_tutorial
