"""The stream, the complete response and a gateway give the same reply, whatever tags its text has."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from step3vl.data.sample import Message
from step3vl.data.sample import text as text_part
from step3vl.inference.client import OpenAIBackend, Request, Sampling, complete

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
PIECES = ["a", "b c", "\n", "<", "</think>", "</thi", "nk>", "<think>", "<tool_calls>", CALL, "</tool_calls>", "é"]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def servers(ScriptedBackend, run_server):
    """A server whose reply is the user's text, and a gateway in front of it."""
    inner = ScriptedBackend(lambda request, index: request.messages[-1].content[0].text, context=100_000)
    with run_server(inner, name="m") as server, run_server(OpenAIBackend(server.root, "m"), name="g") as gateway:
        yield server, gateway


def ask(http, model, text, **fields):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    reply = http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    if not fields.get("stream"):
        choice = reply.json()["choices"][0]
        message = choice["message"]
        return _summary(
            message["reasoning"], message["content"], message.get("tool_calls", ()), choice["finish_reason"]
        )
    reasoning, content, calls, finish = "", "", [], None
    for line in reply.text.splitlines():
        if line and line != "data: [DONE]":
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                reasoning += choice["delta"].get("reasoning", "")
                content += choice["delta"].get("content", "")
                calls += choice["delta"].get("tool_calls", ())
                finish = choice["finish_reason"] or finish
    return _summary(reasoning, content, calls, finish)


def _summary(reasoning, content, calls, finish):
    return reasoning, content, [call["function"] for call in calls], finish


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join), tools=st.booleans())
def test_stream_whole_and_gateway_are_equal(servers, text, tools):
    server, gateway = servers
    fields = {"tools": TOOLS} if tools else {}
    with server.http() as http, gateway.http() as gateway_http:
        whole = ask(http, "m", text, **fields)
        assert ask(http, "m", text, stream=True, **fields) == whole
        assert ask(gateway_http, "g", text, **fields) == whole
        assert ask(gateway_http, "g", text, stream=True, **fields) == whole
    if "</think>" not in text:
        assert whole[1] == ""
    assert len(whole[0]) + len(whole[1]) <= len(text), "nothing is doubled"


def test_a_stop_string_within_the_reasoning_leaves_no_answer(engine_server, engine, user_message):
    client = engine_server.openai()
    options = {"model": "m", "messages": user_message("How many?"), "temperature": 0, "max_tokens": 30}
    text = client.chat.completions.create(**options).choices[0].message.reasoning_content
    stop = text[6:9]
    whole = client.chat.completions.create(**options, stop=stop).choices[0]
    assert (whole.message.content, whole.finish_reason) == ("", "stop")
    assert whole.message.reasoning_content == text[: text.index(stop)]
    deltas = [
        choice.delta
        for chunk in client.chat.completions.create(**options, stop=stop, stream=True)
        for choice in chunk.choices
    ]
    assert "".join(delta.content or "" for delta in deltas) == ""
    assert "".join(getattr(delta, "reasoning", "") for delta in deltas) == whole.message.reasoning_content


def test_a_backend_reads_the_same_text_over_http_as_in_the_process(engine_server, engine, user_message):
    """A reply without `</think>` used to come back as reasoning and again as answer."""
    request = Request((Message(role="user", content=(text_part("How many?"),)),))
    sampling = Sampling(temperature=0, max_new_tokens=12)
    expected = engine.generate([request], 1, sampling)[0][0]

    async def over_http():
        backend = OpenAIBackend(engine_server.root, "m")
        completions = await complete(backend, request, sampling)
        await backend.close()
        return completions[0]

    assert asyncio.run(over_http()).text.strip("\n") == expected.text.strip("\n")
