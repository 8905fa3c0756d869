"""A complete model folder with random weights, for tests that need some model and not a good one."""

from pathlib import Path

import torch

from step3vl.data.sample import ImageSpec
from step3vl.data.tokens import TokenIds, train_bpe
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, save_checkpoint, tiny_config

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=112)


def write_tiny_model(folder: Path, text: str, vocabulary: int = 400) -> Path:
    """Write a model of one narrow layer on each side. Returns the folder.

    Args:
        folder: Where it goes.
        text: What its tokenizer is trained on.
        vocabulary: How many tokens it may have.
    """
    torch.manual_seed(0)
    tokenizer = train_bpe([text], vocabulary)
    config = tiny_config(
        tokenizer.get_vocab_size(),
        SPEC,
        image_token_id=TokenIds.of(tokenizer).image_patch,
        hidden_size=32,
        layers=1,
        vision_width=32,
        vision_layers=1,
        max_position_embeddings=16384,
    )
    save_checkpoint(Step3VLForConditionalGeneration(config), Step3VLProcessor.build(tokenizer, SPEC), folder)
    return folder
