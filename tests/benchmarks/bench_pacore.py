"""What a PaCoRe client costs itself for each call, against a server that answers at once from another process."""

import asyncio
import base64
import io
import json
import multiprocessing
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import numpy as np
from measure import Row, race
from PIL import Image as PILImage

from step3vl.data.sample import Image, Message, image, text
from step3vl.inference import OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.client import run_sync
from step3vl.inference.pacore import extract_conclusion, synthesis_request
from step3vl.inference.pacore.synthesis import shuffle_conclusions

ROLLOUTS = 16
QUESTIONS = {"text alone": 20, "an image of 1 MB": 4}  # questions in a timed run
ANSWER = "The total is 42."


def rows(rounds: int) -> list[Row]:
    table = []
    with served() as url:
        backend = OpenAIBackend(url, "none", context=100_000)
        for what, questions in QUESTIONS.items():
            request = make_request(what != "text alone")
            calls = questions * (ROLLOUTS + 1)
            seconds = race(
                {
                    "ours": lambda request=request, questions=questions: ours(backend, request, questions),
                    "peer": lambda request=request, questions=questions: peer(url, request, questions),
                },
                rounds,
            )
            note = (
                "a session and a connection for each call, body built each time, as the published client does; K = 16"
            )
            table.append(Row(f"PaCoRe, {what}", calls / seconds["ours"], calls / seconds["peer"], "calls/cpu-s", note))
            table.append(
                Row(
                    f"PaCoRe, {what}: client time",
                    1000 * seconds["ours"] / calls,
                    None,
                    "ms cpu a call",
                    f"less is better; the peer takes {1000 * seconds['peer'] / calls:.2f}",
                )
            )
        run_sync(backend.close())
    return table


def make_request(with_image: bool) -> Request:
    if not with_image:
        return Request((Message(role="user", content=(text("What is the total? " * 10),)),))
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (580, 580, 3), dtype=np.uint8)
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return Request(
        (Message(role="user", content=(image(0), text("What is the total?"))),), (Image.from_bytes(buffer.getvalue()),)
    )


def ours(backend: OpenAIBackend, request: Request, questions: int) -> list[str]:
    pacore = PaCoRe(backend, PaCoReConfig(rounds=(ROLLOUTS,), sampling=Sampling(max_new_tokens=64)))
    return [pacore.run(request).answer for _ in range(questions)]


def peer(url: str, request: Request, questions: int) -> list[str]:
    """The published client's way: every call alone, from its own session, the image in each of them."""

    async def call(messages: list[dict[str, Any]]) -> str:
        answer_text = ""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.post(
                f"{url}/v1/chat/completions",
                json={"model": "none", "messages": messages, "temperature": 1.0, "top_p": 1.0, "stream": True},
            ) as reply,
        ):
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        answer_text += choice["delta"].get("content") or ""
        return answer_text

    async def answer() -> str:
        first = await asyncio.gather(*(call(shaped(request)) for _ in range(ROLLOUTS)))
        messages = shuffle_conclusions(extract_conclusion(reply) for reply in first)
        return await call(shaped(synthesis_request(request, messages)))

    async def answer_all() -> list[str]:
        return [await answer() for _ in range(questions)]

    return asyncio.run(answer_all())


def shaped(request: Request) -> list[dict[str, Any]]:
    content = [
        {"type": "text", "text": part.text}
        if part.type == "text"
        else {"type": "image_url", "image_url": {"url": data_url(request.images[part.image])}}
        for part in request.messages[0].content
    ]
    return [{"role": "user", "content": content}]


def data_url(stored: Image) -> str:
    return f"data:image/{stored.format};base64,{base64.b64encode(stored.read()).decode()}"


@contextmanager
def served() -> Iterator[str]:
    """The address of the server, in a process whose time is not counted."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        process.kill()
        process.join()
        listener.close()


def _serve(listener: socket.socket) -> None:
    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Instant, sock=listener)
        await server.serve_forever()

    os.nice(1)
    random.seed(0)
    asyncio.run(forever())


class _Instant(asyncio.Protocol):
    """HTTP as far as both clients use it: a body of known length in, a streamed reply of n choices out."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.data = bytearray()

    def data_received(self, data: bytes) -> None:
        self.data += data
        end = self.data.find(b"\r\n\r\n", 0, 4096)
        if end < 0:
            return
        head = bytes(self.data[:end])
        fields = (line.partition(b":") for line in head.lower().split(b"\r\n"))
        length = next((int(value) for name, _, value in fields if name == b"content-length"), 0)
        if len(self.data) < end + 4 + length:
            return
        head_or_body = bytes(self.data[-200:] if length > 4096 else self.data)
        self.data.clear()
        self.reply(16 if b'"n":16' in head_or_body else 1)

    def reply(self, n: int) -> None:
        chunks = [
            {"choices": [{"index": index, "delta": {"content": ANSWER}, "finish_reason": None}]} for index in range(n)
        ]
        chunks += [{"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]} for index in range(n)]
        chunks.append({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 6 * n}})
        events = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(events)
        self.transport.write(head + events)
