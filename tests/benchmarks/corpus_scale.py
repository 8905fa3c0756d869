"""How a build grows with its records: time, memory of every process, and the start with nothing to do.

Records are as small as they can be, so that everything but the work on them shows. The job service and the worker of
Beam are processes of their own, as on a cluster.

    .venv/bin/python tests/benchmarks/corpus_scale.py --records 10000 300000
    .venv/bin/python tests/benchmarks/corpus_scale.py --files 100000       # inputs that are files
    .venv/bin/python tests/benchmarks/corpus_scale.py --workers 1 2        # a real domain in so many processes
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
DOMAIN = '''
from typing import Literal

from step3vl.data.sample import Sample, Source, conversation, text
from step3vl.pipelines.core.domain import BeamStep, Domain, DomainEntry, Files, FileSource, Numbers


class SyntheticEntry(DomainEntry):
    """Records that take next to no work."""

    domain: Literal["synthetic"]
    count: int = 0
    sources: tuple[FileSource, ...] = ()

    def inputs(self):
        return Files(self.sources) if self.sources else Numbers(self.count)


class Answer:
    def __init__(self, entry, context):
        pass

    def setup(self):
        pass

    def process(self, record, rng):
        yield Sample.make(
            domain="synthetic",
            task="synthetic.number",
            messages=conversation((text("Which?"),), record.key),
            source=Source(uri=record.key, licence="CC0-1.0", collected_by="synthetic"),
        )


DOMAIN = Domain(SyntheticEntry, (BeamStep("build", version=1, worker=Answer, output=Sample),))
'''


Peak = dict[str, float]
"""Seconds of a build, and the peaks of its processes in MB, by name."""
POOL_PORT = 50777
# A domain whose records take milliseconds, as most do. The difference of the two builds is free of what starts once.
REAL = {"domain": "grounding", "tasks": {"grounding.point": 1}, "image_size": [448, 448]}
SCENES = (4_000, 40_000)


class Peaks:
    """The largest resident memory of processes, in bytes, read from the kernel while they run."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self.bytes = dict.fromkeys(processes, 0)
        self._processes = processes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._done.wait(0.2):
            for name, pid in self._processes.items():
                try:
                    process = psutil.Process(pid)
                    family = [process, *process.children(recursive=True)]
                    self.bytes[name] = max(self.bytes[name], *(each.memory_info().rss for each in family))
                except psutil.Error:  # ended
                    continue

    def __enter__(self) -> "Peaks":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()


def install_domain(folder: Path) -> None:
    """Make the domain one of an installed package, which every process with the folder on its path knows."""
    (folder / "synthetic_records.py").write_text(DOMAIN)
    information = folder / "synthetic_records-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: synthetic-records\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[step3vl.domains]\nsynthetic = synthetic_records:DOMAIN\n")


@contextmanager
def started(
    folder: Path, module: str, option: str, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A module that runs in a process of its own until the block ends."""
    command = [sys.executable, "-m", module, option]
    with (folder / f"{module}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def wait_for_port(path: Path) -> int:
    """The port that a job service writes when it listens."""
    for _ in range(600):
        if path.exists() and (text := path.read_text().strip()):
            return int(text)
        time.sleep(0.1)
    raise SystemExit("the job service does not start")


def build(
    folder: Path, entry: Mapping[str, Any], options: list[str], environment: Mapping[str, str], others: dict[str, int]
) -> Peak:
    """Build in a process of its own; seconds and peaks."""
    config = {
        "name": "scale",
        "shards": {"bytes": 50_000_000},  # of one size, however many records there are
        "beam_options": options,
        "domains": [{"domain": "synthetic", "name": "records", **entry}],
    }
    (folder / "corpus.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "step3vl.workflows.cli", "corpus", "build", "corpus.yaml", "--out", "out"]
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with Peaks({"driver": process.pid, **others}) as peaks:
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(output.decode())
    return {"seconds": time.monotonic() - start, **{name: size / 2**20 for name, size in peaks.bytes.items()}}


def measure(
    entry: Mapping[str, Any], options: list[str] | None, environment: Mapping[str, str], home: Path
) -> list[Peak]:
    """A build, and the same command again; with Beam in processes of its own, unless options say otherwise."""
    with TemporaryDirectory(dir=home) as name, ExitStack() as stack:
        folder = Path(name)
        others: dict[str, int] = {}
        if options is None:
            port_file = folder / "port"
            service_main = "apache_beam.runners.portability.local_job_service_main"
            pool_main = "apache_beam.runners.worker.worker_pool_main"
            service = stack.enter_context(started(folder, service_main, f"--port_file={port_file}", environment))
            pool = stack.enter_context(started(folder, pool_main, f"--service_port={POOL_PORT}", environment))
            port = wait_for_port(port_file)
            options = [
                "--runner=PortableRunner", f"--job_endpoint=localhost:{port}", "--environment_type=EXTERNAL",
                f"--environment_config=localhost:{POOL_PORT}",
            ]  # fmt: skip
            others = {"job service": service.pid, "worker": pool.pid}
        first = build(folder, entry, options, environment, others)
        return [first, build(folder, entry, options, environment, {})]


def make_files(folder: Path, count: int) -> None:
    """Small files in folders of a thousand."""
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:05}").mkdir(parents=True)
        (folder / f"{number // 1000:05}" / f"{number:07}.txt").write_bytes(b"%d" % number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="*", default=[], help="numbers of generated records")
    parser.add_argument("--files", type=int, nargs="*", default=[], help="numbers of input files")
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="processes for 4,000 and 40,000 scenes")
    parser.add_argument("--in-process", action="store_true", help="Beam in the driver instead of processes of its own")
    parser.add_argument("--folder", type=Path, help="where the builds are made; by default a temporary folder")
    arguments = parser.parse_args()
    table = Table(title="Peaks of resident memory in MB; `again` is the same command, with nothing to do")
    for name in ("build", "seconds", "records/s", "driver", "job service", "worker", "again: s", "again: driver"):
        table.add_column(name, justify="right")
    with TemporaryDirectory(dir=arguments.folder) as folder:
        home = Path(folder)
        (home / "packages").mkdir()
        install_domain(home / "packages")
        # A worker pool starts whatever `python` is on the path.
        search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        packages = os.pathsep.join(filter(None, (str(home / "packages"), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": packages, "PATH": search, "OMP_NUM_THREADS": "1"}
        for title, count, entry, options in cases(arguments, home):
            first, again = measure(entry, options, environment, home)
            peaks = [f"{first[name]:.0f}" if name in first else "-" for name in ("driver", "job service", "worker")]
            seconds = first["seconds"]
            last = f"{again['seconds']:.1f}", f"{again['driver']:.0f}"
            table.add_row(title, f"{seconds:.1f}", f"{count / seconds:,.0f}", *peaks, *last)
    Console(width=110).print(table)


def cases(arguments: argparse.Namespace, home: Path) -> Iterator[tuple[str, int, dict[str, Any], list[str] | None]]:
    """Title, number of records, entry, and Beam's options of each build; None for processes of its own."""
    options: list[str] | None = [] if arguments.in_process else None
    for count in arguments.records:
        yield f"{count:,} records", count, {"count": count}, options
    for count in arguments.files:
        make_files(home / f"files-{count}", count)
        sources = [{"files": [f"{home}/files-{count}/*/*.txt"], "licence": "CC0-1.0"}]
        yield f"{count:,} files", count, {"sources": sources}, options
    for workers in arguments.workers:
        processes = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
        for count in SCENES:
            yield f"{count:,} scenes, {workers} workers", count, {**REAL, "count": count}, processes


if __name__ == "__main__":
    main()
