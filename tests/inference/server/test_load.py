"""Misbehaving clients and load: nothing hangs, nothing leaks, every response has the right status."""

import asyncio
import json
import random
import socket
import threading
import time
from collections import Counter

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.inference.engine import EngineBackend
from step3vl.inference.server import ServerConfig, generation
from step3vl.inference.server.admission import Admission
from step3vl.inference.server.errors import ApiError
from step3vl.inference.server.middleware import ByteBudget

pytestmark = pytest.mark.slow

CHAT = "/v1/chat/completions"


def body(user_message, **more):
    return {"model": "m", "messages": user_message("How many?"), **more}


def send_bytes(server, request: bytes) -> socket.socket:
    """A connection that has sent these bytes."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(request)
    return connection


def raw(server, payload, **headers) -> socket.socket:
    data = json.dumps(payload).encode()
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return send_bytes(server, "\r\n".join(lines).encode() + b"\r\n\r\n" + data)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["m", "m-pacore-low"])
def test_a_disconnected_client_frees_all_resources(ScriptedBackend, run_server, user_message, wait_for, stream, model):
    backend = ScriptedBackend(lambda request, index: "thinking</think>done", pause=0.01)
    backend.hold = True
    with run_server(backend) as server:
        connection = raw(server, body(user_message, stream=stream, model=model))
        assert wait_for(lambda: backend.running == 1)
        assert server.service.admission.running == 1
        connection.close()
        assert wait_for(lambda: backend.running == 0)
        assert wait_for(server.idle)
        assert b"step3vl_disconnects_total 1.0" in server.service.metrics.text()


def test_a_disconnected_client_frees_the_engines_rollouts(fresh_engine, run_server, user_message, wait_for):
    with run_server(EngineBackend(fresh_engine)) as server:
        connection = raw(server, body(user_message, stream=True, n=8, max_tokens=1500, temperature=0))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert fresh_engine._jobs
        connection.close()
        assert wait_for(lambda: not fresh_engine._jobs)
        assert wait_for(server.idle)


def test_a_queued_client_that_disconnects_frees_its_slot(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    backend.hold = True
    with run_server(backend, ServerConfig(concurrency=1)) as server:
        first = raw(server, body(user_message))
        assert wait_for(lambda: backend.running == 1)
        second = raw(server, body(user_message))
        third = raw(server, body(user_message))
        assert wait_for(lambda: server.service.admission.waiting == 2)
        second.close()
        assert wait_for(lambda: server.service.admission.waiting == 1)
        backend.hold = False
        for connection in (first, third):
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert wait_for(server.idle)
        assert len(backend.requests) == 2


def test_a_full_queue_refuses_requests(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    backend.hold = True
    with run_server(backend, ServerConfig(concurrency=2, queue=3)) as server, server.http() as http:
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(http.post(CHAT, json=body(user_message)))) for _ in range(9)
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


def test_too_many_open_requests_are_refused(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    backend.hold = True
    with run_server(backend, ServerConfig(connections=2)) as server, server.http() as http:
        waiting = [raw(server, body(user_message)) for _ in range(2)]
        assert wait_for(lambda: backend.running == 2)
        assert http.get("/health").status_code == 503
        backend.hold = False
        for connection in waiting:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert wait_for(lambda: http.get("/health").status_code == 200)


def test_a_silent_stream_sends_keep_alive_comments(ScriptedBackend, run_server, user_message, monkeypatch):
    monkeypatch.setattr(generation, "KEEP_ALIVE_SECONDS", 0.05)
    backend = ScriptedBackend(lambda request, index: "</think>done", pause=0.2)
    with run_server(backend) as server, server.http() as http:
        lines = http.post(CHAT, json=body(user_message, stream=True)).text.splitlines()
    assert ": still working" in lines
    assert lines[-2] == "data: [DONE]"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_beyond_the_timeout_is_cancelled(ScriptedBackend, run_server, user_message, wait_for, stream):
    backend = ScriptedBackend(lambda request, index: "</think>a long answer", pause=0.01)
    backend.hold = True
    with run_server(backend, ServerConfig(timeout=0.3)) as server, server.http() as http:
        reply = http.post(CHAT, json=body(user_message, stream=stream))
        if stream:
            assert reply.status_code == 200
            *_, last = [line for line in reply.text.splitlines() if line]
            error = json.loads(last.removeprefix("data: "))["error"]
        else:
            assert reply.status_code == 504
            error = reply.json()["error"]
        assert error["code"] == "timeout"
        assert wait_for(lambda: backend.running == 0)


def test_a_failure_during_a_stream_is_sent_as_an_event(ScriptedBackend, run_server, user_message):
    class Failing(ScriptedBackend):
        async def _stream(self, request, n, deltas):
            async for delta in super()._stream(request, n, deltas):
                yield delta
                raise RuntimeError("secret detail")

    with run_server(Failing(lambda request, index: "</think>a long answer")) as server, server.http() as http:
        reply = http.post(CHAT, json=body(user_message, stream=True))
        *_, last = [line for line in reply.text.splitlines() if line]
        assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
        whole = http.post(CHAT, json=body(user_message))
        assert whole.status_code == 500
        assert "secret" not in reply.text + whole.text


def test_too_large_requests_are_refused_with_a_reason(ScriptedBackend, run_server, user_message):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    with run_server(backend, ServerConfig(request_bytes=10_000)) as server, server.http() as http:
        for size, status in ((9_000, 200), (11_000, 413), (35_000, 413)):
            assert http.post(CHAT, json=body(user_message, user="x" * size)).status_code == status, size
        chunks = (b" " * 1000 for _ in range(30))  # without a Content-Length
        reply = http.post(CHAT, content=chunks, headers={"Content-Type": "application/json"})
        assert reply.status_code == 413
        assert reply.json()["error"]["code"] == "request_too_large"
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".encode()
        assert b" 413 " in send_bytes(server, head).recv(100)


def test_a_client_that_stops_sending_is_disconnected(ScriptedBackend, run_server):
    with run_server(ScriptedBackend(lambda request, index: ""), ServerConfig(stall=0.3)) as server:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode()
        assert b" 408 " in send_bytes(server, head).recv(100)
        for begun in (b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
            assert send_bytes(server, begun).recv(100) == b""
        again = send_bytes(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        reply = again.recv(1000)
        while not reply.endswith(b"}"):
            reply += again.recv(1000)
        again.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert again.recv(1000) == b""


def test_an_endless_request_head_is_refused(ScriptedBackend, run_server):
    with run_server(ScriptedBackend(lambda request, index: "")) as server:
        for endless in (b"a" * 200_000, b"a: b\r\n" * 30_000):
            assert b" 400 " in send_bytes(server, b"GET / HTTP/1.1\r\nX: " + endless).recv(100)


def test_a_client_that_stops_reading_is_disconnected(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>" + "many words " * 400_000)
    with run_server(backend, ServerConfig(stall=0.5)) as server:
        connection = raw(server, body(user_message, stream=True))
        assert wait_for(lambda: backend.running == 1)
        assert wait_for(lambda: backend.running == 0, 20)
        assert wait_for(server.idle)
        connection.close()


def test_many_good_and_bad_clients_at_once(ScriptedBackend, run_server, user_message, png, data_url, wait_for):
    """A short version of the load benchmark: good and bad requests at once, and nothing is left over."""
    backend = ScriptedBackend(lambda request, index: "thinking about it</think>the answer", pause=0.001)
    good, image = body(user_message), {"model": "m", "messages": user_message("See?", data_url(png()))}
    rng = random.Random(0)

    async def send(http, kind):
        if kind == "leave":
            async with http.stream("POST", CHAT, json={**good, "stream": True}) as reply:
                async for _ in reply.aiter_bytes():
                    break
            return 200
        request = {
            "whole": {"json": good},
            "stream": {"json": {**good, "stream": True}},
            "image": {"json": image},
            "pacore": {"json": {**good, "model": "m-pacore-low", "stream": True}},
            "hostile": {"json": {"model": "m", "messages": user_message("See?", data_url(b"x" * 1000))}},
            "broken": {"content": b"{", "headers": {"Content-Type": "application/json"}},
        }[kind]
        return (await http.post(CHAT, **request)).status_code

    expected = {
        "whole": 200,
        "stream": 200,
        "image": 200,
        "pacore": 200,
        "leave": 200,
        "hostile": 422,
        "broken": 400,
    }

    async def everything(root):
        kinds = [rng.choice(list(expected)) for _ in range(200)]
        limits = httpx.Limits(max_connections=32)
        async with httpx.AsyncClient(base_url=root, timeout=60, limits=limits) as http:
            return kinds, await asyncio.gather(*(send(http, kind) for kind in kinds))

    with run_server(backend, ServerConfig(concurrency=8)) as server:
        kinds, statuses = asyncio.run(everything(server.root))
        assert statuses == [expected[kind] for kind in kinds]
        assert wait_for(server.idle)
        assert wait_for(lambda: backend.running == 0)


def test_an_evaluation_at_full_concurrency_loses_no_request(ScriptedBackend, run_server, user_message, png, data_url):
    """As StepFun's PaCoRe client runs by default (500 questions x 4 rollouts, 1,024 at once), scaled down: every
    request is answered, and the bodies that wait stay within the buffer."""
    backend = ScriptedBackend(lambda request, index: "thinking</think>done", pause=0.001)
    request = {"model": "m", "messages": user_message("See?", data_url(png(100, 100)))}
    size = len(json.dumps(request))
    config = ServerConfig(concurrency=8, request_bytes=2 * size)  # so 16 bodies fit into the buffer

    async def everything(root):
        async with httpx.AsyncClient(base_url=root, timeout=60, limits=httpx.Limits(max_connections=256)) as http:
            replies = await asyncio.gather(*(http.post(CHAT, json=request) for _ in range(400)))
            return Counter(reply.status_code for reply in replies)

    with run_server(backend, config) as server:
        assert asyncio.run(everything(server.root)) == {200: 400}
        assert server.idle()
    defaults = ServerConfig()
    assert defaults.queue + defaults.concurrency > 1024
    assert defaults.connections > defaults.queue


def test_waiting_bodies_stay_within_their_budget():
    async def go():
        budget = ByteBudget(100)
        order, most = [], 0

        async def hold(name, size):
            nonlocal most
            await budget.reserve(size)
            most = max(most, 100 - budget.free)
            order.append(name)
            await asyncio.sleep(0.001)
            budget.release(size)

        tasks = [
            asyncio.ensure_future(hold(name, size))
            for name, size in zip("abcdefg", (60, 60, 0, 10, 90, 5, 100), strict=True)
        ]
        await asyncio.sleep(0)
        tasks[4].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order, most, budget.free

    order, most, free = asyncio.run(go())
    assert "".join(order) == "acbdfg"  # in order, without the client that left; who asks for nothing never waits
    assert (most, free) == (100, 100)


def test_slots_are_shared_between_keys():
    async def go():
        admission, order = Admission(1, 100), []

        async def request(key):
            async with admission.slot(key):
                order.append(key)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(key) for key in "aaaaaabbc"))
        return order, admission

    order, admission = asyncio.run(go())
    assert "".join(order[:6]) == "aabcab"
    assert (admission.running, admission.waiting) == (0, 0)


def test_a_flood_from_one_key_is_refused_to_that_key():
    async def go():
        admission = Admission(1, 3)
        results = []

        async def request(key):
            try:
                async with admission.slot(key):
                    await asyncio.sleep(0.01)
                results.append((key, 200))
            except ApiError as error:
                results.append((key, error.status))

        flood = [asyncio.ensure_future(request("a")) for _ in range(6)]
        await asyncio.sleep(0)
        await asyncio.gather(*flood, *(request(key) for key in "bc"))
        return sorted(results)

    results = asyncio.run(go())
    assert [status for key, status in results if key in "bc"] == [200, 200]
    assert [status for key, status in results if key == "a"].count(429) == 4


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["run", "leave"])), max_size=30), st.integers(1, 3))
def test_all_slots_are_released_whenever_a_client_disconnects(steps, limit):
    async def go():
        admission = Admission(limit, 5)

        async def request(key):
            async with admission.slot(key):
                await asyncio.sleep(0.001)

        tasks = []
        for key, step in steps:
            if step == "run" or not tasks:
                tasks.append(asyncio.ensure_future(request(key)))
            else:
                tasks[hash((key, len(tasks))) % len(tasks)].cancel()
            if len(tasks) % 3 == 0:
                await asyncio.sleep(0)
            assert admission.running <= limit
        await asyncio.gather(*tasks, return_exceptions=True)
        return admission

    admission = asyncio.run(go())
    assert (admission.running, admission.waiting, admission._free) == (0, 0, limit)


def test_a_drain_finishes_running_requests_and_refuses_new_ones(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    backend.hold = True
    with run_server(backend) as server, server.http() as http:
        running = raw(server, body(user_message))
        assert wait_for(lambda: backend.running == 1)
        assert http.get("/health").json() == {"status": "ok", "running": 1, "waiting": 0}
        server.service.drain()
        assert http.post(CHAT, json=body(user_message)).status_code == 503
        assert http.get("/health").status_code == 503
        server.server.handle_exit(15, None)
        time.sleep(0.1)
        backend.hold = False
        assert running.recv(100).startswith(b"HTTP/1.1 200")


def test_a_drain_has_a_time_limit(ScriptedBackend, run_server, user_message, wait_for):
    backend = ScriptedBackend(lambda request, index: "</think>done")
    backend.hold = True
    with run_server(backend) as server:
        running = raw(server, body(user_message))
        assert wait_for(lambda: backend.running == 1)
    assert server.idle()  # the server has stopped, although the answer never would have
    assert not running.recv(100).startswith(b"HTTP/1.1 200")


def test_metrics_count_requests_and_tokens(ScriptedBackend, run_server, user_message):
    with run_server(ScriptedBackend(lambda request, index: "</think>done")) as server, server.http() as http:
        http.post(CHAT, json=body(user_message))
        http.post(CHAT, json=body(user_message, model="other"))
        http.get("/some/path")
        text = http.get("/metrics").text
    assert f'step3vl_requests_total{{path="{CHAT}",status="200"}} 1.0' in text
    assert f'step3vl_requests_total{{path="{CHAT}",status="404"}} 1.0' in text
    assert 'step3vl_requests_total{path="other",status="404"} 1.0' in text
    assert 'step3vl_tokens_total{kind="prompt",model="m"} 9.0' in text
    assert "step3vl_running_requests 0.0" in text
