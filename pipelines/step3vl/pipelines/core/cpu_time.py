"""The processor time that pieces of work take in this process and in those that it started, such as a browser.

A worker may work on several fragments at once, in threads, and nobody can tell for which of them a library's thread or
a browser was busy. So what is used between two moments is divided equally among the pieces of work of that time:
a single one is an estimate, and their sum is right.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

import psutil


class _Meter:
    """Divides the time of this process and its children among the pieces of work that have begun and not ended."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seconds: dict[object, float] = {}
        self._last = 0.0

    def begin(self) -> object:
        work = object()
        with self._lock:
            self._divide()
            self._seconds[work] = 0.0
        return work

    def seconds(self, work: object) -> float:
        with self._lock:
            self._divide()
            return self._seconds[work]

    def end(self, work: object) -> None:
        with self._lock:
            self._divide()
            del self._seconds[work]

    def _divide(self) -> None:
        now = _used()
        # A process whose parent was killed takes what it used out of the sum.
        share = max(0.0, now - self._last) / max(1, len(self._seconds))
        self._last = now
        for work in self._seconds:
            self._seconds[work] += share


_METER = _Meter()


@contextmanager
def cpu_time() -> Iterator[Callable[[], float]]:
    """Measure the processor time of a piece of work.

    Yields:
        A function that returns the seconds so far.
    """
    work = _METER.begin()
    try:
        yield lambda: _METER.seconds(work)
    finally:
        _METER.end(work)


def _used() -> float:
    """Seconds of this process, of its children that ended, and of all processes below it that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() + ended.ru_utime + ended.ru_stime
    if _has_children():
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                seconds += sum(process.cpu_times()[:4])  # user, system, and both of its own children that ended
    return seconds


def _has_children() -> bool:
    """Whether there is any: most workers have none, and looking for them reads the list of all processes."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
