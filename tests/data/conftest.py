"""A small real dataset on disk, and the released vocabulary."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as PILImage
from tokenizers import Tokenizer

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.ledger import LedgerStep
from step3vl.data.dataset.manifest import Counting
from step3vl.data.dataset.sharding import shard_name, shard_of, split_of
from step3vl.data.dataset.writer import commit, write_shard
from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.crops import ImageSpec
from step3vl.data.sample.parts import Image, image, text
from step3vl.data.sample.sample import Sample, Source, TokenCount
from step3vl.data.sample.truth import CountTruth
from step3vl.data.tokens.encoding import count_tokens
from step3vl.data.tokens.vocabulary import fingerprint, load_tokenizer, train_bpe

SPEC = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)
SOURCE = Source(uri="test:rendered", licence="CC0-1.0", collected_by="tests")


def encoded_image(colour: tuple[int, int, int], size: tuple[int, int] = (32, 24), format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, format)
    return buffer.getvalue()


def make_sample(number: int, with_images: bool = True) -> Sample:
    images = (Image.from_bytes(encoded_image((number % 256, number // 256, 7))),) if with_images else ()
    question = (*((image(0),) if with_images else ()), text(f"How many? {'x ' * (number % 7)}"))
    return Sample.make(
        domain="counting",
        task="counting.icons" if with_images else "education.sum",
        messages=conversation(question, str(number)),
        images=images,
        truth=CountTruth(count=number),
        source=SOURCE,
    )


@pytest.fixture(scope="session", name="encoded_image")
def encoded_image_fixture() -> Callable[..., bytes]:
    """encoded_image(colour, size, format): the bytes of an image of a single colour."""
    return encoded_image


@pytest.fixture(scope="session", name="make_sample")
def make_sample_fixture() -> Callable[..., Sample]:
    return make_sample


@pytest.fixture(scope="session")
def counted_samples() -> Callable[[int], list[Sample]]:
    """counted_samples(number): in the order of a shard, every third of text only, all of the same token counts."""

    def make(number: int) -> list[Sample]:
        samples = (make_sample(index, with_images=index % 3 != 0) for index in range(number))
        return sorted(
            (sample.model_copy(update={"tokens": TokenCount(text=9, image=2)}) for sample in samples),
            key=lambda sample: sample.id,
        )

    return make


@pytest.fixture(scope="session")
def build_dataset() -> Callable[..., Dataset]:
    """build(path, samples, shards): count, shard and commit."""

    def build(root: Path, samples: list[Sample], shards: int = 2) -> Dataset:
        tokenizer = train_bpe(["How many? x x x 0 1 2"], 400)
        (root / "tokenizer").mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(root / "tokenizer" / "tokenizer.json"))
        counted = [s.model_copy(update={"tokens": count_tokens(s, tokenizer, SPEC)}) for s in samples]
        infos = []
        for split in ("train", "heldout"):
            for number in range(shards):
                part = [s for s in counted if split_of(s.id, 0.2) == split and shard_of(s.id, shards) == number]
                part.sort(key=lambda sample: sample.id)
                infos.append(write_shard(root, shard_name("test", split, number, shards), split, part))
        return commit(
            root,
            name="test",
            shards=infos,
            ledger=[LedgerStep(name="build", read=len(samples), kept=len(samples))],
            counting=Counting(
                tokenizer="tokenizer/tokenizer.json", tokenizer_sha256=fingerprint(tokenizer), image=SPEC
            ),
            config={"seed": 0},
            code_version="test",
        )

    return build


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, build_dataset: Callable[..., Dataset]) -> Dataset:
    """120 samples, every third of text only."""
    samples = [make_sample(number, with_images=number % 3 != 0) for number in range(120)]
    return build_dataset(tmp_path_factory.mktemp("data") / "set", samples)


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, build_dataset: Callable[..., Dataset]) -> Dataset:
    """A dataset of 40 samples to read, copy or scan; nothing writes to it."""
    samples = [make_sample(number, with_images=number % 3 != 0) for number in range(40)]
    return build_dataset(tmp_path_factory.mktemp("verify") / "set", samples)


@pytest.fixture(scope="session")
def qwen3() -> Tokenizer:
    return load_tokenizer("qwen3")
