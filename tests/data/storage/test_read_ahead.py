"""Reads that begin before it is their turn: in order, bounded, each error in its place."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.data.storage.read_ahead import REQUESTS_IN_FLIGHT, Prefetched, RequestPool, read_ahead
from step3vl.data.storage.store_config import REQUESTS, request_count


@pytest.fixture
def pool() -> Iterator[RequestPool]:
    pool = RequestPool()
    yield pool
    pool.close()


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 120))
@settings(max_examples=50)
def test_tasks_come_in_order_and_few_bytes_are_begun(sizes: list[int], limit: int) -> None:
    begun: list[int] = []
    done = 0

    def begin(task: tuple[int, int]) -> list["Future[int] | None"]:
        begun.append(task[1])
        assert sum(begun[done:]) <= max(limit, task[1])
        return [None]

    for number, (task, reads) in enumerate(read_ahead(enumerate(sizes), begin, lambda task: task[1], limit)):
        assert task == (number, sizes[number]) and reads == [None]
        done = number + 1
    assert done == len(begun) == len(sizes)


def test_errors_come_in_their_place(pool: RequestPool) -> None:
    def read(number: int) -> int:
        if number == 3:
            raise OSError("the third is broken")
        return number * 10

    def tasks() -> Iterator[int]:
        yield from range(6)
        raise ValueError("no more")

    results: list[object] = []
    with pytest.raises(ValueError, match="no more"):
        for number, (future,) in read_ahead(tasks(), lambda task: [pool.submit(read, task)], lambda task: 1, 4):
            assert future is not None
            results.append(future.exception() if number == 3 else future.result())
    assert [*results[:3], *results[4:]] == [0, 10, 20, 40, 50], "the error of the tasks comes after all of them"
    assert isinstance(results[3], OSError)


def test_as_many_requests_wait_at_a_time_as_there_are_threads(pool: RequestPool) -> None:
    all_wait = threading.Barrier(REQUESTS_IN_FLIGHT)

    def read(number: int) -> int:
        REQUESTS.add()
        all_wait.wait(10)
        return number

    before = request_count()
    futures = [pool.submit(read, number) for number in range(REQUESTS_IN_FLIGHT * 2)]
    assert [future.result(20) for future in futures] == list(range(REQUESTS_IN_FLIGHT * 2))
    assert request_count() - before == REQUESTS_IN_FLIGHT * 2, "they count as those of this thread"


def test_a_closed_reader_cancels_what_has_not_begun() -> None:
    pool, hold = RequestPool(threads=1), threading.Event()
    reads: list[Future[bool]] = []

    def begin(task: int) -> list["Future[bool] | None"]:
        reads.append(pool.submit(hold.wait, 10))
        return [reads[-1]]

    reader = read_ahead(range(100), begin, lambda task: 1, 8)
    for _ in range(4):
        next(reader)
    reader.close()
    hold.set()
    pool.close()
    assert reads[0].result(10) and reads[-1].cancelled()


def test_a_process_ends_in_the_middle_of_a_request() -> None:
    code = (
        "import threading\n"
        "from step3vl.data.storage.read_ahead import RequestPool\n"
        "RequestPool().submit(threading.Event().wait, 600)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_expected_is_loaded_once() -> None:
    loads: list[int] = []

    def load(number: int) -> int:
        loads.append(number)
        if number == 2:
            raise ValueError("no such shard")
        return number + 1

    prefetched = Prefetched(load)
    prefetched.expect([1, 2])
    prefetched.expect([1])
    assert prefetched.get(1) == 2 and prefetched.get(5) == 6
    with pytest.raises(ValueError, match="no such shard"):
        prefetched.get(2)
    assert sorted(loads) == [1, 2, 5]
