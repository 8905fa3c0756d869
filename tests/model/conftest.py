"""A small vocabulary, a small model with random weights, and images of noise."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from step3vl.data.sample import Image as EncodedImage
from step3vl.data.sample import ImageSpec, Sample, Source, conversation, text
from step3vl.data.sample import image as image_part
from step3vl.data.tokens import TokenIds, train_bpe
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, tiny_config

SPEC = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=224)
TEXTS = ["How many images do you see?", "There are two of them, one red and one blue.", "Count the shapes."]


@pytest.fixture(scope="session")
def spec() -> ImageSpec:
    return SPEC


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_bpe(TEXTS * 3, 400)


@pytest.fixture(scope="session")
def processor(tokenizer: Tokenizer) -> Step3VLProcessor:
    return Step3VLProcessor.build(tokenizer, SPEC)


def small_model(vocab_size: int, image_token_id: int) -> Step3VLForConditionalGeneration:
    """Two narrow layers on each side, with weights large enough that every mistake shows."""
    torch.manual_seed(0)
    config = tiny_config(
        vocab_size, SPEC, image_token_id=image_token_id, hidden_size=64, layers=2, vision_width=32, vision_layers=2,
        vision_heads=2,
    )  # fmt: skip
    config.text_config.initializer_range = 0.15
    return Step3VLForConditionalGeneration(config).eval()


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Step3VLForConditionalGeneration:
    """Shared by all tests: read it, never train it."""
    return small_model(tokenizer.get_vocab_size(), TokenIds.of(tokenizer).image_patch)


@pytest.fixture
def fresh_model(tokenizer: Tokenizer) -> Step3VLForConditionalGeneration:
    """The same weights, for a test that changes them."""
    return small_model(tokenizer.get_vocab_size(), TokenIds.of(tokenizer).image_patch)


def with_images_rows(
    model: Step3VLForConditionalGeneration, spec: ImageSpec, rows: int, length: int, seed: int = 0
) -> dict[str, Tensor]:
    """Rows of random text, each with an image of one global view and two crops after its third token."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(0, 256, (rows, length), generator=generator)
    patches = 2 * spec.crop_tokens + spec.image_tokens
    input_ids[:, 3 : 3 + patches] = model.config.image_token_id
    return {
        "input_ids": input_ids,
        "pixel_values": torch.randn(rows, 3, spec.image_size, spec.image_size, generator=generator),
        "patch_pixel_values": torch.randn(2 * rows, 3, spec.crop_size, spec.crop_size, generator=generator),
        "num_patches": torch.full((rows,), 2),
    }


@pytest.fixture(scope="session", name="with_images")
def with_images_fixture() -> Callable[..., dict[str, Tensor]]:
    return with_images_rows


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="session", name="noise")
def noise_fixture():
    return noise


def sample_with(reasoning: str) -> Sample:
    """A conversation about one image, with its answer."""
    buffer = io.BytesIO()
    noise(150, 90).save(buffer, "PNG")
    return Sample.make(
        domain="counting",
        task="counting.shapes",
        source=Source(uri="test:noise", licence="CC0-1.0", collected_by="tests"),
        messages=conversation((image_part(0), text("How many images do you see?")), "There are two.", reasoning),
        images=(EncodedImage.from_bytes(buffer.getvalue()),),
    )


@pytest.fixture(scope="session")
def make_sample():
    return sample_with
