"""Tiles: crops are found in their image whatever their place and size, and other images are not."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.dataset import Dataset
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.benchmarks import Item
from step3vl.pipelines.curation.config import CurationConfig, DecontaminateConfig, ImagesConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.decontaminate import NO_HASHES, BenchmarkIndex, Decontaminator, Look
from step3vl.pipelines.curation.tiles import TILE, TileIndex, match_tiles, tiles_of

PHOTOS = Path("data/step3vl/data/assets/photos")
WORDS = ("the", "of", "and", "water", "light", "answer", "house", "seven", "question", "table", "green")
NAMES = ("astronaut", "brick", "camera", "chelsea", "coffee")


def photo(name: str) -> PILImage.Image:
    with PILImage.open(PHOTOS / f"{name}.jpg") as opened:
        return opened.convert("RGB")


def recompressed(image: PILImage.Image, quality: int) -> PILImage.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return PILImage.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def crop(image: PILImage.Image, area: float, rng: random.Random) -> PILImage.Image:
    """A part of an image anywhere in it, at another size, compressed again."""
    width, height = (round(side * area**0.5) for side in image.size)
    x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    scale = rng.uniform(0.6, 1.3)
    part = image.crop((x, y, x + width, y + height)).resize((round(width * scale), round(height * scale)))
    return recompressed(part, rng.randint(60, 90))


@pytest.fixture(scope="module")
def index() -> TileIndex:
    tiles = [tiles_of(photo(name), 128) for name in NAMES]
    return TileIndex(np.concatenate(tiles), np.array([len(each) for each in tiles]))


@pytest.mark.parametrize("area", [0.8, 0.4, 0.25])
def test_crops_are_found_in_their_image(index: TileIndex, area: float) -> None:
    rng = random.Random(f"crop {area}")
    results = [index.find(tiles_of(crop(photo(name), area, rng), 96)) for name in NAMES]
    correct = sum(match is not None and match[0] == number for number, match in enumerate(results))
    assert correct >= 4
    assert all(match is None or match[0] == number for number, match in enumerate(results))


def test_other_images_and_pages_with_equal_words_are_not(index: TileIndex) -> None:
    for name in ("gravel", "hubble", "rocket", "clock"):
        assert index.find(tiles_of(photo(name), 96)) is None
    pages = []
    for seed in (1, 2):
        rng = random.Random(seed)
        page = PILImage.new("RGB", (400, 500), "white")
        canvas = ImageDraw.Draw(page)
        for line in range(22):
            words = [rng.choice(WORDS) for _ in range(9)]
            canvas.text((20, 10 + 22 * line), "Chapter 3. Exercises" if line == 0 else " ".join(words), fill="black")
        pages.append(tiles_of(page, 96))
    assert match_tiles(*pages) is None


def test_an_image_without_structure_has_no_tiles() -> None:
    blank = tiles_of(PILImage.new("RGB", (300, 200), "white"), 96)
    assert len(blank) == 0
    assert match_tiles(blank, blank) is None
    assert TileIndex(np.zeros(0, TILE), np.zeros(0, np.int64)).find(blank) is None


def test_a_sample_with_a_crop_of_a_benchmark_image_is_contaminated() -> None:
    buffer = io.BytesIO()
    photo("chelsea").save(buffer, "PNG")
    config = DecontaminateConfig(benchmarks=("x",), crops=True, ocr=True)
    items = [Item("photo", image=buffer.getvalue()), Item("text", "Which month is the hottest in Cape Town?")]
    index = BenchmarkIndex.load(BenchmarkIndex.of(items, config).dump())
    decontaminator = Decontaminator(index, config, ImagesConfig())
    part = crop(photo("chelsea"), 0.5, random.Random(1))
    looks = [
        Look([tiles_of(part, 96)]),
        Look([tiles_of(photo("coffee"), 96)]),
        Look([], "1. which month is the hottest in cape town?"),
    ]
    hits = decontaminator.check(["a text"] * 3, [NO_HASHES] * 3, looks)
    assert hits[0] is not None
    assert (hits[0].item, hits[0].detail[:28]) == ("photo", "an image that shares a part:")
    assert hits[1] is None
    assert hits[2] is not None
    assert (hits[2].item, hits[2].detail) == (
        "text",
        "read in an image: which month is the hottest in cape town?",
    )


@pytest.mark.slow
def test_of_a_captioned_image_and_its_crop_the_image_is_kept(
    tmp_path: Path, document: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    def png(image: PILImage.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return buffer.getvalue()

    rng = random.Random(3)
    part = png(crop(photo("chelsea"), 0.5, rng))
    samples = [
        document("A cat looks at us.", [png(photo("chelsea"))], uri="whole"),
        document("A cat looks at us.", [part], uri="crop"),
        document("Its fur is striped.", [part], uri="another caption"),
        document("A cat looks at us.", [png(photo("coffee"))], uri="another image"),
    ]
    dataset = build(tmp_path / "in", samples)
    curated = curate([dataset.url], tmp_path / "out", CurationConfig(images=ImagesConfig(crops=True)))
    assert {sample.source.uri for sample in curated.samples()} == {"whole", "another caption", "another image"}
    steps = {step.name: step for step in curated.manifest.ledger}
    assert steps["curate.crops"].dropped == {"crop": 1}
    (row,) = pq.read_table(tmp_path / "out" / "evidence").to_pylist()
    ids = {sample.source.uri: sample.id for sample in samples}
    assert (row["id"], row["matched_id"]) == (ids["crop"], ids["whole"])
