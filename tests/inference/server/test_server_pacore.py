"""PaCoRe as a model: for plain clients, for a client that shows hypotheses, and in front of another server."""

import json
import re

import pytest

from step3vl.data.sample import ImagePart, TextPart
from step3vl.inference.backend import EngineBackend
from step3vl.inference.openai_backend import OpenAIBackend


def hypothesis(request, index):
    """The first round counts, the synthesis takes the majority of its references."""
    prompt = "".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))
    if found := re.findall(r"there are (\d+)", prompt):
        return f"I read {len(found)} of them.\n</think>\nthere are {max(set(found), key=found.count)}"
    return f"I am number {index}.\n</think>\nthere are {3 if index % 2 else 4 + index}"


@pytest.fixture
def thinker(Scripted, serving):
    with serving(Scripted(hypothesis, context=100_000)) as server:
        yield server


def test_hypotheses_are_the_thought_and_the_synthesis_is_the_answer(thinker, asked):
    backend = thinker.service.find("m").backend
    reply = thinker.openai().chat.completions.create(model="m-pacore-low", messages=asked("How many birds?"))
    message = reply.choices[0].message
    assert message.content == "there are 3"
    for index, count in enumerate((4, 3, 6, 3)):
        assert f"**Hypothesis {index + 1} of 4, round 1**\n\nthere are {count}\n" in message.reasoning_content
    assert message.reasoning_content.endswith("**Synthesis**\n\nI read 4 of them.")
    assert "I am number" not in message.reasoning_content
    assert [n for _, _, n in backend.requests] == [4, 1]


def test_a_stream_gives_the_same_and_its_usage_by_rounds(thinker, asked):
    client = thinker.openai()
    whole = client.chat.completions.create(model="m-pacore-low", messages=asked("How many birds?"))
    thought = content = ""
    usage = None
    for chunk in client.chat.completions.create(
        model="m-pacore-low",
        messages=asked("How many birds?"),
        stream=True,
        stream_options={"include_usage": True},
    ):
        for choice in chunk.choices:
            thought += getattr(choice.delta, "reasoning_content", "") or ""
            content += choice.delta.content or ""
        usage = chunk.usage or usage
    assert content == whole.choices[0].message.content
    assert sorted(thought.split("**")) == sorted(whole.choices[0].message.reasoning_content.split("**"))
    rounds = usage.pacore["rounds"]
    assert [(one["rollouts"], one["messages"]) for one in rounds] == [(4, 0), (1, 4)]
    assert sum(one["completion_tokens"] for one in rounds) == usage.completion_tokens
    assert sum(one["prompt_tokens"] for one in rounds) == usage.prompt_tokens
    assert 0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens
    assert whole.usage.completion_tokens == usage.completion_tokens
    assert whole.usage.pacore["rounds"][1]["completion_tokens"] == rounds[1]["completion_tokens"]


def test_events_show_every_hypothesis(thinker, asked):
    seen = {}
    kinds = []
    for chunk in thinker.openai().chat.completions.create(
        model="m", messages=asked("How many?"), stream=True, extra_body={"pacore": {"rounds": [3, 2], "events": True}}
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
            assert seen[event["round"], event["index"]].endswith(event["message"])
    assert sorted(seen) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert [kind for kind in kinds if kind in ("round", "usage")] == ["round", "usage"] * 2


def test_a_trace_holds_everything(thinker, asked):
    reply = thinker.openai().chat.completions.create(
        model="m", messages=asked("How many?"), extra_body={"pacore": {"rounds": [2], "trace": True}}
    )
    rounds = reply.pacore["rounds"]
    assert [len(one["trajectories"]) for one in rounds] == [2, 1]
    assert "I am number 1" in rounds[0]["trajectories"][1]["text"]


def test_a_consensus_ends_the_exploring(thinker, asked):
    reply = thinker.openai().chat.completions.create(
        model="m", messages=asked("How many?"), extra_body={"pacore": {"rounds": [4], "consensus": 0.5}}
    )
    assert reply.choices[0].message.content == "there are 3"
    assert reply.usage.pacore["rounds"][-1]["consensus"]


def test_options_that_make_no_sense_are_refused(thinker, asked):
    for pacore in (
        {"rounds": []},
        {"rounds": [0]},
        {"consensus": 2},
        {"template": "x"},
    ):
        with thinker.http() as http:
            body = {"model": "m", "messages": asked("Hi"), "pacore": pacore}
            assert http.post("/v1/chat/completions", json=body).status_code == 400, pacore
    for extra in ({"n": 2}, {"logprobs": True}):
        with thinker.http() as http:
            body = {"model": "m-pacore-low", "messages": asked("Hi"), **extra}
            assert http.post("/v1/chat/completions", json=body).status_code == 400


def test_the_picture_stays_through_all_rounds(thinker, asked, png, data_url):
    backend = thinker.service.find("m").backend
    url = data_url(png())
    thinker.openai().chat.completions.create(model="m-pacore-low", messages=asked("How many?", url))
    for request, _, _ in backend.requests:
        assert [type(part) for part in request.messages[-1].content] == [ImagePart, TextPart]
        assert request.images[0].read() == png()


def test_a_gateway_puts_pacore_before_another_server(Scripted, serving, asked, png, data_url):
    inner = Scripted(hypothesis, context=100_000)
    with serving(inner, name="inner") as upstream, serving(OpenAIBackend(upstream.root, "inner")) as gateway:
        reply = gateway.openai().chat.completions.create(
            model="m-pacore-low", messages=asked("How many?", data_url(png())), seed=3
        )
        assert reply.choices[0].message.content == "there are 3"
        assert [n for _, _, n in inner.requests] == [4, 1]
        assert all(request.images[0].read() == png() for request, _, _ in inner.requests)
        assert [sampling.seed for _, sampling, _ in inner.requests] == [3, 4]
        plain = gateway.openai().chat.completions.create(model="m", messages=asked("How many?"))
        assert plain.choices[0].message.content == "there are 4"
        assert plain.choices[0].message.reasoning_content == "I am number 0."
        assert plain.usage.completion_tokens > 0


def test_a_synthesis_that_was_lost_on_its_way_leaves_no_trace_in_the_reply(peer, url, serving, asked):
    def thought(plan):
        peer.plan = plan
        reply = gateway.openai().chat.completions.create(model="m-pacore-low", messages=asked("How many?"))
        assert reply.choices[0].message.content == "Two."
        return reply.choices[0].message.reasoning_content

    with serving(OpenAIBackend(url)) as gateway:
        assert thought([None, "error"]) == thought([])


def test_a_gateway_says_when_its_server_is_gone(serving, asked):
    with serving(OpenAIBackend("http://127.0.0.1:9", "inner", retries=0)) as gateway, gateway.http() as http:
        reply = http.post("/v1/chat/completions", json={"model": "m", "messages": asked("Hi")})
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "backend_unavailable"


def test_the_engine_runs_pacore_over_pictures(served, asked, png, data_url):
    reply = served.openai().chat.completions.create(
        model="m",
        messages=asked("How many?", data_url(png())),
        max_tokens=12,
        extra_body={"pacore": {"rounds": [3], "seed": 1}},
    )
    rounds = reply.usage.pacore["rounds"]
    assert [one["rollouts"] for one in rounds] == [3, 1]
    assert reply.usage.completion_tokens == sum(one["completion_tokens"] for one in rounds)
    assert isinstance(served.service.find("m").backend, EngineBackend)


def test_the_published_batch_client_works_unchanged(thinker):
    """As StepFun's PaCoRe client asks: raw SSE, a request id of its own, and no limit of tokens."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "How many birds?"}],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": None,
        "stream": True,
    }
    headers = {"Content-Type": "application/json", "X-Request-ID": "item-7-round-0"}
    content = thought = ""
    with thinker.http() as http, http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as reply:
        assert reply.headers["x-request-id"] == "item-7-round-0"
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
        content += delta.get("content") or ""
        thought += delta.get("reasoning_content") or ""
    assert (thought, content) == ("I am number 0.", "there are 4")


def test_evaluation_clients_work_unchanged(served, png, data_url):
    """As lmms-eval and VLMEvalKit ask: temperature 0, max_tokens, pictures as data URLs with fields of their own."""
    url = data_url(png(), "jpeg")
    openai = served.openai()
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
    with served.http() as http:
        assert http.get("/v1/models").json()["data"][0]["id"] == "m"
        answer = http.post("/v1/chat/completions", headers=headers, content=json.dumps(payload))
    assert answer.status_code == 200
    assert isinstance(answer.json()["choices"][0]["message"]["content"].strip(), str)
