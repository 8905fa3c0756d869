"""A background event loop for synchronous callers, and waiting for several coroutines."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
GRACE = 5.0  # seconds that interrupted work has to end
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has the object but not its thread


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and wait for its result. Connections live on between calls.

    May be called within another event loop, such as a notebook's, which it blocks. An interrupt cancels the coroutine
    and is raised once that has ended.
    """
    ended = threading.Event()

    async def run() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    loop = _background_loop()
    future: concurrent.futures.Future[T] | None = None
    try:  # from before the work is scheduled, so that an interrupt never leaves it running
        future = asyncio.run_coroutine_threadsafe(run(), loop)
        return future.result()
    except BaseException:
        if future is not None:
            future.cancel()
            ended.wait(GRACE)
        raise


async def gather(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results in order. When one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _background_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if os.getpid() not in _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="step3vl-loop", daemon=True).start()
            _loops[os.getpid()] = loop
        return _loops[os.getpid()]
