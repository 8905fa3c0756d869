"""Small datasets of given samples."""

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from step3vl.data.dataset import (
    MANIFEST,
    Counting,
    Dataset,
    LedgerStep,
    commit,
    shard_name,
    shard_of,
    split_of,
    write_shard,
)
from step3vl.data.sample import Image, ImageSpec, Sample, Source, TokenCount, conversation, image, text
from step3vl.data.tokens import TOKENIZER, fingerprint, train_bpe

SPEC = ImageSpec(image_size=112, crop_size=84, patch_size=7, max_side=448)


@pytest.fixture(scope="session")
def words() -> Callable[..., list[str]]:
    """words(seed, count): random words of a vocabulary of 20,000."""

    def words(seed: object, count: int) -> list[str]:
        rng = random.Random(f"words {seed}")
        return [f"w{rng.randrange(20_000)}" for _ in range(count)]

    return words


@pytest.fixture(scope="session")
def document() -> Callable[..., Sample]:
    """document(text, images=(), uri=..., scores=None): a sample without roles, its images first."""

    def document(
        words: str, images: Sequence[bytes] = (), uri: str = "test:text", scores: dict[str, float] | None = None
    ) -> Sample:
        return Sample.make(
            domain="text",
            task="text.document",
            content=(*(image(index) for index in range(len(images))), text(words)),
            images=tuple(Image.from_bytes(data) for data in images),
            source=Source(uri=uri, licence="CC0-1.0", collected_by="tests"),
            scores=scores,
        )

    return document


@pytest.fixture(scope="session")
def dialogue() -> Callable[..., Sample]:
    """dialogue(question, answer, images=()): a conversation."""

    def dialogue(question: str, answer: str, images: Sequence[bytes] = ()) -> Sample:
        parts = (*(image(index) for index in range(len(images))), text(question))
        return Sample.make(
            domain="vqa",
            task="vqa.open",
            messages=conversation(parts, answer),
            images=tuple(Image.from_bytes(data) for data in images),
            source=Source(uri="test:dialogue", licence="CC0-1.0", collected_by="tests"),
        )

    return dialogue


@pytest.fixture(scope="session")
def build() -> Callable[..., Dataset]:
    """build(folder, samples, shards=2, heldout=0.0): commit samples as a dataset, with made-up token counts."""
    tokenizer = train_bpe(["a small tokenizer for tests"], 320)

    def build(root: Path, samples: Sequence[Sample], shards: int = 2, heldout: float = 0.0) -> Dataset:
        (root / "tokenizer").mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(root / TOKENIZER))
        counted = sorted(
            (sample.model_copy(update={"tokens": TokenCount(text=9, image=0)}) for sample in samples),
            key=lambda sample: sample.id,
        )
        infos = []
        for split in ("train", "heldout"):
            for number in range(shards):
                part = [s for s in counted if split_of(s.id, heldout) == split and shard_of(s.id, shards) == number]
                if part:
                    infos.append(write_shard(root, shard_name("test", split, number, shards), split, part))
        return commit(
            root,
            name="test",
            shards=infos,
            ledger=[LedgerStep(name="build", read=len(samples), kept=len(samples))],
            counting=Counting(tokenizer=TOKENIZER, tokenizer_sha256=fingerprint(tokenizer), image=SPEC),
            config={},
            code_version="test",
        )

    return build


@pytest.fixture(scope="session")
def digest() -> Callable[[Path], dict[str, str]]:
    """digest(folder): the hash of every file of a dataset, by path.

    What builds keep to resume is left out, and the version of the code, which the card shows, too.
    """

    def digest(root: Path) -> dict[str, str]:
        manifest = json.loads((root / MANIFEST).read_text())
        del manifest["code_version"]
        files = {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and ".staging" not in path.parts and path.name not in (MANIFEST, "card.md", "card.html")
        }
        return {**files, MANIFEST: json.dumps(manifest)}

    return digest
