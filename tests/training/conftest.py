"""A small committed dataset of drawn pictures and texts, made once for all tests of the trainers."""

import io
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.crops import ImageSpec
from step3vl.data.dataset import Counting, ShardInfo, Split, commit, shard_name, write_shard
from step3vl.data.ledger import Step
from step3vl.data.sample import Image, Sample, Source, conversation, image, text
from step3vl.data.tokens import count_tokens, fingerprint, load_tokenizer, train_bpe
from step3vl.data.truth import TextTruth

SPEC = ImageSpec(image_size=28, crop_size=28, patch_size=7, max_side=84)
COLOURS = ("red", "green", "blue", "black")


def drawn(rng: random.Random, size: tuple[int, int]) -> tuple[Image, str]:
    """A picture with one coloured disc somewhere, and the name of the colour."""
    colour = rng.choice(COLOURS)
    picture = PILImage.new("RGB", size, "white")
    x, y = rng.randrange(size[0] - 10), rng.randrange(size[1] - 10)
    ImageDraw.Draw(picture).ellipse((x, y, x + 9, y + 9), fill=colour)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue()), colour


def make_samples(count: int, seed: int) -> list[Sample]:
    """A third each of picture questions (some with crops), sums in words, and documents with a picture."""
    rng = random.Random(seed)
    source = Source(uri=f"drawn:{seed}", licence="CC0-1.0", collected_by="tests")
    samples = []
    for number in range(count):
        if number % 3 == 0:
            picture, colour = drawn(rng, rng.choice([(28, 28), (40, 28), (70, 28)]))
            turns = conversation((image(0), text(f"Colour {number}?")), colour, reasoning="I look." * (number % 2))
            truth = TextTruth(text=colour)
            made = Sample.make(
                domain="vqa", task="vqa.colour", messages=turns, images=(picture,), truth=truth, source=source
            )
        elif number % 3 == 1:
            a, b = rng.randrange(100), rng.randrange(100)
            turns = conversation((text(f"{a}+{b}?"),), str(a + b))
            made = Sample.make(domain="education", task="education.sum", messages=turns, source=source)
        else:
            picture, colour = drawn(rng, (28, 28))
            made = Sample.make(
                domain="knowledge",
                task="knowledge.caption",
                content=(image(0), text(f"A {colour} disc, the {number}th.")),
                images=(picture,),
                source=source,
            )
        samples.append(made)
    return samples


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 samples to train on and 30 held out, with their own `tokenizer.json` beside the shards."""
    root = tmp_path_factory.mktemp("corpus")
    train_bpe(["red green blue black disc Colour I look."], 320).save(str(root / "tokenizer.json"))
    tokenizer = load_tokenizer(root)
    shards: list[ShardInfo] = []
    splits: list[tuple[Split, int, int]] = [("train", 150, 0), ("heldout", 30, 1)]
    for split, count, seed in splits:
        made = [s.model_copy(update={"tokens": count_tokens(s, tokenizer, SPEC)}) for s in make_samples(count, seed)]
        made.sort(key=lambda sample: sample.id)
        shards.append(write_shard(root, shard_name("drawn", split, 0, 1), split, made))
    commit(
        root,
        name="drawn",
        shards=shards,
        ledger=[Step(name="draw", read=180, kept=180)],
        counting=Counting(tokenizer="tokenizer.json", tokenizer_sha256=fingerprint(tokenizer), image=SPEC),
        config={},
        code_version="test",
    )
    return root


@pytest.fixture(scope="session")
def settings(corpus: Path) -> dict[str, Any]:
    """A run of eight steps with a small model, but for its `output`."""
    mixture = {"sources": [{"dataset": str(corpus)}]}
    return {
        "model": {
            "image": SPEC.model_dump(),
            "hidden_size": 32,
            "layers": 2,
            "vision_width": 32,
            "vision_layers": 2,
        },
        "tokenizer": str(corpus),
        "phases": [{"mixture": mixture, "steps": 8, "lr_start": 3e-3, "lr_end": 1e-3, "warmup_steps": 2}],
        "capacity": 128,
        "global_batch": 4,
        "micro_batch": 2,
        "processes": 2,
        "precision": "fp32",
        "checkpoint_every": 4,
    }


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as the only rank of a process group, which lives on until pytest ends."""
    from step3vl.training.engine import join
    from step3vl.training.launch import free_port

    names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**names, "MASTER_PORT": str(free_port())}.items():
        monkeypatch.setenv(name, value)
    join()


@pytest.fixture(scope="session")
def image_spec() -> ImageSpec:
    return SPEC
