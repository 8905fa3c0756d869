"""How many crops of benchmark images are found by their tiles, by the share of the image that they show.

Each photograph of the package is cropped anywhere, scaled by 0.5 to 1.3, and compressed as JPEG of quality 50 to 90.

    python tests/benchmarks/crop_recall.py
"""

import io
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from step3vl.pipelines.curation.decontaminate import BENCHMARK_TILES, SAMPLE_TILES
from step3vl.pipelines.curation.tiles import TileIndex, tiles_of

PHOTOS = Path(__file__).parents[2] / "data/step3vl/data/assets/photos"
CROPS = 3  # of each photograph and share
AREAS = (1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1)


def crop(image: PILImage.Image, area: float, rng: random.Random) -> PILImage.Image:
    """A part of an image at another size, compressed."""
    width, height = (round(side * area**0.5) for side in image.size)
    x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    scale = rng.uniform(0.5, 1.3)
    part = image.crop((x, y, x + width, y + height)).resize((round(width * scale), round(height * scale)))
    buffer = io.BytesIO()
    part.save(buffer, "JPEG", quality=rng.randint(50, 90))
    return PILImage.open(buffer).convert("RGB")


def main() -> None:
    """Print a row for each share."""
    images = [PILImage.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    start = time.process_time()
    tiles = [tiles_of(image, BENCHMARK_TILES) for image in images]
    print(f"{len(images)} images, {1000 * (time.process_time() - start) / len(images):.0f} CPU-ms each")
    index = TileIndex(np.concatenate(tiles), np.array([len(each) for each in tiles]))
    rng = random.Random(0)
    for area in AREAS:
        correct = wrong = 0
        for number, image in enumerate(images):
            for _ in range(CROPS):
                match = index.find(tiles_of(crop(image, area, rng), SAMPLE_TILES))
                correct += match is not None and match[0] == number
                wrong += match is not None and match[0] != number
        print(f"{area:4.0%} of the area: {correct} of {CROPS * len(images)} found, {wrong} in another image")


if __name__ == "__main__":
    main()
