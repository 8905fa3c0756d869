"""Calls with a hard deadline, in a few worker processes that are killed when they exceed it.

A Python function that loops cannot be stopped from within its process: signals reach the main thread only, and threads
cannot be killed. `multiprocessing` does not serve, nor what builds on it: its workers import the `__main__` of the
process that starts them (all of torch under DeepSpeed, an unguarded script once more), or are forked from a process
with threads. So the workers are plain subprocesses that speak JSON lines.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

_START_SECONDS = 120.0
"""For a worker to import what it serves, on a machine that is busy."""


class WorkerError(Exception):
    """The function raised in its worker, or the worker died."""


class WorkerPool:
    """Worker processes that serve one function, started when they are needed and shared by the threads of a process.

    They end with the process that started them, even if it is killed. A process that is forked from it starts its own.

    Args:
        function: `module:name` of a function whose arguments and result are JSON values.
        warm_up: arguments of a first call in each worker, whose imports are then no part of any deadline.
        workers: how many calls may run at the same time; further ones wait.
    """

    def __init__(self, function: str, warm_up: Sequence[Any] | None = None, workers: int = 2) -> None:
        self._command = [function] if warm_up is None else [function, json.dumps(warm_up)]
        self._count = workers
        self._idle: list[_Worker] = []
        self._reset()
        _POOLS.add(self)

    def call(self, *args: Any, seconds: float) -> Any:
        """Call the function in a worker, from any thread.

        Args:
            args: JSON values.
            seconds: for the call itself; the start of a worker and the wait for a free one are not counted.

        Raises:
            TimeoutError: the call took longer, and its worker was killed.
            WorkerError: the function raised, or its worker died.
        """
        with self._slots:
            worker = self._take()
            try:
                answer = worker.ask({"args": args, "seconds": seconds}, seconds)
            except BaseException:  # a KeyboardInterrupt too: the answer of an abandoned call would be the next one's
                worker.kill()
                raise
            with self._lock:
                self._idle.append(worker)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    def close(self) -> None:
        """End the idle workers; another call starts new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _take(self) -> "_Worker":
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return _Worker(self._command)
            if worker.is_alive():
                return worker
            worker.kill()

    def _reset(self) -> None:
        self._slots = threading.BoundedSemaphore(self._count)
        self._lock = threading.Lock()
        self._idle = []

    def _forget(self) -> None:
        """In a forked process: leave the workers, and the locks that other threads held, to the parent."""
        for worker in self._idle:
            worker.abandon()
        self._reset()


class _Worker:
    def __init__(self, command: Sequence[str]) -> None:
        paths = [path for path in sys.path if path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from step3vl.grading.worker import main; main()", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            bufsize=0,
        )
        try:
            self._read(time.monotonic() + _START_SECONDS)
        except TimeoutError:
            self.kill()
            raise WorkerError(f"the worker did not start within {_START_SECONDS:g} seconds") from None
        except BaseException:
            self.kill()
            raise

    def ask(self, call: dict[str, Any], seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(call).encode() + b"\n")
        except OSError as error:
            raise WorkerError(f"the worker died: {error}") from None
        return self._read(deadline)

    def _read(self, deadline: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        readable = select.poll()  # select.select refuses the file numbers of a process that has many files open
        readable.register(self._process.stdout, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            if not readable.poll(max(deadline - time.monotonic(), 0.0) * 1000):
                raise TimeoutError("the worker did not answer in time")
            received = self._process.stdout.read(2**16)
            if not received:
                raise WorkerError(f"the worker died with exit status {self._process.wait()}")
            line += received
        return json.loads(line)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def abandon(self) -> None:
        self._process.returncode = 0  # it is another process's child: there is nothing to wait for
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


_POOLS: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._forget()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
