"""A real model with random weights and a small dataset of questions, made once."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.dataset import Counting, LedgerStep, Split, commit, shard_name, write_shard
from step3vl.data.sample import (
    CountTruth,
    Image,
    ImageSpec,
    PointTruth,
    Sample,
    Source,
    TokenCount,
    Truth,
    conversation,
    image,
    text,
)

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=112)


def png(offset: int) -> bytes:
    """A yellow square on blue."""
    canvas = PILImage.new("RGB", (56, 56), "#7aa6d8")
    ImageDraw.Draw(canvas).rectangle((offset, offset, offset + 12, offset + 12), fill="#f4d35e")
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG")
    return buffer.getvalue()


def question(number: int) -> Sample:
    """Even numbers ask for a count, odd ones for a position."""
    offset = 4 + number * 13 % 36
    x1, x2 = 1000 * offset // 56, 1000 * (offset + 12) // 56
    truth: Truth = CountTruth(count=1)
    task, prompt, answer = "counting", "How many squares are there?", "1"
    if number % 2:
        truth = PointTruth(boxes=((x1, x1, x2, x2),))
        task, prompt, answer = (
            "grounding.point",
            "Point to the square.",
            json.dumps({"point_2d": [x1 + 100, x1 + 100]}),
        )
    sample = Sample.make(
        domain="demo",
        task=task,
        images=(Image.from_bytes(png(offset)),),
        truth=truth,
        messages=conversation((image(0), text(f"{prompt} ({number})")), answer),
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
            out, shard_name("demo", split, 0, 1), split, sorted(map(question, numbers), key=lambda sample: sample.id)
        )
        for split, numbers in splits.items()
    ]
    commit(
        out,
        name="demo",
        shards=shards,
        ledger=[LedgerStep(name="filter", read=21, kept=20, dropped={"too small": 1})],
        counting=Counting(tokenizer="qwen3", tokenizer_sha256="0" * 64, image=SPEC),
        config={},
        code_version="0",
    )
    (out / "contact_sheet.png").write_bytes(png(3))
    return out


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model with random weights."""
    from tiny_model import write_tiny_model

    question = "How many squares are there? Point to the square."
    return write_tiny_model(tmp_path_factory.mktemp("model"), question, vocabulary=320)
