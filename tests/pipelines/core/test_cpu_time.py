"""The processor time of pieces of work counts every process that they start, once."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from step3vl.pipelines.core.cpu_time import cpu_time

# Uses so many seconds for each line that it reads, here or in a process of its own, and answers.
_CHILD = """
import subprocess, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
for line in sys.stdin:
    where, seconds = line.split()
    if where == "here":
        burn(float(seconds))
    else:
        code = f"import time\\nwhile time.process_time() < {seconds}: pass"
        subprocess.run([sys.executable, "-S", "-c", code], check=True)
    print("done", flush=True)
"""


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Child:
    """A process that lives on between what it is asked, as a browser does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.burn(0.0)  # it has started

    def burn(self, seconds: float, where: str = "here") -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{where} {seconds}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.end()


def test_it_is_that_of_this_process() -> None:
    burn(0.1)
    with cpu_time() as seconds:
        burn(0.2)
        assert seconds() == pytest.approx(0.2, abs=0.04)
        time.sleep(0.2)
        assert seconds() == pytest.approx(0.2, abs=0.04)


def test_children_count_while_they_live_and_once_when_they_have_ended(child: Child) -> None:
    child.burn(0.2)
    with cpu_time() as seconds:
        child.burn(0.3)
        assert seconds() == pytest.approx(0.3, abs=0.06)
        child.end()
        assert seconds() == pytest.approx(0.3, abs=0.06)


def test_the_children_of_children_count(child: Child) -> None:
    with cpu_time() as seconds:
        child.burn(0.3, "elsewhere")
        assert seconds() == pytest.approx(0.3, abs=0.06)


def test_what_a_child_did_between_two_pieces_of_work_is_of_neither(child: Child) -> None:
    with cpu_time() as seconds:
        assert seconds() < 0.05
    child.burn(0.2)
    with cpu_time() as seconds:
        child.burn(0.1)
        assert seconds() == pytest.approx(0.1, abs=0.05)


def test_pieces_of_work_at_one_time_add_up(child: Child) -> None:
    measured: list[float] = []
    begun, ended = threading.Barrier(2), threading.Event()

    def first() -> None:
        with cpu_time() as seconds:
            begun.wait()
            ended.wait()
            measured.append(seconds())

    thread = threading.Thread(target=first)
    thread.start()
    with cpu_time() as seconds:
        begun.wait()
        child.burn(0.2)
        burn(0.2)
        ended.set()
        thread.join()
        measured.append(seconds())
    assert sum(measured) == pytest.approx(0.4, abs=0.08)
    assert measured[0] == pytest.approx(0.2, abs=0.05)
