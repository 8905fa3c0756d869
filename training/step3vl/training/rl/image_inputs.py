"""The images of prompts as arguments of the model: features that all rollouts share, or pixels.

Each distinct image is prepared once and shared by all prompts that show it: the prompts of an episode show all its
screens so far, so that together they show the square of its steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from step3vl.data.sample import Image
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration

ImageInputs = dict[str, Tensor]
"""Arguments of the model's forward that carry images: `image_features`, or pixels and their counts."""

PromptImages = list[ImageInputs]
"""The arguments of each image of a prompt in order, after those of no image; to be concatenated by name."""


@torch.no_grad()
def encode_images(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLImageProcessor,
    images: Sequence[Sequence[Image]],
) -> list[PromptImages]:
    """Encode the images of prompts, each distinct image once.

    Args:
        model: A model with a vision encoder.
        processor: Its image processor.
        images: The images of each prompt.

    Returns:
        For each image of each prompt `image_features` [t, H]: its t image tokens, of the decoder's width H.
    """
    distinct = _distinct(images)
    encoded: dict[str, ImageInputs] = {}
    if distinct:
        pixels = processor([image.read() for image in distinct.values()])
        device = model.vit_large_projector.weight.device
        counts = pixels["num_patches"]
        training = model.training
        model.eval()  # in training the encoder would hold the activations of all images at once
        features = model.encode_images(
            pixels["pixel_values"].to(device), pixels["patch_pixel_values"].to(device), counts
        )
        model.train(training)
        tokens = counts * processor.spec.crop_tokens + processor.spec.image_tokens
        parts = features.split(tokens.tolist())
        encoded = {sha256: {"image_features": part} for sha256, part in zip(distinct, parts, strict=True)}
    empty = {"image_features": model.vit_large_projector.weight.new_zeros(0, model.config.hidden_size)}
    return [[empty, *(encoded[image.sha256] for image in prompt_images)] for prompt_images in images]


def preprocess_images(processor: Step3VLImageProcessor, images: Sequence[Sequence[Image]]) -> list[PromptImages]:
    """The pixels of the images of prompts, for a model whose vision encoder is trained; of each distinct image once.

    Args:
        processor: Image processor of the model.
        images: The images of each prompt.

    Returns:
        For each image of each prompt `pixel_values` [1, 3, S, S], `patch_pixel_values` [num_patches, 3, C, C] and
        `num_patches` [1].
    """
    spec = processor.spec
    empty = {
        "pixel_values": torch.zeros(0, 3, spec.image_size, spec.image_size),
        "patch_pixel_values": torch.zeros(0, 3, spec.crop_size, spec.crop_size),
        "num_patches": torch.zeros(0, dtype=torch.int64),
    }
    prepared: dict[str, ImageInputs] = {}
    for sha256, image in _distinct(images).items():
        pixels = processor([image.read()])
        prepared[sha256] = {name: pixels[name] for name in empty}
    return [[empty, *(prepared[image.sha256] for image in prompt_images)] for prompt_images in images]


def _distinct(images: Sequence[Sequence[Image]]) -> dict[str, Image]:
    """The distinct images of all prompts by their SHA-256, in the order in which they first appear."""
    return {image.sha256: image for prompt_images in images for image in prompt_images}
