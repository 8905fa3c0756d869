"""A build killed at any moment is resumed by the next one, which ends with the bytes of an undisturbed one."""

import multiprocessing
import random
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from step3vl.data.dataset import Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.pipelines.corpus import CorpusConfig, build_corpus

pytestmark = pytest.mark.slow

# Every moment is random, seeded by its number; the first run with every `make test`, all with `make test-faults`.
MOMENTS, ALWAYS = 20, 3
TASKS = {"counting.icons": 1, "grounding.point": 1, "grounding.box": 1}
CONFIG: dict[str, Any] = {
    "name": "k",
    "shards": {"bytes": 60_000},
    "heldout": 0.2,
    "tokens": {
        "tokenizer": {"train": 400},
        "image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448},
    },
    "domains": [
        {"domain": "grounding", "name": "icons", "count": 30, "tasks": TASKS, "image_size": [112, 112], "icons": 4},
        {
            "domain": "education",
            "name": "sums",
            "count": 20,
            "families": {"mathgenerator.addition": {}},
            "modality": "text",
        },
    ],
}


def tree(root: Path) -> dict[str, bytes]:
    paths = [path for path in root.rglob("*") if path.is_file() and ".staging" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


class Undisturbed:
    """A finished build, and the seconds that it took in a process of its own."""

    def __init__(self, processes: ForkServerContext, out: Path) -> None:
        self._processes = processes
        self.config = CorpusConfig.model_validate(CONFIG)
        self.start(out).join()  # the first process waits for the imports
        start = time.monotonic()
        process = self.start(out.with_name("timed"))
        process.join()
        self.seconds = time.monotonic() - start
        assert process.exitcode == 0
        self.tree = tree(out)

    def start(self, out: Path) -> Any:
        process = self._processes.Process(target=build_corpus, args=(self.config, out))
        process.start()
        return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["step3vl.pipelines.corpus"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[2])
        return Undisturbed(processes, tmp_path_factory.mktemp("killed") / "out")


@pytest.mark.parametrize(
    "moment", [*range(ALWAYS), *(pytest.param(moment, marks=pytest.mark.faults) for moment in range(ALWAYS, MOMENTS))]
)
def test_a_build_killed_at_any_moment_ends_with_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path, moment: int
) -> None:
    out = tmp_path / "out"
    rng = random.Random(moment)
    for _ in range(2):  # killed, and killed again as it resumes, some of what it left having been lost
        process = undisturbed.start(out)
        process.join(rng.uniform(0.05, 1) * undisturbed.seconds)
        process.kill()
        process.join()
        if (out / "dataset.json").exists():
            assert verify(out).problems == ()
        else:
            with pytest.raises(UserError, match="nothing was committed"):
                Dataset.open(out)
        parts = sorted(path for path in out.rglob("*") if path.suffix in (".bin", ".parquet", ".tar"))
        for part in rng.sample(parts, len(parts) // 5):
            if ".staging" in part.parts or not (out / "dataset.json").exists():
                part.unlink()
    process = undisturbed.start(out)
    process.join()
    assert process.exitcode == 0
    assert tree(out) == undisturbed.tree
    assert len({shard.path for shard in Dataset.open(out).manifest.shards}) > 3
