"""The client of the corpus pipelines and our own server: each understands the other, and failures are told apart."""

from pathlib import Path

import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Image
from step3vl.inference.client import BackendError
from step3vl.pipelines.models.endpoint import Endpoint, EndpointConfig, Prompt, RequestFailed
from step3vl.pipelines.models.judge import ANSWER_PROMPT, Judge, JudgeConfig


def config(root: str, cache: Path, **fields: object) -> EndpointConfig:
    return EndpointConfig.model_validate(
        {"url": f"{root}/v1", "model": "m", "cache": str(cache), "attempts": 2, "backoff": 0, **fields}
    )


@pytest.mark.slow
def test_a_small_model_is_asked_about_an_image(engine_server, png, tmp_path: Path) -> None:
    """Random weights write to the limit, which is a failure of the request."""
    endpoint = Endpoint(config(engine_server.root, tmp_path, max_tokens=6, options={"temperature": 0}))
    with pytest.raises(RequestFailed, match="cut at max_tokens"):
        endpoint.complete(Prompt("How many images do you see?", (Image.from_bytes(png()),), "Count."))
    endpoint.close()
    assert engine_server.idle()


def test_a_judge_reads_what_the_server_sends(run_server, ScriptedBackend, png, tmp_path: Path) -> None:
    def reply(request, index: int) -> str:
        asked = "".join(getattr(part, "text", "") for turn in request.messages for part in turn.content)
        verdict = "correct" if asked.endswith("two") else "incorrect"
        return f'I look.</think>{{"reason": "{len(request.images)} image", "verdict": "{verdict}"}}'

    image = Image.from_bytes(png())
    with run_server(ScriptedBackend(reply)) as running:
        judge = Judge(JudgeConfig(endpoint=config(running.root, tmp_path)), ANSWER_PROMPT, ("question", "answer"))
        items = [((image,), {"question": "How many?", "answer": answer}) for answer in ("two", "three")]
        right, wrong = judge(items)
    assert (right.score, right.reason, wrong.score) == (1.0, "1 image", 0.0)
    assert right.usage.prompt_tokens > 0 and right.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"model": "another"}, InfrastructureError), ({"options": {"temperature": -1}}, RequestFailed)],
)
def test_what_the_server_refuses(run_server, ScriptedBackend, tmp_path: Path, fields: dict, error: type) -> None:
    with run_server(ScriptedBackend(lambda request, index: "So.</think>fine")) as running, pytest.raises(error):
        Endpoint(config(running.root, tmp_path, **fields)).complete(Prompt("Hello"))


def test_a_backend_that_is_gone_is_the_machines_failure(run_server, ScriptedBackend, tmp_path: Path) -> None:
    backend = ScriptedBackend(lambda request, index: BackendError("the backend is gone", 502))
    with run_server(backend) as running, pytest.raises(InfrastructureError, match="at each of 2 attempts"):
        Endpoint(config(running.root, tmp_path)).complete(Prompt("Hello"))
