"""vLLM without our plugin serves the released layout, and all our clients work with it."""

import pytest
from openai import OpenAI
from vllm_server import CONTEXT, NAME

from step3vl.data.sample import Message, text
from step3vl.inference import PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.client import OpenAIBackend

QUESTIONS = {
    "no image": (("What do you see?",), []),
    "one without crops": ((0, "What do you see?"), [(500, 400)]),
    "one with six crops": (("Look: ", 0, "What is there?"), [(1280, 720)]),
    "one with rows of crops": ((0, "Read it."), [(720, 1280)]),
    "a strip, black below": ((0, "Read it."), [(1000, 400)]),
    "two": (("Compare ", 0, " with ", 1, "."), [(729, 729), (300, 100)]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_greedy_tokens_are_equal(released, user_message, name) -> None:
    parts, sizes = QUESTIONS[name]
    released.agree(user_message(*parts), sizes)


def test_greedy_tokens_with_images_in_two_turns_are_equal(released, user_message) -> None:
    answer = Message(role="assistant", content=(text("An image."),))
    released.agree(
        (*user_message(0, "What is this?"), answer, *user_message("And this? ", 1)), [(500, 400), (700, 400)]
    )


def test_the_answers_depend_on_the_image(released, user_message, photograph) -> None:
    """Otherwise the tests above would prove little."""
    answers = [released.theirs(user_message(0, "What?"), [photograph(500, 400, seed)], 8)[1] for seed in range(3)]
    assert len({tuple(answer) for answer in answers}) == 3


def test_openai_client_with_an_image_and_streaming(released, user_message, as_openai, photograph) -> None:
    client = OpenAI(base_url=f"{released.url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == [NAME]
    messages = as_openai(user_message(0, "What do you see?"), [photograph(1280, 720)])
    options = {"model": NAME, "messages": messages, "max_tokens": 8}
    whole = client.chat.completions.create(**options, temperature=0)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (685, 8)
    streamed = client.chat.completions.create(**options, temperature=0, stream=True)
    text = "".join(chunk.choices[0].delta.model_extra.get("reasoning") or "" for chunk in streamed if chunk.choices)
    assert whole.choices[0].message.reasoning == text != ""  # cut off before any </think>
    several = client.chat.completions.create(**options, temperature=1, seed=1, n=4)
    assert len({choice.message.reasoning for choice in several.choices}) == 4


def question(user_message, photograph) -> Request:
    return Request(user_message(0, "What do you see?"), [photograph(500, 400)])


def pacore() -> PaCoReConfig:
    return PaCoReConfig(rounds=(3, 2), sampling=Sampling(temperature=0, max_new_tokens=8))


def test_pacore_over_vllm_equals_pacore_over_the_engine(released, user_message, photograph) -> None:
    """Greedy, so that every round can be compared: the conclusions, the prompts with them, and the answer."""
    request = question(user_message, photograph)
    ours = PaCoRe(released.engine, pacore()).run(request)
    theirs = PaCoRe(OpenAIBackend(released.url, NAME, context=CONTEXT), pacore()).run(request)
    assert theirs.conclusions == ours.conclusions
    assert theirs.answer == ours.answer
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
    assert [len(done) for done in theirs.rounds] == [3, 2, 1]


def test_pacore_through_the_gateway(gateway, released, user_message, as_openai, photograph) -> None:
    """A client that knows only OpenAI's API gets the engine's PaCoRe answer from vLLM."""
    request = question(user_message, photograph)
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
    # Random weights never end their reasoning, so all of it is progress: four hypotheses, and at last the answer.
    assert message.reasoning_content.count("Hypothesis") == 4
    assert message.reasoning_content.endswith(expected.answer)
