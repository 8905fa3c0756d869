"""The backend against a real HTTP server that implements OpenAI's protocol independently, and fails on demand."""

import asyncio
import base64
import io
import socket
import time
from contextlib import aclosing

import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, ToolCall, image, text
from step3vl.inference import BackendError, OpenAIBackend, Request, Sampling, Usage, complete
from step3vl.inference.client import collect

SAMPLING = Sampling(max_new_tokens=16, seed=5)


def ask(*parts) -> Request:
    return Request((Message(role="user", content=parts or (text("How many?"),)),))


def answers(url: str, request: Request, n: int = 1, sampling: Sampling = SAMPLING, **options):
    async def run():
        backend = OpenAIBackend(url, **options)
        try:
            return await complete(backend, request, sampling, n)
        finally:
            await backend.close()

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", None])
def test_reasoning_is_read_from_every_field(peer, url, name) -> None:
    peer.reasoning_field = name
    (completion,) = answers(url, ask())
    assert (completion.text, completion.reasoning, completion.answer) == ("t0t1t2\n</think>\nTwo.", "t0t1t2", "Two.")
    assert (completion.finish_reason, completion.prompt_tokens) == ("stop", 40)


def test_all_rollouts_come_from_one_request(peer, url) -> None:
    completions = answers(url, ask(), n=5)
    assert [completion.answer for completion in completions] == ["Two."] * 5
    assert [body["n"] for body in peer.bodies] == [5]
    assert peer.bodies[0]["model"] == "peer"
    assert peer.bodies[0]["seed"] == 5
    assert peer.bodies[0]["max_tokens"] == 16


@pytest.mark.parametrize("takes_n", ["ignores", "refuses"])
def test_a_server_without_n_gets_single_requests_with_other_seeds(peer, url, takes_n) -> None:
    peer.n_support = takes_n

    async def run():
        backend = OpenAIBackend(url)
        deltas = backend.stream(ask(), SAMPLING, 3)
        async with aclosing(deltas):
            first = [delta async for delta in deltas]
        second = await complete(backend, ask(), SAMPLING, 3)
        await backend.close()
        return first, deltas, second

    first, deltas, second = asyncio.run(run())
    for index in range(3):
        assert "".join(delta.text for delta in first if delta.index == index) == "t0t1t2\n</think>\nTwo."
    assert [completion.answer for completion in second] == ["Two."] * 3
    assert deltas.usage == Usage(40, 21)
    singles = [body for body in peer.bodies if body["n"] == 1]
    assert len({body["seed"] for body in singles[-3:]}) == 3
    assert [body["n"] for body in peer.bodies[-3:]] == [1, 1, 1], "the second call no longer tries n = 3"


@pytest.mark.parametrize("failure", [429, 500, 502, 503, "drop"])
def test_a_failure_before_the_first_token_is_retried(peer, url, failure) -> None:
    peer.plan = [failure, failure]
    assert answers(url, ask(), n=2)[1].answer == "Two."
    assert len(peer.bodies) == 3
    assert peer.bodies[0] == peer.bodies[2]


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (401, 1), (404, 1), (413, 1), (503, 3)])
def test_a_refusal_keeps_its_status_and_message(peer, url, status, requests) -> None:
    peer.plan = [status] * 9
    with pytest.raises(BackendError, match=f"answered {status}: not now") as failure:
        answers(url, ask(), retries=2)
    assert failure.value.status == status
    assert failure.value.retryable == (status == 503)
    assert len(peer.bodies) == requests
    assert isinstance(failure.value, UserError)


def test_a_forwarded_body_is_sent_as_it_is_and_retried(peer, url) -> None:
    body = {"model": "x", "messages": [], "n": 1, "unknown": {"a": [None, 1.5, "\u20ac"]}}

    async def run(plan):
        peer.plan = plan
        backend = OpenAIBackend(url, retries=2)
        async with backend.forward("/v1/chat/completions", body) as response:
            content = await response.aread()
        models = await backend.models()
        await backend.close()
        return response.status_code, content, models

    status, content, models = asyncio.run(run([503, 429]))
    assert (status, content.endswith(b"[DONE]\n\n")) == (200, True)
    assert peer.bodies == [body] * 3
    assert [model["id"] for model in models] == ["peer"]
    status, content, _ = asyncio.run(run([503] * 5))
    assert (status, content) == (503, b'{"error":{"message":"not now"}}')
    assert len(peer.bodies) == 6, "the last refusal is handed back"


def test_nothing_is_retried_once_tokens_have_arrived(peer, url) -> None:
    peer.plan = ["error"]
    with pytest.raises(BackendError, match="failed: out of memory") as failure:
        answers(url, ask())
    assert (failure.value.status, failure.value.retryable) == (500, True)
    peer.plan = ["cut"]
    with pytest.raises(BackendError, match="ended before it was finished"):
        answers(url, ask(), n=2)
    assert len(peer.bodies) == 2


def test_an_unreachable_server_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BackendError, match=f"127.0.0.1:{port}") as failure:
        answers(f"http://127.0.0.1:{port}", ask(), model="m", retries=1)
    assert failure.value.status == 503
    for wrong in ("http://", "localhost:8000", "ftp://host/v1"):
        with pytest.raises(UserError, match="give a server's address"):
            OpenAIBackend(wrong)


def test_silence_and_deadlines_end_in_504(peer, url) -> None:
    peer.plan = ["slow", "slow"]
    start = time.monotonic()
    with pytest.raises(BackendError, match=r"within 0\.3 s") as failure:
        answers(url, ask(), deadline=0.3)
    assert failure.value.status == 504
    assert time.monotonic() - start < 5


def test_closing_the_stream_cancels_the_request_at_the_server(peer, url) -> None:
    peer.plan = ["slow"]

    async def leave() -> None:
        backend = OpenAIBackend(url)
        async with aclosing(backend.stream(ask(), SAMPLING, 4)) as deltas:
            async for _ in deltas:
                break
        for _ in range(200):
            if peer.disconnects:
                break
            await asyncio.sleep(0.02)
        await backend.close()

    asyncio.run(leave())
    assert (peer.disconnects, peer.running) == (1, 0)


def test_connections_are_reused(peer, url) -> None:
    async def run() -> None:
        backend = OpenAIBackend(url)
        for _ in range(5):
            await complete(backend, ask(), SAMPLING)
        await backend.close()

    asyncio.run(run())
    assert len(peer.clients) == 1


def test_images_are_sent_unchanged_and_in_place(peer, url, png) -> None:
    files = [png("red"), png("blue")]
    decoded = PILImage.new("RGB", (9, 7), "green")
    request = Request(
        (Message(role="user", content=(image(1), text('a "\\ \u20ac \x00 b'), image(0), image(2), image(1))),),
        (*(Image.from_bytes(data) for data in files), decoded),
    )
    answers(url, request)
    content = peer.bodies[0]["messages"][0]["content"]
    assert [item["type"] for item in content] == ["image_url", "text", "image_url", "image_url", "image_url"]
    assert content[1]["text"] == 'a "\\ \u20ac \x00 b'
    sent = [base64.b64decode(item["image_url"]["url"].split(",")[1]) for item in content if item["type"] != "text"]
    assert [sent[0], sent[1], sent[3]] == [files[1], files[0], files[1]]
    with PILImage.open(io.BytesIO(sent[2])) as back:
        assert back.tobytes() == decoded.tobytes()
    assert content[0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_sampling_tools_and_history_become_openai_fields(peer, url) -> None:
    sampling = Sampling(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, repetition_penalty=1.2, presence_penalty=0.3,
        frequency_penalty=0.4, logit_bias={5: -1.5}, min_new_tokens=3, ignore_eos=True, stop=("END",),
        stop_token_ids=(7, 8), logprobs=2, max_new_tokens=9,
    )  # fmt: skip
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    request = Request(
        (
            Message(role="system", content=(text("Be "), text("brief."))),
            Message(role="user", content=(text("Look."),)),
            Message(
                role="assistant",
                content=(),
                reasoning_content="hm",
                tool_calls=(ToolCall(name="look", arguments={"x": 1}), ToolCall(name="look", arguments={})),
            ),
            Message(role="tool", content=(text("a"),)),
            Message(role="tool", content=(text("b"),)),
        ),
        tools=(tool,),
    )
    answers(url, request, sampling=sampling, api_key="secret", extra={"chat_template_kwargs": {"a": 1}})
    body = peer.bodies[0]
    expected = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.2, "presence_penalty": 0.3,
        "frequency_penalty": 0.4, "logit_bias": {"5": -1.5}, "min_tokens": 3, "ignore_eos": True,
        "stop_token_ids": [7, 8], "stop": ["END"], "logprobs": True, "top_logprobs": 2, "max_tokens": 9,
        "tools": [tool], "chat_template_kwargs": {"a": 1}, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert {name: body[name] for name in expected} == expected
    assert "seed" not in body
    assert peer.headers[0]["authorization"] == "Bearer secret"
    system, _, called, tool1, tool2 = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert called["reasoning_content"] == "hm"
    assert [call["function"] for call in called["tool_calls"]] == [
        {"name": "look", "arguments": '{"x": 1}'},
        {"name": "look", "arguments": "{}"},
    ]
    assert [tool1["tool_call_id"], tool2["tool_call_id"]] == [call["id"] for call in called["tool_calls"]]
    plain = peer.bodies
    answers(url, ask())
    assert not {"top_k", "min_p", "repetition_penalty", "presence_penalty", "stop", "logprobs", "tools"} & set(
        plain[1]
    )


def test_tool_calls_and_logprobs_are_parsed(peer, url) -> None:
    peer.answer = ""
    peer.tools = [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": '{"x"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    (completion,) = answers(url, ask())
    assert completion.tool_calls == (ToolCall(name="look", arguments={"x": 1}),)
    assert completion.finish_reason == "stop"
    assert (completion.reasoning, completion.answer) == ("t0t1t2", "")
    peer.tools, peer.answer, peer.logprobs = [], "Two", True
    (completion,) = answers(url, ask(), sampling=SAMPLING.model_copy(update={"logprobs": 2}))
    assert completion.logprobs[-1] == -0.5
    assert completion.token_logprobs[-1].top == ((-1, "Two", -0.5), (-1, "No", -1.5))


def test_the_model_and_its_context_are_looked_up(peer, url) -> None:
    async def run() -> None:
        backend = OpenAIBackend(f"{url}/v1/")
        assert await backend.tokenize(ask(text("123"), text("45"))) == [*b"12345"]
        assert await backend.tokenize(Request(text="ab")) == [*b"ab"]
        assert await backend.tokenize(Request(token_ids=(7, 8))) == [7, 8]
        assert (backend.name, backend.context) == ("peer", 4096)
        peer.tokenizes = False
        assert await backend.tokenize(ask()) is None
        await backend.close()

    asyncio.run(run())


@pytest.mark.parametrize("prompt", [{"text": "Once <|im_end|>"}, {"token_ids": (5, 6)}])
def test_a_prompt_is_continued_by_the_servers_completions_endpoint(peer, url, prompt) -> None:
    sampling = SAMPLING.model_copy(update={"logprobs": 1, "stop": ("END",)})
    completions = answers(url, Request(**prompt), n=2, sampling=sampling)
    assert [(c.text, c.finish_reason, c.prompt_tokens) for c in completions] == [(" and so", "length", 3)] * 2
    assert completions[0].token_logprobs[0].top == ((-1, " and", -0.5), (-1, " or", -1.5))
    (body,) = peer.bodies
    assert body["prompt"] == prompt.get("text", [5, 6])
    assert (body["n"], body["logprobs"], body["stop"], body["max_tokens"]) == (2, 1, ["END"], 16)
    assert not {"messages", "top_logprobs"} & set(body)


def test_a_prompt_that_a_server_cannot_continue_is_refused(peer, url, png) -> None:
    peer.has_completions = False
    with pytest.raises(BackendError, match="chat completions only") as failure:
        answers(url, Request(text="Once"))
    assert (failure.value.status, failure.value.retryable) == (501, False)
    with pytest.raises(BackendError, match="images in messages only") as failure:
        answers(url, Request(text="Once", images=(Image.from_bytes(png()),)))
    assert failure.value.status == 400


@pytest.mark.parametrize("takes_n", ["yes", "refuses"])
def test_reasoning_tokens_of_a_server_are_reported(peer, url, takes_n) -> None:
    peer.reasoning_tokens, peer.n_support = 4, takes_n

    async def run() -> Usage | None:
        backend = OpenAIBackend(url)
        _, usage = await collect(backend, ask(), SAMPLING, 3)
        await backend.close()
        return usage

    usage = asyncio.run(run())
    assert usage == Usage(40, 21)
    assert usage.reasoning_tokens == 12
