"""The official client against a real server over the small engine."""

import pytest
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
    UnprocessableEntityError,
)

from step3vl.data.sample import Message, text
from step3vl.inference.backend import BackendError
from step3vl.inference.jobs import Request
from step3vl.inference.sampling import Sampling
from step3vl.inference.server import ServerConfig


def test_a_greedy_chat_says_what_the_engine_says(served, engine, asked):
    request = Request((Message(role="user", content=(text("How many?"),)),))
    expected = engine.generate([request], 1, Sampling(temperature=0, max_new_tokens=12))[0][0]
    reply = served.openai().chat.completions.create(
        model="m", messages=asked("How many?"), temperature=0, max_tokens=12
    )
    choice = reply.choices[0]
    assert (choice.finish_reason, choice.message.role) == (expected.finish_reason, "assistant")
    assert expected.text in (choice.message.content, choice.message.reasoning_content)
    assert reply.usage.prompt_tokens == expected.prompt_tokens
    assert reply.usage.completion_tokens == len(expected.token_ids)
    assert reply.usage.total_tokens == expected.prompt_tokens + len(expected.token_ids)


def test_a_stream_adds_up_to_the_whole_reply(served, asked):
    client = served.openai()
    options = {"model": "m", "messages": asked("How many?"), "max_tokens": 20, "seed": 5, "n": 3}
    whole = client.chat.completions.create(**options)
    text = {0: "", 1: "", 2: ""}
    ends, usage = {}, None
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            assert getattr(choice.delta, "reasoning_content", "") == getattr(choice.delta, "reasoning", "")
            text[choice.index] += (getattr(choice.delta, "reasoning_content", "") or "") + (choice.delta.content or "")
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
        usage = chunk.usage or usage
    assert [text[i] for i in range(3)] == [c.message.reasoning_content + c.message.content for c in whole.choices]
    assert [ends[i] for i in range(3)] == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    assert len({*text.values()}) > 1


def test_pictures_change_the_prompt_and_the_answer(served, asked, png, data_url):
    client = served.openai()
    replies = [
        client.chat.completions.create(model="m", messages=asked("See?", *urls), temperature=0, max_tokens=8)
        for urls in ([], [data_url(png(seed=1))], [data_url(png(seed=1)), data_url(png(150, 90, seed=2))])
    ]
    tokens = [reply.usage.prompt_tokens for reply in replies]
    assert tokens[0] < tokens[1] < tokens[2]


def test_logprobs_are_one_a_token_with_alternatives_in_order(served, asked):
    reply = served.openai().chat.completions.create(
        model="m", messages=asked("How many?"), max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
    )
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    for token in content:
        values = [other.logprob for other in token.top_logprobs]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert token.logprob == pytest.approx(values[0], abs=1e-4)
        assert token.bytes == list(token.token.encode())


def test_streamed_logprobs_are_those_of_the_whole_reply(served, asked):
    client = served.openai()
    options = {"model": "m", "messages": asked("How many?"), "max_tokens": 9, "seed": 1, "logprobs": True}
    whole = client.chat.completions.create(**options).choices[0].logprobs.content
    streamed = []
    for chunk in client.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    assert [token.logprob for token in streamed] == [token.logprob for token in whole]


def test_seeds_repeat_and_differ(served, asked):
    def say(seed):
        message = served.openai().chat.completions.create(
            model="m", messages=asked("How many?"), max_tokens=16, seed=seed
        )
        return message.choices[0].message.reasoning_content + message.choices[0].message.content

    assert say(1) == say(1)
    assert say(1) != say(2)


def test_models_are_listed_with_their_levels(served):
    models = {model.id: model for model in served.openai().models.list().data}
    assert list(models) == ["m", "m-pacore-low", "m-pacore-medium", "m-pacore-high"]
    assert models["m-pacore-high"].pacore == {"rounds": [32, 4]}
    assert models["m"].max_model_len == served.service.find("m").backend.context
    assert served.openai().models.retrieve("m-pacore-low").root == "m"


def test_tokens_are_those_that_are_read(served, engine, asked):
    with served.http() as http:
        told = http.post("/tokenize", json={"model": "m", "messages": asked("How many?")}).json()
    assert told["tokens"] == engine.tokenize(Request((Message(role="user", content=(text("How many?"),)),)))
    assert (told["count"], told["max_model_len"]) == (len(told["tokens"]), engine.context)
    reply = served.openai().chat.completions.create(model="m", messages=asked("How many?"), max_tokens=1)
    assert told["count"] == reply.usage.prompt_tokens


def test_tools_are_shown_called_and_answered(Scripted, serving):
    said = '<tool_call>\n{"name": "zoom", "arguments": {"x": 3}}\n</tool_call>'
    backend = Scripted(lambda request, index: f"I look.\n</think>\nWait.\n<tool_calls>\n{said}\n</tool_calls>")
    tools = [{"type": "function", "function": {"name": "zoom", "parameters": {"type": "object"}}}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "What is there?"}]
    with serving(backend) as server:
        client = server.openai()
        whole = client.chat.completions.create(model="m", messages=messages, tools=tools)
        choice = whole.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Wait."
        assert choice.message.reasoning == choice.message.reasoning_content == "I look."
        call = choice.message.tool_calls[0]
        assert (call.function.name, call.function.arguments) == ("zoom", '{"x": 3}')
        assert backend.requests[-1][0].tools[0]["function"]["name"] == "zoom"
        assert backend.requests[-1][0].messages[0].role == "system"

        chunks = list(client.chat.completions.create(model="m", messages=messages, tools=tools, stream=True))
        deltas = [choice for chunk in chunks for choice in chunk.choices]
        assert "".join(delta.delta.content or "" for delta in deltas) == "Wait."
        assert [c.function.name for d in deltas for c in d.delta.tool_calls or ()] == ["zoom"]
        assert deltas[-1].finish_reason == "tool_calls"

        answered = [
            *messages,
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "a bird"},
        ]
        client.chat.completions.create(model="m", messages=answered, tools=tools, tool_choice="none")
        last, _, _ = backend.requests[-1]
        assert [turn.role for turn in last.messages] == ["system", "user", "assistant", "tool"]
        assert last.messages[2].tool_calls[0].arguments == {"x": 3}
        assert last.messages[2].reasoning_content == "I look."
        assert last.tools == ()


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"model": "other"}, NotFoundError, "model"),
        ({"temperature": -1}, BadRequestError, "temperature"),
        ({"messages": []}, BadRequestError, "messages"),
        ({"messages": [{"role": "system", "content": "Hello."}]}, BadRequestError, None),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, BadRequestError, "messages.0.content.0"),
        ({"n": 1000}, BadRequestError, "n"),
        ({"tool_choice": "required"}, BadRequestError, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, BadRequestError, "response_format"),
        ({"logit_bias": {"5": 1}}, BadRequestError, "logit_bias"),
        ({"top_logprobs": 2}, BadRequestError, None),
        ({"extra_body": {"pacore": {"round": [4]}}}, BadRequestError, "pacore.round"),
        ({"extra_body": {"pacore": {"rounds": [1000]}}}, BadRequestError, "pacore.rounds"),
    ],
)
def test_what_is_wrong_is_named(served, asked, change, error, param):
    with pytest.raises(error) as caught:
        served.openai().chat.completions.create(**{"model": "m", "messages": asked("How many?"), **change})
    assert caught.value.param == param
    assert caught.value.body["message"]


def test_a_prompt_that_cannot_fit_is_refused_and_a_reply_is_cut_to_what_fits(Scripted, serving, asked):
    backend = Scripted(lambda request, index: "</think>yes", context=100)
    with serving(backend) as server:
        with pytest.raises(BadRequestError) as caught:
            server.openai().chat.completions.create(model="m", messages=asked("x" * 100))
        assert caught.value.code == "context_length_exceeded"
        assert "reduce the length" in str(caught.value)
        server.openai().chat.completions.create(model="m", messages=asked("x" * 90), max_tokens=5000)
        assert backend.requests[-1][1].max_new_tokens == 10


def test_pictures_that_cannot_be_used_are_refused(served, asked, data_url, png):
    client = served.openai()

    def status(url):
        with pytest.raises(APIStatusError) as caught:
            client.chat.completions.create(model="m", messages=asked("See?", url))
        return caught.value.status_code

    assert status(data_url(b"no picture")) == 422
    assert status(data_url(png()[:200])) == 422
    assert status("data:image/png;base64,???") == 400
    assert status("https://example.com/a.png") == 400
    assert status("file:///etc/passwd") == 400
    with pytest.raises(UnprocessableEntityError):
        client.chat.completions.create(model="m", messages=asked("See?", data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n")))


def test_keys_open_the_door(Scripted, serving, asked):
    backend = Scripted(lambda request, index: "</think>yes")
    with serving(backend, ServerConfig(api_keys=("one", "two"))) as server:
        for key in ("one", "two"):
            reply = server.openai(key).chat.completions.create(model="m", messages=asked("Hi"))
            assert reply.choices[0].message.content == "yes"
        with pytest.raises(AuthenticationError) as caught:
            server.openai("three").models.list()
        assert caught.value.code == "invalid_api_key"
        with server.http() as http:
            assert http.get("/health").status_code == 200
            assert http.get("/").status_code == 200
            assert http.post("/tokenize", json={"prompt": "a"}).status_code == 401
            assert http.get("/v1/models", headers={"Authorization": "Basic one"}).status_code == 401


@pytest.mark.parametrize(
    ("given", "seen"), [(400, 400), (429, 429), (413, 413), (500, 503), (502, 503), (503, 503), (504, 504), (401, 503)]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_backend_that_fails_gives_its_status(Scripted, serving, asked, given, seen, stream):
    backend = Scripted(lambda request, index: BackendError("it is down", given))
    with serving(backend) as server:
        with pytest.raises(APIStatusError) as caught:
            server.openai().chat.completions.create(model="m", messages=asked("Hi"), stream=stream)
        assert caught.value.status_code == seen
        assert "it is down" in str(caught.value)
        assert isinstance(caught.value, RateLimitError) == (given == 429)
