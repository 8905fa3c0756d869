"""`step3vl serve` as a user runs it: a command, a port, a signal."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from step3vl.data.errors import UserError
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.config import read_keys
from step3vl.model.checkpoint import save_checkpoint
from step3vl.workflows.serve import run_serve

COMMAND = Path(sys.executable).with_name("step3vl")


@pytest.fixture(scope="module")
def exported(engine, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(engine.model, engine.processor, folder)
    return folder


class Running:
    """The running command, once it listens."""

    def __init__(self, *arguments: object, **environment: str):
        self.process = subprocess.Popen(
            [COMMAND, "serve", *map(str, arguments), "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for line in self.process.stderr:
            if match := re.search(r"at (http://\S+);", line):
                self.url = match[1]
                return
        raise AssertionError(f"ended with {self.process.wait()}")

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_signal_stops_the_server_after_the_running_answer(exported, user_message):
    with Running(exported, "max_tokens=3000", "--drain", 30, STEP3VL_API_KEYS="one,two") as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="two", max_retries=0)
        assert client.models.list().data[0].id == "tiny"
        stream = client.chat.completions.create(
            model="tiny", messages=user_message("How many?"), temperature=0, max_tokens=60, stream=True
        )
        next(iter(stream))
        server.process.send_signal(signal.SIGTERM)
        chunks = list(stream)
        assert chunks[-1].choices[0].finish_reason in ("stop", "length")
        assert server.process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")


def test_a_gateway_serves_a_backend_under_another_name(ScriptedBackend, run_server, user_message):
    inner = ScriptedBackend(lambda request, index: f"reasoning\n</think>\nanswer {index}", context=100_000)
    with (
        run_server(inner, ServerConfig(api_keys=("inner",))) as upstream,
        Running("--backend", upstream.root, "--name", "front", STEP3VL_BACKEND_KEY="inner") as server,
    ):
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        reply = client.chat.completions.create(
            model="front", messages=user_message("Hi"), max_tokens=8, extra_body={"pacore": {"rounds": [2]}}
        )
        assert [usage["rollouts"] for usage in reply.usage.pacore["rounds"]] == [2, 1]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0


OPTIONS = {"backend": None, "name": None, "host": "127.0.0.1", "port": 0, "keys": None, "device": "cpu", "drain": 1}


@pytest.mark.parametrize(
    ("model", "overrides", "options", "message"),
    [
        (None, {}, {}, "name a model folder"),
        ("nowhere", {}, {}, "nowhere"),
        ("MODEL", {"concurency": 2}, {}, "did you mean 'concurrency'"),
        ("MODEL", {"image_pixels": 0}, {}, "image_pixels"),
        ("MODEL", {}, {"keys": Path("nowhere")}, "cannot be read as a list of API keys"),
        ("MODEL", {}, {"host": "192.0.2.1"}, "cannot listen there"),
    ],
)
def test_configuration_errors_name_the_mistake(exported, model, overrides, options, message):
    with pytest.raises(UserError, match=message):
        run_serve(str(exported) if model == "MODEL" else model, overrides, **{**OPTIONS, **options})


def test_keys_are_read_from_a_file_and_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# ours\none\n\ntwo # of the second team\n")
    assert read_keys(file, {"STEP3VL_API_KEYS": "three, one"}) == ("three", "one", "two")
    assert read_keys(None, {}) == ()
    file.write_text("# none\n")
    with pytest.raises(UserError, match="no API key"):
        read_keys(file, {})
