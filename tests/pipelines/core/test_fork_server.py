"""The processes of time limits share a server, and what could go wrong with one."""

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.cpu_time import cpu_time
from step3vl.pipelines.core.deadline import Deadline, TimeLimitExceeded, WorkerDied
from step3vl.pipelines.core.domain import BeamStep
from step3vl.pipelines.core.fork_server import fork_server
from step3vl.pipelines.describe import example_entry
from step3vl.pipelines.domains import DOMAINS

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def targets() -> Iterator[Any]:
    """The module of the functions, which another process can import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        import deadline_targets

        yield deadline_targets


@pytest.fixture
def start(targets: Any) -> Iterator[Callable[[], Deadline]]:
    """Starts functions in processes of their own, which end with the test."""
    started: list[Deadline] = []

    def start() -> Deadline:
        started.append(Deadline(partial(targets.load, "x"), "e.step"))
        started[-1].start()
        return started[-1]

    yield start
    for deadline in started:
        deadline.close()


def process_of(deadline: Deadline) -> int:
    pid: int = deadline.call(("echo", 0), 60)[1]
    return pid


def wait_for_end(pid: int) -> None:
    """Wait for a process that is no child of this one; its new parent may leave it a zombie."""
    end = time.monotonic() + 60
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end
            time.sleep(0.02)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def have_ended(processes: set[int], seconds: float = 60.0) -> bool:
    """Whether these children soon are no more; one that was told to end takes a moment. Other tests have others."""
    end = time.monotonic() + seconds
    while children() & processes and time.monotonic() < end:
        time.sleep(0.05)
    return not children() & processes


def test_processes_share_what_the_server_imported(start: Callable[[], Deadline]) -> None:
    first, second = start(), start()
    imported_by, server, _ = first.call(("origin", ""), 60)
    assert imported_by == server != os.getpid()
    assert second.call(("origin", ""), 60)[:2] == (server, server)
    assert process_of(first) != process_of(second)


def test_the_server_ends_with_the_last_one_that_uses_it(start: Callable[[], Deadline]) -> None:
    before = children()
    first, second = start(), start()
    started = children() - before
    with pytest.raises(WorkerDied):
        first.call(("exit", None), 60)
    first.close()
    assert second.call(("echo", 1), 60)[2] == 1
    second.close()
    assert started and have_ended(started)


def test_one_that_nobody_closed_ends_as_well(targets: Any) -> None:
    before = children()
    deadline = Deadline(partial(targets.load, "x"), "e.step")
    deadline.start()
    started = children() - before
    del deadline
    assert started and have_ended(started)


def test_a_process_has_the_environment_of_its_start(
    start: Callable[[], Deadline], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = start()
    monkeypatch.setenv("COLOUR", "red")
    after = start()
    assert after.call(("origin", "COLOUR"), 60)[2] == "red"
    assert before.call(("origin", "COLOUR"), 60)[2] is None


def test_the_end_of_a_process_is_noticed_though_others_were_forked_after_it(start: Callable[[], Deadline]) -> None:
    first = start()
    left = first.call(("leave a process", 600), 60)
    second = start()
    started = time.monotonic()
    try:
        with pytest.raises(WorkerDied, match="killed by SIGSEGV"):
            first.call(("segfault", None), 200)
        assert time.monotonic() - started < 100
        assert second.call(("echo", 1), 60)[2] == 1
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_function_is_started_again_when_its_server_was_killed(start: Callable[[], Deadline]) -> None:
    deadline = start()
    before = process_of(deadline)
    os.kill(deadline.call(("origin", ""), 60)[1], signal.SIGKILL)
    wait_for_end(before)
    with pytest.raises(WorkerDied, match="with its fork server"):
        deadline.call(("echo", 0), 60)
    assert process_of(deadline) != before


def test_a_server_that_was_killed_leaves_nothing_that_works_for_ever(start: Callable[[], Deadline]) -> None:
    deadline = start()
    pid, (_, server, _) = process_of(deadline), deadline.call(("origin", ""), 60)
    threading.Timer(0.2, os.kill, (server, signal.SIGKILL)).start()
    with pytest.raises(TimeLimitExceeded):
        deadline.call(("hang", 600), 0.5)
    wait_for_end(pid)


def test_a_module_that_ends_the_server_is_the_machines_error(start: Callable[[], Deadline], tmp_path: Path) -> None:
    other = start()
    (tmp_path / "exit_on_import.py").write_text(
        "import os, sys\nif 'pytest' not in sys.modules: os._exit(5)\ndef load(): ...\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        deadline = Deadline(import_module("exit_on_import").load, "e.step")
        with pytest.raises(InfrastructureError, match="no process was forked: the fork server ended"):
            deadline.start()
    assert other.call(("echo", 1), 60)[2] == 1


def test_a_process_is_started_afresh_where_an_import_started_a_thread() -> None:
    import thread_on_import

    deadline = Deadline(thread_on_import.load, "e.step")
    deadline.start()
    imported_by, pid, threads = deadline.call(None, 60)
    assert (imported_by, threads) == (pid, 2)
    deadline.close()


def test_the_server_imports_what_domains_ask_for_and_starts_no_thread(start: Callable[[], Deadline]) -> None:
    """Threads of the imported libraries are those that survive a fork: of OpenBLAS and of jemalloc."""
    server = fork_server()
    for domain in DOMAINS.values():
        entry = domain.entry.model_validate(example_entry(domain))
        for step in domain.steps_of(entry):
            if step.time_limit is not None:
                code = step.worker if isinstance(step, BeamStep) else step.annotator
                server.fork(pickle.dumps((code, entry))).end(0)
    deadline = start()
    modules = set(deadline.call(("modules", None), 60))
    assert modules > {"cv2", "pypdfium2", "step3vl.pipelines.domains.ocr_documents"}
    assert not modules & {"torch", "onnxruntime", "paddleocr", "matplotlib", "transformers", "apache_beam", "ray"}
    pid = deadline.call(("origin", ""), 60)[1]
    names = [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    assert names.count("jemalloc_bg_thd") <= 1
    assert len(names) - names.count("jemalloc_bg_thd") == 1


def test_what_it_used_is_counted_once(start: Callable[[], Deadline]) -> None:
    deadline = start()
    with cpu_time() as seconds:
        deadline.call(("work", 0.3), 60)
        assert seconds() == pytest.approx(0.3, abs=0.1)
        deadline.close()
        assert seconds() == pytest.approx(0.3, abs=0.2)
