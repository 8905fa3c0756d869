"""How busy the workers are that read documents: a real build with PaddleOCR in Ray actors, watched from outside.

    .venv/bin/python tests/benchmarks/ocr_busy.py [--pages 160] [--workers 2] [--dpi 120] [--folder FOLDER]

A worker is busy while it computes or waits for a core; else it waits for the store, for Ray or for a fragment. The
kernel counts both for each thread (`/proc/PID/task/*/schedstat`). Threads that wait at the same time count each, so on
a loaded machine the share is an upper bound. It is given from the start of the last worker until the first one finds
no more to read, and of the whole step, at whose end workers wait for the last one. Loading the models is part of both.
Linux only.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

FOLDER = Path("/usr/share/doc/texlive-doc/latex")
ACTOR = "_FragmentActor"
INTERVAL = 0.5  # seconds between two looks
READING = 0.5  # of an interval, that a worker which reads is busy at least


class Look(NamedTuple):
    """At a worker, so far: seconds of its threads on a core, and those in which they waited for one."""

    time: float
    computed: float
    waited: float


class Worker:
    """An actor with the process of its time limit, which reads for it: what has been seen of them."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.looks: list[Look] = []
        self._seconds: dict[int, tuple[float, float]] = {}  # of each process, also of those that have ended

    def look(self) -> None:
        try:
            actor = psutil.Process(self.pid)
            family = [actor, *actor.children(recursive=True)]
        except psutil.Error:  # it has ended
            return
        for process in family:
            seconds = scheduled(process.pid)
            self._seconds[process.pid] = max(self._seconds.get(process.pid, seconds), seconds)
        computed, waited = (sum(values) for values in zip(*self._seconds.values(), strict=True))
        self.looks.append(Look(time.monotonic(), computed, waited))

    def reading(self) -> tuple[float, float]:
        """When it began to work and when it ended."""
        active = [
            (before.time, after.time)
            for before, after in pairwise(self.looks)
            if after.computed + after.waited - before.computed - before.waited > READING * (after.time - before.time)
        ]
        if not active:
            raise SystemExit("a worker read nothing: give it more pages")
        return active[0][0], active[-1][1]


def scheduled(pid: int) -> tuple[float, float]:
    """The seconds of a process' threads on a core, and those in which they waited for one."""
    computed = waited = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            on_core, in_queue, _ = map(int, path.read_text().split())
        except OSError:  # the thread has ended
            continue
        computed, waited = computed + on_core, waited + in_queue
    return computed / 1e9, waited / 1e9


def busy(looks: list[Look]) -> tuple[float, float]:
    """The shares of the time between the first and the last look: computing, and computing or waiting for a core."""
    first, last = looks[0], looks[-1]
    wall = last.time - first.time
    computed, waited = last.computed - first.computed, last.waited - first.waited
    return computed / wall, min(computed + waited, wall) / wall


def watched(build: "subprocess.Popen[bytes]", count: int) -> list[Worker]:
    """The workers of a build, looked at until it ends."""
    workers: dict[int, Worker] = {}
    while build.poll() is None:
        if len(workers) < count:
            for process in psutil.process_iter(["cmdline"]):
                if any(ACTOR in part for part in process.info["cmdline"] or ()) and is_of(process, build.pid):
                    workers.setdefault(process.pid, Worker(process.pid))
        for worker in workers.values():
            worker.look()
        time.sleep(INTERVAL)
    return list(workers.values())


def is_of(process: psutil.Process, pid: int) -> bool:
    """Whether a process is one that another one has started, directly or not."""
    try:
        return any(parent.pid == pid for parent in process.parents())
    except psutil.Error:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of PDFs")
    parser.add_argument("--pages", type=int, default=160, help="of as many files (160)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--dpi", type=int, default=120, help="less makes pages cheap, and whatever is not reading larger"
    )
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.pdf"))
    files = files[:: max(1, len(files) // options.pages)][: options.pages]
    entry = {
        "domain": "ocr.document_to_text", "name": "pages", "max_pages": 1, "dpi": options.dpi,
        "sources": [{"files": [str(path) for path in files], "licence": "of each file"}],
    }  # fmt: skip
    config = {"name": "busy", "models": {"workers": options.workers}, "failure_budget": 0.2, "domains": [entry]}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus.yaml").write_text(json.dumps(config))
        command = [sys.executable, "-m", "step3vl.workflows.cli", "corpus", "build", "corpus.yaml", "--out", "out"]
        with (folder / "log").open("wb") as log:
            build = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            workers = watched(build, options.workers)
        print((folder / "log").read_text()[-1500:] if build.returncode else f"{len(files)} files")
        if build.returncode or len(workers) < options.workers:
            raise SystemExit(f"the build ended with {build.returncode}, and {len(workers)} workers were seen")
    report(workers)


def report(workers: list[Worker]) -> None:
    spans = [worker.reading() for worker in workers]
    starts, ends = zip(*spans, strict=True)
    for title, low, high in (("while all read", max(starts), min(ends)), ("the whole step", min(starts), max(ends))):
        shares = [busy([each for each in worker.looks if low <= each.time <= high]) for worker in workers]
        computed, occupied = (sum(values) / len(values) for values in zip(*shares, strict=True))
        print(f"{title}, {high - low:.0f} s: workers busy {occupied:.1%} of the time, on a core {computed:.1%}")


if __name__ == "__main__":
    main()
