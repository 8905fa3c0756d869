"""A writer killed at any of its steps leaves either nothing or a complete dataset."""

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
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

STEPS = {"open", "os.link", "os.mkdir", "os.remove", "os.rename"}
"""Python's audit events of what changes a folder."""


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


def killed_before(step: int, work: Callable[[], None], root: Path) -> bool:
    """Do the work in a process that is killed before its step of this number below a folder; False if it has ended."""
    child = os.fork()
    if child == 0:
        steps = count()

        def kill(event: str, arguments: tuple[Any, ...]) -> None:
            if event in STEPS and str(arguments[0]).startswith(str(root)) and next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


def content(root: Path) -> dict[str, bytes]:
    paths = [root / MANIFEST, *(root / "shards").glob("*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.is_file()}


def test_writer_killed_before_each_of_its_steps(tmp_path: Path, build_dataset: Any, make_sample: Any) -> None:
    """First with what the killed writers before it have left, and then over a dataset."""
    like = build_dataset(tmp_path / "like", [make_sample(number) for number in range(12)], 2)
    groups: list[list[Sample]] = [[] for _ in like.manifest.shards]
    for shard, sample in zip(like.index(["id"])["shard"].to_pylist(), like.samples(), strict=True):
        groups[shard].append(sample)
    complete = content(tmp_path / "like")
    root = tmp_path / "set"
    root.mkdir()
    leftovers = 0
    for over_dataset in (False, True):
        committed = []
        killed = True
        while killed:
            killed = killed_before(len(committed), lambda: write_and_commit(like, groups, root), root)
            files = content(root)
            finished = {path: data for path, data in files.items() if not path.endswith(".tmp")}
            leftovers += len(files) > len(finished)
            assert all(complete[path] == data for path, data in finished.items())
            committed.append(MANIFEST in files)
            if committed[-1]:
                assert finished == complete
                assert len(list(Dataset.open(root).samples())) == 12
            else:
                with pytest.raises(UserError, match="nothing was committed"):
                    Dataset.open(root)
        assert len(committed) > 60, "each file is opened, renamed, and its folder synced"
        assert committed[0] == over_dataset, "the manifest goes first"
        assert committed[1:] == sorted(committed[1:]), "and comes last"
    assert leftovers > 60
    assert content(root) == complete
    assert verify(root).problems == ()
