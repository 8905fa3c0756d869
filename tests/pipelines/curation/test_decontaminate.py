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
from PIL import ImageDraw, ImageFont

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


@pytest.mark.parametrize("every", [5, 8])
def test_an_item_is_found_of_which_every_few_words_are_others(index: BenchmarkIndex, every: int) -> None:
    item = items()[0]
    edited = [f"other{n}" if n % every == every - 1 else word for n, word in enumerate(item.text.split())]
    long = DecontaminateConfig(benchmarks=CONFIG.benchmarks, overlap=None)
    assert find(" ".join(edited), BenchmarkIndex.of(items(), long)) is None, "no 13 words in a row are left"
    hit = find(f"Some words before. {' '.join(edited)} And some after.", index)
    if every == 5:  # nor are 5
        assert hit is None
    else:
        assert hit is not None
        assert (hit.item, hit.detail[:8]) == (item.name, "edited: ")
        assert CONFIG.overlap is not None
        assert CONFIG.overlap <= hit.similarity < 1


def test_three_short_ngrams_are_no_item_and_scripts_without_spaces_have_none() -> None:
    question = "How many of the apples that Ann has in her basket are left for Bob?"
    index = BenchmarkIndex.of([Item("a", question), Item("b", "如图所示，在直角坐标系中，求点的坐标是多少？")], CONFIG)
    assert find("How many of the apples that Eve sold were red?", index) is None
    assert find("How many of the apples that Ann has do grow?", index) is not None
    assert find("如图所示，在直角坐标系中，画一个圆。", index) is None


def test_a_short_item_has_to_occur_whole() -> None:
    index = BenchmarkIndex.of([Item("a", "Which month is the hottest in Cape Town?")], CONFIG)
    assert find("Now: which month is the hottest in Cape Town? May.", index) == Hit(
        "a", 1.0, None, None, "which month is the hottest in cape town?"
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
    assert not len(index.tiles), "crops are not looked for"
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
    assert {(row["phash"], row["pdq"]) for row in rows.values()} == {(None, None)}, "there are no images"


@pytest.mark.slow
def test_an_item_that_stands_in_an_image_is_read_and_found(
    tmp_path: Path, document: Callable[..., Sample], build: Callable[..., Any]
) -> None:
    question = "Which month is the hottest on average in Cape Town?"
    (tmp_path / "items.jsonl").write_text(json.dumps({"question": question}))
    samples = [
        document("A page.", [page(words)], uri=words) for words in (question, "Which river is the longest of Africa?")
    ]
    dataset = build(tmp_path / "in", samples, shards=1)
    config = DecontaminateConfig(benchmarks=(str(tmp_path / "items.jsonl"),), ocr=True)
    curated = curate([dataset.url], tmp_path / "out", CurationConfig(decontaminate=config))
    assert {sample.source.uri for sample in curated.samples()} == {samples[1].source.uri}
    (row,) = pq.read_table(tmp_path / "out" / "evidence").to_pylist()
    assert (row["id"], row["step"]) == (samples[0].id, "curate.decontaminate")
    assert row["detail"] == f"read in an image: {normalise(question)}"


def page(words: str) -> bytes:
    """A sentence in an image."""
    image = PILImage.new("RGB", (720, 64), "white")
    ImageDraw.Draw(image).text((16, 16), words, "black", ImageFont.load_default(26))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
