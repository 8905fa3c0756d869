"""A real model with random weights and a small dataset of questions, made once."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import Counting, Split, commit, shard_name, write_shard
from step3vl.data.ledger import Step
from step3vl.data.sample import Image, Sample, Source, TokenCount, conversation, image, text
from step3vl.data.truth import CountTruth, PointTruth, Truth

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=112)


def png(place: int) -> bytes:
    """A yellow square at a place on blue."""
    canvas = PILImage.new("RGB", (56, 56), "#7aa6d8")
    ImageDraw.Draw(canvas).rectangle((place, place, place + 12, place + 12), fill="#f4d35e")
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return buffer.getvalue()


def question(number: int) -> Sample:
    """Even numbers ask for a count, odd ones for a place."""
    place = 4 + number * 13 % 36
    x1, x2 = 1000 * place // 56, 1000 * (place + 12) // 56
    truth: Truth = CountTruth(count=1)
    task, asked, answer = "counting", "How many squares are there?", "1"
    if number % 2:
        truth = PointTruth(boxes=((x1, x1, x2, x2),))
        task, asked, answer = "grounding.point", "Point to the square.", json.dumps({"point_2d": [x1 + 100, x1 + 100]})
    sample = Sample.make(
        domain="demo",
        task=task,
        images=(Image.from_bytes(png(place)),),
        truth=truth,
        messages=conversation((image(0), text(f"{asked} ({number})")), answer),
        source=Source(uri=f"made:{number}", licence="CC0-1.0", collected_by="test"),
    )
    return sample.model_copy(update={"tokens": TokenCount(text=20, image=18)})


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed dataset of 8 held-out and 12 training questions, with a contact sheet."""
    out = tmp_path_factory.mktemp("corpus")
    splits: dict[Split, range] = {"heldout": range(8), "train": range(8, 20)}
    shards = [
        write_shard(
            out, shard_name("demo", split, 0, 1), split, sorted(map(question, numbers), key=lambda one: one.id)
        )
        for split, numbers in splits.items()
    ]
    commit(
        out,
        name="demo",
        shards=shards,
        ledger=[Step(name="filter", read=21, kept=20, dropped={"too small": 1})],
        counting=Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=SPEC),
        config={},
        code_version="0",
    )
    (out / "contact_sheet.png").write_bytes(png(3))
    return out


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model with random weights."""
    import torch

    from step3vl.data.tokens import TokenIds, train_bpe
    from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, save_checkpoint, tiny_config

    torch.manual_seed(0)
    tokenizer = train_bpe(["How many squares are there? Point to the square."], 320)
    config = tiny_config(
        tokenizer.get_vocab_size(),
        SPEC,
        image_token_id=TokenIds.of(tokenizer).image_patch,
        hidden_size=32,
        layers=1,
        vision_width=32,
        vision_layers=1,
    )
    out = tmp_path_factory.mktemp("model")
    save_checkpoint(Step3VLForConditionalGeneration(config), Step3VLProcessor.build(tokenizer, SPEC), out)
    return out
