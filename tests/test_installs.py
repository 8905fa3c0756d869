"""What the extras promise: the base and the client, installed into empty environments, work without the rest.

`make test-installs` runs this; it needs a package index, and half a minute.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from openai_peer import Peer

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
HEAVY = ("torch", "ray", "apache_beam", "deepspeed", "paddleocr")

pytestmark = [pytest.mark.installs, pytest.mark.timeout(600)]


class Environment:
    """A virtual environment that holds nothing but this distribution with some extras.

    Packages of `base` are used where they are, which saves installing them again.
    """

    def __init__(self, folder: Path, extras: str, base: "Environment | None" = None) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.bin = folder / "bin"
        self.packages = next(folder.glob("lib/python3*/site-packages"))
        if base:
            (self.packages / "base.pth").write_text(f"{base.packages}\n")
        install = [self.bin / "pip", "install", "--quiet", "--no-compile", "--constraint", LOCK, f"{ROOT}{extras}"]
        subprocess.run(install, check=True, cwd=folder)
        self.folder = folder

    def run(self, *command: str, code: int = 0) -> str:
        """What a command of this environment prints."""
        done = subprocess.run(
            [self.bin / command[0], *command[1:]], cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def installed(self, modules: tuple[str, ...]) -> list[str]:
        script = f"from importlib.util import find_spec; print(*(m for m in {modules!r} if find_spec(m)))"
        return self.run("python", "-c", script).split()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("base"), "")


@pytest.fixture(scope="module")
def client(base: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("client"), "[client]", base)


CHAT = {"messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Two."}]}


def test_the_base_converts_and_checks_a_dataset_and_grades(base: Environment) -> None:
    assert not base.installed((*HEAVY, "fastapi", "httpx"))
    (base.folder / "chats.jsonl").write_text(json.dumps(CHAT) + "\n")
    base.run("step3vl", "corpus", "convert", "chats.jsonl", "chats", "--from", "openai")
    base.run("step3vl", "corpus", "verify", "chats")
    assert "1" in base.run("step3vl", "corpus", "inspect", "chats")
    script = (
        "from step3vl.data.sample import NumberTruth; from step3vl.grading import grade_answer;"
        "print(grade_answer(NumberTruth(value=2), 'two of them: 2').verdict)"
    )
    assert base.run("python", "-c", script).strip() == "correct"


def test_the_wheel_carries_the_assets(base: Environment) -> None:
    script = (
        "from step3vl.pipelines.core.assets import packaged_assets;"
        "print(*(len(packaged_assets(f'assets:{name}/*')) for name in ('fonts', 'icons', 'photos', 'maps', 'text')))"
    )
    assert base.run("python", "-c", script).split() == ["9", "40", "10", "1", "2"]


def test_the_base_names_the_extra_that_a_command_needs(base: Environment) -> None:
    message = base.run("step3vl", "serve", "--backend", "http://127.0.0.1:9", code=2)
    assert "step3vl[client]" in message


PACORE = """
import sys
from step3vl.data.sample import Message, text
from step3vl.inference import OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling

request = Request((Message(role="user", content=(text("How many?"),)),))
pacore = PaCoRe(OpenAIBackend(sys.argv[1]), PaCoReConfig(rounds=(3,), sampling=Sampling(max_new_tokens=16)))
print(pacore.run(request).answer)
assert "transformers" not in sys.modules  # the package of the vocabulary depends on it
"""


def test_the_client_runs_pacore_over_a_server(
    client: Environment, listening: Callable[..., AbstractContextManager[str]]
) -> None:
    assert not client.installed(HEAVY)
    peer = Peer()
    with listening(peer.app) as url:
        assert client.run("python", "-c", PACORE, url).strip() == "Two."
    assert len(peer.bodies) == 2, "one request for three rollouts, one for the synthesis"


def test_the_client_runs_the_gateway(
    client: Environment, listening: Callable[..., AbstractContextManager[str]]
) -> None:
    with listening(Peer().app) as url:
        command = [client.bin / "step3vl", "serve", "--backend", url, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as gateway:
            assert gateway.stdout is not None
            try:
                address = next(
                    word for line in gateway.stdout for word in line.split() if word.startswith("http://127")
                )
                with urllib.request.urlopen(f"{address.rstrip('/;')}/v1/models", timeout=30) as reply:
                    models = [model["id"] for model in json.load(reply)["data"]]
            finally:
                gateway.terminate()
    assert any("-pacore-" in name for name in models)
