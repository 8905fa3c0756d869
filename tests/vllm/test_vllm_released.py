"""vLLM as it is serves the released layout, and everything of ours that speaks to a server speaks to it."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from openai import OpenAI
from vllm_server import CONTEXT, NAME

from step3vl.data.sample import Message, text
from step3vl.inference import PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.openai_backend import OpenAIBackend
from step3vl.inference.server.app import create_app

QUESTIONS = {
    "no picture": (("What do you see?",), []),
    "one without crops": ((0, "What do you see?"), [(500, 400)]),
    "one with six crops": (("Look: ", 0, "What is there?"), [(1280, 720)]),
    "one with rows of crops": ((0, "Read it."), [(720, 1280)]),
    "a strip, black below": ((0, "Read it."), [(1000, 400)]),
    "two": (("Compare ", 0, " with ", 1, "."), [(729, 729), (300, 100)]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_same_greedy_tokens(released, asked, name) -> None:
    parts, sizes = QUESTIONS[name]
    released.agree(asked(*parts), sizes)


def test_the_same_greedy_tokens_with_a_picture_in_each_of_two_turns(released, asked) -> None:
    answer = Message(role="assistant", content=(text("A picture."),))
    released.agree((*asked(0, "What is this?"), answer, *asked("And this? ", 1)), [(500, 400), (700, 400)])


def test_the_answers_depend_on_the_picture(released, asked, photograph) -> None:
    """Else the tests above would prove little."""
    answers = [released.theirs(asked(0, "What?"), [photograph(500, 400, seed)], 8)[1] for seed in range(3)]
    assert len({tuple(answer) for answer in answers}) == 3


def test_the_openai_client_chats_with_a_picture_and_streams(released, asked, as_openai, photograph) -> None:
    client = OpenAI(base_url=f"{released.url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == [NAME]
    messages = as_openai(asked(0, "What do you see?"), [photograph(1280, 720)])
    options = {"model": NAME, "messages": messages, "max_tokens": 8}
    whole = client.chat.completions.create(**options, temperature=0)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (685, 8)
    streamed = client.chat.completions.create(**options, temperature=0, stream=True)
    text = "".join(chunk.choices[0].delta.model_extra.get("reasoning") or "" for chunk in streamed if chunk.choices)
    assert whole.choices[0].message.reasoning == text != ""  # cut off before any </think>
    several = client.chat.completions.create(**options, temperature=1, seed=1, n=4)
    assert len({choice.message.reasoning for choice in several.choices}) == 4


def question(asked, photograph) -> Request:
    return Request(asked(0, "What do you see?"), [photograph(500, 400)])


def pacore() -> PaCoReConfig:
    return PaCoReConfig(rounds=(3, 2), sampling=Sampling(temperature=0, max_new_tokens=8))


def test_pacore_over_vllm_is_pacore_over_the_engine(released, asked, photograph) -> None:
    """Greedy, so that every round can be compared: the messages, the prompts made of them, and the answer."""
    request = question(asked, photograph)
    ours = PaCoRe(released.engine, pacore()).run(request)
    theirs = PaCoRe(OpenAIBackend(released.url, NAME, context=CONTEXT), pacore()).run(request)
    assert theirs.messages == ours.messages
    assert theirs.answer == ours.answer
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
    assert [len(done) for done in theirs.rounds] == [3, 2, 1]


@pytest.fixture
def gateway(released) -> Iterator[str]:
    """`step3vl serve --backend`, as an application in a thread."""
    app = create_app({NAME: OpenAIBackend(released.url, NAME, context=CONTEXT)})
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    with contextlib.closing(listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join(30)


def test_pacore_through_the_gateway(gateway, released, asked, as_openai, photograph) -> None:
    """A client that knows only OpenAI's API gets the engine's PaCoRe answer out of a vLLM."""
    request = question(asked, photograph)
    config = PaCoReConfig(rounds=(4,), sampling=Sampling(temperature=0, max_new_tokens=8))
    expected = PaCoRe(released.engine, config).run(request)
    client = OpenAI(base_url=gateway, api_key="none")
    reply = client.chat.completions.create(
        model=f"{NAME}-pacore-low",
        messages=as_openai(request.messages, request.images),
        temperature=0,
        max_tokens=8,
    )
    message = reply.choices[0].message
    # Random weights never end their thought, so all of it is progress: four hypotheses, and at last the answer.
    assert message.reasoning_content.count("Hypothesis") == 4
    assert message.reasoning_content.endswith(expected.answer)
