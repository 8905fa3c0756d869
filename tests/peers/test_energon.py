"""Megatron-Energon reads every sample of a dataset that `corpus convert` wrote, byte for byte as our reader does.

It needs `make test-peers`, which makes the environment: Energon's PyYAML is newer than what is in ours.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from step3vl.data.dataset import Dataset, Split
from step3vl.data.storage import split_sample
from step3vl.workflows.cli import app

PYTHON = Path(__file__).parents[2] / ".venv-peers/bin/python"
READER = Path(__file__).with_name("energon_reader.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="NOT PROVEN: no Energon in .venv-peers; run `make test-peers`"),
]


def corpus(*arguments: object) -> None:
    done = CliRunner().invoke(app, ["corpus", *map(str, arguments)])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def dataset(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Dataset:
    """Chats with and without an image, converted, with the files for Energon."""

    def make(folder: Path) -> None:
        from PIL import Image

        records = []
        for number in range(60):
            image = {"image": f"{number % 5}.{'png' if number % 2 else 'jpg'}"} if number % 3 else {}
            question = f"{'<image>' if image else ''}\nWhat is number {number}?"
            turns = [{"from": "human", "value": question}, {"from": "gpt", "value": f"It is {number}, été."}]
            records.append({"id": str(number), **image, "conversations": turns})
        for name in {record["image"] for record in records if "image" in record}:
            Image.new("RGB", (40, 30), (50 * int(name[0]), 90, 40)).save(folder / name)
        (folder / "chats.json").write_text(json.dumps(records))
        options = ("--from", "llava", "--licence", "CC0-1.0", "--shards", 3, "--heldout", 0.3)
        corpus("convert", folder / "chats.json", folder / "set", *options)
        corpus("export-index", folder / "set", "energon")

    return Dataset.open(made_once("energon", make) / "set")


@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("heldout", "val")])
def test_energon_reads_every_sample_byte_for_byte(split: Split, part: str, dataset: Dataset) -> None:
    done = subprocess.run(
        [PYTHON, READER, dataset.url, part], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ours = {}
    for row in dataset.index(["id", "offset", "size", "json_size"], split=split).to_pylist():
        data = dataset.fetch(row["shard"], row["offset"], row["size"])
        sample = dataset.read(row["shard"], row["offset"], row["size"])
        members = {"json": data[512 : 512 + row["json_size"]]}
        for number, (image, encoded) in enumerate(zip(sample.images, split_sample(data)[1], strict=True)):
            assert image.read() == encoded
            members[f"{number}.{image.format.replace('jpeg', 'jpg')}"] = encoded
        ours[sample.id] = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    assert len(theirs) == len(ours) > 10
    assert {sample["key"].rpartition("/")[2]: sample["members"] for sample in theirs} == ours
