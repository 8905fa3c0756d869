import json
import random
from pathlib import Path

import apache_beam as beam
import pytest

from step3vl.data.crops import ImageSpec
from step3vl.data.ledger import Ledger, Step
from step3vl.data.sample import Sample, Source
from step3vl.data.tokens import train_bpe
from step3vl.data.truth import TextTruth
from step3vl.pipelines.compose import compose, encode_jpeg
from step3vl.pipelines.render.style import plain
from step3vl.pipelines.runner import CollectJson, run_pipeline
from step3vl.pipelines.sink import Sharding, WriteShards
from step3vl.pipelines.staging import PictureParts, sample_row, write_rows

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224, max_crops=16)


def make_sample(number: int, by: str = "tests", size: tuple[int, int] = (20, 20)) -> Sample:
    return compose(
        kind="conversation",
        domain="ocr",
        task="ocr.test",
        question="Read it.",
        answer=str(number),
        truth=TextTruth(text=str(number)),
        images=[encode_jpeg(plain(size, (number % 256, 0, 0)))],
        source=Source(uri=f"n/{number}", licence="CC0-1.0", collected_by=by),
    )


def stage(folder: Path, samples: list[Sample], parts: int) -> list[str]:
    folder.mkdir()
    pictures = PictureParts(folder)
    rows = [sample_row(sample, pictures) for sample in samples]
    pictures.close()
    paths = []
    for number in range(parts):
        paths.append(str(folder / f"part{number}.parquet"))
        write_rows(Path(paths[-1]), rows[number::parts])
    return paths


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    path = tmp_path / "tokenizer.json"
    train_bpe(["Read it. 0 1 2 3 4 5 6 7 8 9"], 320).save(str(path))
    return str(path)


def write(parts: list[str], root: Path, tokenizer: str) -> Ledger:
    root.mkdir()

    def wire(pipeline: beam.Pipeline) -> None:
        shards = pipeline | WriteShards(parts, Sharding(root, "t", 3, 0.2), tokenizer, SPEC)
        accounts = (shards.accounts, shards.counted.accounts) | beam.Flatten()
        _ = accounts | beam.Map(lambda step: step.model_dump()) | CollectJson(root / "accounts.json")

    run_pipeline("sink", (), wire)
    return Ledger.merge(map(Step.model_validate, json.loads((root / "accounts.json").read_text())))


def tree(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "shards").iterdir())}


def test_shards_depend_on_the_samples_and_not_on_their_order_or_parts(tmp_path: Path, tokenizer: str) -> None:
    samples = [make_sample(number) for number in range(60)]
    samples += [make_sample(number, by="other") for number in range(10)]  # the same content from elsewhere
    first = write(stage(tmp_path / "a", samples, 1), tmp_path / "one", tokenizer)
    random.Random(3).shuffle(samples)
    second = write(stage(tmp_path / "b", samples, 7), tmp_path / "two", tokenizer)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert first == second
    accounts = {step.name: step for step in first.steps}
    assert accounts["tokens"].kept == 70
    assert accounts["shards"].kept == 60
    assert accounts["shards"].dropped == {"duplicate": 10}
    first.check()


def test_a_picture_of_too_many_crops_is_a_dead_letter(tmp_path: Path, tokenizer: str) -> None:
    samples = [make_sample(1), make_sample(2, size=(224, 224))]
    ledger = write(stage(tmp_path / "a", samples, 1), tmp_path / "out", tokenizer)
    accounts = {step.name: step for step in ledger.steps}
    assert accounts["tokens"].kept == 1
    assert sum(accounts["tokens"].dead.values()) == 1
    assert accounts["shards"].read == 1
