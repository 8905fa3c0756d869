"""A real server on a real port, over the small engine or over a backend with scripted replies."""

import asyncio
import base64
import io
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from openai import OpenAI
from PIL import Image

from step3vl.inference.client import Backend, BackendError, Delta, DeltaStream, Request, Sampling, Usage
from step3vl.inference.engine import EngineBackend
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.serve import DrainingServer, listen, make_server

Reply = str | BackendError


class ScriptedBackend:
    """A backend whose replies are a function of the request and the rollout, sent a few characters at a time.

    `running` counts streams that have not ended. With `hold` set, a stream pauses before its last piece.
    """

    def __init__(self, reply: Callable[[Request, int], Reply], context: int | None = 1000, pause: float = 0.0):
        self.name = "scripted"
        self.context = context
        self.reply = reply
        self.pause = pause
        self.hold = False
        self.running = 0
        self.requests: list[tuple[Request, Sampling, int]] = []

    async def tokenize(self, request: Request) -> list[int] | None:
        """One token for each character."""
        texts = [getattr(part, "text", "") for turn in request.messages for part in turn.content]
        return [ord(character) for text in [request.text or "", *texts] for character in text]

    async def close(self) -> None:
        self.running = 0

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        self.requests.append((request, sampling, n))
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request, n, deltas))

    async def _stream(self, request: Request, n: int, deltas: DeltaStream) -> AsyncGenerator[Delta, None]:
        self.running += 1
        try:
            replies = [self.reply(request, index) for index in range(n)]
            pieces = [[text[at : at + 7] for at in range(0, len(text), 7)] for text in map(_text, replies)]
            for step in range(max(map(len, pieces))):
                await asyncio.sleep(self.pause)
                for index, reply_pieces in enumerate(pieces):
                    while self.hold and step == len(reply_pieces) - 1:
                        await asyncio.sleep(0.01)
                    if step < len(reply_pieces):
                        last = step == len(reply_pieces) - 1
                        yield Delta(index, reply_pieces[step], [step], None, "stop" if last else None)
            deltas.tokens = [len(reply_pieces) for reply_pieces in pieces]
            deltas.usage = Usage(len(await self.tokenize(request) or ()), sum(map(len, pieces)))
        finally:
            self.running -= 1


def _text(reply: Reply) -> str:
    if isinstance(reply, BackendError):
        raise reply
    return reply


class RunningServer:
    """A running server: its address, its service, and clients for it."""

    def __init__(self, server: DrainingServer, port: int):
        self.server = server
        self.service = server.config.app.state.service
        self.root = f"http://127.0.0.1:{port}"
        self.port = port

    def openai(self, key: str = "none") -> OpenAI:
        return OpenAI(base_url=f"{self.root}/v1", api_key=key, max_retries=0, timeout=60)

    def http(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.root, timeout=60, **options)

    def idle(self) -> bool:
        return self.service.admission.running == 0 and self.service.admission.waiting == 0


@contextmanager
def run_server(backend: Backend, config: ServerConfig | None = None, name: str = "m") -> Iterator[RunningServer]:
    config = config or ServerConfig()
    listener = listen("127.0.0.1", 0, config.stall)
    server = make_server({name: backend}, config, drain=2)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield RunningServer(server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
        listener.close()


@pytest.fixture(scope="session", name="run_server")
def run_server_fixture() -> Callable:
    return run_server


@pytest.fixture(scope="session", name="ScriptedBackend")
def scripted_fixture() -> type[ScriptedBackend]:
    return ScriptedBackend


@pytest.fixture(scope="session")
def engine_server(engine: object) -> Iterator[RunningServer]:
    """The small engine behind a server; tests must not change it."""
    with run_server(EngineBackend(engine)) as running:
        yield running


def png(width: int = 60, height: int = 40, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="session", name="png")
def png_fixture() -> Callable[..., bytes]:
    return png


@pytest.fixture(scope="session", name="data_url")
def data_url_fixture() -> Callable[..., str]:
    return data_url


@pytest.fixture(scope="session")
def user_message() -> Callable[..., list[dict]]:
    """The messages of a chat with a single user turn: images, then text."""

    def messages(text: str, *urls: str) -> list[dict]:
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]

    return messages


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    for _ in range(int(seconds * 100)):
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


@pytest.fixture(scope="session", name="wait_for")
def wait_for_fixture() -> Callable[..., bool]:
    return wait_for
