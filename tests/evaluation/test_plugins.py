"""What the models of other harnesses share; the harnesses themselves run in `tests/peers/test_eval_harnesses.py`."""

import re

import pytest

from step3vl.data.errors import UserError
from step3vl.data.sample import Message, text
from step3vl.evaluation.plugins.answering import HarnessModel, parse_rounds, parse_settings
from step3vl.inference.client import Request, Sampling
from step3vl.inference.server import create_app


@pytest.mark.parametrize(
    ("value", "rounds"), [("off", ()), ("16", (16,)), ("32+4", (32, 4)), ("high", (32, 4)), ("low", (4,))]
)
def test_rounds_have_no_commas(value: str, rounds: tuple[int, ...]) -> None:
    assert parse_rounds(value) == rounds


@pytest.mark.parametrize("value", ["32,4", "-1", "many", "4+0"])
def test_what_are_no_rounds_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"pacore: '{value}' is none of off, low, medium, high")):
        parse_rounds(value)


def test_settings_of_a_command_line_have_types() -> None:
    settings = parse_settings(["pacore=32+4", "reasoning=false", "temperature=0.5", "api_key=a=b"])
    assert settings == {"pacore": "32+4", "reasoning": False, "temperature": 0.5, "api_key": "a=b"}
    with pytest.raises(UserError, match="'pacore' is no setting; write name=value"):
        parse_settings(["pacore"])


@pytest.mark.parametrize("pacore", ["off", "2"])
def test_answers_of_a_server_are_without_reasoning(pacore: str, ScriptedBackend, listening) -> None:
    def reply(request: Request, sampling: Sampling) -> str:
        question = request.messages[-1].content[-1].text
        return "never ends" if "sea" in question else "<think>\nhm\n</think>\n4"

    backend = ScriptedBackend(reply)
    requests = [
        (Request((Message(role="user", content=(text(question),)),)), question) for question in ("2 + 2?", "the sea?")
    ]
    with listening(create_app({"scripted": backend})) as url:
        model = HarnessModel(url, pacore=pacore)
        answers = model.answer_all(requests)
        again = model.answer_all(requests)
        alone = model.answer(*requests[0])
    assert [answer.text for answer in answers] == ["4", ""], "reasoning that never ended is no answer"
    assert [answer.text for answer in again] == ["4", ""]
    assert alone.text == "4" and alone.usage is not None
    seeds = [sampling.seed for _, sampling in backend.requests]
    assert set(seeds[: len(seeds) // 2]) >= set(seeds[len(seeds) // 2 : -1]) and None not in seeds, "by their names"
