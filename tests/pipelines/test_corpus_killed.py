"""A build killed at any moment is resumed by the next one, which ends with the bytes of an undisturbed one.

On three engines, at a local folder and at an S3 server that treats one request in ten badly. The driver is killed, or
one of its workers, and some of what was staged is lost.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import psutil
import pytest

from step3vl.data.dataset import MANIFEST, Dataset
from step3vl.data.errors import UserError
from step3vl.data.inspect import verify
from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# Every moment is random, seeded by its number: one with every `make test`, all with `make test-faults`. Even ones are
# at a local folder, odd ones at the faulty store. `make test` also kills workers at a faulty store
# (`cluster/test_gate.py`) and on Ray (`core/test_ray.py`).
MOMENTS = 20
ALWAYS = ("processes", 0)
ENGINES: dict[str, dict[str, Any]] = {
    "here": {},
    "processes": {"beam_options": ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]},
    "ray": {"models": {"engine": "ray", "workers": 2}},
}
CASES = [
    pytest.param(engine, moment, marks=() if (engine, moment) == ALWAYS else pytest.mark.faults)
    for engine in ENGINES
    for moment in range(MOMENTS)
]
WORKERS = {"here": "fork_server", "processes": "sdk_worker_main", "ray": "ray::MapWorker"}
"""What the command lines of processes have that work for a driver; `fork_server` runs steps with a time limit."""
TASKS = {"counting.icons": 1, "grounding.point": 1, "grounding.box": 1}
SUMS = {"families": {"mathgenerator.addition": {}}, "modality": "text"}
CONFIG: dict[str, Any] = {
    "name": "k",
    "shards": {"bytes": 60_000},
    "heldout": 0.2,
    "tokens": {
        "tokenizer": {"train": 400},
        "image": {"image_size": 112, "crop_size": 84, "patch_size": 7, "max_side": 448},
    },
    "models": {"engine": "beam"},
    "domains": [
        {"domain": "grounding", "name": "icons", "count": 30, "tasks": TASKS, "image_size": [112, 112], "icons": 4},
        {"domain": "education", "name": "sums", "count": 20, **SUMS},
        {"domain": "limited-marks", "name": "marks", "count": 70, "notes": os.devnull, "seconds": 0.01},
    ],
}
BUILD = """
import json, sys
from step3vl.pipelines.corpus import CorpusConfig, build_corpus
config = CorpusConfig.model_validate(json.loads(sys.argv[1]))
print("started", flush=True)
build_corpus(config, sys.argv[2])
"""


class Place(NamedTuple):
    """Where a dataset is built."""

    url: str
    config: StoreConfig

    @property
    def store(self) -> Store:
        return Store(self.url, self.config)

    def names(self) -> list[str]:
        return [name.lstrip("/") for name in self.store.listing("") or []]

    def tree(self) -> dict[str, bytes]:
        """The files of the dataset, without what builds keep."""
        return {name: self.store.read_all(name) for name in self.names() if not name.startswith(".staging/")}


class Build:
    """A build in a process of its own, from the moment when its imports are done."""

    def __init__(self, place: Place, environment: Mapping[str, str], fields: Mapping[str, Any]) -> None:
        store = {"options": place.config.options, "backoff": place.config.backoff}
        config = json.dumps({**CONFIG, "store": store, **fields})
        command = [sys.executable, "-c", BUILD, config, place.url]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout and self.process.stdout.readline() == b"started\n"

    def wait(self, seconds: float) -> int | None:
        """The exit code of the build, or None when it takes longer."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of builds and of Ray: they find the marking domain as that of an installed package."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(HERE / "core/ray_plugin/marking_domain.py", folder)
    information = folder / "marking_domain-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: marking-domain\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[step3vl.domains]\nlimited = marking_domain:LIMITED\n")
    search = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # Beam starts workers as `python`
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    return {**os.environ, **ray, "PYTHONPATH": search, "PATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def faulty_s3(s3_server: Callable[..., Any]) -> Iterator[StoreConfig]:
    """How an S3 server with a bucket `corpus` is reached, through a proxy that treats one request in ten badly."""
    with s3_server("corpus") as direct:
        address = direct["client_kwargs"]["endpoint_url"].removeprefix("http://")
        host = address.partition(":")[0]
        proxy = subprocess.Popen(
            [sys.executable, str(HERE / "cluster/fault_proxy.py"), host, address], stdout=subprocess.PIPE
        )
        assert proxy.stdout
        client = {"endpoint_url": f"http://{host}:{int(proxy.stdout.readline())}"}
        Thread(target=proxy.stdout.read, daemon=True).start()  # a proxy with a full pipe would stand still
        retries = {"retries": {"total_max_attempts": 1}}  # so that it is the package that retries
        yield StoreConfig(options={**direct, "client_kwargs": client, "config_kwargs": retries}, backoff=0.1)
        proxy.kill()
        proxy.wait()


@pytest.fixture(scope="module")
def ray_cluster(environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The address and the process of a Ray that outlives the builds which it works for."""
    ray = Path(sys.executable).with_name("ray")
    head = ["--head", "--port=0", "--num-cpus=3", "--include-dashboard=false", "--object-store-memory=160000000"]
    process = subprocess.Popen(
        [ray, "start", *head, "--block", "--disable-usage-stats"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    line = next(line for line in process.stdout if "--address=" in line)
    Thread(target=process.stdout.read, daemon=True).start()
    yield line.split("--address=")[1].split()[0].strip("'"), process.pid
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for each in family:
        if each.is_running():
            each.kill()


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> tuple[dict[str, bytes], float]:
    """The files of a build that nothing disturbs, and the seconds that it takes."""
    place = Place(str(tmp_path_factory.mktemp("killed") / "out"), DEFAULT_STORE)
    build, start = Build(place, environment, ENGINES["here"]), time.monotonic()
    assert build.wait(600) == 0
    return place.tree(), time.monotonic() - start


def workers_of(parent: int, name: str) -> list[psutil.Process]:
    """The processes below a process that have a name in their command lines."""
    processes = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.Error):
                if any(name in part for part in process.cmdline()):
                    processes.append(process)
    return processes


@pytest.mark.parametrize(("engine", "moment"), CASES)
def test_a_build_killed_at_any_moment_ends_with_the_same_bytes(
    request: pytest.FixtureRequest,
    undisturbed: tuple[dict[str, bytes], float],
    environment: dict[str, str],
    tmp_path: Path,
    engine: str,
    moment: int,
) -> None:
    expected, seconds = undisturbed
    place = Place(str(tmp_path / "out"), DEFAULT_STORE)
    if moment % 2:
        place = Place(f"s3://corpus/{engine}-{moment}", request.getfixturevalue("faulty_s3"))
    fields, ray = dict(ENGINES[engine]), None
    if engine == "ray":
        address, ray = request.getfixturevalue("ray_cluster")
        fields["models"] = {**fields["models"], "address": address}
    rng = random.Random(f"{engine} {moment}")
    for _ in range(2):  # killed, and killed again as it resumes, some of what it left having been lost
        build = Build(place, environment, fields)
        build.wait(rng.uniform(0.05, 1.5) * seconds)
        if rng.random() < 0.5 and (workers := workers_of(ray or build.process.pid, WORKERS[engine])):
            rng.choice(workers).kill()
            build.wait(60)  # it ends with an error, or begins another worker
        build.kill()
        store = place.store
        if store.exists(MANIFEST):
            assert verify(place.url, place.config).problems == ()
        else:
            with pytest.raises(UserError, match="nothing was committed"):
                Dataset.open(place.url, place.config)
        parts = [name for name in place.names() if name.endswith((".bin", ".parquet", ".tar"))]
        for name in rng.sample(parts, len(parts) // 5):
            if name.startswith(".staging/") or not store.exists(MANIFEST):
                store.remove(name)
    assert Build(place, environment, fields).wait(600) == 0
    assert place.tree() == expected
    assert len({shard.path for shard in Dataset.open(place.url, place.config).manifest.shards}) > 3
