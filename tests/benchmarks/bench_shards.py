"""Shards: writing and reading beside webdataset and the standard library, at two sizes of image."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import fixtures
import numpy as np
import webdataset
from blake3 import blake3
from measure import Row, race

from step3vl.data.dataset import Dataset, write_shard
from step3vl.data.sample import Sample, TokenCount
from step3vl.data.storage import TarWriter, split_sample, write_durably

# Side of a square of noise, and how many samples: JPEGs of a page or photograph, and of a cut-out line of text.
SIZES = ((360, 900), (64, 6000))


class Members(NamedTuple):
    """What a sample is in an archive."""

    key: str
    meta: bytes
    jpeg: bytes


def rows(rounds: int) -> list[Row]:
    return [row for side, count in SIZES for row in _of_size(side, count, rounds)]


def _of_size(side: int, count: int, rounds: int) -> list[Row]:
    photos = [fixtures.jpeg(fixtures.noise(side, side, seed)) for seed in range(8)]
    tokens = TokenCount(text=20, image=40)
    samples = sorted(
        (fixtures.question(number, (photos[number % 8],), tokens) for number in range(count)), key=lambda s: s.id
    )
    with fixtures.folder(
        memory=False
    ) as root:  # where shards are written: the kernel takes large writes cheaply there
        data = fixtures.dataset(root, samples, fixtures.small_tokenizer())
        path = root / data.manifest.shards[0].path
        kilobytes = sum(len(photo.read()) for photo in photos) / 8 / 1000
        title = f"{kilobytes:.3g} KB"
        members = [Members(key, meta, jpegs[0]) for key, (meta, jpegs) in _raw(path)]
        return [
            *_writing(title, root, samples, members, rounds),
            *_reading(title, data, path, rounds),
        ]


def _raw(path: Path) -> list[tuple[str, tuple[bytes, list[bytes]]]]:
    """Key, and the bytes of the JSON and the images, of each sample of a shard, as the standard library sees it."""
    parts_of: dict[str, list[bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            parts_of.setdefault(member.name.split(".")[0], []).append(file.read())
    return [(key, (parts[0], parts[1:])) for key, parts in parts_of.items()]


def _writing(title: str, root: Path, samples: list[Sample], members: list[Members], rounds: int) -> list[Row]:
    size = sum(len(member.meta) + len(member.jpeg) for member in members)

    def ours() -> int:
        """What `write_shard` does with a sample's bytes: archive, offsets, checks and hash."""
        with (root / "ours.tar").open("wb", buffering=0) as file:
            offsets = archive(file)
        (root / "ours.tar.idx").write_bytes(offsets)
        return len(offsets) // 8 - 1

    def synced() -> int:
        """The same, and all of it on the disk."""
        with (root / "ours.tar").open("wb", buffering=0) as file:
            offsets = archive(file)
            os.fsync(file.fileno())
        write_durably(root / "ours.tar.idx", offsets)
        return len(offsets) // 8 - 1

    def archive(file: Any) -> bytes:
        writer = TarWriter(file)
        checks = [writer.add(key, meta, [("jpg", jpeg)]).xxh3 for key, meta, jpeg in members]
        digest, offsets = writer.finish()
        assert len(digest) == 64 and len(checks) == len(members)
        return offsets

    def whole() -> int:
        return write_shard(root, "whole.tar", "train", samples).info.samples

    def peer() -> int:
        pattern = str(root / "peer-%d.tar")
        with webdataset.ShardWriter(
            pattern, maxcount=10**9, maxsize=10**12, mtime=0, encoder=False, verbose=0
        ) as writer:
            for key, meta, jpeg in members:
                writer.write({"__key__": key, "json": meta, "0.jpg": jpeg})
            return writer.total

    def hashed() -> int:
        count = peer()
        with (root / "peer-0.tar").open("rb") as file:
            assert len(hashlib.file_digest(file, "sha256").hexdigest()) == 64
        return count

    def raw() -> int:
        """The limit: the payloads, one after the other, through a buffer as large as ours."""
        with (root / "raw").open("wb", buffering=1 << 21) as file:
            for _, meta, jpeg in members:
                file.write(meta)
                file.write(jpeg)
        return len(members)

    def raw_hashed() -> int:
        """The limit with a hash of what is written."""
        digest = blake3()
        for start in range(0, len(joined), 1 << 21):
            digest.update(joined[start : start + (1 << 21)])
        assert len(digest.hexdigest()) == 64
        return raw()

    joined = memoryview(b"".join(member.meta + member.jpeg for member in members))
    contenders = {
        "ours": ours,
        "synced": synced,
        "whole": whole,
        "peer": peer,
        "hashed": hashed,
        "raw": raw,
        "raw_hashed": raw_hashed,
    }
    seconds = race(contenders, rounds)
    # Members stand in another order in the peer's archive, so it is their content that must be the same.
    assert _contents(root / "ours.tar") == _contents(root / "peer-0.tar") == _contents(root / "shards" / "whole.tar")
    assert (root / "raw").stat().st_size == size
    rates = {name: len(samples) / taken for name, taken in seconds.items()}
    name, unit = "webdataset.ShardWriter(mtime=0, encoder=False)", "samples/cpu-s"
    write = f"TarWriter, {title}"
    return [
        Row(write, rates["ours"], rates["peer"], unit, f"{name}; ours with .idx, XXH3 a sample and BLAKE3"),
        Row(f"{write}, fsync", rates["synced"], rates["peer"], unit, f"{name}; ours also on the disk"),
        Row(write, rates["ours"], rates["hashed"], unit, f"{name}, then SHA-256 of the file"),
        Row(write, rates["ours"], rates["raw"], unit, "the limit: payloads alone, in writes of 2 MiB, no hash"),
        Row(write, rates["ours"], rates["raw_hashed"], unit, "the limit with a hash: the same, and BLAKE3"),
        Row(
            f"write_shard, {title}",
            rates["whole"],
            rates["peer"],
            unit,
            f"{name}, from ready bytes; ours from Samples, with all of the above and a Parquet index",
        ),
    ]


def _contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def _reading(title: str, data: Dataset, path: Path, rounds: int) -> list[Row]:
    index = data.index(["offset", "size"])
    places = list(zip(*(index[name].to_pylist() for name in ("shard", "offset", "size")), strict=True))
    shuffled = [places[position] for position in np.random.default_rng(0).permutation(len(places))]

    def raw() -> int:
        """The limit: the samples' slices, in order, into one buffer."""
        buffer = memoryview(bytearray(max(size for _, _, size in places)))
        with path.open("rb", buffering=0) as file:
            return sum(file.readinto(buffer[:size]) or 0 for _, _, size in places)

    def fetched() -> int:
        return sum(len(data.fetch(*place)) for place in shuffled)

    def parsed() -> tuple[int, int]:
        count = size = 0
        for place in shuffled:
            meta, jpegs = split_sample(data.fetch(*place))
            count, size = count + len(meta["messages"]) // 2, size + len(jpegs[0])
        return count, size

    def read() -> tuple[int, int]:
        samples = (data.read(*place) for place in shuffled)
        sizes = [len(sample.images[0].read()) for sample in samples]
        return len(sizes), sum(sizes)

    def wds(shuffle: int) -> tuple[int, int]:
        count = size = 0
        pipeline = webdataset.WebDataset(str(path), shardshuffle=False)
        for row in pipeline.shuffle(shuffle) if shuffle else pipeline:
            count, size = count + len(json.loads(row["json"])["messages"]) // 2, size + len(row["0.jpg"])
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

    seconds = race({"raw": raw, "fetched": fetched}, rounds)
    contenders = {
        "parsed": parsed,
        "read": read,
        "wds": lambda: wds(0),
        "shuffled": lambda: wds(1000),
        "stdlib": stdlib,
    }
    seconds |= race(contenders, rounds)
    rates = {name: len(places) / taken for name, taken in seconds.items()}
    unit, ours = "samples/cpu-s", f"fetch + split_sample, {title}"
    checked = "ours in a global shuffle, every byte checked"
    return [
        Row(f"Dataset.fetch, {title}", rates["fetched"], rates["raw"], unit, f"the limit: slices in order; {checked}"),
        Row(ours, rates["parsed"], rates["shuffled"], unit, f"webdataset.WebDataset.shuffle(1000); {checked}"),
        Row(ours, rates["parsed"], rates["wds"], unit, f"webdataset.WebDataset in order; {checked}"),
        Row(ours, rates["parsed"], rates["stdlib"], unit, f"tarfile stream in order; {checked}"),
        Row(
            f"Dataset.read, {title}",
            rates["read"],
            rates["shuffled"],
            unit,
            "webdataset.WebDataset.shuffle(1000), to dicts; ours to validated Samples",
        ),
    ]
