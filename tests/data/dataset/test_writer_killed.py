"""A writer killed at any moment leaves either nothing or a complete dataset."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset.dataset import Dataset
from step3vl.data.dataset.manifest import MANIFEST
from step3vl.data.dataset.writer import commit, write_shard
from step3vl.data.errors import UserError
from step3vl.data.inspect.verify import verify
from step3vl.data.sample.sample import Sample

pytestmark = pytest.mark.slow

KILLS = 200


def write_and_commit(like: Dataset, groups: list[list[Sample]], root: Path) -> None:
    """The end of a build: the manifest is removed first, then the shards are written, and a new manifest last."""
    (root / MANIFEST).unlink(missing_ok=True)
    shards = [
        write_shard(root, Path(info.path).name, info.split, group)
        for info, group in zip(like.manifest.shards, groups, strict=True)
    ]
    manifest = like.manifest
    commit(
        root,
        name=manifest.name,
        shards=shards,
        ledger=manifest.ledger,
        counting=manifest.counting,
        config=manifest.config,
        code_version=manifest.code_version,
    )


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def content(root: Path) -> dict[str, bytes]:
    paths = [root / MANIFEST, *(root / "shards").glob("*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.is_file()}


def test_writer_killed_at_200_moments(tmp_path: Path, build_dataset: Any, make_sample: Any) -> None:
    like = build_dataset(tmp_path / "like", [make_sample(number) for number in range(60)], 3)
    groups: list[list[Sample]] = [[] for _ in like.manifest.shards]
    for shard, sample in zip(like.index(["id"])["shard"].to_pylist(), like.samples(), strict=True):
        groups[shard].append(sample)
    complete = content(tmp_path / "like")
    root = tmp_path / "set"
    root.mkdir()
    chance = random.Random(7)
    duration, unfinished, finished, leftovers = 0.05, 0, 0, 0
    for _ in range(KILLS):
        start = time.perf_counter()
        child = fork(lambda: write_and_commit(like, groups, root))
        time.sleep(chance.uniform(0, 1.3) * duration)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        files = content(root)
        leftovers += any(path.endswith(".tmp") for path in files)
        assert all(complete[path] == data for path, data in files.items() if not path.endswith(".tmp"))
        if MANIFEST in files:
            assert {path: data for path, data in files.items() if not path.endswith(".tmp")} == complete
            assert len(list(Dataset.open(root).samples())) == 60
        else:
            with pytest.raises(UserError, match="nothing was committed"):
                Dataset.open(root)
        if os.WIFSIGNALED(status):
            unfinished += 1
            duration *= 1.02
        else:
            assert status == 0
            finished += 1
            duration = min(duration, time.perf_counter() - start)
    assert unfinished > KILLS / 4 and finished > 0 and leftovers > 0, (unfinished, finished, leftovers)
    write_and_commit(like, groups, root)
    assert content(root) == complete
    assert verify(root).problems == ()
