"""Shards: writing and reading beside webdataset and the standard library, at two sizes of picture."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import NamedTuple

import fixtures
import numpy as np
import webdataset
from measure import Row, race

from step3vl.data.dataset import Dataset, write_shard
from step3vl.data.files import write_durably
from step3vl.data.sample import Sample, TokenCount
from step3vl.data.tar import TarWriter, split_sample

# Side of a square of noise, and how many samples: JPEGs of a page or photograph, and of a cut-out line of text.
SIZES = ((360, 300), (64, 3000))


class Members(NamedTuple):
    """What a sample is in an archive."""

    key: str
    meta: bytes
    picture: bytes


def rows(rounds: int) -> list[Row]:
    return [row for side, count in SIZES for row in _of_size(side, count, rounds)]


def _of_size(side: int, count: int, rounds: int) -> list[Row]:
    pictures = [fixtures.jpeg(fixtures.noise(side, side, seed)) for seed in range(8)]
    tokens = TokenCount(text=20, image=40)
    samples = sorted(
        (fixtures.question(number, (pictures[number % 8],), tokens) for number in range(count)), key=lambda s: s.id
    )
    with fixtures.folder() as root:
        data = fixtures.dataset(root, samples, fixtures.small_tokenizer())
        path = root / data.manifest.shards[0].path
        kilobytes = sum(len(picture.read()) for picture in pictures) / 8 / 1000
        title = f"{kilobytes:.3g} KB"
        members = [Members(key, meta, pictures[0]) for key, (meta, pictures) in _raw(path)]
        return [
            *_writing(title, root, samples, members, rounds),
            *_reading(title, data, path, rounds),
        ]


def _raw(path: Path) -> list[tuple[str, tuple[bytes, list[bytes]]]]:
    """Key, and the bytes of the JSON and the pictures, of each sample of a shard, as the standard library sees it."""
    found: dict[str, list[bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found.setdefault(member.name.split(".")[0], []).append(file.read())
    return [(key, (parts[0], parts[1:])) for key, parts in found.items()]


def _writing(title: str, root: Path, samples: list[Sample], members: list[Members], rounds: int) -> list[Row]:
    def ours() -> int:
        """What `write_shard` does with a sample's bytes: archive, offsets, hash, and all of it on the disk."""
        path = root / "ours.tar"
        with path.open("wb", buffering=1 << 20) as file:
            writer = TarWriter(file)
            for key, meta, picture in members:
                writer.add(key, meta, [("jpg", picture)])
            sha256, offsets = writer.finish()
            file.flush()
            os.fsync(file.fileno())
        write_durably(root / "ours.tar.idx", offsets)
        assert len(sha256) == 64
        return len(offsets) // 8 - 1

    def whole() -> int:
        return write_shard(root, "whole.tar", "train", samples).samples

    def peer() -> int:
        pattern = str(root / "peer-%d.tar")
        with webdataset.ShardWriter(
            pattern, maxcount=10**9, maxsize=10**12, mtime=0, encoder=False, verbose=0
        ) as writer:
            for key, meta, picture in members:
                writer.write({"__key__": key, "json": meta, "0.jpg": picture})
            return writer.total

    def hashed() -> int:
        count = peer()
        with (root / "peer-0.tar").open("rb") as file:
            assert len(hashlib.file_digest(file, "sha256").hexdigest()) == 64
        return count

    seconds = race({"ours": ours, "whole": whole, "peer": peer, "hashed": hashed}, rounds)
    # Members stand in another order in the peer's archive, so it is their content that must be the same.
    assert _contents(root / "ours.tar") == _contents(root / "peer-0.tar") == _contents(root / "shards" / "whole.tar")
    rates = {name: len(samples) / taken for name, taken in seconds.items()}
    name, unit = "webdataset.ShardWriter(mtime=0, encoder=False)", "samples/cpu-s"
    write = f"TarWriter, {title}"
    return [
        Row(write, rates["ours"], rates["peer"], unit, f"{name}; ours with .idx and SHA-256, the peer without"),
        Row(write, rates["ours"], rates["hashed"], unit, f"{name}, then SHA-256 of the file"),
        Row(
            f"write_shard, {title}",
            rates["whole"],
            rates["hashed"],
            unit,
            f"{name}, then SHA-256, from ready bytes; ours from Samples, with a Parquet index",
        ),
    ]


def _contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def _reading(title: str, data: Dataset, path: Path, rounds: int) -> list[Row]:
    index = data.index(["offset", "size"])
    places = list(zip(*(index[name].to_pylist() for name in ("shard", "offset", "size")), strict=True))
    shuffled = [places[position] for position in np.random.default_rng(0).permutation(len(places))]

    def sequential() -> tuple[int, int]:
        count = size = 0
        with path.open("rb") as file:
            for _, offset, length in places:
                file.seek(offset)
                meta, pictures = split_sample(file.read(length))
                count, size = count + len(meta["messages"]) // 2, size + len(pictures[0])
        return count, size

    def checked() -> tuple[int, int]:
        samples = (data.read(*place) for place in shuffled)
        sizes = [len(sample.images[0].read()) for sample in samples]
        return len(sizes), sum(sizes)

    def wds() -> tuple[int, int]:
        count = size = 0
        for found in webdataset.WebDataset(str(path), shardshuffle=False):
            count, size = count + len(json.loads(found["json"])["messages"]) // 2, size + len(found["0.jpg"])
        return count, size

    def stdlib() -> tuple[int, int]:
        count = size = 0
        with tarfile.open(path, "r|") as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                content = file.read()
                if member.name.endswith(".json"):
                    count += len(json.loads(content)["messages"]) // 2
                else:
                    size += len(content)
        return count, size

    seconds = race({"ours": sequential, "checked": checked, "wds": wds, "stdlib": stdlib}, rounds)
    rates = {name: len(places) / taken for name, taken in seconds.items()}
    unit = "samples/cpu-s"
    read, random = f"split_sample, {title}", f"Dataset.read, {title}"
    return [
        Row(read, rates["ours"], rates["wds"], unit, "webdataset.WebDataset; in order, JSON parsed by both"),
        Row(read, rates["ours"], rates["stdlib"], unit, "tarfile stream; in order, JSON parsed by both"),
        Row(
            random,
            rates["checked"],
            rates["wds"],
            unit,
            "webdataset.WebDataset, in order, to dicts; ours shuffled, to validated Samples",
        ),
    ]
