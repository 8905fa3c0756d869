"""The same questions to vLLM and to our engine; one vLLM at a time."""

import asyncio
import base64
import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image
from vllm_server import CONTEXT, DEMO, NAME, serve, write_released, write_tiny

from step3vl.data.sample import ImagePart, Message, image, text
from step3vl.inference import Engine, Request, Sampling
from step3vl.inference.client import OpenAIBackend
from step3vl.inference.server.app import create_app
from step3vl.model import load_model

torch.set_num_threads(1)


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft noise."""
    values = np.random.default_rng(seed).integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def data_url(source: Image.Image) -> str:
    buffer = io.BytesIO()
    source.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def as_openai(messages: Sequence[Message], images: Sequence[Image.Image]) -> list[dict]:
    """A conversation in the format of the chat completions API."""
    return [
        {
            "role": message.role,
            "content": [
                {"type": "image_url", "image_url": {"url": data_url(images[part.image])}}
                if isinstance(part, ImagePart)
                else {"type": "text", "text": part.text}
                for part in message.content
            ],
        }
        for message in messages
    ]


def user_message(*parts: object) -> tuple[Message, ...]:
    """One question; numbers are images."""
    return (Message(role="user", content=tuple(text(x) if isinstance(x, str) else image(x) for x in parts)),)


@dataclass(frozen=True)
class Pair:
    """The same checkpoint in our engine and in a vLLM at `url`."""

    engine: Engine
    url: str

    def ours(self, messages: Sequence[Message], images: Sequence[Image.Image], tokens: int) -> tuple[list, list]:
        """Ids of the prompt and of the greedy answer."""
        request = Request(messages, images)
        [[answer]] = self.engine.generate([request], sampling=Sampling(temperature=0, max_new_tokens=tokens))
        assert answer.prompt_tokens == len(self.engine.tokenize(request))
        return self.engine.submit(request, Sampling(max_new_tokens=1)).prompt.ids.tolist(), answer.token_ids

    def theirs(self, messages: Sequence[Message], images: Sequence[Image.Image], tokens: int) -> tuple[list, list]:
        """The same. vLLM knows no `suppress_tokens`, so image tokens are excluded by a bias."""
        body = {
            "model": NAME,
            "messages": as_openai(messages, images),
            "temperature": 0,
            "max_tokens": tokens,
            "return_token_ids": True,
            "logit_bias": {str(int(index)): -100 for index in self.engine.suppressed_token_ids},
        }
        reply = httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=300)
        assert reply.status_code == 200, reply.text
        return reply.json()["prompt_token_ids"], reply.json()["choices"][0]["token_ids"]

    def agree(self, messages: Sequence[Message], sizes: Sequence[tuple[int, int]], tokens: int = 12) -> None:
        """Both read the same prompt and give the same greedy tokens."""
        images = [photograph(*size, seed) for seed, size in enumerate(sizes)]
        our_prompt, our_answer = self.ours(messages, images, tokens)
        their_prompt, their_answer = self.theirs(messages, images, tokens)
        assert their_prompt == our_prompt
        assert their_answer == our_answer


def _pair(folder: Path, work: Path, *, plugin: bool) -> Iterator[Pair]:
    engine = Engine(*load_model(folder, dtype=torch.float32))
    with serve(folder, work / "vllm.log", plugin=plugin) as url:
        yield Pair(engine, url)
    engine.close()


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The released layout, served by vLLM as it is: our plugin is off."""
    work = tmp_path_factory.mktemp("released")
    yield from _pair(write_released(work / "model"), work, plugin=False)


@pytest.fixture(scope="module")
def gateway(released: Pair) -> Iterator[str]:
    """`step3vl serve --backend` before the vLLM of `released`: under the vLLM's name for its model, and as "front"."""
    backends = {name: OpenAIBackend(released.url, NAME, context=CONTEXT) for name in (NAME, "front")}
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(backends), log_level="warning", lifespan="on"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    with contextlib.closing(listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The demo's export if it has run, else random weights of its layout; its image sizes need our plugin."""
    work = tmp_path_factory.mktemp("demo")
    folder = DEMO if (DEMO / "config.json").is_file() else write_tiny(work / "model")
    yield from _pair(folder, work, plugin=True)


@pytest.fixture(scope="session", name="photograph")
def photograph_fixture() -> Callable[..., Image.Image]:
    return photograph


@pytest.fixture(scope="session", name="as_openai")
def as_openai_fixture() -> Callable[..., list[dict]]:
    return as_openai


@pytest.fixture(scope="session", name="user_message")
def asked_fixture() -> Callable[..., tuple[Message, ...]]:
    return user_message
