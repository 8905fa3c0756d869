"""How busy the workers are that read documents: a real build with PaddleOCR in Ray actors, watched from outside.

    .venv/bin/python tests/benchmarks/ocr_busy.py [--pages 160] [--workers 2] [--dpi 120] [--folder FOLDER]

A worker is busy while one of its threads computes or waits for a core; else it waits for the store, for Ray or for a
fragment. The kernel counts both for each thread (`/proc/PID/task/*/schedstat`), so other load on the machine makes a
busy worker slower and not idle. Of each interval between two looks, the busiest thread gives the least share, and the
threads together, which may overlap, the largest. Both are given from the start of the last worker until the first one
finds no more to read, and of the whole step, at whose end workers wait for the last one. Loading the models is part
of both. How long the fragments took, as the build recorded it, tells the waits between them from those within.
Linux only.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

FOLDER = Path("/usr/share/doc/texlive-doc/latex")
ACTOR = "_FragmentActor"
INTERVAL = 0.5  # seconds between two looks
READING = 0.5  # of an interval, that a worker which reads is busy at least


class Look(NamedTuple):
    """What a worker's threads did since the look before, in seconds."""

    time: float
    span: float
    computed: float
    """On a core, all threads together."""
    least: float
    """In which the busiest thread computed or waited for a core."""
    most: float
    """In which any of them did, at most."""


class Worker:
    """An actor with the process of its time limit, which reads for it: what has been seen of them."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.looks: list[Look] = []
        self._time = time.monotonic()
        self._threads: dict[str, tuple[float, float]] = {}

    def look(self) -> None:
        try:
            actor = psutil.Process(self.pid)
            family = [actor, *actor.children(recursive=True)]
        except psutil.Error:  # it has ended
            return
        now, threads = time.monotonic(), {}
        for process in family:
            threads |= scheduled(process.pid)
        since = [
            (computed - before[0], waited - before[1])
            for thread, (computed, waited) in threads.items()
            for before in [self._threads.get(thread, (0.0, 0.0))]
        ]
        span, occupied = now - self._time, [computed + waited for computed, waited in since]
        if self._threads:  # what was before the first look belongs to no interval
            least, most = (min(span, value) for value in (max(occupied), sum(occupied)))
            self.looks.append(Look(now, span, sum(computed for computed, _ in since), least, most))
        self._time, self._threads = now, threads

    def reading(self) -> tuple[float, float]:
        """When it began to work and when it ended."""
        active = [look for look in self.looks if look.least > READING * look.span]
        if not active:
            raise SystemExit("a worker read nothing: give it more pages")
        return active[0].time - active[0].span, active[-1].time


def scheduled(pid: int) -> dict[str, tuple[float, float]]:
    """For each thread of a process, the seconds on a core, and those in which it waited for one."""
    threads = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            on_core, in_queue, _ = map(int, path.read_text().split())
        except OSError:  # the thread has ended
            continue
        threads[str(path)] = on_core / 1e9, in_queue / 1e9
    return threads


def fragment_seconds(folder: Path) -> list[float]:
    """How long each fragment of the step that reads took, by its commit record."""
    return [json.loads(path.read_text())["seconds"] for path in folder.glob("*/read-*/*.json")]


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
        report(workers, fragment_seconds(folder / "out" / ".staging"))


def report(workers: list[Worker], fragments: list[float]) -> None:
    spans = [worker.reading() for worker in workers]
    starts, ends = zip(*spans, strict=True)
    for title, low, high in (("while all read", max(starts), min(ends)), ("the whole step", min(starts), max(ends))):
        looks = [look[2:] for worker in workers for look in worker.looks if low < look.time <= high]
        wall = len(workers) * (high - low)
        computed, least, most = (sum(seconds) / wall for seconds in zip(*looks, strict=True))
        print(f"{title}, {high - low:.0f} s: workers busy {least:.1%} to {most:.1%}, on a core {computed:.1%}")
    working = sum(end - start for start, end in spans)
    share = sum(fragments) / working
    print(f"{len(fragments)} fragments took {share:.1%} of the {working:.0f} s that the workers worked")


if __name__ == "__main__":
    main()
