"""A small committed dataset of rendered images and texts, and runs of the trainer that several tests look at."""

import io
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image as PILImage
from PIL import ImageDraw

from step3vl.data.dataset import Counting, Dataset, LedgerStep, Split, WrittenShard, commit, shard_name, write_shard
from step3vl.data.sample import Image, ImageSpec, Sample, Source, TextTruth, conversation, image, text
from step3vl.data.tokens import count_tokens, fingerprint, load_tokenizer, train_bpe
from step3vl.training.engine import join
from step3vl.training.launch import free_port, launch
from step3vl.training.pretrain import PretrainConfig
from step3vl.training.trainer import train

SPEC = ImageSpec(image_size=28, crop_size=28, patch_size=7, max_side=84)
COLOURS = ("red", "green", "blue", "black")
Settings = dict[str, Any]
Configure = Callable[[Settings], Settings]
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


def render_disc(rng: random.Random, size: tuple[int, int]) -> tuple[Image, str]:
    """An image with one coloured disc somewhere, and the name of the colour."""
    colour = rng.choice(COLOURS)
    rendered = PILImage.new("RGB", size, "white")
    x, y = rng.randrange(size[0] - 10), rng.randrange(size[1] - 10)
    canvas = ImageDraw.Draw(rendered)
    canvas.ellipse((x, y, x + 9, y + 9), fill=colour)
    buffer = io.BytesIO()
    rendered.save(buffer, "PNG")
    return Image.from_bytes(buffer.getvalue()), colour


def make_samples(count: int, seed: int) -> list[Sample]:
    """A third each of image questions (some with crops), sums in words, and documents with an image."""
    rng = random.Random(seed)
    source = Source(uri=f"rendered:{seed}", licence="CC0-1.0", collected_by="tests")
    samples = []
    for number in range(count):
        if number % 3 == 0:
            disc, colour = render_disc(rng, rng.choice([(28, 28), (40, 28), (70, 28)]))
            turns = conversation((image(0), text(f"Colour {number}?")), colour, reasoning="I look." * (number % 2))
            truth = TextTruth(text=colour)
            sample = Sample.make(
                domain="vqa", task="vqa.colour", messages=turns, images=(disc,), truth=truth, source=source
            )
        elif number % 3 == 1:
            a, b = rng.randrange(100), rng.randrange(100)
            turns = conversation((text(f"{a}+{b}?"),), str(a + b))
            sample = Sample.make(domain="education", task="education.sum", messages=turns, source=source)
        else:
            disc, colour = render_disc(rng, (28, 28))
            sample = Sample.make(
                domain="knowledge",
                task="knowledge.caption",
                content=(image(0), text(f"A {colour} disc, the {number}th.")),
                images=(disc,),
                source=source,
            )
        samples.append(sample)
    return samples


def commit_dataset(root: Path, name: str, splits: Mapping[Split, Sequence[Sample]]) -> None:
    """Commit a shard of each split, counted for SPEC with the tokenizer that is in the folder already."""
    tokenizer = load_tokenizer(root)
    shards: list[WrittenShard] = []
    for split, samples in splits.items():
        counted = [
            sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, SPEC)})
            for sample in sorted(samples, key=lambda sample: sample.id)
        ]
        shards.append(write_shard(root, shard_name(name, split, 0, 1), split, counted))
    total = sum(map(len, splits.values()))
    commit(
        root,
        name=name,
        shards=shards,
        ledger=[LedgerStep(name="render", read=total, kept=total)],
        counting=Counting(tokenizer="tokenizer.json", tokenizer_sha256=fingerprint(tokenizer), image=SPEC),
        config={},
        code_version="test",
    )


@pytest.fixture(scope="session", name="commit_dataset")
def commit_dataset_fixture() -> Callable[[Path, str, Mapping[Split, Sequence[Sample]]], None]:
    return commit_dataset


def damage(root: Path, rows: slice, split: Split = "train", **selection: str) -> list[int]:
    """Flip a byte in some samples of a split of a dataset with one shard each; returns their offsets.

    Args:
        root: The dataset.
        rows: Which of the selected samples, in the order of the index.
        split: Their split.
        **selection: Further restrictions, as of `Dataset.index`.
    """
    index = Dataset.open(root).index(["offset", "size"], split=split, **selection)
    shard = next((root / "shards").glob(f"*{split}*.tar"))
    data = bytearray(shard.read_bytes())
    offsets, sizes = (index[name].to_pylist()[rows] for name in ("offset", "size"))
    for offset, size in zip(offsets, sizes, strict=True):
        data[offset + size // 2] ^= 1
    shard.write_bytes(data)
    return offsets


@pytest.fixture(scope="session", name="damage")
def damage_fixture() -> Callable[..., list[int]]:
    return damage


@pytest.fixture(scope="session")
def image_spec() -> ImageSpec:
    return SPEC


@pytest.fixture(scope="session")
def corpus(made_once: MadeOnce) -> Path:
    """150 samples to train on and 30 held out, with their own `tokenizer.json` beside the shards."""

    def make(root: Path) -> None:
        train_bpe(["red green blue black disc Colour I look."], 320).save(str(root / "tokenizer.json"))
        commit_dataset(root, "discs", {"train": make_samples(150, seed=0), "heldout": make_samples(30, seed=1)})

    return made_once("training-corpus", make)


@pytest.fixture(scope="session")
def configure(corpus: Path) -> Configure:
    """configure(changes) -> a run of eight steps with a small model, but for its `output`; changes may be nested."""
    mixture = {"sources": [{"dataset": str(corpus)}]}
    settings: Settings = {
        "model": {
            "image": SPEC.model_dump(),
            "hidden_size": 32,
            "layers": 2,
            "vision_width": 32,
            "vision_layers": 2,
        },
        "tokenizer": str(corpus),
        "phases": [{"mixture": mixture, "steps": 8, "lr_start": 3e-3, "lr_end": 1e-3, "warmup_steps": 2}],
        "data": {"sequence_length": 128, "global_batch": 4},
        "engine": {"micro_batch": 2, "processes": 2, "precision": "fp32"},
        "checkpoint": {"every": 4},
    }
    return lambda changes: merge(settings, changes)


def merge(settings: Settings, changes: Settings) -> Settings:
    """A copy of nested settings with some of them changed."""
    merged = dict(settings)
    for name, value in changes.items():
        present = merged.get(name)
        merged[name] = merge(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return merged


@contextmanager
def as_single_rank() -> Iterator[torch.device]:
    """This process as the only rank of a process group, which stays until pytest ends."""
    names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**names, "MASTER_PORT": str(free_port())}.items():
            patch.setenv(name, value)
        yield join()


@pytest.fixture
def single_rank() -> Iterator[torch.device]:
    """The device of this process, which is the only rank of a process group."""
    with as_single_rank() as device:
        yield device


VARIANTS: dict[str, Settings] = {
    "zero0": {"engine": {"zero_stage": 0}},
    "zero1": {"engine": {"zero_stage": 1}},
    "zero2": {"engine": {"zero_stage": 2}},
    "zero3": {"engine": {"zero_stage": 3}, "evaluation": {"every": 4, "packs": 4}},
    "accumulated": {"engine": {"micro_batch": 1}},
    "autocast": {"engine": {"precision": "autocast"}},
    "bf16": {"engine": {"precision": "bf16"}},
    "frozen1": {"engine": {"zero_stage": 1}, "optimizer": {"lr_scale": {"vision": 0.0, "projector": 0.2}}},
    "frozen3": {"engine": {"zero_stage": 3}, "optimizer": {"lr_scale": {"vision": 0.0, "projector": 0.2}}},
}
RESUMED_BY_TWO = ("zero1", "frozen3")
"""Variants whose first half is also run by one rank and whose second half then by two: NAME-resumed."""


@pytest.fixture(scope="session")
def thirty_steps(configure: Configure) -> Settings:
    """Steps enough for a run to be killed among them on any machine."""
    return configure({"phases": [{**configure({})["phases"][0], "steps": 30}]})


@pytest.fixture(scope="session")
def variant_settings(configure: Configure) -> dict[str, Settings]:
    """The settings of each of VARIANTS."""
    settings = {name: configure(changes) for name, changes in VARIANTS.items()}
    dataset = settings["zero3"]["phases"][0]["mixture"]["sources"][0]["dataset"]
    answers = {"dataset": dataset, "tasks": ["vqa.*"], "items": 7, "max_new_tokens": 6, "temperature": 0}
    return {**settings, "zero3": merge(settings["zero3"], {"evaluation": {"answers": answers}})}


@pytest.fixture(scope="session")
def variants(variant_settings: dict[str, Settings], thirty_steps: Settings, made_once: MadeOnce) -> Path:
    """A folder with the output of each variant by its name, of `long`, and of RESUMED_BY_TWO, all run by two ranks."""

    def make(root: Path) -> None:
        resumed = [{**variant_settings[name], "output": str(root / f"{name}-resumed")} for name in RESUMED_BY_TWO]
        with as_single_rank():
            for config in resumed:
                train(PretrainConfig.model_validate(merge(config, {"engine": {"processes": 1}})), "test")
                (Path(config["output"]) / "checkpoints" / "latest").write_text("step-00000004")
        configs = [{**settings, "output": str(root / name)} for name, settings in variant_settings.items()]
        configs += [{**thirty_steps, "output": str(root / "long")}, *resumed]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}")
            launch("several_runs", write_yaml(root / "runs.yaml", configs), 2)

    return made_once("variants", make)


def write_yaml(path: Path, values: Any) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture
def run_on_copy(configure: Configure, corpus: Path, tmp_path: Path) -> Callable[..., Path]:
    """run_on_copy(changes, source={}) trains on a copy of the corpus at `tmp_path / "corpus"`; returns the output."""
    copied, output = tmp_path / "corpus", tmp_path / "run"
    shutil.copytree(corpus, copied)

    def run(changes: Settings, source: Settings | None = None) -> Path:
        sources = [{"dataset": str(copied), **(source or {})}]
        phase = {**configure({})["phases"][0], "mixture": {"sources": sources}}
        config = configure({"phases": [phase], "output": str(output), "engine": {"processes": 1}})
        train(PretrainConfig.model_validate(merge(config, changes)), "test")
        return output

    return run
