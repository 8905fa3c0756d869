"""Benchmark items in samples: whole, in part, with other numbers, short ones, images; and what is no contamination.

The items of `items.jsonl` are of GSM8K and DynaMath, both under the MIT licence.
"""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Sample
from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.curation.benchmarks import Item, read_items
from step3vl.pipelines.curation.config import CurationConfig, DecontaminateConfig, ImagesConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.pipelines.curation.decontaminate import BenchmarkIndex, Decontaminator, Hit
from step3vl.pipelines.curation.image_hashes import IMAGE_DTYPE, ImageHashes, hash_image
from step3vl.pipelines.curation.options import without_options
from step3vl.pipelines.curation.words import normalise

ITEMS = Path("tests/pipelines/curation/items.jsonl")
PHOTOS = Path("data/step3vl/data/assets/photos")
CONFIG = DecontaminateConfig(benchmarks=(str(ITEMS),))
NO_IMAGES = np.zeros(0, IMAGE_DTYPE)


def items(config: DecontaminateConfig = CONFIG) -> list[Item]:
    return list(read_items(config, str(Path.cwd()), DEFAULT_STORE))


def find(text: str, index: BenchmarkIndex, images: ImageHashes = NO_IMAGES) -> Hit | None:
    """What is found in a text, also between others in a batch."""
    decontaminator = Decontaminator(BenchmarkIndex.load(index.dump()), CONFIG, ImagesConfig())
    alone = decontaminator.check([normalise(text)], [images])[0]
    others = [normalise("quite another text " * 9)] * 2
    batch = decontaminator.check([others[0], normalise(text), others[1]], [NO_IMAGES, images, NO_IMAGES])
    assert batch == [None, alone, None]
    return alone


@pytest.fixture(scope="module")
def index() -> BenchmarkIndex:
    return BenchmarkIndex.of(items(), CONFIG)


def test_every_item_is_found_inside_a_longer_text(index: BenchmarkIndex) -> None:
    for item in items():
        hit = find(f"Some words before. {item.text.upper()}\n\nAnd an answer: 42.", index)
        assert hit is not None
        assert (hit.item, hit.similarity) == (item.name, 1.0)
        assert normalise(item.text).startswith(hit.detail)


def test_other_numbers_and_punctuation_do_not_hide_an_item(index: BenchmarkIndex) -> None:
    text = items()[0].text.replace("16", "2,305").replace(".", " --")
    hit = find(text, index)
    assert hit is not None
    assert hit.item == "curation/items.jsonl:0"


def test_a_part_of_an_item_is_found_with_its_share(index: BenchmarkIndex) -> None:
    words = items()[0].text.split()
    hit = find(" ".join(words[: CONFIG.ngram + 3]), index)
    assert hit is not None
    assert 0 < hit.similarity < 0.3
    assert find(" ".join(words[: CONFIG.ngram - 3]), index) is None


def test_a_short_item_has_to_occur_whole() -> None:
    index = BenchmarkIndex.of([Item("a", "Which month is the hottest in Cape Town?")], CONFIG)
    assert find("Now: which month is the hottest in Cape Town? May.", index) == Hit(
        "a", 1.0, 0, 0, "which month is the hottest in cape town?"
    )
    assert find("Which month is the hottest in Cape Verde?", index) is None
    assert find("Which month is the hottest", index) is None


def test_a_very_short_item_is_not_looked_for_and_counted() -> None:
    index = BenchmarkIndex.of([Item("a", "What is this?"), Item("b", "")], CONFIG)
    assert index.unfindable == 2
    assert find("What is this? A cat.", index) is None


def test_what_many_items_share_is_phrasing() -> None:
    phrasing = "Please answer the question with a floating point number that is rounded to two decimal places"
    names = ["alpha", "beta", "gamma", "delta"] * 6
    shared = [Item(str(n), f"{phrasing}: {name} {'of ' * n}things") for n, name in enumerate(names)]
    index = BenchmarkIndex.of(shared, CONFIG)
    assert index.common > 0
    assert find(f"{phrasing}: what is 2 + 2?", index) is None


def test_options_are_no_part_of_a_question() -> None:
    assert without_options("Which one?\nA. red\nB. blue") == "Which one?"
    assert without_options("Which one?\n(A) red\n(B) blue") == "Which one?"
    assert without_options("Which one?\nChoices:\nred, blue") == "Which one?"
    assert without_options("Is it so? Choices: (A) yes (B) no") == "Is it so?"
    assert without_options("A. G. Bell was born in?") == "A. G. Bell was born in?"
    assert without_options("A. one\nB. two") == "A. one\nB. two"  # nothing would be left


def encoded(name: str, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with PILImage.open(PHOTOS / f"{name}.jpg") as opened:
        opened.convert("RGB").save(buffer, format, **options)
    return buffer.getvalue()


def test_images_are_found_recompressed_and_others_are_not() -> None:
    index = BenchmarkIndex.of([Item("photo", image=encoded("chelsea", "PNG"))], CONFIG)
    equal = find("a text", index, np.array([hash_image(encoded("chelsea", "PNG"))]))
    assert equal == Hit("photo", 1.0, 0, 0, "equal pixels")
    near = find("a text", index, np.array([hash_image(encoded("chelsea", "JPEG", quality=40))]))
    assert near is not None
    assert (near.item, near.detail) == ("photo", "an image that looks alike")
    assert find("a text", index, np.array([hash_image(encoded("coffee", "PNG"))])) is None


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_formats(tmp_path: Path, ending: str) -> None:
    questions = ["What is shown here, and by whom?", "Wie viele, bitte?\nA. 1\nB. 2"]
    path = tmp_path / f"bench{ending}"
    if ending == ".json":
        path.write_text(json.dumps({"x": {"Question": questions[0]}, "y": {"inner": [{"question": questions[1]}]}}))
    elif ending == ".csv":
        path.write_text("id,Problem\n" + "".join(f'{n},"{q}"\n' for n, q in enumerate(questions)))
    elif ending == ".parquet":
        import pyarrow as pa

        pq.write_table(pa.table({"prompt": questions}), path)
    else:
        lines = "".join(json.dumps({"question": question}) + "\n" for question in questions).encode()
        path.write_bytes(gzip.compress(lines) if ending.endswith(".gz") else lines)
    questions_read = items(DecontaminateConfig(benchmarks=(str(path),)))
    assert [item.text for item in questions_read] == [questions[0], "Wie viele, bitte?"]
    assert len({item.name for item in questions_read}) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"answer": "42"}\n', "no item has one of the fields"),
        ("a.json", "{", "cannot be read"),
        ("a.bin", "x", "not a .json"),
    ],
)
def test_a_file_without_items_is_an_error(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        items(DecontaminateConfig(benchmarks=(str(tmp_path / name),)))
    with pytest.raises(UserError, match="no file matches"):
        items(DecontaminateConfig(benchmarks=(str(tmp_path / "none*"),)))


@pytest.mark.slow
def test_contaminated_samples_are_dropped_with_evidence(
    tmp_path: Path, words: Callable[..., list[str]], document: Callable[..., Sample], build: Callable[..., Any]
) -> None:
    clean = [document(" ".join(words(number, 60)), uri="clean") for number in range(4)]
    planted = [document(f"{' '.join(words(item.name, 60))} {item.text}", uri=item.name) for item in items()]
    twice = document(f"{' '.join(words(items()[0].name, 60))} {items()[0].text} ", uri="twice")
    dataset = build(tmp_path / "in", [*clean, *planted, twice])
    curated = curate([dataset.url], tmp_path / "out", CurationConfig(decontaminate=CONFIG))
    assert {sample.source.uri for sample in curated.samples()} == {"clean"}
    steps = {step.name: step for step in curated.manifest.ledger}
    assert steps["curate.decontaminate"].dropped == {"benchmark": len(planted) + 1}
    assert steps["curate.exact"].read == len(clean)
    rows = {row["id"]: row for row in pq.read_table(tmp_path / "out" / "evidence").to_pylist()}
    assert {rows[sample.id]["matched_id"] for sample in planted} == {item.name for item in items()}
    assert all(row["step"] == "curate.decontaminate" and row["detail"] for row in rows.values())
