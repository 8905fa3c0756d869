"""What clients do wrong: nothing hangs, nothing leaks, every reply has a right status."""

import asyncio
import json
import random
import socket
import threading
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.inference.backend import EngineBackend
from step3vl.inference.server import ServerConfig, answer
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.errors import ApiError

CHAT = "/v1/chat/completions"


def body(asked, **more):
    return {"model": "m", "messages": asked("How many?"), **more}


def speak(server, request: bytes) -> socket.socket:
    """A connection that has sent these bytes."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(request)
    return connection


def raw(server, payload, **headers) -> socket.socket:
    data = json.dumps(payload).encode()
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return speak(server, "\r\n".join(lines).encode() + b"\r\n\r\n" + data)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["m", "m-pacore-low"])
def test_a_client_that_leaves_frees_everything(Scripted, serving, asked, wait_for, stream, model):
    backend = Scripted(lambda request, index: "thinking</think>done", pause=0.01)
    backend.hold = True
    with serving(backend) as server:
        connection = raw(server, body(asked, stream=stream, model=model))
        assert wait_for(lambda: backend.running == 1)
        assert server.service.admission.running == 1
        connection.close()
        assert wait_for(lambda: backend.running == 0)
        assert wait_for(server.idle)
        assert b"step3vl_disconnects_total 1.0" in server.service.metrics.text()


def test_a_client_that_leaves_frees_the_engines_rows(fresh_engine, serving, asked, wait_for):
    with serving(EngineBackend(fresh_engine)) as server:
        connection = raw(server, body(asked, stream=True, n=8, max_tokens=1500, temperature=0))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert fresh_engine._jobs
        connection.close()
        assert wait_for(lambda: not fresh_engine._jobs)
        assert wait_for(server.idle)


def test_a_client_that_leaves_while_it_waits_gives_its_turn_away(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>done")
    backend.hold = True
    with serving(backend, ServerConfig(concurrency=1)) as server:
        first = raw(server, body(asked))
        assert wait_for(lambda: backend.running == 1)
        second = raw(server, body(asked))
        third = raw(server, body(asked))
        assert wait_for(lambda: server.service.admission.waiting == 2)
        second.close()
        assert wait_for(lambda: server.service.admission.waiting == 1)
        backend.hold = False
        for connection in (first, third):
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert wait_for(server.idle)
        assert len(backend.requests) == 2


def test_a_flood_is_told_to_wait(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>done")
    backend.hold = True
    with serving(backend, ServerConfig(concurrency=2, queue=3)) as server, server.http() as http:
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(http.post(CHAT, json=body(asked)))) for _ in range(9)
        ]
        for thread in threads:
            thread.start()
        assert wait_for(lambda: len(replies) == 4)
        assert {reply.status_code for reply in replies} == {429}
        assert replies[0].headers["retry-after"] == "1"
        assert replies[0].json()["error"]["code"] == "queue_full"
        backend.hold = False
        for thread in threads:
            thread.join(10)
        assert sorted(reply.status_code for reply in replies) == [200] * 5 + [429] * 4


def test_too_many_open_requests_are_refused_at_once(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>done")
    backend.hold = True
    with serving(backend, ServerConfig(connections=2)) as server, server.http() as http:
        waiting = [raw(server, body(asked)) for _ in range(2)]
        assert wait_for(lambda: backend.running == 2)
        assert http.get("/health").status_code == 503
        backend.hold = False
        for connection in waiting:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert wait_for(lambda: http.get("/health").status_code == 200)


def test_a_silent_stream_says_that_it_lives(Scripted, serving, asked, monkeypatch):
    monkeypatch.setattr(answer, "QUIET", 0.05)
    backend = Scripted(lambda request, index: "</think>done", pause=0.2)
    with serving(backend) as server, server.http() as http:
        lines = http.post(CHAT, json=body(asked, stream=True)).text.splitlines()
    assert ": still working" in lines
    assert lines[-2] == "data: [DONE]"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_ended(Scripted, serving, asked, wait_for, stream):
    backend = Scripted(lambda request, index: "</think>a long answer", pause=0.01)
    backend.hold = True
    with serving(backend, ServerConfig(timeout=0.3)) as server, server.http() as http:
        reply = http.post(CHAT, json=body(asked, stream=stream))
        if stream:
            assert reply.status_code == 200
            *_, last = [line for line in reply.text.splitlines() if line]
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert reply.status_code == 504
            error = reply.json()["error"]
        assert error["code"] == "timeout"
        assert wait_for(lambda: backend.running == 0)


def test_an_answer_that_fails_midway_says_so_in_the_stream(Scripted, serving, asked):
    class Failing(Scripted):
        async def _stream(self, request, n, deltas):
            async for delta in super()._stream(request, n, deltas):
                yield delta
                raise RuntimeError("secret detail")

    with serving(Failing(lambda request, index: "</think>a long answer")) as server, server.http() as http:
        reply = http.post(CHAT, json=body(asked, stream=True))
        *_, last = [line for line in reply.text.splitlines() if line]
        assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
        whole = http.post(CHAT, json=body(asked))
        assert whole.status_code == 500
        assert "secret" not in reply.text + whole.text


def test_a_request_that_is_too_large_hears_why(Scripted, serving, asked):
    backend = Scripted(lambda request, index: "</think>done")
    with serving(backend, ServerConfig(request_bytes=10_000)) as server, server.http() as http:
        for size, status in ((9_000, 200), (11_000, 413), (35_000, 413)):
            assert http.post(CHAT, json=body(asked, user="x" * size)).status_code == status, size
        chunks = (b" " * 1000 for _ in range(30))  # without a Content-Length
        reply = http.post(CHAT, content=chunks, headers={"Content-Type": "application/json"})
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "request_too_large"
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".encode()
        assert b" 413 " in speak(server, head).recv(100)


def test_a_client_that_sends_nothing_more_is_let_go(Scripted, serving):
    with serving(Scripted(lambda request, index: ""), ServerConfig(stall=0.3)) as server:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()
        assert b" 408 " in speak(server, head).recv(100)
        for begun in (b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
            assert speak(server, begun).recv(100) == b""
        again = speak(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = again.recv(1000)
        while not reply.endswith(b"}"):
            reply += again.recv(1000)
        again.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert again.recv(1000) == b""


def test_a_head_that_has_no_end_is_refused(Scripted, serving):
    with serving(Scripted(lambda request, index: "")) as server:
        for endless in (b"a" * 200_000, b"a: b\r\n" * 30_000):
            assert b" 400 " in speak(server, b"GET / HTTP/1.1\r\nX: " + endless).recv(100)


def test_a_reader_that_does_not_read_is_let_go(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>" + "many words " * 400_000)
    with serving(backend, ServerConfig(stall=0.5)) as server:
        connection = raw(server, body(asked, stream=True))
        assert wait_for(lambda: backend.running == 1)
        assert wait_for(lambda: backend.running == 0, 20)
        assert wait_for(server.idle)
        connection.close()


def test_many_clients_that_do_all_of_it(Scripted, serving, asked, png, data_url, wait_for):
    """A short form of the load benchmark: good and bad requests at once, and afterwards nothing is left."""
    backend = Scripted(lambda request, index: "thinking about it</think>the answer", pause=0.001)
    good, picture = body(asked), {"model": "m", "messages": asked("See?", data_url(png()))}
    rng = random.Random(0)

    async def one(http, kind):
        if kind == "leave":
            async with http.stream("POST", CHAT, json={**good, "stream": True}) as reply:
                async for _ in reply.aiter_bytes():
                    break
            return 200
        request = {
            "whole": {"json": good},
            "stream": {"json": {**good, "stream": True}},
            "picture": {"json": picture},
            "pacore": {"json": {**good, "model": "m-pacore-low", "stream": True}},
            "hostile": {"json": {"model": "m", "messages": asked("See?", data_url(b"x" * 1000))}},
            "broken": {"content": b"{", "headers": {"Content-Type": "application/json"}},
        }[kind]
        return (await http.post(CHAT, **request)).status_code

    expected = {
        "whole": 200,
        "stream": 200,
        "picture": 200,
        "pacore": 200,
        "leave": 200,
        "hostile": 422,
        "broken": 400,
    }

    async def everything(root):
        kinds = [rng.choice(list(expected)) for _ in range(200)]
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(base_url=root, timeout=60, limits=limits) as http:
            return kinds, await asyncio.gather(*(one(http, kind) for kind in kinds))

    with serving(backend, ServerConfig(concurrency=8)) as server:
        kinds, statuses = asyncio.run(everything(server.root))
        assert statuses == [expected[kind] for kind in kinds]
        assert wait_for(server.idle)
        assert wait_for(lambda: backend.running == 0)


def test_places_are_shared_between_keys():
    async def go():
        admission, order = Admission(1, 100), []

        async def one(key):
            async with admission.place(key):
                order.append(key)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(key) for key in "aaaaaabbc"))
        return order, admission

    order, admission = asyncio.run(go())
    assert "".join(order[:6]) == "aabcab"
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_flood_of_one_key_is_refused_to_that_key():
    async def go():
        admission = Admission(1, 3)
        results = []

        async def one(key):
            try:
                async with admission.place(key):
                    await asyncio.sleep(0.01)
                results.append((key, 200))
            except ApiError as error:
                results.append((key, error.status))

        flood = [asyncio.ensure_future(one("a")) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.gather(*flood, *(one(key) for key in "bc"))
        return sorted(results)

    results = asyncio.run(go())
    assert [status for key, status in results if key in "bc"] == [200, 200]
    assert [status for key, status in results if key == "a"].count(429) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["run", "leave"])), max_size=30), st.integers(1, 3))
def test_whoever_leaves_when_all_places_come_back(steps, limit):
    async def go():
        admission = Admission(limit, 5)

        async def one(key):
            async with admission.place(key):
                await asyncio.sleep(0.001)

        tasks = []
        for key, step in steps:
            if step == "run" or not tasks:
                tasks.append(asyncio.ensure_future(one(key)))
            else:
                tasks[hash((key, len(tasks))) % len(tasks)].cancel()
            if len(tasks) % 3 == 0:
                await asyncio.sleep(0)
            assert admission.running <= limit
        await asyncio.gather(*tasks, return_exceptions=True)
        return admission

    admission = asyncio.run(go())
    assert (admission.running, admission.waiting, admission._free) == (0, 0, limit)


def test_a_drain_finishes_what_runs_and_refuses_the_rest(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>done")
    backend.hold = True
    with serving(backend) as server, server.http() as http:
        running = raw(server, body(asked))
        assert wait_for(lambda: backend.running == 1)
        assert http.get("/health").json() == {"status": "ok", "running": 1, "waiting": 0}
        server.service.drain()
        assert http.post(CHAT, json=body(asked)).status_code == 503
        assert http.get("/health").status_code == 503
        server.server.handle_exit(15, None)
        time.sleep(0.1)
        backend.hold = False
        assert running.recv(100).startswith(b"HTTP/1.1 200")


def test_a_drain_has_an_end(Scripted, serving, asked, wait_for):
    backend = Scripted(lambda request, index: "</think>done")
    backend.hold = True
    with serving(backend) as server:
        running = raw(server, body(asked))
        assert wait_for(lambda: backend.running == 1)
    assert server.idle()  # the server has ended, although the answer never would have
    assert not running.recv(100).startswith(b"HTTP/1.1 200")


def test_metrics_tell_what_happened(Scripted, serving, asked):
    with serving(Scripted(lambda request, index: "</think>done")) as server, server.http() as http:
        http.post(CHAT, json=body(asked))
        http.post(CHAT, json=body(asked, model="other"))
        http.get("/some/path")
        text = http.get("/metrics").text
    assert f'step3vl_requests_total{{path="{CHAT}",status="200"}} 1.0' in text
    assert f'step3vl_requests_total{{path="{CHAT}",status="404"}} 1.0' in text
    assert 'step3vl_requests_total{path="other",status="404"} 1.0' in text
    assert 'step3vl_tokens_total{kind="prompt",model="m"} 9.0' in text
    assert "step3vl_running_requests 0.0" in text
