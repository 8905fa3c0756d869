"""A vLLM asked directly and through the gateway: the same request gives the same reply, field by field."""

import json
from typing import Any

import httpx
import pytest
from vllm_server import NAME

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n": 1}'}}
TURNS: dict[str, list[dict[str, Any]]] = {
    "tools": [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "a bird"},
    ],
    "open": [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two,"}],
}
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no limit": {"max_tokens": None, "stop": "e"},
    "ignore_eos": {"ignore_eos": True, "min_tokens": 5},
    "stop_token_ids": {"stop_token_ids": list(range(1000, 60_000)), "include_stop_str_in_output": True},
    "logit_bias": {"logit_bias": {"5": 100}},
    "bad_words": {"bad_words": ["the", "a"]},
    "allowed_token_ids": {"allowed_token_ids": [10, 11, 12]},
    "logprobs": {"logprobs": True, "top_logprobs": 3, "return_tokens_as_token_ids": True},
    "prompt_logprobs": {"prompt_logprobs": 1},
    "token ids": {"return_token_ids": True},
    "rollouts": {"n": 3, "temperature": 1.0, "seed": 4},
    "structured_outputs": {"structured_outputs": {"choice": ["yes", "no"]}},
    "response_format": {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
    "template": {"chat_template_kwargs": {"enable_thinking": False}, "include_reasoning": False},
    "another template": {"chat_template": "{{ messages[0]['content'] }}"},
    "continue": {"messages": TURNS["open"], "continue_final_message": True, "add_generation_prompt": False},
    "tools": {"messages": TURNS["tools"], "tools": [TOOL], "tool_choice": "none"},
    "processor": {"mm_processor_kwargs": {"size": 1}},
    "specials": {"skip_special_tokens": False, "spaces_between_special_tokens": False},
    "unknown": {"nobody_knows_this": [1, {"a": 2}], "user": "u"},
    "empty stop": {"stop": ""},
    # What vLLM refuses, with its own words.
    "wrong type": {"temperature": "hot"},
    "no such template": {"chat_template": "{% broken"},
    "bias of nothing": {"logit_bias": {"9999999": 1}},
    "beam": {"use_beam_search": True, "n": 2},
    "wrong role": {"messages": [{"role": "nobody", "content": "x"}]},
    "too long": {"max_tokens": 10_000},
    "no messages": {"messages": "x"},
}


def exchange(url: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    reply = httpx.post(url + path, json=body, timeout=300)
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.status_code, reply.json()
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    return reply.status_code, joined([json.loads(event) for event in events])


def joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """A stream without its cuts, which depend on time: all fields, with the texts of each choice joined."""
    whole: dict[str, Any] = {"choices": {}}
    for chunk in chunks:
        whole |= {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        for choice in chunk.get("choices", ()):  # an error has none
            fields = whole["choices"].setdefault(choice["index"], {})
            for key, value in {**choice, **choice.get("delta", {})}.items():
                if isinstance(value, str) and key in ("content", "reasoning", "reasoning_content", "text"):
                    fields[key] = fields.get(key, "") + value
                elif key not in ("delta", "logprobs") and value is not None:
                    fields[key] = value
    return whole


def assert_equal(ours: Any, theirs: Any, path: str = "") -> None:
    """Equal but for ids and times; log-probabilities may differ in their last bits."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict), path
        assert list(ours) == list(theirs), path
        for key, value in theirs.items():
            if key not in ("id", "created"):
                assert_equal(ours[key], value, f"{path}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(*pair, f"{path}.{index}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-3), path
    else:
        assert ours == theirs, path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FIELDS)
def test_a_chat(released, gateway, name, stream) -> None:
    body = {
        "model": NAME,
        "messages": [{"role": "user", "content": "What do you see?"}],
        "temperature": 0,
        "max_tokens": 8,
        **FIELDS[name],
        **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
    }
    status, theirs = exchange(released.url, "/v1/chat/completions", body)
    our_status, ours = exchange(gateway.removesuffix("/v1"), "/v1/chat/completions", body)
    assert our_status == status
    assert_equal(ours, theirs)


def test_a_chat_with_an_image(released, gateway, user_message, as_openai, photograph) -> None:
    messages = as_openai(user_message(0, "What do you see?"), [photograph(500, 400)])
    messages[0]["content"][0]["image_url"]["detail"] = "low"
    body = {"model": NAME, "messages": messages, "temperature": 0, "max_tokens": 6, "return_token_ids": True}
    status, theirs = exchange(released.url, "/v1/chat/completions", body)
    our_status, ours = exchange(gateway.removesuffix("/v1"), "/v1/chat/completions", body)
    assert (our_status, status) == (200, 200)
    assert_equal(ours, theirs)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "One, two,", "max_tokens": 5, "min_tokens": 5}),
        ("/v1/completions", {"prompt": [[5, 6], [7]], "max_tokens": 3, "echo": True}),
        ("/v1/completions", {"prompt": "One", "max_tokens": 3, "prompt_logprobs": 1, "stream": True}),
        ("/v1/completions", {"prompt": "One", "max_tokens": 3, "structured_outputs": {"regex": "a+"}}),
        ("/v1/completions", {"prompt": "One", "suffix": "x"}),
        ("/tokenize", {"prompt": "One", "add_special_tokens": False, "return_token_strs": True}),
        ("/tokenize", {"messages": TURNS["open"], "add_generation_prompt": False, "continue_final_message": True}),
    ],
)
def test_other_paths(released, gateway, path, fields) -> None:
    body = {"model": NAME, "temperature": 0, **fields}
    status, theirs = exchange(released.url, path, body)
    our_status, ours = exchange(gateway.removesuffix("/v1"), path, body)
    assert our_status == status
    assert_equal(ours, theirs)


@pytest.mark.parametrize("stream", [False, True])
def test_another_name_is_the_only_difference(released, gateway, stream) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "max_tokens": 4, "stream": stream}
    _, theirs = exchange(released.url, "/v1/chat/completions", {"model": NAME, **body})
    _, ours = exchange(gateway.removesuffix("/v1"), "/v1/chat/completions", {"model": "front", **body})
    assert (theirs["model"], ours["model"]) == (NAME, "front")
    assert_equal({**ours, "model": NAME}, theirs)
