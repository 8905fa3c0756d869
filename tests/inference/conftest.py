"""A small engine with random weights, and requests with and without images."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from openai_peer import Peer
from PIL import Image

from step3vl.data.sample import ImageSpec, Message, image, text
from step3vl.data.tokens import TokenIds, train_bpe
from step3vl.inference import Engine, Request
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, tiny_config

SPEC = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=224)


def new_engine(seed: int = 0) -> Engine:
    tokenizer = train_bpe(["How many images do you see?", "There are two of them."] * 3, 400)
    ids = TokenIds.of(tokenizer)
    torch.manual_seed(seed)
    config = tiny_config(
        tokenizer.get_vocab_size(), SPEC, image_token_id=ids.image_patch, hidden_size=64, layers=2, vision_width=32,
        vision_layers=2, vision_heads=2,
    )  # fmt: skip
    config.text_config.initializer_range = 0.15  # so that prompts and images matter from the start
    return Engine(Step3VLForConditionalGeneration(config), Step3VLProcessor.build(tokenizer, SPEC))


@pytest.fixture(scope="session")
def engine() -> Engine:
    return new_engine()


@pytest.fixture
def fresh_engine() -> Engine:
    """For a test that changes it."""
    return new_engine()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="session", name="noise")
def noise_fixture():
    return noise


@pytest.fixture(scope="session")
def requests() -> list[Request]:
    """Prompts of different lengths: text alone, an image with crops, two images in another order than given."""
    return [
        Request((Message(role="user", content=(text("How many?"),)),)),
        Request((Message(role="user", content=(image(0), text("How many images do you see?"))),), (noise(150, 90),)),
        Request(
            (
                Message(role="system", content=(text("Count."),)),
                Message(role="user", content=(image(1), text(" and "), image(0))),
            ),
            (noise(40, 40, 1), noise(90, 150, 2)),
        ),
    ]


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session", name="png")
def png_fixture() -> Callable[..., bytes]:
    return png


@pytest.fixture(scope="module")
def peer_server(listening) -> Iterator[tuple[str, dict[str, Peer]]]:
    """The address of a real server, and the peer behind it, which each test replaces."""
    current: dict[str, Peer] = {}

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await current["peer"].app(scope, receive, send)

    with listening(app) as address:
        yield address, current


@pytest.fixture
def peer(peer_server) -> Peer:
    peer_server[1]["peer"] = Peer()
    return peer_server[1]["peer"]


@pytest.fixture
def url(peer_server) -> str:
    return peer_server[0]
