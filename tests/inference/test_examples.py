"""The scripts in examples/ run unchanged, on a small model and against a real server."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from step3vl.inference import Engine, EngineBackend, OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.server.app import create_app
from step3vl.model import save_checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def model(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("model")
    save_checkpoint(engine.model, engine.processor, out)
    return str(out)


@pytest.fixture(scope="module")
def image(noise, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("image") / "page.png"
    noise(90, 60).save(path)
    return str(path)


@pytest.fixture(scope="module")
def url(engine: Engine, listening) -> Iterator[str]:
    """Our own server over the engine."""
    with listening(create_app({"step3-vl": EngineBackend(engine)})) as address:
        yield address


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., str]:
    def run(script: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_tested_and_listed() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == {"image_question.py", "streaming.py", "pacore.py", "batch.py", "openai_client.py"}
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"`{name} " in listed for name in scripts)


def test_a_question_about_an_image(run, model: str, image: str) -> None:
    output = run("image_question.py", model, image, "How many?")
    assert output.startswith("reasoning:")
    assert "answer:" in output


def test_streaming(run, model: str, image: str) -> None:
    assert run("streaming.py", model, image, "How many?").strip()


def test_pacore_over_a_model_and_over_a_server(run, model: str, image: str, url: str) -> None:
    assert run("pacore.py", model, image, "How many?").strip()
    assert run("pacore.py", url, image, "How many?").strip()


def test_batch(run, model: str, tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    questions.write_text('{"id": "a", "prompt": "How many?"}\n{"id": "b", "prompt": "Two?"}\n')
    assert run("batch.py", model, str(questions), str(answers)) == "2 answered, 0 failed, 0 answered before\n"
    assert {json.loads(line)["id"] for line in answers.read_text().splitlines()} == {"a", "b"}
    assert run("batch.py", model, str(questions), str(answers)) == "0 answered, 0 failed, 2 answered before\n"


def test_the_official_client(run, image: str, url: str) -> None:
    output = run("openai_client.py", f"{url}/v1", image, "How many?")
    assert "step3-vl: " in output
    assert "step3-vl-pacore-low: " in output


def test_the_first_lines_of_the_readme(model: str, image: str, capsys) -> None:
    """An answer about an image, a stream, PaCoRe."""
    code = (EXAMPLES.parent / "inference" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 11
    exec(compile(code.replace("exports/sft", model).replace("page.png", image), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_pacore_over_the_server_equals_pacore_over_the_engine(engine, requests: list[Request], url: str) -> None:
    """Seeds, images, history and sampling are all transmitted: the hypotheses are the same."""
    config = PaCoReConfig(rounds=(4, 2), sampling=Sampling(max_new_tokens=10, temperature=0.8, top_k=20), seed=3)
    backend = OpenAIBackend(url, "step3-vl")
    for request in requests:
        local, remote = PaCoRe(engine, config).run(request), PaCoRe(backend, config).run(request)
        for ours, theirs in zip(local.rounds, remote.rounds, strict=True):
            assert [reply.answer.strip() for reply in ours] == [reply.answer.strip() for reply in theirs]
        assert local.usage == remote.usage
        assert local.conclusions == remote.conclusions
    assert backend.context == engine.context
