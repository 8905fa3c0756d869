"""PaCoRe as a model: for plain clients, for a client that shows hypotheses, and in front of another server."""

import json
import re

import pytest

from step3vl.data.sample import ImagePart, TextPart
from step3vl.inference.client import OpenAIBackend
from step3vl.inference.engine import EngineBackend


def hypothesis(request, index):
    """The first round counts; the synthesis takes the majority of its references."""
    prompt = "".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))
    if counts := re.findall(r"there are (\d+)", prompt):
        return f"I read {len(counts)} of them.\n</think>\nthere are {max(set(counts), key=counts.count)}"
    return f"I am number {index}.\n</think>\nthere are {3 if index % 2 else 4 + index}"


@pytest.fixture
def pacore_server(ScriptedBackend, run_server):
    with run_server(ScriptedBackend(hypothesis, context=100_000)) as server:
        yield server


def test_hypotheses_become_the_reasoning_and_the_synthesis_the_answer(pacore_server, user_message):
    backend = pacore_server.service._models["m"].backend
    reply = pacore_server.openai().chat.completions.create(
        model="m-pacore-low", messages=user_message("How many birds?")
    )
    message = reply.choices[0].message
    assert message.content == "there are 3"
    for index, count in enumerate((4, 3, 6, 3)):
        assert f"**Hypothesis {index + 1} of 4, round 1**\n\nthere are {count}\n" in message.reasoning_content
    assert message.reasoning_content.endswith("**Synthesis**\n\nI read 4 of them.")
    assert "I am number" not in message.reasoning_content
    assert [n for _, _, n in backend.requests] == [4, 1]


def test_a_stream_equals_the_complete_response_and_has_usage_by_round(pacore_server, user_message):
    client = pacore_server.openai()
    whole = client.chat.completions.create(model="m-pacore-low", messages=user_message("How many birds?"))
    reasoning = content = ""
    usage = None
    for chunk in client.chat.completions.create(
        model="m-pacore-low",
        messages=user_message("How many birds?"),
        stream=True,
        stream_options={"include_usage": True},
    ):
        for choice in chunk.choices:
            reasoning += getattr(choice.delta, "reasoning_content", "") or ""
            content += choice.delta.content or ""
        usage = chunk.usage or usage
    assert content == whole.choices[0].message.content
    assert sorted(reasoning.split("**")) == sorted(whole.choices[0].message.reasoning_content.split("**"))
    rounds = usage.pacore["rounds"]
    assert [(usage["rollouts"], usage["conclusions"]) for usage in rounds] == [(4, 0), (1, 4)]
    assert sum(round_usage["completion_tokens"] for round_usage in rounds) == usage.completion_tokens
    assert sum(round_usage["prompt_tokens"] for round_usage in rounds) == usage.prompt_tokens
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens
    assert whole.usage.completion_tokens == usage.completion_tokens
    assert whole.usage.pacore["rounds"][1]["completion_tokens"] == rounds[1]["completion_tokens"]


def test_events_carry_every_hypothesis(pacore_server, user_message):
    seen = {}
    kinds = []
    for chunk in pacore_server.openai().chat.completions.create(
        model="m",
        messages=user_message("How many?"),
        stream=True,
        extra_body={"pacore": {"rounds": [3, 2], "events": True}},
    ):
        event = chunk.model_extra.get("pacore")
        if event is None:
            continue
        assert chunk.choices == []
        kinds.append(event["type"])
        if event["type"] == "delta":
            place = event["round"], event["index"]
            seen[place] = seen.get(place, "") + event["text"]
        if event["type"] == "hypothesis":
            assert seen[event["round"], event["index"]].endswith(event["conclusion"])
    assert sorted(seen) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert [kind for kind in kinds if kind in ("round", "usage")] == ["round", "usage"] * 2


def test_a_trace_contains_every_rollout(pacore_server, user_message):
    reply = pacore_server.openai().chat.completions.create(
        model="m", messages=user_message("How many?"), extra_body={"pacore": {"rounds": [2], "trace": True}}
    )
    rounds = reply.pacore["rounds"]
    assert [len(round_usage["trajectories"]) for round_usage in rounds] == [2, 1]
    assert "I am number 1" in rounds[0]["trajectories"][1]["text"]


def test_a_consensus_ends_exploration_early(pacore_server, user_message):
    reply = pacore_server.openai().chat.completions.create(
        model="m", messages=user_message("How many?"), extra_body={"pacore": {"rounds": [4], "consensus": 0.5}}
    )
    assert reply.choices[0].message.content == "there are 3"
    assert reply.usage.pacore["rounds"][-1]["consensus"]


def test_invalid_options_are_refused(pacore_server, user_message):
    for pacore in (
        {"rounds": []},
        {"rounds": [0]},
        {"consensus": 2},
        {"template": "x"},
        {"minimum": 2},  # its name in earlier versions
    ):
        with pacore_server.http() as http:
            body = {"model": "m", "messages": user_message("Hi"), "pacore": pacore}
            assert http.post("/v1/chat/completions", json=body).status_code == 400, pacore
    for extra in ({"n": 2}, {"logprobs": True}):
        with pacore_server.http() as http:
            body = {"model": "m-pacore-low", "messages": user_message("Hi"), **extra}
            assert http.post("/v1/chat/completions", json=body).status_code == 400


def test_images_are_part_of_every_round(pacore_server, user_message, png, data_url):
    backend = pacore_server.service._models["m"].backend
    url = data_url(png())
    pacore_server.openai().chat.completions.create(model="m-pacore-low", messages=user_message("How many?", url))
    for request, _, _ in backend.requests:
        assert [type(part) for part in request.messages[-1].content] == [ImagePart, TextPart]
        assert request.images[0].read() == png()


def test_a_gateway_adds_pacore_to_another_server(ScriptedBackend, run_server, user_message, png, data_url):
    inner = ScriptedBackend(hypothesis, context=100_000)
    with run_server(inner, name="inner") as upstream, run_server(OpenAIBackend(upstream.root, "inner")) as gateway:
        reply = gateway.openai().chat.completions.create(
            model="m-pacore-low", messages=user_message("How many?", data_url(png())), seed=3
        )
        assert reply.choices[0].message.content == "there are 3"
        assert [n for _, _, n in inner.requests] == [4, 1]
        assert all(request.images[0].read() == png() for request, _, _ in inner.requests)
        assert [sampling.seed for _, sampling, _ in inner.requests] == [3, 4]
        plain = gateway.openai().chat.completions.create(model="m", messages=user_message("How many?"))
        assert plain.choices[0].message.content == "there are 4"
        assert plain.choices[0].message.reasoning_content == "I am number 0."
        assert plain.usage.completion_tokens > 0


def test_a_failed_synthesis_leaves_no_text_in_the_response(peer, url, run_server, user_message):
    def reasoning_with(plan):
        peer.plan = plan
        reply = gateway.openai().chat.completions.create(model="m-pacore-low", messages=user_message("How many?"))
        assert reply.choices[0].message.content == "Two."
        return reply.choices[0].message.reasoning_content

    with run_server(OpenAIBackend(url)) as gateway:
        assert reasoning_with([None, "error"]) == reasoning_with([])


def test_an_unreachable_backend_is_reported(run_server, user_message):
    with run_server(OpenAIBackend("http://127.0.0.1:9", "inner", retries=0)) as gateway, gateway.http() as http:
        reply = http.post("/v1/chat/completions", json={"model": "m", "messages": user_message("Hi")})
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "backend_unavailable"


def test_pacore_with_images_over_the_engine(engine_server, user_message, png, data_url):
    reply = engine_server.openai().chat.completions.create(
        model="m",
        messages=user_message("How many?", data_url(png())),
        max_tokens=12,
        extra_body={"pacore": {"rounds": [3], "seed": 1}},
    )
    rounds = reply.usage.pacore["rounds"]
    assert [round_usage["rollouts"] for round_usage in rounds] == [3, 1]
    assert reply.usage.completion_tokens == sum(round_usage["completion_tokens"] for round_usage in rounds)
    assert isinstance(engine_server.service._models["m"].backend, EngineBackend)


def test_the_published_pacore_client_works_unchanged(pacore_server):
    """As in StepFun's PaCoRe client: raw SSE, a request id, and no limit of tokens."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "How many birds?"}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": None,
        "stream": True,
    }
    headers = {"Content-Type": "application/json", "X-Request-ID": "item-7-round-0"}
    content = reasoning = ""
    with (
        pacore_server.http() as http,
        http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply,
    ):
        assert reply.headers["x-request-id"] == "item-7-round-0"
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
        content += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
    assert (reasoning, content) == ("I am number 0.", "there are 4")


def test_evaluation_clients_work_unchanged(engine_server, png, data_url):
    """As in lmms-eval and VLMEvalKit: temperature 0, max_tokens, images as data URLs with extra fields."""
    url = data_url(png(), "jpeg")
    openai = engine_server.openai()
    reply = openai.chat.completions.create(
        messages=[
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Count."}],
            }
        ],
        model="m",
        max_tokens=16,
        temperature=0,
    )
    assert isinstance(reply.choices[0].message.content, str)
    assert reply.usage.completion_tokens_details.reasoning_tokens <= reply.usage.completion_tokens

    payload = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Answer shortly."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Count."},
                    {"type": "image_url", "image_url": {"url": url, "detail": "low", "max_dynamic_patch": 12}},
                ],
            },
        ],
        "max_tokens": 16,
        "n": 1,
        "temperature": 0,
    }
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-123456"}
    with engine_server.http() as http:
        assert http.get("/v1/models").json()["data"][0]["id"] == "m"
        answer = http.post("/v1/chat/completions", headers=headers, content=json.dumps(payload))
    assert answer.status_code == 200
    assert isinstance(answer.json()["choices"][0]["message"]["content"].strip(), str)
