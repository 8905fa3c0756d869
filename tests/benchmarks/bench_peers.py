"""Shards beside the formats and loaders of Energon, MosaicML Streaming and litData, in an environment that has them.

`make bench-peers` runs it. It also has Energon prepare and lint one of our datasets: its `.tar.idx` must equal ours.
"""

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fixtures
import numpy as np
from measure import Row, race
from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import Dataset
from step3vl.data.sample import TokenCount
from step3vl.data.storage import TarWriter, split_sample

SIZES = ((360, 600), (64, 2000))
DATASET_YAML = """\
sample_type: {__module__: megatron.energon, __class__: VQASample}
part_filter: sample_loader.py:part_filter
sample_loader: sample_loader.py:sample_loader
"""
SAMPLE_LOADER = """\
def part_filter(part):
    return True


def words(message):
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


def sample_loader(raw):
    *_, question, answer = raw["json"]["messages"]
    return {
        "__key__": raw["__key__"],
        "image": raw["0.jpg"],
        "context": words(question),
        "answers": [words(answer)],
        "answer_weights": None,
    }
"""


class Member(NamedTuple):
    key: str
    meta: bytes
    jpeg: bytes


def torchvision_is_not_needed() -> None:
    """Streaming imports torchvision for datasets of its own that nobody asks for here, and ours goes without."""
    importlib.import_module("transformers.feature_extraction_utils")  # while it still finds no torchvision
    for name, words in (("datasets", ("VisionDataset",)), ("transforms.functional", ("to_tensor",))):
        module = types.ModuleType(f"torchvision.{name}")
        for word in words:
            setattr(module, word, object)
        sys.modules[f"torchvision.{name}"] = module
    sys.modules["torchvision"] = types.ModuleType("torchvision")


def check_energon(root: Path, data: Dataset) -> None:
    """Energon makes the same index of our archive, byte for byte, and reads every sample. Raises AssertionError."""
    folder = root / "energon"
    (folder / "shards").mkdir(parents=True)
    ours = {}
    for shard in data.manifest.shards:
        shutil.copy(root / shard.path, folder / shard.path)
        ours[shard.offsets_path] = (root / shard.offsets_path).read_bytes()
    energon = str(Path(sys.executable).with_name("energon"))
    prepare = [energon, "prepare", str(folder), "--non-interactive", "--split-ratio", "1,0,0"]
    _run([*prepare, "--sample-type", "CrudeWebdataset", "--num-workers", "1"])
    assert {path: (folder / path).read_bytes() for path in ours} == ours, "Energon's .tar.idx differs from ours"
    described = folder / ".nv-meta" / "dataset.yaml"
    crude = described.read_text()
    described.write_text(DATASET_YAML)
    (folder / ".nv-meta" / "sample_loader.py").write_text(SAMPLE_LOADER)
    _run([energon, "lint", str(folder)])
    described.write_text(crude)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"


def writers(root: Path, members: list[Member]) -> dict[str, Any]:
    from litdata.streaming.writer import BinaryWriter
    from streaming import MDSWriter

    def fresh(name: str) -> Path:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir()
        return root / name

    def ours() -> int:
        with (fresh("ours") / "ours.tar").open("wb", buffering=0) as file:
            writer = TarWriter(file)
            for key, meta, jpeg in members:
                writer.add(key, meta, [("jpg", jpeg)])
            writer.finish()
        return len(members)

    def mds() -> int:
        columns = {"key": "str", "json": "bytes", "jpg": "bytes"}
        with MDSWriter(out=str(fresh("mds")), columns=columns, size_limit=1 << 30) as writer:
            for key, meta, jpeg in members:
                writer.write({"key": key, "json": meta, "jpg": jpeg})
        return len(members)

    def litdata() -> int:
        writer = BinaryWriter(str(fresh("litdata")), chunk_bytes=1 << 30)
        for index, (key, meta, jpeg) in enumerate(members):
            writer.add_item(index, {"key": key, "json": meta, "jpg": jpeg})
        writer.done()
        writer.merge(1)
        return len(members)

    return {"ours": ours, "streaming.MDSWriter": mds, "litdata BinaryWriter": litdata}


def readers(root: Path, data: Dataset) -> dict[str, Any]:
    """Each gives the number of samples and the bytes of their images, in an order of its own shuffling."""
    index = data.index(["offset", "size"])
    places = list(zip(*(index[name].to_pylist() for name in ("shard", "offset", "size")), strict=True))
    shuffled = [places[place] for place in np.random.default_rng(0).permutation(len(places))]

    def ours() -> tuple[int, int]:
        return _total(split_sample(data.fetch(*place))[1][0] for place in shuffled)

    def mds() -> tuple[int, int]:
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()
        return _total(
            _parsed(sample) for sample in StreamingDataset(local=str(root / "mds"), shuffle=True, batch_size=1)
        )

    def litdata() -> tuple[int, int]:
        import litdata as ld

        return _total(_parsed(sample) for sample in ld.StreamingDataset(str(root / "litdata"), shuffle=True))

    return {
        "ours": ours,
        "streaming.StreamingDataset": mds,
        "litdata.StreamingDataset": litdata,
        "Energon": _energon(root),
    }


def _parsed(sample: dict[str, Any]) -> bytes:
    json.loads(bytes(sample["json"]))
    return bytes(sample["jpg"])


def _total(jpegs: Iterator[bytes]) -> tuple[int, int]:
    sizes = [len(jpeg) for jpeg in jpegs]
    return len(sizes), sum(sizes)


def _energon(root: Path) -> Any:
    from megatron.energon import (
        Cooker,
        DefaultTaskEncoder,
        Sample,
        WorkerConfig,
        basic_sample_keys,
        edataclass,
        get_loader,
        get_train_dataset,
        stateless,
    )

    @edataclass
    class Raw(Sample):
        json: bytes
        jpg: bytes

    @stateless
    def cook(sample: dict[str, Any]) -> Raw:
        return Raw(**basic_sample_keys(sample), json=sample["json"], jpg=sample["0.jpg"])

    class Encoder(DefaultTaskEncoder):
        cookers = [Cooker(cook)]  # noqa: RUF012
        decoder = None

    def read() -> tuple[int, int]:
        worker = WorkerConfig(rank=0, world_size=1, num_workers=0)
        dataset = get_train_dataset(
            root / "energon",
            batch_size=1,
            shuffle_buffer_size=1000,
            max_samples_per_sequence=100,
            worker_config=worker,
            task_encoder=Encoder(),
            repeat=False,
        )
        return _total(
            _parsed({"json": meta, "jpg": jpeg})
            for batch in get_loader(dataset)
            for meta, jpeg in zip(batch.json, batch.jpg, strict=True)
        )

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torchvision_is_not_needed()
    rows = []
    for side, count in SIZES:
        photos = [fixtures.jpeg(fixtures.noise(side, side, seed)) for seed in range(8)]
        tokens = TokenCount(text=20, image=40)
        samples = sorted(
            (fixtures.question(number, (photos[number % 8],), tokens) for number in range(count)),
            key=lambda sample: sample.id,
        )
        title = f"{sum(len(photo.read()) for photo in photos) / 8 / 1000:.3g} KB"
        with fixtures.folder(memory=False) as root:
            data = fixtures.dataset(root, samples, fixtures.small_tokenizer())
            check_energon(root, data)
            members = [
                Member(sample.id, json.dumps(sample.to_row()).encode(), sample.images[0].read()) for sample in samples
            ]
            for what, contenders in (("write", writers(root, members)), ("read, shuffled", readers(root, data))):
                seconds = race(contenders, rounds)
                rows += [
                    Row(f"{what}, {title}", count / seconds["ours"], count / taken, "samples/cpu-s", name)
                    for name, taken in seconds.items()
                    if name != "ours"
                ]
    print("Energon makes the .tar.idx that we write, and its lint passes.")
    table = Table("what", "ours", "peer", "ratio", "unit", "peer's name")
    for row in rows:
        table.add_row(row.what, f"{row.ours:,.0f}", f"{row.peer:,.0f}", f"{row.ratio:.2f}", row.unit, row.note)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
