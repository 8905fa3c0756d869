"""The backend against a real HTTP server that speaks OpenAI's protocol in its own words, and fails on demand."""

import asyncio
import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, ToolCall, image, text
from step3vl.inference import (
    BackendError,
    OpenAIBackend,
    PaCoRe,
    PaCoReConfig,
    Request,
    Sampling,
    Usage,
    complete,
)
from step3vl.inference.backend import collect
from step3vl.inference.pacore import AnswerDelta, Restarted

SAMPLING = Sampling(max_new_tokens=16, seed=5)


class Peer:
    """An independent server. `plan` says what the next requests meet: a status, "drop", "cut", "slow" or "error"."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.clients: set[tuple[str, int]] = set()
        self.left = 0
        self.running = 0
        self.thought_name: str | None = "reasoning_content"
        self.takes_n = "yes"  # or "ignores", "refuses"
        self.tokenizes = True
        self.continues = True
        self.thoughts: int | None = None
        self.answer = "Two."
        self.tools: list[dict[str, Any]] = []
        self.logprobs = False
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/chat/completions")(self.chat)
        self.app.post("/v1/completions")(self.complete)
        self.app.post("/tokenize")(self.tokenize)

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "peer", "object": "model", "max_model_len": 4096}]}

    async def tokenize(self, request: HttpRequest) -> Response:
        if not self.tokenizes:
            return JSONResponse({"detail": "Not Found"}, 404)
        body = await request.json()
        texts = [body["prompt"]] if "prompt" in body else [turn["content"] for turn in body["messages"]]
        ids = [ord(character) for text in texts for character in text]
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": 4096})

    async def complete(self, request: HttpRequest) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if not self.continues:
            return JSONResponse({"detail": "Not Found"}, 404)

        async def events():
            for index in range(body["n"]):
                for word in (" and", " so"):
                    logprobs = {
                        "tokens": [word],
                        "token_logprobs": [-0.5],
                        "top_logprobs": [{" or": -1.5, word: -0.5}],
                    }
                    own = {"index": index, "text": word, "logprobs": logprobs if "logprobs" in body else None}
                    yield b"data: " + json.dumps({"choices": [{**own, "finish_reason": None}]}).encode() + b"\n\n"
                end = {"index": index, "text": "", "finish_reason": "length"}
                yield b"data: " + json.dumps({"choices": [end]}).encode() + b"\n\n"
            usage = {"prompt_tokens": 3, "completion_tokens": 2 * body["n"]}
            yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def chat(self, request: HttpRequest) -> Response:
        self.clients.add(request.client)
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, int):
            return JSONResponse({"error": {"message": "not now"}}, step, {"Retry-After": "0"})
        if self.takes_n == "refuses" and body["n"] > 1:
            return JSONResponse({"error": {"message": "Only one completion choice is allowed"}}, 400)
        return StreamingResponse(self.events(body, step), media_type="text/event-stream")

    async def events(self, body: dict[str, Any], step: Any):
        def event(**fields: Any) -> bytes:
            return (
                b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", **fields}).encode() + b"\r\n\r\n"
            )

        def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
            own: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
            if self.logprobs and "content" in delta:
                likely = [{"token": "Two", "logprob": -0.5}, {"token": "No", "logprob": -1.5}]
                own["logprobs"] = {"content": [{"token": "Two", "logprob": -0.5, "top_logprobs": likely}]}
            return event(choices=[own])

        n = 1 if self.takes_n == "ignores" else body["n"]
        self.running += 1
        try:
            if step == "drop":
                raise RuntimeError("dropped")
            yield b": hello\n\n"
            for index in range(n):
                yield chunk(index, {"role": "assistant", "content": ""})
            for number in range(3 if step != "slow" else 10_000):
                for index in range(n):
                    if self.thought_name:
                        yield chunk(index, {self.thought_name: f"t{number}"})
                    else:
                        yield chunk(index, {"content": f"t{number}" + ("\n</think>\n" if number == 2 else "")})
                if step == "slow":
                    await asyncio.sleep(0.02)
            if step == "error":
                yield event(error={"message": "out of memory", "code": 500})
                return
            for index in range(n):
                yield chunk(index, {"content": self.answer})
                if step == "cut" and index == 0:
                    yield chunk(index, {}, "stop")
                    return
                for tool in self.tools:
                    yield chunk(index, {"tool_calls": [tool]})
                yield chunk(index, {}, "tool_calls" if self.tools else "stop")
            usage = {"prompt_tokens": 40, "completion_tokens": 7 * n, "total_tokens": 40 + 7 * n}
            if self.thoughts is not None:
                usage["completion_tokens_details"] = {"reasoning_tokens": self.thoughts * n}
            yield event(choices=[], usage=usage)
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.running -= 1


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, dict[str, Peer]]]:
    """A real server whose application each test replaces."""
    current: dict[str, Peer] = {}

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await current["peer"].app(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    own = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", current
    own.should_exit = True
    thread.join(10)


@pytest.fixture
def peer(server) -> Peer:
    server[1]["peer"] = Peer()
    return server[1]["peer"]


@pytest.fixture
def url(server) -> str:
    return server[0]


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
def test_a_thought_is_read_under_every_name(peer, url, name) -> None:
    peer.thought_name = name
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
def test_a_server_that_gives_one_at_a_time_is_asked_singly_with_other_seeds(peer, url, takes_n) -> None:
    peer.takes_n = takes_n

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
def test_what_fails_before_the_first_token_is_tried_again(peer, url, failure) -> None:
    peer.plan = [failure, failure]
    assert answers(url, ask(), n=2)[1].answer == "Two."
    assert len(peer.bodies) == 3
    assert peer.bodies[0] == peer.bodies[2]


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (401, 1), (404, 1), (413, 1), (503, 3)])
def test_a_refusal_keeps_its_status_and_words(peer, url, status, requests) -> None:
    peer.plan = [status] * 9
    with pytest.raises(BackendError, match=f"answered {status}: not now") as failure:
        answers(url, ask(), retries=2)
    assert failure.value.status == status
    assert failure.value.retryable == (status == 503)
    assert len(peer.bodies) == requests
    assert isinstance(failure.value, UserError)


def test_nothing_is_asked_again_once_tokens_have_come(peer, url) -> None:
    peer.plan = ["error"]
    with pytest.raises(BackendError, match="failed: out of memory") as failure:
        answers(url, ask())
    assert (failure.value.status, failure.value.retryable) == (500, True)
    peer.plan = ["cut"]
    with pytest.raises(BackendError, match="ended before it was finished"):
        answers(url, ask(), n=2)
    assert len(peer.bodies) == 2


def test_a_server_that_is_not_there_is_named() -> None:
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
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"within 0\.3 s") as failure:
        answers(url, ask(), deadline=0.3)
    assert failure.value.status == 504
    assert time.monotonic() - began < 5


def test_leaving_the_stream_ends_the_request_at_the_server(peer, url) -> None:
    peer.plan = ["slow"]

    async def leave() -> None:
        backend = OpenAIBackend(url)
        async with aclosing(backend.stream(ask(), SAMPLING, 4)) as deltas:
            async for _ in deltas:
                break
        for _ in range(200):
            if peer.left:
                break
            await asyncio.sleep(0.02)
        await backend.close()

    asyncio.run(leave())
    assert (peer.left, peer.running) == (1, 0)


def test_connections_are_used_again(peer, url) -> None:
    async def run() -> None:
        backend = OpenAIBackend(url)
        for _ in range(5):
            await complete(backend, ask(), SAMPLING)
        await backend.close()

    asyncio.run(run())
    assert len(peer.clients) == 1


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (30, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_travel_as_they_are_and_where_they_stand(peer, url) -> None:
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


def test_a_decoded_picture_is_encoded_once_as_long_as_it_lives(peer, url, monkeypatch) -> None:
    saved = []
    save = PILImage.Image.save
    monkeypatch.setattr(PILImage.Image, "save", lambda *args, **more: (saved.append(1), save(*args, **more)))
    picture = PILImage.new("RGB", (9, 7))
    request = Request((Message(role="user", content=(image(0), text("?"))),), (picture,))

    async def run() -> int:
        backend = OpenAIBackend(url)
        await PaCoRe(backend, PaCoReConfig(rounds=(3, 2), sampling=SAMPLING)).answer(request)
        await backend.close()
        return len(backend._pictures._urls)

    assert asyncio.run(run()) == 1
    assert len(saved) == 1
    assert len(peer.bodies) == 3


def test_pacore_keeps_the_picture_and_counts_by_round(peer, url) -> None:
    request = Request((Message(role="user", content=(image(0), text("How many?"))),), (Image.from_bytes(png()),))
    backend = OpenAIBackend(url)
    pacore = PaCoRe(backend, PaCoReConfig(rounds=(3, 2), sampling=SAMPLING, seed=9))
    for _ in range(2):  # the second on the connections of the first
        result = pacore.run(request)
    assert result.answer == "Two."
    assert result.usage == Usage(3 * 40, 7 * 6)
    assert [body["n"] for body in peer.bodies[:3]] == [3, 2, 1]
    assert [body["seed"] for body in peer.bodies[:3]] == [9, 10, 11]
    for body in peer.bodies[1:3]:
        content = body["messages"][-1]["content"]
        assert [item["type"] for item in content] == ["image_url", "text"]
        assert "Reference 1:\nTwo.\n" in content[1]["text"]
        assert "t0" not in content[1]["text"], "thoughts stay behind"
    assert [(one.prompt_tokens, one.completion_tokens) for one in result.trace.rounds] == [(40, 21), (40, 14), (40, 7)]


def test_pacore_asks_again_for_the_rollouts_that_were_lost(peer, url) -> None:
    peer.plan = ["cut"]
    result = PaCoRe(OpenAIBackend(url), PaCoReConfig(rounds=(3,), sampling=SAMPLING)).run(ask())
    assert [body["n"] for body in peer.bodies] == [3, 2, 1]
    assert peer.bodies[0]["seed"] != peer.bodies[1]["seed"]
    assert [completion.answer for completion in result.rounds[0]] == ["Two."] * 3
    assert result.trace.rounds[0].failures == [f"{url}/v1: the reply ended before it was finished"]


def test_an_answer_that_was_lost_on_its_way_is_drawn_anew(peer, url) -> None:
    peer.plan = [None, "error"]

    async def collect() -> list:
        backend = OpenAIBackend(url)
        async with aclosing(PaCoRe(backend, PaCoReConfig(rounds=(3,), sampling=SAMPLING)).stream(ask())) as events:
            found = [event async for event in events]
        await backend.close()
        return found

    events = asyncio.run(collect())
    restart = next(place for place, event in enumerate(events) if isinstance(event, Restarted))
    assert (events[restart].round, events[restart].indices) == (1, (0,))
    anew = "".join(event.delta.text for event in events[restart:] if isinstance(event, AnswerDelta))
    assert anew == "t0t1t2\n</think>\nTwo." == events[-1].result.rounds[-1][0].text
    assert len(events[-1].result.trace.rounds[-1].failures) == 1


def test_pacore_goes_on_with_the_minimum_and_fails_below_it(peer, url) -> None:
    config = PaCoReConfig(rounds=(3,), sampling=SAMPLING, retries=0)
    peer.plan = ["cut"]
    result = PaCoRe(OpenAIBackend(url), config).run(ask())
    assert [len(completions) for completions in result.rounds] == [1, 1]
    assert [one.finish_reason for one in result.trace.rounds[0].trajectories] == ["stop", "cancelled", "cancelled"]
    peer.plan = ["cut"]
    with pytest.raises(BackendError, match="ended before"):
        PaCoRe(OpenAIBackend(url), config.model_copy(update={"minimum": 2})).run(ask())


@pytest.mark.parametrize("tokenizes", [True, False])
def test_messages_are_cut_to_a_servers_context(peer, url, tokenizes) -> None:
    peer.tokenizes = tokenizes
    peer.answer = "a long answer " * 300
    backend = OpenAIBackend(url, context=2000)
    result = PaCoRe(backend, PaCoReConfig(rounds=(4,), sampling=SAMPLING)).run(ask())
    last = result.trace.rounds[-1]
    assert last.cut == 4
    sent = peer.bodies[-1]["messages"][-1]["content"]
    if tokenizes:  # its tokens are characters
        assert 1000 < len(sent) <= 2000 - 16
    assert all(message.endswith("answer") for message in last.messages)


def test_sampling_tools_and_history_are_said_in_openais_words(peer, url) -> None:
    sampling = Sampling(
        temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, repetition_penalty=1.2, presence_penalty=0.3,
        frequency_penalty=0.4, stop=("END",), logprobs=2, max_new_tokens=9,
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
        "frequency_penalty": 0.4, "stop": ["END"], "logprobs": True, "top_logprobs": 2, "max_tokens": 9,
        "tools": [tool], "chat_template_kwargs": {"a": 1}, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    assert {name: body[name] for name in expected} == expected
    assert "seed" not in body
    assert peer.headers[0]["authorization"] == "Bearer secret"
    system, _, called, one, two = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert called["reasoning_content"] == "hm"
    assert [call["function"] for call in called["tool_calls"]] == [
        {"name": "look", "arguments": '{"x": 1}'},
        {"name": "look", "arguments": "{}"},
    ]
    assert [one["tool_call_id"], two["tool_call_id"]] == [call["id"] for call in called["tool_calls"]]
    plain = peer.bodies
    answers(url, ask())
    assert not {"top_k", "min_p", "repetition_penalty", "presence_penalty", "stop", "logprobs", "tools"} & set(
        plain[1]
    )


def test_calls_of_tools_and_logprobs_come_back(peer, url) -> None:
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


def test_the_model_and_its_context_are_learned(peer, url) -> None:
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
def test_a_prompt_is_continued_by_the_servers_own_completions(peer, url, prompt) -> None:
    sampling = SAMPLING.model_copy(update={"logprobs": 1, "stop": ("END",)})
    completions = answers(url, Request(**prompt), n=2, sampling=sampling)
    assert [(one.text, one.finish_reason, one.prompt_tokens) for one in completions] == [(" and so", "length", 3)] * 2
    assert completions[0].token_logprobs[0].top == ((-1, " and", -0.5), (-1, " or", -1.5))
    (body,) = peer.bodies
    assert body["prompt"] == prompt.get("text", [5, 6])
    assert (body["n"], body["logprobs"], body["stop"], body["max_tokens"]) == (2, 1, ["END"], 16)
    assert not {"messages", "top_logprobs"} & set(body)


def test_a_prompt_that_a_server_cannot_continue_is_refused(peer, url) -> None:
    peer.continues = False
    with pytest.raises(BackendError, match="chat completions only") as failure:
        answers(url, Request(text="Once"))
    assert (failure.value.status, failure.value.retryable) == (501, False)
    with pytest.raises(BackendError, match="pictures in messages only") as failure:
        answers(url, Request(text="Once", images=(Image.from_bytes(png()),)))
    assert failure.value.status == 400


@pytest.mark.parametrize("takes_n", ["yes", "refuses"])
def test_thoughts_that_a_server_counts_are_handed_on(peer, url, takes_n) -> None:
    peer.thoughts, peer.takes_n = 4, takes_n

    async def run() -> Usage | None:
        backend = OpenAIBackend(url)
        _, usage = await collect(backend, ask(), SAMPLING, 3)
        await backend.close()
        return usage

    usage = asyncio.run(run())
    assert usage == Usage(40, 21)
    assert usage.reasoning_tokens == 12
