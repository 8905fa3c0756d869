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
from step3vl.inference.client import BackendError, Request, Sampling
from step3vl.inference.server import ServerConfig


def test_greedy_chat_equals_the_engine(engine_server, engine, user_message):
    request = Request((Message(role="user", content=(text("How many?"),)),))
    expected = engine.generate([request], 1, Sampling(temperature=0, max_new_tokens=12))[0][0]
    reply = engine_server.openai().chat.completions.create(
        model="m", messages=user_message("How many?"), temperature=0, max_tokens=12
    )
    choice = reply.choices[0]
    assert (choice.finish_reason, choice.message.role) == (expected.finish_reason, "assistant")
    assert expected.text in (choice.message.content, choice.message.reasoning_content)
    assert reply.usage.prompt_tokens == expected.prompt_tokens
    assert reply.usage.completion_tokens == len(expected.token_ids)
    assert reply.usage.total_tokens == expected.prompt_tokens + len(expected.token_ids)


def test_streamed_and_complete_responses_are_equal(engine_server, user_message):
    client = engine_server.openai()
    options = {"model": "m", "messages": user_message("How many?"), "max_tokens": 20, "seed": 5, "n": 3}
    whole = client.chat.completions.create(**options)
    reasoning, content = {0: "", 1: "", 2: ""}, {0: "", 1: "", 2: ""}
    ends, usage = {}, None
    for chunk in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            assert getattr(choice.delta, "reasoning_content", "") == getattr(choice.delta, "reasoning", "")
            reasoning[choice.index] += getattr(choice.delta, "reasoning_content", "") or ""
            content[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
        usage = chunk.usage or usage
    for index, choice in enumerate(whole.choices):
        assert content[index] == choice.message.content
        assert reasoning[index] == choice.message.reasoning_content
        assert ends[index] == choice.finish_reason
    assert usage == whole.usage
    assert len({*reasoning.values()}) > 1


def test_each_image_adds_prompt_tokens(engine_server, user_message, png, data_url):
    client = engine_server.openai()
    replies = [
        client.chat.completions.create(model="m", messages=user_message("See?", *urls), temperature=0, max_tokens=8)
        for urls in ([], [data_url(png(seed=1))], [data_url(png(seed=1)), data_url(png(150, 90, seed=2))])
    ]
    tokens = [reply.usage.prompt_tokens for reply in replies]
    assert tokens[0] < tokens[1] < tokens[2]


def test_every_token_has_a_logprob_and_sorted_alternatives(engine_server, user_message):
    reply = engine_server.openai().chat.completions.create(
        model="m", messages=user_message("How many?"), max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
    )
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    for token in content:
        values = [other.logprob for other in token.top_logprobs]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert token.logprob == pytest.approx(values[0], abs=1e-4)
        assert token.bytes == list(token.token.encode())


def test_streamed_logprobs_equal_those_of_the_complete_response(engine_server, user_message):
    client = engine_server.openai()
    options = {"model": "m", "messages": user_message("How many?"), "max_tokens": 9, "seed": 1, "logprobs": True}
    whole = client.chat.completions.create(**options).choices[0].logprobs.content
    streamed = []
    for chunk in client.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            streamed += choice.logprobs.content if choice.logprobs else []
    assert [token.logprob for token in streamed] == [token.logprob for token in whole]


def test_a_seed_is_reproducible(engine_server, user_message):
    def say(seed):
        message = engine_server.openai().chat.completions.create(
            model="m", messages=user_message("How many?"), max_tokens=16, seed=seed
        )
        return message.choices[0].message.reasoning_content + message.choices[0].message.content

    assert say(1) == say(1)
    assert say(1) != say(2)


def test_models_are_listed_with_their_pacore_levels(engine_server):
    models = {model.id: model for model in engine_server.openai().models.list().data}
    assert list(models) == ["m", "m-pacore-low", "m-pacore-medium", "m-pacore-high"]
    assert models["m-pacore-high"].pacore == {"rounds": [32, 4]}
    assert models["m"].max_model_len == engine_server.service._models["m"].backend.context
    assert engine_server.openai().models.retrieve("m-pacore-low").root == "m"


def test_tokenize_returns_the_ids_of_the_prompt(engine_server, engine, user_message):
    with engine_server.http() as http:
        reply_json = http.post("/tokenize", json={"model": "m", "messages": user_message("How many?")}).json()
    assert reply_json["tokens"] == engine.tokenize(Request((Message(role="user", content=(text("How many?"),)),)))
    assert (reply_json["count"], reply_json["max_model_len"]) == (len(reply_json["tokens"]), engine.context)
    reply = engine_server.openai().chat.completions.create(model="m", messages=user_message("How many?"), max_tokens=1)
    assert reply_json["count"] == reply.usage.prompt_tokens


def test_tool_calls_and_tool_results(ScriptedBackend, run_server):
    call_text = '<tool_call>\n{"name": "zoom", "arguments": {"x": 3}}\n</tool_call>'
    backend = ScriptedBackend(
        lambda request, index: f"I look.\n</think>\nWait.\n<tool_calls>\n{call_text}\n</tool_calls>"
    )
    tools = [{"type": "function", "function": {"name": "zoom", "parameters": {"type": "object"}}}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "What is there?"}]
    with run_server(backend) as server:
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
        ({"top_logprobs": 2}, BadRequestError, None),
        ({"extra_body": {"pacore": {"round": [4]}}}, BadRequestError, "pacore.round"),
        ({"extra_body": {"pacore": {"rounds": [1000]}}}, BadRequestError, "pacore.rounds"),
    ],
)
def test_errors_name_the_field(engine_server, user_message, change, error, param):
    with pytest.raises(error) as caught:
        engine_server.openai().chat.completions.create(
            **{"model": "m", "messages": user_message("How many?"), **change}
        )
    assert caught.value.param == param
    assert caught.value.body["message"]


def test_prompt_and_reply_are_limited_by_the_context(ScriptedBackend, run_server, user_message):
    backend = ScriptedBackend(lambda request, index: "</think>yes", context=100)
    with run_server(backend) as server:
        with pytest.raises(BadRequestError) as caught:
            server.openai().chat.completions.create(model="m", messages=user_message("x" * 100))
        assert caught.value.code == "context_length_exceeded"
        assert "reduce the length" in str(caught.value)
        server.openai().chat.completions.create(model="m", messages=user_message("x" * 90), max_tokens=5000)
        assert backend.requests[-1][1].max_new_tokens == 10


def test_unusable_images_are_refused(engine_server, user_message, data_url, png):
    client = engine_server.openai()

    def status(url):
        with pytest.raises(APIStatusError) as caught:
            client.chat.completions.create(model="m", messages=user_message("See?", url))
        return caught.value.status_code

    assert status(data_url(b"no image")) == 422
    assert status(data_url(png()[:200])) == 422
    assert status("data:image/png;base64,???") == 400
    assert status("https://example.com/a.png") == 400
    assert status("file:///etc/passwd") == 400
    with pytest.raises(UnprocessableEntityError):
        client.chat.completions.create(
            model="m", messages=user_message("See?", data_url(b"%!PS-Adobe-3.0 EPSF-3.0\n"))
        )


def test_api_keys_are_required(ScriptedBackend, run_server, user_message):
    backend = ScriptedBackend(lambda request, index: "</think>yes")
    with run_server(backend, ServerConfig(api_keys=("one", "two"))) as server:
        for key in ("one", "two"):
            reply = server.openai(key).chat.completions.create(model="m", messages=user_message("Hi"))
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
    ("status", "expected"),
    [(400, 400), (429, 429), (413, 413), (500, 503), (502, 503), (503, 503), (504, 504), (401, 503)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_backend_errors_keep_their_status(ScriptedBackend, run_server, user_message, status, expected, stream):
    backend = ScriptedBackend(lambda request, index: BackendError("it is down", status))
    with run_server(backend) as server:
        with pytest.raises(APIStatusError) as caught:
            server.openai().chat.completions.create(model="m", messages=user_message("Hi"), stream=stream)
        assert caught.value.status_code == expected
        assert "it is down" in str(caught.value)
        assert isinstance(caught.value, RateLimitError) == (status == 429)
