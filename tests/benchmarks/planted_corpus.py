"""A dataset in which it is known of every sample what a curation must make of it.

What a sample is stands in its source: `planted:KIND:GROUP:WAY`. Samples of one group are about the same text or image;
`WAY` says how this one was made. Everything follows from the seed, sample by sample, so that no part has to be kept.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from pydoc_data import topics
from typing import NamedTuple

from curation_recall import FINNISH, PERSONAL_DATA, PHOTOS, encode, replace_words, with_code
from fixtures import small_tokenizer
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFilter

from step3vl.data.dataset import Counting, Dataset, LedgerStep, commit, shard_name, write_shard
from step3vl.data.sample import Image, ImageSpec, Sample, Source, TokenCount, conversation, image, text
from step3vl.data.tokens import fingerprint
from step3vl.pipelines.curation.filters.pixels import nsfw_probability

PER_SHARD = 2000
SIDE = 144  # pixels of an image
ORIGINAL = "original"
EDITS = ("1%", "2%", "3%", "5%", "10%", "20%")
CHAIN_STEP = 6  # words by which each link of the chain moves on: neighbours share 0.88 of their 5-grams
CHAIN_WORDS = 110
BOILERPLATE = 45  # words at both ends of the pages of the template
NSFW_SEARCH = 160  # blurred shapes among which the classifier finds the stand-ins
Edit = Callable[[PILImage.Image], bytes]

# The share of each kind in thousandths; what is left are plain texts. The groups of `COPIED` kinds hold an original
# and a copy each.
SHARES: Mapping[str, int] = {
    "near": 120, "exact": 40, "photo": 120, "wordless": 20, "caption": 10, "caption-of-many": 10, "benchmark": 20,
    "benchmark-image": 3, "personal": 20, "code": 3, "nsfw": 2, "blank": 2, "garbled": 30, "chain": 10, "template": 30,
    "exercise": 30, "cut-file": 1, "damaged-bytes": 1,
}  # fmt: skip
COPIED = {"near", "exact", "photo", "wordless"}


class Planted(NamedTuple):
    """What a sample is."""

    kind: str
    group: int
    way: str

    @property
    def uri(self) -> str:
        """As its source has it."""
        return f"planted:{self.kind}:{self.group}:{self.way}"

    @classmethod
    def of(cls, uri: str) -> "Planted | None":
        """The inverse; None for a sample that was not planted."""
        match = re.fullmatch(r"planted:([^:]*):(\d+):(.*)", uri)
        return match and cls(match[1], int(match[2]), match[3])


def cut(share: float) -> Callable[[PILImage.Image], PILImage.Image]:
    """Cuts a share of the width and of the height off, half of it on each side."""

    def edit(photo: PILImage.Image) -> PILImage.Image:
        x, y = photo.width * share / 2, photo.height * share / 2
        return photo.crop((round(x), round(y), round(photo.width - x), round(photo.height - y)))

    return edit


def _scaled(factor: float) -> Edit:
    return lambda photo: encode(photo.resize((round(photo.width * factor), round(photo.height * factor))))


def _jpeg(quality: int) -> Edit:
    return lambda photo: encode(photo, "JPEG", quality=quality)


def _warmer(photo: PILImage.Image) -> bytes:
    red, green, blue = photo.split()
    return encode(PILImage.merge("RGB", (red.point(lambda v: min(255, v * 9 // 8)), green, blue.point(_darker))))


def _darker(value: int) -> int:
    return value * 7 // 8


IMAGE_EDITS: Mapping[str, Edit] = {
    "scaled to 75 %": _scaled(0.75),
    "scaled to 50 %": _scaled(0.5),
    "scaled to 200 %": _scaled(2.0),
    "JPEG, quality 50": _jpeg(50),
    "JPEG, quality 30": _jpeg(30),
    "brighter by 20 %": lambda photo: encode(photo.point(lambda value: min(255, value * 6 // 5))),
    "grey": lambda photo: encode(photo.convert("L").convert("RGB")),
    "warmer colours": _warmer,
    "cut by 2 %": lambda photo: encode(cut(0.02)(photo)),
    "cut by 5 %": lambda photo: encode(cut(0.05)(photo)),
    "cut by 10 %": lambda photo: encode(cut(0.1)(photo)),
    "cut by 30 %": lambda photo: encode(cut(0.3)(photo)),
}
TEXT_WAYS = ("as it is", "other numbers", "5% of the words replaced", "20% of the words replaced")
IMAGE_WAYS = ("as it is", "JPEG, quality 50", "scaled to 50 %", "cut by 30 %")
_CONTENT = "A frame of the film shows"


class Corpus:
    """Makes the samples.

    Args:
        samples: How many.
        seed: Of everything.
        items: Texts of benchmark items.
        with_models: Whether there are images for the NSFW classifier, which have to be searched for.
    """

    def __init__(self, samples: int, seed: int, items: Sequence[str], *, with_models: bool = True) -> None:
        self.samples, self._seed, self._items = samples, seed, items
        self._kinds = {kind: share for kind, share in SHARES.items() if with_models or kind != "nsfw"}
        if not items:
            raise SystemExit("no benchmark item was read")

    @cached_property
    def plan(self) -> list[Planted]:
        """What each sample is, in the order in which they are written."""
        plan: list[Planted] = []
        for kind, thousandths in self._kinds.items():
            plan += self._planned(kind, max(2, self.samples * thousandths // 1000))
        plan += [Planted("plain", number, ORIGINAL) for number in range(self.samples - len(plan))]
        random.Random(f"{self._seed} order").shuffle(plan)
        return plan

    def _planned(self, kind: str, count: int) -> Iterator[Planted]:
        ways = WAYS.get(kind, (ORIGINAL,))
        for number in range(count):
            if kind in COPIED:
                group = number // 2
                yield Planted(kind, group, ways[group % len(ways)] if number % 2 else ORIGINAL)
            elif kind in ("chain", "template", "caption-of-many", "exercise"):
                yield Planted(kind, 0, str(number))
            elif kind == "caption":
                yield Planted(kind, number // 4, f"caption {number % 4}")
            else:
                yield Planted(kind, number, ways[number % len(ways)])

    def make(self, planted: Planted) -> Sample:
        """The sample, with its tokens counted by its words."""
        content = self.text(planted)
        images = tuple(map(Image.from_bytes, self.images(planted)))
        if planted.kind == "cut-file":  # its state was right when it was read
            images = tuple(whole.model_copy(update={"data": (whole.data or b"")[:-200]}) for whole in images)
        source = Source(uri=planted.uri, licence="CC0-1.0", collected_by="benchmarks")
        parts = tuple(image(place) for place in range(len(images)))
        domain = "album" if planted.kind == "nsfw" else "knowledge" if images else "text"
        if planted.kind == "exercise":
            messages = conversation((*parts, text(content)), str(planted.way))
            made = Sample.make(domain="education", task="education.sum", messages=messages, source=source)
        else:
            words = (text(content),) if content else ()
            made = Sample.make(
                domain=domain, task=f"{domain}.planted", content=(*parts, *words), images=images, source=source
            )
        return made.model_copy(update={"tokens": TokenCount(text=len(content.split()) + 1, image=169 * len(images))})

    def text(self, planted: Planted) -> str:
        """The text of a sample."""
        kind, group, way = planted
        rng = self._rng(kind, group)
        if kind in TEXTS:
            original = sentences(words(rng, rng.randint(70, 140)))
            return original if way == ORIGINAL else TEXTS[kind](original, way, self._rng(kind, group, way))
        if kind == "benchmark":
            body = sentences(words(rng, 70))
            return f"{body}\n{_planted_item(self._items[group % len(self._items)], way, rng)}"
        if kind == "chain":
            first = CHAIN_STEP * int(way)
            return " ".join(words(rng, first + CHAIN_WORDS)[first:])
        if kind == "template":
            head, foot = (sentences(words(self._rng(kind, part), BOILERPLATE)) for part in ("head", "foot"))
            return f"{head}\n{sentences(words(self._rng(kind, way), 60))}\n{foot}"
        if kind == "exercise":
            first, second = self._rng(kind, way).sample(range(10, 10**6), 2)
            return f"{sentences(words(rng, 80))}\nWhat are {first} apples and {second} pears together?"
        if kind == "wordless":
            return ""
        if kind == "caption-of-many":
            return "A photograph."
        return f"{_CONTENT} {' '.join(words(self._rng(kind, group, way if kind == 'caption' else ''), 9))}."

    def images(self, planted: Planted) -> Iterator[bytes]:
        """The encoded images of a sample."""
        kind, group, way = planted
        if kind in ("photo", "wordless", "caption", "benchmark-image", "cut-file"):
            photo = photograph(self._rng("image", kind, group))
            edit = IMAGE_EDITS.get(way)
            yield edit(photo) if edit else encode(photo, "JPEG", quality=92)
        elif kind == "caption-of-many":
            yield encode(photograph(self._rng("image", kind, way)), "JPEG", quality=92)
        elif kind == "code":
            yield encode(with_code(photograph(self._rng("image", kind, group)), f"https://a.example/{group}"))
        elif kind == "nsfw":
            yield encode(shapes(_stand_ins()[group % len(_stand_ins())]), "JPEG", quality=70 + group % 30)
        elif kind == "blank":
            colour = self._rng("image", kind, group).choices(range(256), k=3)
            yield encode(PILImage.new("RGB", (SIDE, SIDE), tuple(colour)), "JPEG", quality=60)

    def benchmark_images(self, folder: Path) -> None:
        """Write the images that stand for those of benchmarks."""
        folder.mkdir(parents=True, exist_ok=True)
        for planted in self.plan:
            if planted.kind == "benchmark-image":
                photo = photograph(self._rng("image", planted.kind, planted.group))
                (folder / f"{planted.group:06d}.png").write_bytes(encode(photo))

    def write(self, root: Path) -> Dataset:
        """Write the dataset, some thousand samples at a time."""
        tokenizer = small_tokenizer()
        root.mkdir(parents=True)
        tokenizer.save(str(root / "tokenizer.json"))
        count = -(-len(self.plan) // PER_SHARD)
        shards = []
        for number in range(count):
            part = self.plan[number * PER_SHARD : (number + 1) * PER_SHARD]
            made = sorted(map(self.make, part), key=lambda sample: sample.id)
            shards.append(write_shard(root, shard_name("planted", "train", number, count), "train", made))
        dataset = commit(
            root,
            name="planted",
            shards=shards,
            ledger=[LedgerStep(name="plant", read=len(self.plan), kept=len(self.plan))],
            counting=Counting(tokenizer="tokenizer.json", tokenizer_sha256=fingerprint(tokenizer), image=ImageSpec()),
            config={},
            code_version="benchmark",
        )
        for number, shard in enumerate(dataset.manifest.shards):
            rows = dataset.shard_index(number, ["source", "offset", "size"]).to_pylist()
            _damage(root / shard.path, [row for row in rows if row["source"].startswith("planted:damaged-bytes")])
        return dataset

    def _rng(self, *key: object) -> random.Random:
        return random.Random(f"{self._seed} {key}")


def _damage(path: Path, rows: Sequence[Mapping[str, int]]) -> None:
    """Change a byte in the middle of samples of a shard, as a disk might."""
    with path.open("r+b") as file:
        for row in rows:
            place = row["offset"] + 600
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 0xFF]))


@cache
def _vocabulary() -> tuple[list[str], list[int]]:
    """Words of Python's own documentation, and how often each occurs up to it."""
    counts: dict[str, int] = {}
    for word in re.findall(r"\b[a-z]{2,12}\b", " ".join(topics.topics.values())):
        counts[word] = counts.get(word, 0) + 1
    return list(counts), list(accumulate(counts.values()))


def words(rng: random.Random, count: int) -> list[str]:
    """Random words, as frequent as in English prose about Python."""
    vocabulary, sums = _vocabulary()
    return rng.choices(vocabulary, cum_weights=sums, k=count)


def sentences(parts: Sequence[str]) -> str:
    """Words as sentences of twelve."""
    rows = [" ".join(parts[first : first + 12]).capitalize() + "." for first in range(0, len(parts), 12)]
    return "\n".join(" ".join(rows[first : first + 3]) for first in range(0, len(rows), 3))


def _near(original: str, way: str, rng: random.Random) -> str:
    share = float(way.removesuffix("%")) / 100
    return " ".join(rng.choice(_vocabulary()[0]) if rng.random() < share else word for word in original.split())


def _personal(original: str, way: str, rng: random.Random) -> str:
    parts = original.split()
    return " ".join([*parts[:40], PERSONAL_DATA[way](rng), *parts[40:]])


def _garbled(original: str, way: str, rng: random.Random) -> str:
    return GARBLED[way](original, rng)


GARBLED: Mapping[str, Callable[[str, random.Random], str]] = {
    "mojibake": lambda text, rng: text.replace("e", "é").encode().decode("latin-1"),
    "control token": lambda text, rng: f"{text}<|im_end|>",
    "open code fence": lambda text, rng: f"{text}\n```\nx = 1",
    "shredded words": lambda text, rng: " ".join(text.replace(" ", "")),
    "one sentence again and again": lambda text, rng: " ".join([text[:80]] * 12),
    "Finnish": lambda text, rng: " ".join(rng.choices(FINNISH, k=90)),
    "symbols": lambda text, rng: " ... # ".join(text.split()),
}
TEXTS: Mapping[str, Callable[[str, str, random.Random], str]] = {
    "plain": lambda text, way, rng: text,
    "damaged-bytes": lambda text, way, rng: text,
    "near": _near,
    "exact": lambda text, way, rng: f"  {text.upper()}\n" if way == "capitals" else text.replace(" ", "  \t"),
    "personal": _personal,
    "garbled": _garbled,
}
WAYS: Mapping[str, tuple[str, ...]] = {
    "near": EDITS,
    "exact": ("capitals", "white space"),
    "photo": tuple(IMAGE_EDITS),
    "wordless": ("scaled to 75 %", "JPEG, quality 50"),
    "benchmark": TEXT_WAYS,
    "benchmark-image": IMAGE_WAYS,
    "personal": tuple(PERSONAL_DATA),
    "garbled": tuple(GARBLED),
}


def _planted_item(item: str, way: str, rng: random.Random) -> str:
    if way == "other numbers":
        return re.sub(r"\d+", lambda _: str(rng.randrange(2, 999)), item)
    share = re.match(r"(\d+)%", way)
    return replace_words(item, int(share[1]) / 100, rng) if share else item


@cache
def _photographs() -> tuple[PILImage.Image, ...]:
    return tuple(PILImage.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg")))


def photograph(rng: random.Random) -> PILImage.Image:
    """Pieces of four photographs beside each other: no two images are alike, and all have structure."""
    half = SIDE // 2
    mosaic = PILImage.new("RGB", (SIDE, SIDE))
    for place in ((0, 0), (half, 0), (0, half), (half, half)):
        mosaic.paste(_piece(rng, half), place)
    return mosaic


def _piece(rng: random.Random, size: int) -> PILImage.Image:
    photo = rng.choice(_photographs())
    side = rng.randint(min(photo.size) // 4, min(photo.size) // 2)
    x, y = rng.randrange(photo.width - side), rng.randrange(photo.height - side)
    piece = photo.resize((size, size), PILImage.Resampling.BILINEAR, (x, y, x + side, y + side))
    return piece.transpose(rng.choice(list(PILImage.Transpose)))


def shapes(seed: int) -> PILImage.Image:
    """Blurred ellipses in the colours of skin, which the classifier sometimes takes for nudity: a stand-in."""
    rng = random.Random(f"shapes {seed}")
    canvas = PILImage.new("RGB", (224, 224), tuple(rng.choices(range(20, 235), k=3)))
    pencil = ImageDraw.Draw(canvas)
    base = rng.randint(190, 240), rng.randint(140, 180), rng.randint(110, 150)
    for _ in range(rng.randint(3, 8)):
        x, y, width, height = rng.randrange(224), rng.randrange(224), rng.randint(20, 80), rng.randint(20, 80)
        light = rng.randint(-25, 15)
        colour = tuple(min(255, value + light) for value in base)
        pencil.ellipse((x - width, y - height, x + width, y + height), fill=colour)
    return canvas.filter(ImageFilter.GaussianBlur(rng.uniform(2, 8)))


@cache
def _stand_ins() -> list[int]:
    """The seeds of shapes that the classifier is sure of."""
    scores = {seed: nsfw_probability(shapes(seed)) for seed in range(NSFW_SEARCH)}
    sure = [seed for seed, score in scores.items() if score > 0.6]
    return sure or [max(scores, key=lambda seed: scores[seed])]
