"""Curation: signatures, image hashes and the search for benchmark items, beside libraries that others use for them.

All begin with the same texts and encoded images. What ours makes of a text is everything that is compared later: its
normal form, two hashes and the signature; the peers make a signature of words that are split already.
"""

import io
import random
from functools import partial
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from datasketch import MinHash, MinHashLSH
from fixtures import folder
from measure import Row, race
from PIL import Image as PILImage
from planted_corpus import IMAGE_EDITS, photograph
from rensa import RMinHash, RMinHashLSH

from step3vl.data.dataset import Counting, LedgerStep, commit, shard_name, write_shard
from step3vl.data.sample import ImageSpec, Sample, Source, TokenCount, text
from step3vl.pipelines.curation.benchmarks import Item
from step3vl.pipelines.curation.candidates import KEY, bucket_pairs, keys_of
from step3vl.pipelines.curation.config import CurationConfig, DecontaminateConfig, ImagesConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.decontaminate import BenchmarkIndex, Decontaminator
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE, decode, hash_image, hash_pixels, phash
from step3vl.pipelines.curation.inputs import InputShard
from step3vl.pipelines.curation.matching import match
from step3vl.pipelines.curation.reading import ReadSample, features_of
from step3vl.pipelines.curation.words import normalise

DOCUMENTS = 1000
WORDS = 360  # of a document, as in the corpora that datatrove's authors report on
SCALE = 20_000  # documents of the curation from end to end
PHOTOS = Path(__file__).parents[2] / "data" / "step3vl" / "data" / "assets" / "photos"
CONFIG = CurationConfig()
NGRAM = 13
SHARD = InputShard(dataset="", number=0, split="train", blake3="", earlier=False)


def documents(count: int) -> list[str]:
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(20_000)]
    return [" ".join(rng.choices(vocabulary, k=WORDS)) for _ in range(count)]


def ours(texts: list[str]) -> int:
    return len(features_of(read_samples(texts), SHARD, CONFIG).samples)


def read_samples(texts: list[str]) -> list[ReadSample]:
    row = {"id": "0" * 32, "offset": 0, "size": 0, "xxh3": 0, "kind": "document"}
    images = np.zeros(0, IMAGE_DTYPE)
    return [ReadSample(row["id"], row, normalise(words), "", images, 0, ()) for words in texts]


def datasketch(texts: list[str]) -> int:
    assert CONFIG.near is not None
    for words in texts:
        split = words.split()
        sketch = MinHash(num_perm=CONFIG.near.slots)
        sketch.update_batch([" ".join(split[i : i + 5]).encode() for i in range(len(split) - 4)])
    return len(texts)


def signatures(rounds: int) -> Row:
    texts = documents(DOCUMENTS)
    seconds = race({"ours": partial(ours, texts), "datasketch": partial(datasketch, texts)}, rounds)
    return Row(
        "texts to signatures",
        DOCUMENTS / seconds["ours"],
        DOCUMENTS / seconds["datasketch"],
        "documents/cpu-s",
        f"{WORDS} words, n-grams of 5, 128 slots; peer: datasketch, of words that are split already",
    )


def pairs(rounds: int) -> Row:
    """From texts to the pairs that are near-duplicates, beside libraries that keep an index in memory."""
    texts = documents(DOCUMENTS)
    texts += [f"{words} and more" for words in texts[::10]]
    contenders = {"ours": our_pairs, "datasketch": datasketch_pairs, "rensa": rensa_pairs}
    seconds = race({name: partial(find, texts) for name, find in contenders.items()}, rounds)
    rates = {name: len(texts) / value for name, value in seconds.items()}
    return Row(
        "texts to near-duplicate pairs",
        rates["ours"],
        rates["datasketch"],
        "documents/cpu-s",
        f"the same with bands, buckets and verified pairs; peer: datasketch's LSH; rensa's: {rates['rensa']:,.0f}",
    )


def our_pairs(texts: list[str]) -> int:
    features = features_of(read_samples(texts), SHARD, CONFIG)
    places, keys = keys_of(features, CONFIG)
    rows = np.empty(len(keys), KEY)
    rows["key"], rows["node"] = keys, places
    edges, _ = bucket_pairs(rows, CONFIG.hot_bucket)
    first, second = (features.take(edges[name].astype(np.intp)) for name in ("high", "low"))
    return int(match(first, second, CONFIG).is_match.sum())


def datasketch_pairs(texts: list[str]) -> int:
    assert CONFIG.near is not None
    index = MinHashLSH(num_perm=CONFIG.near.slots, params=(CONFIG.near.bands, CONFIG.near.rows))
    sketches: list[MinHash] = []
    count = 0
    for number, words in enumerate(texts):
        sketch = MinHash(num_perm=CONFIG.near.slots)
        sketch.update_batch([ngram.encode() for ngram in ngrams(words)])
        count += sum(sketch.jaccard(sketches[other]) >= CONFIG.near.similarity for other in index.query(sketch))
        index.insert(number, sketch)
        sketches.append(sketch)
    return count


def rensa_pairs(texts: list[str]) -> int:
    assert CONFIG.near is not None
    index = RMinHashLSH(CONFIG.near.similarity, CONFIG.near.slots, CONFIG.near.bands)
    sketches: list[RMinHash] = []
    count = 0
    for number, words in enumerate(texts):
        sketch = RMinHash(CONFIG.near.slots, 1)
        sketch.update(ngrams(words))
        count += sum(sketch.jaccard(sketches[other]) >= CONFIG.near.similarity for other in index.query(sketch))
        index.insert(number, sketch)
        sketches.append(sketch)
    return count


def ngrams(words: str) -> list[str]:
    split = words.split()
    return [" ".join(split[i : i + 5]) for i in range(len(split) - 4)]


def edited(image: PILImage.Image, rng: random.Random) -> bytes:
    """An image at another size and quality, often cut, so that some are near and others are not."""
    cut = rng.choice([0, 0, 0.02, 0.1])
    width, height = image.size
    cropped = image.crop((int(cut * width), int(cut * height), width, height))
    scale = rng.uniform(0.5, 1.0)
    small = cropped.resize((int(cropped.width * scale), int(cropped.height * scale)))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=rng.randint(40, 95))
    return buffer.getvalue()


def images(rounds: int) -> list[Row]:
    rng = random.Random(0)
    photos = [PILImage.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    encoded = [[edited(photo, rng) for _ in range(5)] for photo in photos]
    flat = [data for group in encoded for data in group]

    def hash_all() -> int:
        return len([hash_image(data) for data in flat])

    def hash_with_imagehash() -> int:
        return len([imagehash.phash(PILImage.open(io.BytesIO(data))) for data in flat])

    seconds = race({"ours": hash_all, "imagehash": hash_with_imagehash}, rounds)
    decoded = [decode(data) for data in flat]
    alone = race(
        {
            "ours": lambda: len([phash(image) for image in decoded]),
            "imagehash": lambda: len([imagehash.phash(image) for image in decoded]),
            "all": lambda: len([hash_pixels(image) for image in decoded]),
        },
        rounds,
    )
    equal, total = equal_verdicts()
    note = f"{equal / total:.2%} equal verdicts at radius 4 of {total:,} images and their edits"
    return [
        Row(
            "decoded images to DCT hashes",
            len(flat) / alone["ours"],
            len(flat) / alone["imagehash"],
            "images/cpu-s",
            f"peer: ImageHash; {note}; with the hashes of pixels and PDQ ours are {len(flat) / alone['all']:,.0f}",
        ),
        Row(
            "encoded images to hashes",
            len(flat) / seconds["ours"],
            len(flat) / seconds["imagehash"],
            "images/cpu-s",
            "ours: pixels, DCT and PDQ; peer: the DCT hash alone; decoding, by Pillow in both, takes half of ours",
        ),
    ]


def equal_verdicts() -> tuple[int, int]:
    """Of how many edited images both hashes say the same, whether they are near their original, and their number."""
    verdicts = []
    for number in range(120):
        photo = photograph(random.Random(f"verdicts {number}"))
        mine, theirs = phash(photo), imagehash.phash(photo)
        for edit in IMAGE_EDITS.values():
            image = decode(edit(photo))
            is_near = (mine ^ phash(image)).bit_count() <= 4
            verdicts.append(is_near == bool(theirs - imagehash.phash(image) <= 4))
    return sum(verdicts), len(verdicts)


def decontamination(rounds: int) -> Row:
    texts = documents(DOCUMENTS)
    items = [
        Item(str(n), " ".join(words.split()[:60])) for n, words in enumerate(documents(2 * DOCUMENTS)[DOCUMENTS:])
    ]
    config = DecontaminateConfig(benchmarks=("none",), ngram=NGRAM)
    search = Decontaminator(BenchmarkIndex.of(items, config), config, ImagesConfig())
    none = [np.zeros(0, IMAGE_DTYPE)] * len(texts)
    grams = {" ".join(words[i : i + NGRAM]) for words in (item.text.split() for item in items) for i in range(48)}

    def find() -> int:
        return sum(hit is not None for hit in search.check([normalise(words) for words in texts], none))

    def find_with_a_set() -> int:
        count = 0
        for words in texts:
            split = words.lower().split()
            count += any(" ".join(split[i : i + NGRAM]) in grams for i in range(len(split) - NGRAM + 1))
        return count

    seconds = race({"ours": find, "set": find_with_a_set}, rounds)
    size = sum(map(len, texts)) / 1e6
    return Row(
        "search for benchmark items",
        size / seconds["ours"],
        size / seconds["set"],
        "MB/cpu-s",
        f"{len(items):,} items, n-grams of {NGRAM}; ours masks digits, and finds short and edited items; peer: a set",
    )


def whole(rounds: int) -> Row:
    """A curation of a dataset in which every tenth document has a near-duplicate."""
    with folder() as root:
        build(root / "in")
        numbers = iter(range(rounds + 1))

        def run() -> int:
            dataset = curate([str(root / "in")], root / f"out{next(numbers)}", CONFIG)
            return sum(shard.samples for shard in dataset.manifest.shards)

        seconds = race({"ours": run}, rounds)["ours"]
    total = SCALE + SCALE // 10
    return Row("curate, end to end", total / seconds, None, "documents/cpu-s", f"{total:,} documents, shards written")


def build(root: Path) -> None:
    samples = []
    for number, words in enumerate(documents(SCALE)):
        samples.append(sample(words))
        if number % 10 == 0:
            samples.append(sample(f"{words} and more"))
    samples.sort(key=lambda item: item.id)
    size = len(samples) // 4
    parts = [samples[first : first + size] for first in range(0, len(samples), size)]
    shards: list[Any] = [
        write_shard(root, shard_name("bench", "train", number, len(parts)), "train", part)
        for number, part in enumerate(parts)
    ]
    commit(
        root,
        name="bench",
        shards=shards,
        ledger=[LedgerStep(name="build", read=len(samples), kept=len(samples))],
        counting=Counting(tokenizer="qwen3", tokenizer_sha256="", image=ImageSpec()),
        config={},
        code_version="",
    )


def sample(words: str) -> Sample:
    source = Source(uri="bench:words", licence="CC0-1.0", collected_by="benchmarks")
    made = Sample.make(domain="text", task="text.document", content=(text(words),), source=source)
    return made.model_copy(update={"tokens": TokenCount(text=WORDS, image=0)})


def rows(rounds: int) -> list[Row]:
    return [signatures(rounds), pairs(rounds), *images(rounds), decontamination(rounds), whole(min(rounds, 2))]
