"""A real HTTP server that speaks chat completions, well or badly, as a test tells it to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from step3vl.data.sample import Image
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.render.style import plain

Behaviour = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """One request. What the server does with it is the next behaviour of its script, or an answer."""

    server: "ChatServer"
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.send(200 if self.server.is_up else 503, {"data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.headers_seen.append(dict(self.headers))
            self.server.times.append(time.monotonic())
            self.server.active += 1
            self.server.most_active = max(self.server.most_active, self.server.active)
            behaviour = self.server.script.pop(0) if self.server.script else self.server.otherwise
        try:
            behaviour(self, body)
        finally:
            with self.server.lock:
                self.server.active -= 1

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def completion(
    text: Any, ending: str = "stop", prompt_tokens: int = 100, completion_tokens: int = 10
) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": ending}
    return {"model": "judge-1", "choices": [choice], "usage": usage}


def answer(text: Any, ending: str = "stop") -> Behaviour:
    return lambda handler, body: handler.send(200, completion(text, ending))


def refuse(status: int, message: str = "no", **headers: str) -> Behaviour:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, body: handler.send(status, {"error": {"message": message}}, named)


def garble(data: bytes) -> Behaviour:
    return lambda handler, body: handler.send(200, data)


def cut(handler: Handler, body: dict[str, Any]) -> None:
    """Promise more bytes than come."""
    data = json.dumps(completion("never whole")).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data) + 50))
    handler.end_headers()
    handler.wfile.write(data)
    handler.close_connection = True


def hang_up(handler: Handler, body: dict[str, Any]) -> None:
    """Close the connection without a word."""
    handler.close_connection = True
    handler.connection.close()


def drip(handler: Handler, body: dict[str, Any]) -> None:
    """Send a byte now and then, which no time limit for a single read notices."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    handler.close_connection = True


def wait(seconds: float, text: str = "late") -> Behaviour:
    def behaviour(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        try:
            handler.send(200, completion(text))
        except OSError:
            handler.close_connection = True

    return behaviour


class ChatServer(ThreadingHTTPServer):
    """The server, with what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.script: list[Behaviour] = []
        """What it does with the next requests, in their order."""
        self.otherwise: Behaviour = answer("a grey square")
        """What it does with all others."""
        self.is_up = True
        self.bodies: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.times: list[float] = []
        self.active = self.most_active = 0

    answer = staticmethod(answer)
    refuse = staticmethod(refuse)
    garble = staticmethod(garble)
    wait = staticmethod(wait)
    cut = staticmethod(cut)
    drip = staticmethod(drip)
    hang_up = staticmethod(hang_up)

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *args: Any) -> None:
        """A client that went away is no news."""


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A running server."""
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def grey() -> Image:
    """A small image."""
    return encode_jpeg(plain((40, 30), (128, 128, 128)))
