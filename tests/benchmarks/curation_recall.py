"""How many planted duplicates and benchmark items a curation finds, by how they were edited, and its false finds.

    .venv/bin/python tests/benchmarks/curation_recall.py --texts 'texts/*.txt' --benchmarks 'items/*.jsonl.gz'

Texts are cut into documents of 300 words. Each gets copies in which a share of the words is replaced; the packaged
photographs get copies that are scaled, recompressed and cut. Benchmark items are planted in the documents as they are,
with other numbers, and edited. The figures are printed as Markdown.
"""

import argparse
import io
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.curation.benchmarks import Item, read_items
from step3vl.pipelines.curation.config import DecontaminateConfig, ImagesConfig, NearConfig
from step3vl.pipelines.curation.decontaminate import BenchmarkIndex, Decontaminator
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE, distances, hash_image
from step3vl.pipelines.curation.signatures import band_keys, signatures_of, similarities
from step3vl.pipelines.curation.words import hash_words, normalise

NEAR, IMAGES = NearConfig(), ImagesConfig()
EDITS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
PHOTOS = Path(__file__).parents[2] / "data" / "step3vl" / "data" / "assets" / "photos"
LENGTH = 300  # words of a document
NO_IMAGES = np.zeros(0, IMAGE_DTYPE)


def documents(patterns: list[str], limit: int) -> list[str]:
    """Documents of real words, no two of the same place."""
    texts: list[str] = []
    for pattern in patterns:
        for path in sorted(Path().glob(pattern)):
            if path.is_file():
                words = path.read_text(encoding="utf-8", errors="replace").split()
                texts += [" ".join(words[i : i + LENGTH]) for i in range(0, len(words) - LENGTH + 1, LENGTH)]
    return texts[:limit]


def replace_words(text: str, share: float, rng: random.Random) -> str:
    return " ".join(f"edit{rng.randrange(1000)}" if rng.random() < share else word for word in text.split())


def jaccard(first: str, second: str) -> float:
    sets = [set(zip(*(text.split()[i:] for i in range(NEAR.ngram)), strict=False)) for text in (first, second)]
    return len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))


def near_texts(texts: list[str]) -> None:
    print("\n| words replaced | mean Jaccard | pairs >= 0.8 | found of these | theory | found below 0.8 |")
    print("|---|---|---|---|---|---|")
    rng = random.Random(0)
    originals = [normalise(text) for text in texts]
    before = signatures_of(hash_words(originals), NEAR)
    for share in EDITS:
        copies = [replace_words(text, share, rng) for text in originals]
        truth = np.array([jaccard(*pair) for pair in zip(originals, copies, strict=True)])
        after = signatures_of(hash_words(copies), NEAR)
        candidates = (band_keys(before, NEAR) == band_keys(after, NEAR)).any(axis=1)
        matches = candidates & (similarities(before, after) >= NEAR.similarity)
        near = truth >= NEAR.similarity
        recall = f"{matches[near].mean():.3f}" if near.any() else "-"
        deviation = np.sqrt(np.maximum(truth * (1 - truth), 1e-9) / NEAR.slots)
        passes = np.array([NEAR.shared_band(s) for s in truth]) * _above((NEAR.similarity - truth) / deviation)
        theory = f"{passes[near].mean():.3f}" if near.any() else "-"
        wrong = f"{matches[~near].mean():.3f}" if (~near).any() else "-"
        print(f"| {share:.0%} | {truth.mean():.3f} | {near.sum()} | {recall} | {theory} | {wrong} |")
    keys = np.sort(band_keys(before, NEAR), axis=0)
    print(f"\n{len(texts)} different documents; bands with a key twice: {int((keys[1:] == keys[:-1]).sum())}")


def _above(values: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.sf(values))


def near_images() -> None:
    photos = {path.stem: PILImage.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))}
    originals = {name: hash_image(encode(photo)) for name, photo in photos.items()}
    edits: dict[str, Callable[[PILImage.Image], bytes]] = {
        "scaled to 50 %": lambda image: encode(image.resize((image.width // 2, image.height // 2))),
        "JPEG, quality 30": lambda image: encode(image, "JPEG", quality=30),
        "brighter by 20 %": lambda image: encode(image.point(lambda value: min(255, value * 6 // 5))),
        "grey": lambda image: encode(image.convert("L").convert("RGB")),
        "cut by 2 %": lambda image: encode(cut(image, 0.02)),
        "cut by 10 %": lambda image: encode(cut(image, 0.1)),
        "mirrored": lambda image: encode(image.transpose(PILImage.Transpose.FLIP_LEFT_RIGHT)),
    }
    print("\n| edit | images found | with structure |")
    print("|---|---|---|")
    structured = [name for name in photos if originals[name]["quality"] >= IMAGES.pdq_quality]
    for edit, make in edits.items():
        count = 0
        for name in structured:
            near, far = distances(originals[name], hash_image(make(photos[name])))
            count += near <= IMAGES.phash_radius and far <= IMAGES.pdq_radius
        print(f"| {edit} | {count} | {len(structured)} |")
    print(f"\nWithout structure, and so duplicates only by their pixels: {sorted(photos.keys() - set(structured))}")


def cut(image: PILImage.Image, share: float) -> PILImage.Image:
    return image.crop((int(image.width * share), int(image.height * share), image.width, image.height))


def encode(image: PILImage.Image, format: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def benchmark_items(texts: list[str], patterns: tuple[str, ...]) -> None:
    config = DecontaminateConfig(benchmarks=patterns)
    items = [item for item in read_items(config, str(Path.cwd()), DEFAULT_STORE) if item.text]
    index = BenchmarkIndex.of(items, config)
    search = Decontaminator(index, config, IMAGES)
    print(
        f"\n{len(items):,} items; {index.common:,} common n-grams left out; {index.unfindable:,} items cannot be found"
    )
    rng = random.Random(1)
    names = {item.name for item in items}
    ways: dict[str, Callable[[str], str]] = {
        "as it is": lambda text: text,
        "other numbers": lambda text: re.sub(r"\d+", lambda _: str(rng.randrange(2, 999)), text),
        **{f"{share:.0%} of the words replaced": lambda text, s=share: replace_words(text, s, rng) for share in EDITS},
    }
    print("\n| planted | items found | share |")
    print("|---|---|---|")
    for way, edit in ways.items():
        count = sum(hits for hits in _search(search, items, texts, edit))
        print(f"| {way} | {count:,} of {len(names):,} | {count / len(names):.3f} |")
    clean = search.check([normalise(text) for text in texts], [NO_IMAGES] * len(texts))
    wrong = [hit for hit in clean if hit is not None]
    print(f"\nFound in the {len(texts):,} documents without a planted item: {len(wrong)}")
    for hit in wrong[:5]:
        print(f"- {hit.item}, {hit.similarity:.0%} of it: {hit.detail[:80]}")


def _search(search: Decontaminator, items: list[Item], texts: list[str], edit: Callable[[str], str]) -> Iterator[bool]:
    for first in range(0, len(items), 500):
        part = items[first : first + 500]
        planted = [
            normalise(f"{texts[(first + number) % len(texts)]} {edit(item.text)}") for number, item in enumerate(part)
        ]
        yield from (hit is not None for hit in search.check(planted, [NO_IMAGES] * len(planted)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", default=["data/step3vl/data/assets/text/*.txt"], help="text files")
    parser.add_argument("--benchmarks", nargs="*", default=[], help="files of benchmark items")
    parser.add_argument("--documents", type=int, default=1000, help="at most so many (1000)")
    arguments = parser.parse_args()
    texts = documents(arguments.texts, arguments.documents)
    print(f"{len(texts)} documents of {LENGTH} words")
    near_texts(texts)
    near_images()
    if arguments.benchmarks:
        benchmark_items(texts, tuple(arguments.benchmarks))


if __name__ == "__main__":
    main()
