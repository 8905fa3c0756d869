"""Invalid bodies and paths: each is refused with the right status, and none is a server error."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 50_000, "application/json"),
        (b'{"model": "m", "messages": "\\ud800"}', "application/json"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}', "application/json"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', "application/json"),
        (b'{"model": "m", "prompt": "a", "user": "\\udc00\\ud800"}', "application/json"),
        (b'{"model": "m"}', "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/tokenize"])
def test_invalid_bodies_are_refused(engine_server, path, content, kind):
    with engine_server.http() as http:
        reply = http.post(path, content=content, headers={"Content-Type": kind})
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1", '"x"', "[]", "{}"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "n", "max_tokens", "min_p"])
def test_invalid_numbers_are_refused(engine_server, field, number):
    content = f'{{"model": "m", "messages": [{{"role": "user", "content": "a"}}], "{field}": {number}}}'
    with engine_server.http() as http:
        reply = http.post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == field


def test_characters_outside_the_basic_plane_are_accepted(engine_server):
    for text in ("😀", "\\ud800", "𠀀 and \\ud83d"):
        content = json.dumps({"prompt": text})  # which writes them as two halves
        with engine_server.http() as http:
            reply = http.post("/tokenize", content=content, headers={"Content-Type": "application/json"})
        assert reply.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", CHAT, 405), ("GET", "/playground/../app.py", 404), ("GET", "/v1/models/x", 404),
     ("GET", "/playground/%2e%2e/app.py", 404), ("GET", "/docs", 404), ("DELETE", "/v1/models", 405)],
)  # fmt: skip
def test_unknown_paths_are_refused(engine_server, method, path, status):
    with engine_server.http() as http:
        reply = http.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "model", "messages", "n", "seed", "stop", "stream", "tools", "tool_choice", "pacore", "logprobs", "top_logprobs",
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "response_format", "logit_bias",
    "stream_options", "presence_penalty", "repetition_penalty", "prompt", "echo",
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    wrong=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3),
    turn=st.dictionaries(
        st.sampled_from(["role", "content", "tool_calls", "reasoning", "name"]),
        json_values | st.sampled_from(["user", "assistant", "tool"]),
        max_size=3,
    ),
    where=st.sampled_from([CHAT, "/v1/completions", "/tokenize"]),
)
def test_no_body_causes_a_server_error(engine_server, wrong, turn, where):
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "a", **turn}]
    request = {"model": "m", "max_tokens": 2, "messages": messages, "prompt": "a", **wrong}
    with engine_server.http() as http:
        reply = http.post(where, content=json.dumps(request), headers={"Content-Type": "application/json"})
    assert reply.status_code in (200, 400, 404, 413), reply.text
    assert engine_server.idle()
