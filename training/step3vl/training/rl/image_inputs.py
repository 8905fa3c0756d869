"""The images of prompts as arguments of the model: features that all rollouts share, or pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from step3vl.data.sample import Image
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration

ImageInputs = dict[str, Tensor]
"""Arguments of the model's forward that carry images: `image_features`, or pixels and their counts."""


@torch.no_grad()
def encode_images(
    model: Step3VLForConditionalGeneration,
    processor: Step3VLImageProcessor,
    images: Sequence[Sequence[Image]],
) -> list[ImageInputs]:
    """Encode the images of prompts, each distinct image once.

    Args:
        model: A model with a vision encoder.
        processor: Its image processor.
        images: The images of each prompt.

    Returns:
        For each prompt `image_features` [t, H]: the t image tokens of its images, of the decoder's width H.
    """
    distinct = {image.sha256: image for prompt_images in images for image in prompt_images}
    encoded: dict[str, Tensor] = {}
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
        encoded = dict(zip(distinct, features.split(tokens.tolist()), strict=True))
    empty = model.vit_large_projector.weight.new_zeros(0, model.config.hidden_size)
    return [
        {"image_features": torch.cat([empty, *(encoded[image.sha256] for image in prompt_images)])}
        for prompt_images in images
    ]


def preprocess_images(processor: Step3VLImageProcessor, images: Sequence[Sequence[Image]]) -> list[ImageInputs]:
    """The pixels of the images of each prompt, for a model whose vision encoder is trained.

    Args:
        processor: Image processor of the model.
        images: The images of each prompt.

    Returns:
        For each prompt of n images `pixel_values` [n, 3, S, S], `patch_pixel_values` [sum(num_patches), 3, C, C] and
        `num_patches` [n].
    """
    spec, inputs = processor.spec, []
    for prompt_images in images:
        if prompt_images:
            pixels = processor([image.read() for image in prompt_images])
            inputs.append({name: pixels[name] for name in ("pixel_values", "patch_pixel_values", "num_patches")})
        else:
            inputs.append(
                {
                    "pixel_values": torch.zeros(0, 3, spec.image_size, spec.image_size),
                    "patch_pixel_values": torch.zeros(0, 3, spec.crop_size, spec.crop_size),
                    "num_patches": torch.zeros(0, dtype=torch.int64),
                }
            )
    return inputs
