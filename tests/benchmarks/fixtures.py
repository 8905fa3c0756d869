"""Samples, images and datasets that the benchmarks work on, made from seeds."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image as PILImage
from tokenizers import Tokenizer

from step3vl.data.dataset import Counting, Dataset, LedgerStep, commit, shard_name, write_shard
from step3vl.data.sample import Image, ImageSpec, Sample, Source, TokenCount, conversation, image, text
from step3vl.data.tokens import fingerprint, train_bpe

SPEC = ImageSpec(image_size=64, crop_size=48, patch_size=8, max_side=256)  # of the tiny model
_MEMORY = Path("/dev/shm")


@contextmanager
def folder(memory: bool = True) -> Iterator[Path]:
    """A folder that is removed afterwards, in memory where that is wanted and the system has such a place."""
    with TemporaryDirectory(dir=_MEMORY if memory and _MEMORY.is_dir() else None) as path:
        yield Path(path)


def noise(width: int, height: int, seed: int) -> PILImage.Image:
    return PILImage.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def photograph(width: int, height: int, seed: int) -> PILImage.Image:
    """Noise that is smooth over some 20 pixels: its JPEG is about as large as a photograph's."""
    return noise(width // 20, height // 20, seed).resize((width, height), PILImage.Resampling.BICUBIC)


def jpeg(photo: PILImage.Image) -> Image:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return Image.from_bytes(buffer.getvalue())


def question(number: int, images: tuple[Image, ...], tokens: TokenCount | None = None) -> Sample:
    """A conversation; its token count is the given one."""
    image_parts = tuple(image(index) for index in range(len(images)))
    made = Sample.make(
        domain="vqa" if images else "education",
        task="vqa.noise" if images else "education.sum",
        messages=conversation((*image_parts, text(f"What is the grey of region {number}?")), str(number % 256)),
        images=images,
        source=Source(uri=f"made:{number}", licence="CC0-1.0", collected_by="tests"),
    )
    return made.model_copy(update={"tokens": tokens})


def small_tokenizer() -> Tokenizer:
    return train_bpe(["What is the grey of region 0 1 2 3 4 5 6 7 8 9 ?"], 400)


def dataset(root: Path, samples: list[Sample], tokenizer: Tokenizer) -> Dataset:
    """The samples, committed as one shard to train on."""
    tokenizer.save(str(root / "tokenizer.json"))
    ordered = sorted(samples, key=lambda sample: sample.id)
    shard = write_shard(root, shard_name("made", "train", 0, 1), "train", ordered)
    return commit(
        root,
        name="made",
        shards=[shard],
        ledger=[LedgerStep(name="make", read=len(samples), kept=len(samples))],
        counting=Counting(tokenizer="tokenizer.json", tokenizer_sha256=fingerprint(tokenizer), image=SPEC),
        config={},
        code_version="benchmark",
    )
