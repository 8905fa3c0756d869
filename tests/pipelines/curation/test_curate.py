"""A curation from end to end: planted duplicates, what became of each, and the same bytes however it runs."""

import io
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.dataset import Dataset, read_dead_letters
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.data.sample import Sample
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import REPORT, curate

PHOTOS = Path("data/step3vl/data/assets/photos")
LEFT = "left"  # begins the source of a sample that must be kept; the others must be dropped


def png(name: str, size: tuple[int, int] | None = None) -> bytes:
    with PILImage.open(PHOTOS / f"{name}.jpg") as opened:
        image = opened.convert("RGB")
    return encoded(image.resize(size) if size else image)


def encoded(image: PILImage.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def page(word: str) -> bytes:
    image = PILImage.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).text((10, 10), word, fill="black")
    return encoded(image)


class Planted(NamedTuple):
    """Two datasets, and the curated one."""

    first: Dataset
    second: Dataset
    out: Path
    curated: Dataset


@pytest.fixture(scope="module")
def planted(
    tmp_path_factory: pytest.TempPathFactory,
    words: Callable[..., list[str]],
    document: Callable[..., Sample],
    dialogue: Callable[..., Sample],
    build: Callable[..., Dataset],
) -> Planted:
    root = tmp_path_factory.mktemp("planted")
    first_samples: list[Sample] = []
    second_samples: list[Sample] = []
    for number in range(20):
        text = words(number, 150)
        edited = [*text[:70], "ed", *text[71:]]
        longer = [*text, "and", "more"]
        first_samples.append(document(" ".join(text), uri=f"near {number}" if number < 10 else f"{LEFT} {number}"))
        if number < 10:  # the longer text is kept
            second_samples.append(document(" ".join(longer), uri=f"{LEFT} longer {number}"))
        elif number < 15:
            second_samples.append(document(" ".join(text).upper() + "\n", uri=f"exact {number}"))
        else:  # both datasets have it, and the second one has edited it besides
            second_samples += [document(" ".join(text), uri=f"{LEFT} or in the other {number}")]
            second_samples += [document(" ".join(edited), uri=f"edited {number}")]
    exercise = " ".join(words("exercise", 80))
    second_samples += [dialogue(f"{exercise} {n} apples and {n + 1} pears", str(n), ()) for n in range(10, 14)]
    second_samples += [document(f"short text {n}", uri=f"{LEFT} short {n}") for n in range(3)]
    caption = "A cat looks at us."
    first_samples.append(document(caption, [png("chelsea")], uri=f"{LEFT} photo"))
    second_samples.append(document(caption, [png("chelsea", (300, 200))], uri="smaller photo"))
    second_samples.append(document("It is striped.", [png("chelsea")], uri=f"{LEFT} other caption"))
    second_samples.append(document(caption, [png("coffee")], uri=f"{LEFT} other photo"))
    second_samples.append(document(caption, [png("chelsea"), png("coffee")], uri=f"{LEFT} one photo more"))
    second_samples += [document("A page.", [page(word)], uri=f"{LEFT} page {word}") for word in ("seven", "eight")]
    first, second = build(root / "one", first_samples), build(root / "two", second_samples, shards=3)
    out = root / "out"
    return Planted(first, second, out, curate([first.url, second.url], out, CurationConfig()))


def evidence(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "evidence").to_pylist()
    return rows


def test_exactly_the_planted_duplicates_are_dropped(planted: Planted) -> None:
    sources = [sample.source.uri for sample in planted.curated.samples()]
    dialogues = [uri for uri in sources if uri == "test:dialogue"]
    assert len(dialogues) == 4  # they differ in their numbers alone
    assert {uri for uri in sources if not uri.startswith(LEFT)} == {"test:dialogue"}
    # 10 longer texts, 10 of the others, 3 short texts, 6 with images
    assert len(sources) == 10 + 10 + 4 + 3 + 6
    assert verify(planted.out).problems == ()


def test_every_dropped_sample_names_the_one_that_it_repeats(planted: Planted) -> None:
    samples = {s.id: s for dataset in (planted.first, planted.second) for s in dataset.samples()}
    kept = {sample.id for sample in planted.curated.samples()}
    rows = {row["id"]: row for row in evidence(planted.out)}
    assert len(kept | rows.keys()) == len(samples)
    for row in rows.values():
        if row["reason"] == "duplicate":
            assert row["similarity"] == 1
            texts = [samples[row[name]].last_text().lower().split() for name in ("id", "matched_id")]
            assert texts[0] == texts[1]
        else:
            assert row["matched_id"] in kept
            assert row["similarity"] >= 0.8
        has_images = bool(samples[row["id"]].images)
        assert (row["phash"] is not None, row["pdq"] is not None) == (has_images, has_images)
    (photo,) = [row for row in rows.values() if samples[row["id"]].source.uri == "smaller photo"]
    assert 0 <= photo["phash"] <= 4
    assert 0 <= photo["pdq"] <= 31
    assert photo["matched_dataset"] == planted.first.url
    assert samples[photo["matched_id"]].source.uri == f"{LEFT} photo"


def test_the_counts_reconcile(planted: Planted) -> None:
    steps = {step.name: step for step in planted.curated.manifest.ledger}
    read = sum(len(list(dataset.samples())) for dataset in (planted.first, planted.second))
    assert steps["curate.read"].read == steps["curate.exact"].read == read
    assert steps["curate.exact"].dropped == {"duplicate": 10}
    assert steps["curate.near"].dropped == {"near_duplicate": 16}
    assert steps["curate.shards"].kept == len(list(planted.curated.samples())) == read - 26
    dead = list(read_dead_letters(planted.out))
    assert sorted((letter.source, letter.reason) for letter in dead) == sorted(
        (row["id"], row["reason"]) for row in evidence(planted.out)
    )
    report = json.loads((planted.out / REPORT).read_text())
    assert report["edges"] >= 16
    assert report["rounds"] >= 2


def test_a_finished_dataset_is_opened_and_never_replaced(planted: Planted) -> None:
    again = curate([planted.first.url, planted.second.url], planted.out, CurationConfig())
    assert again.fingerprint == planted.curated.fingerprint
    with pytest.raises(UserError, match="another finished dataset"):
        curate([planted.first.url], planted.out, CurationConfig())


@pytest.mark.slow
def test_a_held_out_sample_stays_held_out_and_its_copies_are_not_trained_on(
    tmp_path: Path, words: Callable[..., list[str]], document: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    texts = [" ".join(words(f"held {number}", 90)) for number in range(6)]
    train = build(tmp_path / "train", [document(f"{text} more", uri="train") for text in texts])
    held = build(tmp_path / "held", [document(text, uri="held") for text in texts], heldout=0.999999)
    curated = curate([train.url, held.url], tmp_path / "out", CurationConfig())
    assert [sample.source.uri for sample in curated.samples(split="heldout")] == ["held"] * 6
    assert list(curated.samples(split="train")) == []


@pytest.mark.slow
def test_new_samples_are_compared_with_the_index_of_an_earlier_build(
    planted: Planted, tmp_path: Path, document: Callable[..., Sample], build: Callable[..., Dataset]
) -> None:
    earlier = tmp_path / "earlier"
    shutil.copytree(planted.out, earlier, ignore=shutil.ignore_patterns(".staging"))
    for shard in (earlier / "shards").glob("*.tar"):
        shard.unlink()  # its samples are not read again
    old = [sample for sample in planted.curated.samples() if sample.source.uri.startswith(f"{LEFT} longer")]
    changed = [document(f"{sample.last_text()} tail", uri="changed") for sample in old]
    new = build(tmp_path / "new", [*changed, document("quite new", uri="new")])
    curated = curate([new.url], tmp_path / "out", CurationConfig(against=(str(earlier),)))
    assert [sample.source.uri for sample in curated.samples()] == ["new"]
    rows = evidence(tmp_path / "out")
    assert {row["matched_id"] for row in rows} == {sample.id for sample in old}
    assert {row["matched_dataset"] for row in rows} == {str(earlier)}
    assert {step.read for step in curated.manifest.ledger if step.name == "curate.read"} == {len(changed) + 1}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", ["threading", pytest.param("processing", marks=pytest.mark.faults)])
def test_two_workers_write_the_same_bytes(
    planted: Planted, tmp_path: Path, mode: str, digest: Callable[[Path], dict[str, str]]
) -> None:
    flags = ("--direct_num_workers=2", f"--direct_running_mode=multi_{mode}")
    curate([planted.first.url, planted.second.url], tmp_path / "out", CurationConfig(beam_options=flags))
    assert digest(tmp_path / "out") == digest(planted.out)


CURATE = """
import sys
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
print("started", flush=True)
curate(sys.argv[2:], sys.argv[1], CurationConfig())
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", [0, *(pytest.param(n, marks=pytest.mark.faults) for n in range(1, 20))])
def test_a_curation_killed_at_any_moment_is_resumed(
    planted: Planted, tmp_path: Path, moment: int, digest: Callable[[Path], dict[str, str]]
) -> None:
    datasets = [planted.first.url, planted.second.url]
    process = subprocess.Popen(
        [sys.executable, "-c", CURATE, str(tmp_path / "out"), *datasets], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    staging = tmp_path / "out" / ".staging"
    steps = random.Random(f"kill {moment}").randrange(1, 40)  # files that the run leaves before it is killed
    while process.poll() is None and sum(1 for path in staging.rglob("*.*") if path.is_file()) < steps:
        time.sleep(0.01)
    process.kill()
    process.wait()
    curate(datasets, tmp_path / "out", CurationConfig())
    assert digest(tmp_path / "out") == digest(planted.out)
