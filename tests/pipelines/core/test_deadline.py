"""Functions with a time limit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.pipelines.core.deadline import Deadline, TimeLimitExceeded, WorkerDied
from step3vl.pipelines.core.deadline_child import Failure
from step3vl.pipelines.core.steps import Dropped

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def targets() -> Iterator[Any]:
    """The module of the functions, which another process can import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        import deadline_targets

        yield deadline_targets


@pytest.fixture(scope="module")
def deadline(targets: Any) -> Iterator[Deadline]:
    deadline = Deadline(partial(targets.load, "loaded"), "e.step")
    deadline.start()
    yield deadline
    deadline.close()


def test_the_function_is_loaded_once_and_called_in_another_process(deadline: Deadline) -> None:
    loads, process, value = deadline.call(("echo", "x" * 3_000_000), 10)
    assert (loads, value) == ("loaded", "x" * 3_000_000)
    assert process != os.getpid()
    assert deadline.call(("echo", 1), 10) == ("loaded", process, 1)


def test_a_call_that_hangs_is_killed_and_the_next_one_has_a_new_process(deadline: Deadline) -> None:
    _, before, _ = deadline.call(("echo", 0), 10)
    started = time.monotonic()
    with pytest.raises(TimeLimitExceeded, match=r"took longer than 0\.5 s"):
        deadline.call(("hang", 60), 0.5)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert deadline.call(("echo", 1), 10)[1:] != (before, 1)


@pytest.mark.parametrize(("how", "ending"), [("segfault", "killed by SIGSEGV"), ("exit", "exit status 3")])
def test_a_process_that_ends_is_told_apart_from_an_error(deadline: Deadline, how: str, ending: str) -> None:
    with pytest.raises(WorkerDied, match=ending):
        deadline.call((how, None), 10)
    assert deadline.call(("echo", 1), 10)[2] == 1


def test_errors_are_raised_as_they_were(deadline: Deadline) -> None:
    with pytest.raises(Dropped) as dropped:
        deadline.call(("raise", Dropped("unwanted")), 10)
    assert dropped.value.reason == "unwanted"
    with pytest.raises(OSError, match="No space") as full:
        deadline.call(("raise", OSError(28, "No space left on device")), 10)
    assert full.value.errno == 28


def test_an_error_that_cannot_be_pickled_keeps_its_name_and_text(deadline: Deadline) -> None:
    with pytest.raises(Failure, match="'file' is wrong") as failure:
        deadline.call(("unpicklable error", None), 10)
    assert failure.value.name == "Peculiar"
    with pytest.raises(TypeError, match="cannot pickle"):
        deadline.call(("generator", None), 10)


def test_an_error_of_the_machine_that_cannot_be_pickled_stays_the_machines(deadline: Deadline) -> None:
    with pytest.raises(InfrastructureError, match="the store is down"):
        deadline.call(("unpicklable machine error", None), 10)


def test_what_a_function_prints_does_not_end_up_among_its_answers(deadline: Deadline) -> None:
    assert deadline.call(("print", "{}"), 10)[2] == "{}"


def test_what_loading_raises_is_raised_at_the_start(targets: Any) -> None:
    deadline = Deadline(partial(targets.fail_to_load, UserError("no such icon")), "e.step")
    with pytest.raises(UserError, match="no such icon"):
        deadline.start()
    deadline = Deadline(targets.exit_on_load, "e.step")
    with pytest.raises(InfrastructureError, match=r"e\.step: its process did not start: .*exit status 4"):
        deadline.start()


def test_a_process_that_cannot_start_again_is_the_machines_error(targets: Any, tmp_path: Path) -> None:
    deadline = Deadline(partial(targets.load_once, tmp_path / "loaded"), "e.step")
    deadline.start()
    with pytest.raises(WorkerDied):
        deadline.call(("exit", None), 10)
    with pytest.raises(InfrastructureError, match=r"e\.step: ValueError: loaded already"):
        deadline.call(("echo", None), 10)


def test_what_no_other_process_can_import_is_refused() -> None:
    deadline = Deadline(lambda: print, "e.step")
    with pytest.raises(UserError, match=r"e\.step: a step with a time limit is made by a class or function"):
        deadline.start()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # its new parent may leave it one
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in a call"])
def test_the_process_ends_with_the_one_that_started_it(busy: bool, tmp_path: Path) -> None:
    call = "deadline.call(('hang', 600), 1)" if busy else "time.sleep(600)"
    script = (
        "import sys, time, threading\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from functools import partial\n"
        "import deadline_targets\n"
        "from step3vl.pipelines.core.deadline import Deadline\n"
        "deadline = Deadline(partial(deadline_targets.load, 'x'), 'e.step')\n"
        "deadline.start()\n"
        f"threading.Timer(0.3, print, ['ready'], dict(flush=True)).start()\n{call}\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path)
    assert parent.stdout is not None
    parent.stdout.readline()
    server, process = psutil.Process(parent.pid).children(recursive=True)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while not (_has_ended(server) and _has_ended(process)):
        assert time.monotonic() < end
        time.sleep(0.02)
