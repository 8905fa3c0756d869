"""The client side runs where torch, transformers, Ray, Beam and DeepSpeed cannot be imported."""

import json
import subprocess
import sys

import pytest
from openai_peer import Peer

BLOCKED = ("torch", "transformers", "ray", "apache_beam", "deepspeed")
PREAMBLE = f"""
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""
PACORE = """
from step3vl.data.sample import Message, text
from step3vl.inference import OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling

request = Request((Message(role="user", content=(text("How many?"),)),))
pacore = PaCoRe(OpenAIBackend(sys.argv[1]), PaCoReConfig(rounds=(3,), sampling=Sampling(max_new_tokens=16)))
result = pacore.run(request)
print(json.dumps({"answer": result.answer, "trace": result.trace.to_json()}))
"""
BATCH = """
import asyncio, pathlib
from step3vl.inference import OpenAIBackend
from step3vl.inference.batch import AnswerFile, BatchConfig, answer_all, read_questions

folder = pathlib.Path(sys.argv[2])
(folder / "q.jsonl").write_text('{"id": "a", "prompt": "How many?"}\\n')
with AnswerFile(folder / "a.jsonl", {}) as output:
    questions = read_questions(str(folder / "q.jsonl"))
    print(asyncio.run(answer_all(OpenAIBackend(sys.argv[1]), questions, output, BatchConfig())).answered)
"""
GATEWAY = """
from step3vl.inference import OpenAIBackend
from step3vl.inference.server.app import create_app

print(type(create_app({"peer": OpenAIBackend(sys.argv[1])})).__name__)
"""
ENGINE = """
from step3vl.data.errors import UserError
try:
    from step3vl.inference import Engine
except UserError as error:
    print(error)
"""


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", PREAMBLE + script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_pacore_over_a_server(peer: Peer, url: str) -> None:
    output = json.loads(run(PACORE, url))
    assert output["answer"] == "Two."
    assert [body["n"] for body in peer.bodies] == [3, 1]
    assert output["trace"]["rounds"][1]["conclusions"] == ["Two."] * 3


@pytest.mark.parametrize(("script", "expected"), [(BATCH, "1\n"), (GATEWAY, "FastAPI\n")])
def test_batches_and_the_gateway(peer: Peer, url: str, tmp_path, script: str, expected: str) -> None:
    assert run(script, url, str(tmp_path)) == expected


def test_the_engine_names_the_extra_that_it_needs() -> None:
    assert "step3vl[inference]" in run(ENGINE)
