"""The worker pool: deadlines hold, and no call, crash, thread or fork can spoil another call."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from step3vl.grading.pool import WorkerError, WorkerPool

HERE = Path(__file__).parent


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    monkeypatch.syspath_prepend(HERE)
    pool = WorkerPool("pool_targets:behave")
    yield pool
    pool.close()


def wait_until_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_worker_is_started_once_and_answers(pool: WorkerPool) -> None:
    assert pool.call("a 'text' \ud800 \n", seconds=10) == "a 'text' \ud800 \n"
    assert pool.call("pid", seconds=10) == pool.call("pid", seconds=10) != os.getpid()


@pytest.mark.parametrize("what", ["loop", "sleep"])
def test_call_that_exceeds_its_deadline_is_killed_and_the_worker_replaced(pool: WorkerPool, what: str) -> None:
    pid = pool.call("pid", seconds=10)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        pool.call(what, seconds=0.5)
    assert time.monotonic() - began < 3
    assert wait_until_gone(pid, 5)
    assert pool.call("still here", seconds=10) == "still here"


def test_worker_that_crashes_is_an_error_and_is_replaced(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError, match="exit status 3"):
        pool.call("exit", seconds=10)
    assert pool.call("still here", seconds=10) == "still here"


@pytest.mark.parametrize(
    ("what", "error"), [("raise", "RuntimeError: no"), ("recurse", "RecursionError"), ("eat memory", "MemoryError")]
)
def test_exception_of_the_function_is_an_error_and_the_worker_stays(pool: WorkerPool, what: str, error: str) -> None:
    pid = pool.call("pid", seconds=10)
    with pytest.raises(WorkerError, match=error):
        pool.call(what, seconds=10)
    assert pool.call("pid", seconds=10) == pid


def test_printing_does_not_end_up_among_the_answers(pool: WorkerPool) -> None:
    assert pool.call("print", seconds=10) == "print"


def test_worker_that_was_killed_while_idle_is_replaced(pool: WorkerPool) -> None:
    pid = pool.call("pid", seconds=10)
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid, 5)
    assert pool.call("still here", seconds=10) == "still here"


SLOW_TARGET = """
import time

values = []


def target(value):
    if not values:
        time.sleep(2)
    values.append(value)
    return values
"""


def test_worker_is_warmed_up_before_its_first_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slow_target.py").write_text(SLOW_TARGET)
    monkeypatch.syspath_prepend(tmp_path)
    pool = WorkerPool("slow_target:target", warm_up=["first"])
    assert pool.call("second", seconds=1) == ["first", "second"]
    pool.close()


def test_function_that_cannot_be_imported_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerError, match="died"):
        WorkerPool("no_such_module:function").call(seconds=10)


@pytest.mark.slow
def test_eight_threads_share_two_workers(pool: WorkerPool) -> None:
    def answer(number: int) -> object:
        if number % 10 == 7:
            with pytest.raises(WorkerError):
                pool.call("exit", seconds=10)
        return pool.call(str(number), seconds=10), pool.call("pid", seconds=10)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(answer, range(40)))
    assert [text for text, _ in answers] == [str(number) for number in range(40)]
    assert len(pool._idle) <= 2


def test_forked_process_starts_its_own_workers(pool: WorkerPool) -> None:
    parent_worker = pool.call("pid", seconds=10)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if pool.call("pid", seconds=60) != parent_worker else 2
            pool.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.call("pid", seconds=10) == parent_worker


SCRIPT = """
import sys, threading, time
from step3vl.grading.pool import WorkerPool

pool = WorkerPool("pool_targets:behave")
print(pool.call("pid", seconds=60), flush=True)
if sys.argv[1] == "busy":
    threading.Thread(target=lambda: pool.call("loop", seconds=3), daemon=True).start()
if sys.argv[1] != "end":
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("state", "seconds"), [("end", 10), ("idle", 10), ("busy", 20)])
def test_workers_end_with_their_parent_and_need_no_guard_in_its_script(
    tmp_path: Path, state: str, seconds: float
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with subprocess.Popen(
        [sys.executable, script, state], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        if state == "busy":
            time.sleep(1)
        if state != "end":
            process.kill()
        assert process.wait(30) == (0 if state == "end" else -signal.SIGKILL)
    assert wait_until_gone(worker, seconds)
