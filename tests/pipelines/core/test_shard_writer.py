"""One shard from the places of its samples: its bytes depend on the samples, and what is there is left alone."""

import json
import random
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.dataset import ShardTarget, shard_of, split_of
from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import ImageSpec, Pointer, Sample
from step3vl.data.storage import Store
from step3vl.data.tokens import train_bpe
from step3vl.pipelines.core import shard_writer as module
from step3vl.pipelines.core.fragments import Fragment
from step3vl.pipelines.core.shard_writer import SampleTable, Sharding, ShardKey, ShardWriter
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.tokens import StagedTokenizer, TokenCounter

SPEC = ImageSpec(image_size=56, crop_size=28, patch_size=7, max_side=224, max_crops=16)
KEY = ShardKey("train", 0, 1)
StageSamples = Callable[[Sequence[Sample], int], list[Fragment]]
Tables = Callable[[Sequence[Sample], int], list[SampleTable]]


@pytest.fixture
def tables(staging: Staging, stage_samples: StageSamples) -> Tables:
    """The samples of so many fragments, counted."""
    tokenizer = StagedTokenizer.stage(train_bpe(["Read it. 0 1 2 3"], 320), "", staging)

    def tables(samples: Sequence[Sample], parts: int) -> list[SampleTable]:
        counter = TokenCounter(tokenizer, SPEC, staging)
        made = []
        for fragment in stage_samples(samples, parts):
            result = counter.run(fragment)
            made.append(SampleTable.read(staging, counter.path(fragment), result.samples))
        return made

    return tables


@pytest.fixture
def sharding(tmp_path: Path) -> Sharding:
    return Sharding(tmp_path / "out", "t", 1, 0.0)


def files(root: Path | str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((Path(root) / "shards").iterdir())}


IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, unique=True)


@given(IDS, st.floats(0, 0.99), st.integers(1, 99_999))
def test_samples_are_dealt_to_shards_by_their_ids_alone(ids: list[str], heldout: float, count: int) -> None:
    rows = np.zeros(len(ids), module._ROW)
    rows["high"], rows["low"] = [int(each[:16], 16) for each in ids], [int(each[16:], 16) for each in ids]
    parts = SampleTable("a/b/c", rows).by_shard(heldout, {"train": count, "heldout": count})
    dealt = {}
    for key, table in parts:
        unpacked = SampleTable.unpack(table.pack())
        assert unpacked.path == "a/b/c"
        assert ShardKey.load(key.dump()) == key
        for row in unpacked.rows:
            dealt[f"{row['high']:016x}{row['low']:016x}"] = key
    assert dealt == {each: (split_of(each, heldout), shard_of(each, count), count) for each in ids}


def test_a_shard_does_not_depend_on_fragments_or_their_order(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    samples = [make_sample(number) for number in range(40)]
    samples += [make_sample(number, by=by) for number in range(10) for by in ("other", "a third")]
    first = ShardWriter(sharding, staging).write(KEY, tables(samples, 1))
    random.Random(3).shuffle(samples)
    again = tables(samples, 7)
    random.Random(4).shuffle(again)
    other = sharding._replace(root=tmp_path / "other")
    second = ShardWriter(other, staging).write(KEY, again)
    assert files(sharding.root) == files(other.root)
    assert first.digest == second.digest and first.written == second.written
    assert first.step == second.step
    assert (first.step.read, first.step.kept, first.step.dropped) == (60, 40, {"duplicate": 20})


def test_of_repeated_samples_the_one_of_lowest_rank_is_kept(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample]
) -> None:
    made = [make_sample(1, by=by) for by in ("c", "a", "b")]
    record = ShardWriter(sharding, staging).write(KEY, tables(made, 3))
    with tarfile.open(Path(sharding.root) / record.written.info.path) as shard:
        row, _ = shard.getmembers()
        assert json.load(shard.extractfile(row))["source"]["collected_by"] == "a"  # type: ignore[arg-type]


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of blocks of every read, of at least one, from now on."""
    sizes: list[int] = []
    read_many = Store.read_many

    def counted(store: Store, slices: Sequence[Any]) -> list[bytes]:
        sizes.extend([len(slices)] * bool(slices))
        return read_many(store, slices)

    monkeypatch.setattr(Store, "read_many", counted)
    return sizes


def test_blocks_are_read_in_windows(
    staging: Staging,
    sharding: Sharding,
    tables: Tables,
    make_sample: Callable[..., Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    windows: list[int],
) -> None:
    made = tables([make_sample(number) for number in range(30)], 3)
    ShardWriter(sharding, staging).write(KEY, made)
    assert windows == [30]
    windows.clear()
    monkeypatch.setattr(module, "_WINDOW", 4 * int(made[0].rows["archived"].max() + module._OBJECT))
    other = sharding._replace(root=tmp_path / "other")
    ShardWriter(other, staging).write(KEY, made)
    assert sum(windows) == 30 and max(windows) <= 5
    assert files(sharding.root) == files(other.root)


def test_a_window_has_room_for_the_objects_of_small_samples(
    staging: Staging,
    sharding: Sharding,
    tables: Tables,
    make_sample: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
    windows: list[int],
) -> None:
    """A shard of 50 MB may have 30,000 samples, which take several times as much in memory as in the file."""
    monkeypatch.setattr(module, "_WINDOW", 8 * module._OBJECT)
    made = tables([make_sample(number) for number in range(30)], 3)
    assert all(table.rows["archived"].max() < module._OBJECT / 2 for table in made)
    ShardWriter(sharding, staging).write(KEY, made)
    assert sum(windows) == 30 and max(windows) <= 8


def test_a_window_counts_images_that_lie_elsewhere(
    staging: Staging,
    sharding: Sharding,
    tables: Tables,
    make_sample: Callable[..., Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    windows: list[int],
) -> None:
    page = tmp_path / "page"
    samples = []
    for number in range(12):
        sample = make_sample(number)
        (image,) = sample.images
        data = image.read() + bytes(100_000)
        page.with_suffix(f".{number}").write_bytes(data)
        pointer = Pointer(path=str(page.with_suffix(f".{number}")), offset=0, size=len(data))
        samples.append(sample.model_copy(update={"images": (image.stored_at(pointer),)}))
    monkeypatch.setattr(module, "_OBJECT", 0)
    monkeypatch.setattr(module, "_WINDOW", 250_000)
    ShardWriter(sharding, staging).write(KEY, tables(samples, 2))
    assert sum(windows) == 24 and max(windows) <= 3, "blocks and images; the blocks alone would fit into one window"


def test_repeated_samples_are_ranked_without_their_images(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    data = make_sample(1).images[0].read()
    samples = []
    for by in ("b", "a"):
        path = tmp_path / by
        if by == "a":
            path.write_bytes(data)  # that of the other one is gone, and not needed
        sample = make_sample(1, by=by)
        pointer = Pointer(path=str(path), offset=0, size=len(data))
        samples.append(sample.model_copy(update={"images": (sample.images[0].stored_at(pointer),)}))
    assert ShardWriter(sharding, staging).write(KEY, tables(samples, 2)).step.kept == 1


def test_a_shard_that_is_there_is_left_alone(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample]
) -> None:
    samples = [make_sample(number) for number in range(10)]
    made = tables(samples, 2)
    record = ShardWriter(sharding, staging).write(KEY, made)
    path = Path(sharding.root) / record.written.info.path
    before, content = path.stat(), files(sharding.root)
    assert ShardWriter(sharding, staging).write(KEY, tables(samples, 3)) == record
    assert path.stat().st_ino == before.st_ino, "other fragments of the same samples change nothing"
    for name in content:
        damaged = path.parent / name
        damaged.write_bytes(content[name][:-1] + b"!")
        ShardWriter(sharding, staging).write(KEY, made)
        assert files(sharding.root) == content, f"{name} is made again"
        damaged.unlink()
        ShardWriter(sharding, staging).write(KEY, made)
        assert files(sharding.root) == content, f"{name} is made again"
    ShardWriter(sharding, staging).write(KEY, tables([*samples, make_sample(11)], 4))
    assert path.stat().st_ino != before.st_ino and files(sharding.root) != content


def test_images_that_lie_elsewhere_are_fetched(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample], tmp_path: Path
) -> None:
    samples = [make_sample(number) for number in range(6)]
    ShardWriter(sharding, staging).write(KEY, tables(samples, 2))
    store, pointed = staging.open(), []
    for number, sample in enumerate(samples):
        (image,) = sample.images
        data = image.read()
        path = f"pages/{number}.bin" if number % 2 else str(tmp_path / f"{number}.jpg")
        if number % 2:
            store.put(path, b"before" + data)
        else:
            Path(path).write_bytes(b"before" + data)
        pointer = Pointer(path=store.absolute(path) if number % 2 else path, offset=6, size=len(data))
        pointed.append(sample.model_copy(update={"images": (image.stored_at(pointer),)}))
    other = sharding._replace(root=tmp_path / "other")
    ShardWriter(other, staging).write(KEY, tables(pointed, 3))
    assert files(sharding.root) == files(other.root)


@pytest.mark.parametrize("fault", ["lost", "cut", "changed"])
def test_a_block_that_is_not_what_was_staged_ends_the_shard(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample], fault: str
) -> None:
    made = tables([make_sample(number) for number in range(4)], 1)
    (part,) = (Path(staging.root) / "t").rglob("*.bin")
    data = part.read_bytes()
    if fault == "lost":
        part.unlink()
    else:
        part.write_bytes(data[:-3] if fault == "cut" else data[:-3] + b"???")
    with pytest.raises((InfrastructureError, FileNotFoundError), match=r"1-0\.bin"):
        ShardWriter(sharding, staging).write(KEY, made)
    assert not list(Path(sharding.root).rglob("*.tar"))


def test_shards_are_written_to_any_store_with_the_same_bytes(
    staging: Staging, sharding: Sharding, tables: Tables, make_sample: Callable[..., Sample]
) -> None:
    made = tables([make_sample(number) for number in range(20)], 2)
    near = ShardWriter(sharding, staging).write(KEY, made)
    far = ShardWriter(sharding._replace(root="memory://sink"), staging).write(KEY, made)
    assert far.written == near.written
    store = Store("memory://sink", sharding.store)
    assert {name: store.read_all(f"shards/{name}") for name in files(sharding.root)} == files(sharding.root)


def test_a_target_is_a_number_of_shards_by_bytes_and_tokens() -> None:
    assert ShardTarget(bytes=10, tokens=5).count(95, 11) == 10
