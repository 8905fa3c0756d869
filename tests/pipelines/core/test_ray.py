"""Model segments on a Ray cluster of three nodes: the same files as in this process, whatever is lost on the way."""

import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from step3vl.data.dataset import Ledger, LedgerStep
from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.ray_session import ray_session
from step3vl.data.storage import StoreConfig
from step3vl.pipelines.core.fragments import BUCKETS, Fragment, bucket_of, number_fragments
from step3vl.pipelines.core.ray import ModelsConfig, run_on_ray
from step3vl.pipelines.core.segment import next_fragments, segments_of
from step3vl.pipelines.core.staging import Staging
from step3vl.pipelines.core.work_buckets import write_bucket
from step3vl.pipelines.domains import DOMAINS

pytestmark = pytest.mark.timeout(600)  # a busy machine takes long to start four nodes

PLUGIN = Path(__file__).parent / "ray_plugin"
CPUS = 2  # of each node: an actor, and the tasks that read the work list


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The marking domain, installed in a folder that is on the path of this process and of Ray's workers."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copy(PLUGIN / "marking_domain.py", folder)
    distribution = folder / "marking_domain-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: marking-domain\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(
        "[step3vl.domains]\nmarks = marking_domain:DOMAIN\nlimited = marking_domain:LIMITED\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        module = import_module("marking_domain")
        patch.setitem(DOMAINS, "marks", module.DOMAIN)
        patch.setitem(DOMAINS, "limited-marks", module.LIMITED)
        yield module
    del sys.modules["marking_domain"]


@pytest.fixture(scope="module")
def cluster(plugin: Any) -> Iterator[Any]:
    """A head without CPUs, where this process is the driver, and three nodes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("USAGE_STATS_ENABLED", "0"), ("AUTH_MODE", "disabled"), ("BACKEND_LOG_LEVEL", "fatal")):
            patch.setenv(f"RAY_{name}", value)
        from ray.cluster_utils import Cluster

        # A lost node is noticed in seconds.
        health = {f"health_check_{name}": value for name, value in (("period_ms", 400), ("failure_threshold", 3))}
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": health}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(3):
                cluster.add_node(num_cpus=CPUS)
            with ray_session(0, extra="pipelines", address=cluster.address):  # all tests join once
                yield cluster
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def s3(s3_server: Callable[..., Any]) -> Iterator[StoreConfig]:
    """How an S3 server with a bucket `marks` is reached."""
    with s3_server("marks") as options:
        yield StoreConfig(options=options, backoff=0.01)


class Marks:
    """The numbers of an entry, made under a root, and the work list of the model.

    Args:
        folder: For the root and the notes of the model.
        module: The marking domain.
        limited: Whether the model has a time limit.
        s3: How the store is reached; without it the root is in the folder.
        options: Fields of the entry.
    """

    def __init__(
        self, folder: Path, module: Any, limited: bool = False, s3: StoreConfig | None = None, **options: Any
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.notes_file = folder / "notes"
        self.notes_file.touch()
        make = module.LimitedMarksEntry if limited else module.MarksEntry
        entry = make(name="numbers", notes=str(self.notes_file), **options)
        first, self.model, _ = segments_of(entry, 0, "")
        self.staging = Staging("s3://marks/root", "/", s3) if s3 else Staging(str(folder / "root"), "/")
        self.root = self.staging.open()
        runner = self.staging.runner(first)
        self.fragments: list[Fragment] = []
        for fragment in number_fragments(0, entry.count):
            self.fragments += next_fragments(first, runner.run(fragment))
        texts = [fragment.model_dump_json(exclude_defaults=True) for fragment in self.fragments]
        for bucket in range(BUCKETS):
            write_bucket(self.root, "numbers.mark", bucket, [text for text in texts if bucket_of(text) == bucket])

    def run_here(self, fragments: Sequence[Fragment]) -> tuple[LedgerStep, ...]:
        runner = self.staging.runner(self.model)
        return Ledger.merge(step for fragment in fragments for step in runner.run(fragment).accounts).steps

    def run_on(self, address: str, workers: int = 3) -> tuple[LedgerStep, ...]:
        models = ModelsConfig(workers=workers, address=address)
        return run_on_ray(self.model, "numbers.mark", self.staging, models, 0.05)

    def committed(self) -> list[Fragment]:
        runner = self.staging.runner(self.model)
        return [fragment for fragment in self.fragments if runner.committed(fragment) is not None]

    def files(self) -> dict[str, bytes]:
        """The files of the model's fragments, without the commit records, which tell how long the work took, and
        without what killed writers left."""
        names = self.root.names(self.model.folder)
        kept = [name for name in names if not name.endswith((".json", ".tmp"))]
        return {name: self.root.read_all(f"{self.model.folder}/{name}") for name in kept}

    def notes(self) -> list[tuple[int, int, int]]:
        """Process, parent process and number of what the model was given."""
        lines = self.notes_file.read_text().splitlines()
        return [(int(process), int(parent), int(number)) for process, parent, number in map(str.split, lines)]


def test_the_configuration_of_models_needs_no_ray() -> None:
    assert ModelsConfig().engine == "ray"
    with pytest.raises(ValueError, match="workers"):
        ModelsConfig(workers=0)


@pytest.mark.slow
def test_a_node_lost_in_the_middle_changes_nothing(cluster: Any, plugin: Any, s3: StoreConfig, tmp_path: Path) -> None:
    marks = Marks(tmp_path, plugin, s3=s3, count=480, seconds=0.02, fails=(7, 400))
    lost: list[int] = []
    over = threading.Event()

    def lose_a_node() -> None:
        """The first worker node that is at work once four fragments are committed; the head node stays."""
        raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
        while not over.wait(0.1):
            parents = [parent for _, parent, _ in marks.notes() if parent in raylets]
            if parents and len(marks.committed()) >= 4:
                cluster.remove_node(raylets[parents[-1]], allow_graceful=False)
                lost.append(parents[-1])
                return

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    try:
        (account,) = marks.run_on(cluster.address)
    finally:
        over.set()
        thread.join()
        cluster.add_node(num_cpus=CPUS)
    assert len(lost) == 1
    assert (account.read, account.kept, account.failed) == (480, 478, {"ValueError": 2})
    assert len(marks.committed()) == len(marks.fragments)
    numbers = Counter(number for _, _, number in marks.notes())
    assert set(numbers) == set(range(480))
    assert sum(count > 1 for count in numbers.values()) <= 2 * 32 + 2 * 4  # of lost fragments, and of failed batches

    # What this process makes of the same fragments.
    on_ray = marks.files()
    marks.root.remove_folder(marks.model.folder)
    assert not marks.committed()
    assert marks.run_here(marks.fragments) == (account,)
    assert marks.files() == on_ray


@pytest.mark.slow
def test_committed_fragments_are_not_worked_on_again(cluster: Any, plugin: Any, tmp_path: Path) -> None:
    marks = Marks(tmp_path, plugin, count=320)
    marks.run_here(marks.fragments[::2])
    before = len(marks.notes())
    (account,) = marks.run_on(cluster.address, workers=2)
    assert (account.read, account.kept) == (320, 320)
    again = marks.notes()[before:]
    assert os.getpid() not in {process for process, _, _ in again}
    assert sorted(number for _, _, number in [*marks.notes()[:before], *again]) == list(range(320))
    marks.run_on(cluster.address, workers=1)
    assert len(marks.notes()) == 320


@pytest.mark.slow
def test_a_record_that_ends_its_actor_ends_the_run_and_the_rest_is_kept(
    cluster: Any, plugin: Any, tmp_path: Path
) -> None:
    marks = Marks(tmp_path, plugin, count=320, ends=(3,))
    with pytest.raises(
        InfrastructureError, match=r"numbers\.mark: .*time limit.*run the same command again"
    ) as raised:
        marks.run_on(cluster.address)
    assert "\n" not in str(raised.value)
    assert len({process for process, _, number in marks.notes() if number == 3}) == 4


@pytest.mark.slow
def test_with_a_time_limit_it_is_a_failed_record_and_so_is_one_that_hangs(
    cluster: Any, plugin: Any, tmp_path: Path
) -> None:
    marks = Marks(tmp_path, plugin, limited=True, count=96, ends=(3,), hangs=(40,), fails=(80,))
    (account,) = marks.run_on(cluster.address)
    assert (account.read, account.kept) == (96, 93)
    assert account.failed == {"WorkerDied": 1, "TimeLimitExceeded": 1, "ValueError": 1}


@pytest.mark.slow
def test_errors_of_the_machine_end_the_run_in_one_line(cluster: Any, plugin: Any, tmp_path: Path) -> None:
    broken = Marks(tmp_path / "broken", plugin, count=64, loads=False)
    with pytest.raises(InfrastructureError, match=r"marker\.onnx") as raised:
        broken.run_on(cluster.address)
    assert "\n" not in str(raised.value)
    marks = Marks(tmp_path / "cut", plugin, count=64)
    (staged,) = Path(marks.root.url).glob("numbers/make-*/*.bin")
    staged.write_bytes(staged.read_bytes()[:100])
    with pytest.raises(InfrastructureError, match=staged.name) as raised:
        marks.run_on(cluster.address)
    assert "\n" not in str(raised.value)
    assert not marks.committed()


@pytest.mark.slow
def test_a_model_that_fails_on_most_records_is_stopped(cluster: Any, plugin: Any, tmp_path: Path) -> None:
    marks = Marks(tmp_path, plugin, count=640, fails=tuple(range(640)))
    with pytest.raises(UserError, match=r"numbers\.mark: all 2\d\d records failed.*such as numbers/.* has no mark"):
        marks.run_on(cluster.address)
    assert len(marks.committed()) < len(marks.fragments)


@pytest.mark.faults
def test_a_killed_driver_leaves_no_process_and_the_next_run_resumes(plugin: Any, tmp_path: Path) -> None:
    marks = Marks(tmp_path, plugin, count=640, seconds=0.02)
    models = ModelsConfig(workers=2)
    arguments = (marks.model, "numbers.mark", marks.staging, models, 0.05)
    call = f"import pickle; run, arguments = pickle.loads({pickle.dumps((run_on_ray, arguments))!r}); run(*arguments)"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    driver = subprocess.Popen([sys.executable, "-c", call], env=environment, start_new_session=True)
    while len(marks.committed()) < 5:
        assert driver.poll() is None
        time.sleep(0.05)
    workers = {process for process, _, _ in marks.notes()}
    driver.kill()
    driver.wait()
    for _ in range(300):
        if not any(psutil.pid_exists(process) for process in workers):
            break
        time.sleep(0.1)
    assert not [process for process in workers if psutil.pid_exists(process)]
    before = marks.committed()
    numbers = len(marks.notes())
    (account,) = run_on_ray(*arguments)
    assert (account.read, account.kept) == (640, 640)
    assert len(marks.notes()) - numbers == 640 - sum(
        fragment.rows.stop - fragment.rows.start for fragment in before if fragment.rows
    )
