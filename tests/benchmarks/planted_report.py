"""The report of a curation of what was planted: recall and precision of each detector, and what it joined.

What was planted follows from the source of a sample; what became of it, from the evidence and the dead letters beside
the curated dataset.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import planted_hostile
from curation_recall import NEAR, PERSONAL_DATA, jaccard
from planted_corpus import EDITS, GARBLED, IMAGE_EDITS, IMAGE_WAYS, ORIGINAL, TEXT_WAYS, Corpus, Planted
from scipy.stats import norm

from step3vl.data.dataset import Dataset, read_dead_letters
from step3vl.pipelines.curation.evidence import evidence_tables
from step3vl.pipelines.curation.image_hashes import hash_image
from step3vl.pipelines.curation.words import normalise

KEPT, FAILED, MASKED = "kept", "failed", "masked"
DUPLICATE, NEAR_DUPLICATE, BENCHMARK = "duplicate", "near_duplicate", "benchmark"
TRUTH = {
    BENCHMARK: ("benchmark", "benchmark-image"), MASKED: ("personal",), "qr_code": ("code",), "nsfw": ("nsfw",),
    "blank_image": ("blank",), FAILED: ("cut-file", "damaged-bytes"), "personal_data": (),
}  # fmt: skip
"""What a sample has to be for an outcome; other outcomes are of filters of texts, and right for `garbled` ones."""
UNSTRUCTURED = 50  # the quality of an image below which only its pixels are compared
CHECKED = 20_000  # dropped texts of which the similarity is counted exactly


class Outcome(NamedTuple):
    """What became of a sample."""

    reason: str
    match: Planted | None = None
    detail: str = ""


class Report:
    """Of one curation.

    Args:
        corpus: That was planted.
        out: The folder with the datasets `planted`, `converted` and `curated`.
        hostile: The names of the hostile records.
    """

    def __init__(self, corpus: Corpus, out: Path, hostile: Sequence[str]) -> None:
        self._corpus, self._out, self._hostile = corpus, out, hostile
        self._curated = Dataset.open(str(out / "curated"))

    @cached_property
    def _sources(self) -> dict[str, str]:
        """The source of each sample, by id."""
        sources: dict[str, str] = {}
        for name in ("planted", "converted"):
            dataset = Dataset.open(str(self._out / name))
            for number in range(len(dataset.manifest.shards)):
                rows = dataset.shard_index(number, ["id", "source"])
                sources.update(zip(rows["id"].to_pylist(), rows["source"].to_pylist(), strict=True))
        return sources

    @property
    def read(self) -> int:
        """Samples that were curated."""
        return len(self._sources)

    @cached_property
    def outcomes(self) -> dict[Planted, Outcome]:
        """What became of each planted sample."""
        names = ("id", "reason", "matched_id", "detail")
        rows = [
            row
            for table in evidence_tables(self._curated.files, names)
            for row in zip(*(table[name].to_pylist() for name in names), strict=True)
        ]
        before = {matched: id for id, reason, matched, _ in rows if reason == MASKED}  # ids of masked samples
        reasons = {id: Outcome(MASKED, None, detail) for id, reason, _, detail in rows if reason == MASKED}
        for id, reason, matched, detail in rows:
            if reason != MASKED:
                match = Planted.of(self._sources.get(before.get(matched, matched), ""))
                reasons[before.get(id, id)] = Outcome(reason, match, detail)
        for letter in read_dead_letters(self._curated.url):
            reasons.setdefault(letter.source, Outcome(FAILED))
        planted = {id: Planted.of(source) for id, source in self._sources.items()}
        return {what: reasons.get(id, Outcome(KEPT)) for id, what in planted.items() if what}

    @cached_property
    def _by_kind(self) -> dict[str, list[tuple[Planted, Outcome]]]:
        kinds = defaultdict(list)
        for planted, outcome in sorted(self.outcomes.items()):
            kinds[planted.kind].append((planted, outcome))
        return kinds

    def lines(self) -> Iterator[str]:
        """The report, without its costs."""
        written = sum(shard.samples for shard in self._curated.manifest.shards)
        yield f"{self.read:,} samples were read, {written:,} written.\n"
        yield "| detector | planted | found | recall | precision | wrongly |"
        yield "|---|---:|---:|---:|---:|---|"
        exact = [is_found for _, is_found in self._pairs("exact")]
        yield self._copies("exact duplicates", exact, DUPLICATE)
        near = [
            is_found for copy, is_found in self._pairs("near") if self._original_similarity(copy) >= NEAR.similarity
        ]
        yield self._copies("near texts, Jaccard >= 0.8", near, NEAR_DUPLICATE)
        for name, kinds, reasons in DETECTORS:
            yield from self._detector(name, kinds, reasons)
        yield from self._near_texts()
        yield from self._images()
        yield from self._ways()
        yield from self._joins()
        yield from self._hostile_records()

    def _pairs(self, kind: str) -> Iterator[tuple[Planted, bool]]:
        """The copy of each pair, and whether one of the two was dropped for the other."""
        outcomes = dict(self._by_kind[kind])
        for copy in outcomes:
            if copy.way != ORIGINAL:
                original = copy._replace(way=ORIGINAL)
                both = (outcomes[copy], original), (outcomes[original], copy)
                yield copy, any(outcome.match == other for outcome, other in both)

    def _copies(self, name: str, recalled: Sequence[bool], reason: str) -> str:
        drops = [(planted, outcome) for planted, outcome in self.outcomes.items() if outcome.reason == reason]
        wrong = Counter(planted.kind for planted, outcome in drops if not _is_copy(planted, outcome))
        return _row(name, len(recalled), sum(recalled), len(drops), wrong)

    def _detector(self, name: str, kinds: Sequence[str], reasons: Sequence[str]) -> Iterator[str]:
        planted = [outcome for kind in kinds for _, outcome in self._by_kind[kind]]
        hits = [
            what.kind
            for what, outcome in self.outcomes.items()
            if (outcome.reason in reasons if reasons else outcome.reason not in (*TRUTH, *OTHERS))
        ]
        recalled = sum(kind in kinds for kind in hits)
        if planted:
            yield _row(name, len(planted), recalled, len(hits), Counter(kind for kind in hits if kind not in kinds))

    def _near_texts(self) -> Iterator[str]:
        yield "\n| words replaced | mean Jaccard | pairs >= 0.8 | of these found | theory | others | of these found |"
        yield "|---|---:|---:|---:|---:|---:|---:|"
        pairs = dict(self._pairs("near"))
        for way in EDITS:
            near, below, theory = [], [], []
            values = []
            for copy, is_found in pairs.items():
                if copy.way == way:
                    value = self._original_similarity(copy)
                    values.append(value)
                    (near if value >= NEAR.similarity else below).append(is_found)
                    if value >= NEAR.similarity:
                        theory.append(_theory(value))
            yield (
                f"| {way} | {_mean(values)} | {len(near)} | {_mean(near)} | {_mean(theory)} | {len(below)} "
                f"| {_mean(below)} |"
            )

    def _original_similarity(self, copy: Planted) -> float:
        return self._jaccard(copy, copy._replace(way=ORIGINAL))

    def _jaccard(self, first: Planted, second: Planted) -> float:
        return jaccard(*(_plain(self._corpus.text(planted)) for planted in (first, second)))

    def _images(self) -> Iterator[str]:
        yield "\n| image | pairs | found | of those with structure |"
        yield "|---|---:|---:|---:|"
        pairs = [*self._pairs("photo"), *self._pairs("wordless")]
        for way in (*IMAGE_EDITS, "wordless"):
            chosen = [
                pair for pair in pairs if (pair[0].kind == "wordless" if way == "wordless" else pair[0].way == way)
            ]
            recalled = [is_found for copy, is_found in chosen if way == "wordless" or copy.kind == "photo"]
            missed = [
                copy for copy, is_found in chosen if not is_found and (way == "wordless" or copy.kind == "photo")
            ]
            flat = sum(self._is_flat(copy) for copy in missed)
            share = f"{sum(recalled) / (len(recalled) - flat):.3f}" if len(recalled) > flat else "-"
            name = "scaled or recompressed, without a text" if way == "wordless" else way
            yield f"| {name} | {len(recalled)} | {sum(recalled)} | {share} |"
        for kind, name in (
            ("caption", "one image with other captions"),
            ("caption-of-many", "one caption, other images"),
        ):
            kept = sum(outcome.reason == KEPT for _, outcome in self._by_kind[kind])
            yield f"| {name}: kept | {len(self._by_kind[kind])} | {kept} | |"

    def _is_flat(self, planted: Planted) -> bool:
        images = (planted, planted._replace(way=ORIGINAL))
        return any(
            int(hash_image(data)["quality"]) < UNSTRUCTURED for each in images for data in self._corpus.images(each)
        )

    def _ways(self) -> Iterator[str]:
        yield "\n| planted | found | of | outcomes |"
        yield "|---|---:|---:|---|"
        for kind, ways, reasons in (
            ("benchmark", TEXT_WAYS, (BENCHMARK,)), ("benchmark-image", IMAGE_WAYS, (BENCHMARK,)),
            ("personal", tuple(PERSONAL_DATA), (MASKED,)), ("garbled", tuple(GARBLED), ()),
        ):  # fmt: skip
            for way in ways:
                counts = Counter(outcome.reason for planted, outcome in self._by_kind[kind] if planted.way == way)
                recalled = sum(n for reason, n in counts.items() if (reason in reasons if reasons else reason != KEPT))
                listed = ", ".join(f"{reason} {count}" for reason, count in counts.most_common(4))
                yield f"| {kind}: {way} | {recalled} | {counts.total()} | {listed} |"

    def _joins(self) -> Iterator[str]:
        """What was dropped as a copy of another one, and what the two share."""
        drops = [(what, out) for what, out in self.outcomes.items() if out.reason in (DUPLICATE, NEAR_DUPLICATE)]
        apart = [(what, out) for what, out in drops if not _is_copy(what, out)]
        texts = [(what, out) for what, out in drops if out.reason == NEAR_DUPLICATE and what.kind in ("near", "chain")]
        values = sorted(self._jaccard(what, out.match) for what, out in texts[:CHECKED] if out.match)
        report = json.loads(self._curated.files.read_all("curation.json"))
        names = (
            "candidates",
            "edges",
            "hot_buckets",
            "components",
            "large_components",
            "incomplete_components",
            "rounds",
        )
        yield "\n" + ", ".join(f"{name} {report[name]:,}" for name in names if name in report) + ".\n"
        yield f"- Of {len(drops):,} dropped copies {len(apart)} were matched with a text or image of another group."
        if values:
            below = sum(value < NEAR.similarity for value in values)
            yield (
                f"- Of {len(values):,} near texts the least Jaccard similarity with the kept one is {values[0]:.3f}, "
                f"the mean {sum(values) / len(values):.3f}; {below} are below {NEAR.similarity}: signatures estimate."
            )
        for kind, name in (
            ("chain", "links of chains, whose ends share nothing"),
            ("template", "pages of one template, most of whose words are the same"),
            ("exercise", "exercises that differ in their numbers"),
        ):
            kept = sum(outcome.reason == KEPT for _, outcome in self._by_kind[kind])
            yield f"- {name}: {kept:,} of {len(self._by_kind[kind]):,} kept."

    def _hostile_records(self) -> Iterator[str]:
        converted = Dataset.open(str(self._out / "converted"))
        outcomes = {letter.source: letter.error for letter in read_dead_letters(converted.url)}
        secret = Path(self._out / planted_hostile.SECRET).read_bytes()
        stolen = 0
        for sample in converted.samples():
            outcomes[sample.source.uri] = KEPT
            stolen += any(image.read() == secret for image in sample.images)
        kept, refused = [], []
        for number, name in enumerate(self._hostile, 1):
            result = outcomes.get(f"{planted_hostile.RECORDS}#{number}", DUPLICATE)
            if result != DUPLICATE:
                (refused if result != KEPT else kept).append(name)
        bad = [name for name in kept if not name.startswith("good-")]
        good = sum(name.startswith("good-") for name in kept)
        yield (
            f"\nOf {len(self._hostile)} hostile and good records `corpus convert` refused {len(refused)}, each with "
            f"its reason, and kept {good} of {planted_hostile.GOOD} good ones; files of other folders: {stolen}. "
            f"Also kept, for they are images and texts that can be read: {', '.join(bad)}."
        )


OTHERS = (KEPT, DUPLICATE, NEAR_DUPLICATE)
DETECTORS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("benchmark items", ("benchmark", "benchmark-image"), (BENCHMARK,)),
    ("personal data masked", ("personal",), (MASKED,)),
    ("QR codes", ("code",), ("qr_code",)),
    ("NSFW stand-ins", ("nsfw",), ("nsfw",)),
    ("images of one colour", ("blank",), ("blank_image",)),
    ("garbled texts", ("garbled",), ()),
    ("cut and damaged files", ("cut-file", "damaged-bytes"), (FAILED,)),
)


def _is_copy(planted: Planted, outcome: Outcome) -> bool:
    match = outcome.match
    return match is not None and (match.kind, match.group) == (planted.kind, planted.group)


def _theory(similarity: float) -> float:
    """The probability that a pair meets in a band and that its signatures are as near."""
    deviation = (similarity * (1 - similarity) / NEAR.slots) ** 0.5
    is_near = norm.sf((NEAR.similarity - similarity) / deviation) if deviation else 1.0
    return NEAR.shared_band(similarity) * float(is_near)


def _plain(text: str) -> str:
    """The words of a text, as they are compared."""
    return "".join(mark if mark.isalnum() else " " for mark in normalise(text))


def _mean(values: Sequence[Any]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "-"


def _row(name: str, planted: int, recalled: int, hits: int, wrong: Counter[str]) -> str:
    listed = ", ".join(f"{kind} {count}" for kind, count in wrong.most_common(4))
    precision = f"{1 - wrong.total() / hits:.4f}" if hits else "-"
    return f"| {name} | {planted:,} | {recalled:,} | {recalled / planted:.4f} | {precision} | {listed} |"
