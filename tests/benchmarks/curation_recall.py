"""How many planted duplicates, benchmark items and faults a curation finds, by how they were made, and its errors.

    .venv/bin/python tests/benchmarks/curation_recall.py --texts 'texts/*.txt' --benchmarks 'items/*.jsonl.gz'

Texts are cut into documents of 300 words. Each gets copies in which a share of the words is replaced; the packaged
photographs get copies that are scaled, recompressed and cut. Benchmark items are planted in the documents as they are,
with other numbers, and edited. Faults that filters look for are planted in documents and photographs, too. The figures
are printed as Markdown.
"""

import argparse
import io
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zxingcpp
from PIL import Image as PILImage
from PIL import ImageFilter
from stdnum import luhn

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.curation.benchmarks import Item, read_items
from step3vl.pipelines.curation.config import DecontaminateConfig, ImagesConfig, NearConfig
from step3vl.pipelines.curation.decontaminate import BenchmarkIndex, Decontaminator
from step3vl.pipelines.curation.filters.markup import FormattingFilter
from step3vl.pipelines.curation.filters.personal_data import mask_text
from step3vl.pipelines.curation.filters.pixels import BlankFilter, BlurFilter, QrFilter
from step3vl.pipelines.curation.filters.repetition import RepetitionFilter
from step3vl.pipelines.curation.filters.texts import LanguageFilter
from step3vl.pipelines.curation.filters.view import Filter, SampleView
from step3vl.pipelines.curation.filters.words import C4Filter, GopherFilter
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


def benchmark_items(texts: list[str], patterns: tuple[str, ...], others: tuple[str, ...]) -> None:
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
    _look("documents without a planted item", texts, search)
    if others:
        config = DecontaminateConfig(benchmarks=others)
        questions = dict.fromkeys(item.text for item in read_items(config, str(Path.cwd()), DEFAULT_STORE))
        _look("questions of other benchmarks, some of which are the same", [*filter(None, questions)], search)


def _look(name: str, texts: list[str], search: Decontaminator) -> None:
    """Search texts in which nothing was planted."""
    hits = search.check([normalise(text) for text in texts], [NO_IMAGES] * len(texts))
    wrong = [(text, hit) for text, hit in zip(texts, hits, strict=True) if hit is not None]
    edited = [(text, hit) for text, hit in wrong if hit.detail.startswith("edited: ")]
    print(f"\nFound in {len(texts):,} {name}: {len(wrong)}, of which {len(edited)} as edited items")
    for text, hit in edited[:5]:
        print(f"- {text[:80]!r}: {hit.similarity:.0%} of {hit.item}, {hit.detail[:80]!r}")


def _search(search: Decontaminator, items: list[Item], texts: list[str], edit: Callable[[str], str]) -> Iterator[bool]:
    for first in range(0, len(items), 500):
        part = items[first : first + 500]
        planted = [
            normalise(f"{texts[(first + number) % len(texts)]} {edit(item.text)}") for number, item in enumerate(part)
        ]
        yield from (hit is not None for hit in search.check(planted, [NO_IMAGES] * len(planted)))


def filters(texts: list[str]) -> None:
    """Plant a fault for each filter, and look what it finds with the fault, and without it."""
    rng = random.Random(2)
    photos = [PILImage.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    words = [text.split() for text in texts]
    planted: list[tuple[str, Filter, list[SampleView], list[SampleView]]] = []

    def plant_texts(name: str, filter: Filter, edit: Callable[[list[str]], str]) -> None:
        clean = [view(" ".join(part)) for part in words]
        planted.append((name, filter, [view(edit(part)) for part in words], clean))

    def plant_images(name: str, filter: Filter, edit: Callable[[PILImage.Image], PILImage.Image]) -> None:
        clean = [view("A photograph.", photo) for photo in photos]
        planted.append((name, filter, [view("A photograph.", edit(photo)) for photo in photos], clean))

    plant_texts("gopher: a tenth of `#` and `...`", GopherFilter(), lambda part: " ".join(_between(part, "# ...", 9)))
    plant_texts("gopher: words in shreds", GopherFilter(), lambda part: " ".join(" ".join(word) for word in part))
    plant_texts("repetition: a third of the words twice", RepetitionFilter(), lambda part: " ".join(part + part[:100]))
    plant_texts("c4: notices", C4Filter(), lambda part: f"{NOTICES}\n{' '.join(part[:20])}")
    plant_texts("language: shuffled Finnish", LanguageFilter(languages=("en",)), lambda part: _finnish(rng))
    plant_texts("formatting: an open code fence", FormattingFilter(), lambda part: f"{' '.join(part)}\n```\nx = 1")
    plant_images("blank: one colour, JPEG", BlankFilter(), lambda photo: PILImage.open(io.BytesIO(_blank(photo))))
    plant_images("blur: Gauss, 4 pixels", BlurFilter(), lambda photo: photo.filter(ImageFilter.GaussianBlur(4)))
    plant_images("qr: a code on a third of the image", QrFilter(), with_code)
    print("\n| filter: planted fault | found | wrongly found without it |")
    print("|---|---|---|")
    for name, filter, faulty, clean in planted:
        hits, wrong = (sum(filter.find(sample) is not None for sample in group) for group in (faulty, clean))
        print(f"| {name} | {hits} of {len(faulty)} | {wrong} of {len(clean)} |")
    print("\n| personal data | found | of |")
    print("|---|---|---|")
    for kind, make in PERSONAL_DATA.items():
        samples = [" ".join([*part[:50], make(rng), *part[50:]]) for part in words]
        print(f"| {kind} | {sum(kind in mask_text(sample, ('US',))[1] for sample in samples)} | {len(samples)} |")
    wrong_kinds = Counter(kind for part in words for kind in mask_text(" ".join(part), ("US",))[1])
    print(f"\nFound in {len(words):,} documents without planted data: {dict(wrong_kinds)}")


def view(text: str, *images: PILImage.Image) -> SampleView:
    return SampleView({"content": [{"type": "text", "text": text}]}, images)


def _between(words: list[str], mark: str, every: int) -> Iterator[str]:
    for number, word in enumerate(words):
        yield word
        if number % every == 0:
            yield mark


def _finnish(rng: random.Random) -> str:
    return " ".join(rng.choices(FINNISH, k=120))


def _blank(photo: PILImage.Image) -> bytes:
    return encode(PILImage.new("RGB", photo.size, photo.getpixel((5, 5))), "JPEG", quality=40)


def with_code(photo: PILImage.Image, url: str = "https://a.example/join") -> PILImage.Image:
    """A photograph with a QR code on a third of it."""
    side = int((photo.width * photo.height / 3) ** 0.5)
    code = zxingcpp.create_barcode(url, zxingcpp.BarcodeFormat.QRCode).to_image(scale=4)
    covered = photo.copy()
    covered.paste(PILImage.fromarray(np.asarray(code)).convert("RGB").resize((side, side)), (0, 0))
    return covered


def _card(rng: random.Random) -> str:
    digits = "4" + "".join(rng.choices("0123456789", k=14))
    digits += luhn.calc_check_digit(digits)
    return " ".join(digits[place : place + 4] for place in range(0, 16, 4))


FINNISH = (
    "minä",
    "olen",
    "tänään",
    "iloinen",
    "koska",
    "sää",
    "kaunis",
    "järven",
    "vesi",
    "lämmintä",
    "huomenna",
    "sataa",
)
NOTICES = "Please enable JavaScript.\nThis site uses cookies.\nPrivacy policy\nAll rights reserved."
PERSONAL_DATA: dict[str, Callable[[random.Random], str]] = {
    "EMAIL": lambda rng: f"user{rng.randrange(10**6)}@mail{rng.randrange(99)}.com",
    "PHONE": lambda rng: f"+1 650-253-{rng.randrange(10_000):04d}",
    "CARD": _card,
    "IP_ADDRESS": lambda rng: f"8.{rng.randrange(100, 256)}.{rng.randrange(256)}.{rng.randrange(1, 256)}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="+", default=["data/step3vl/data/assets/text/*.txt"], help="text files")
    parser.add_argument("--benchmarks", nargs="*", default=[], help="files of benchmark items")
    parser.add_argument("--others", nargs="*", default=[], help="files of other benchmarks, looked at for false finds")
    parser.add_argument("--documents", type=int, default=1000, help="at most so many (1000)")
    arguments = parser.parse_args()
    texts = documents(arguments.texts, arguments.documents)
    print(f"{len(texts)} documents of {LENGTH} words")
    near_texts(texts)
    near_images()
    filters(texts)
    if arguments.benchmarks:
        benchmark_items(texts, tuple(arguments.benchmarks), tuple(arguments.others))


if __name__ == "__main__":
    main()
