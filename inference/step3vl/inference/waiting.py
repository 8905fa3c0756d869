"""One event loop in the background, for callers that are not asynchronous themselves; and waiting for several."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
GRACE = 5.0  # seconds that interrupted work has to end
_guard = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has the object but not its thread


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """The result of asynchronous work, awaited on the background loop, so that connections live on between calls.

    It may be called within another event loop, such as a notebook's, which it blocks. An interrupt ends the work, and
    is passed on when the work has ended.
    """
    ended = threading.Event()

    async def run() -> T:
        try:
            return await work
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(run(), _background())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        ended.wait(GRACE)
        raise


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order. When one fails, the others need not go on and are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _background() -> asyncio.AbstractEventLoop:
    with _guard:
        if os.getpid() not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="step3vl-loop", daemon=True).start()
            _loops[os.getpid()] = loop
        return _loops[os.getpid()]
