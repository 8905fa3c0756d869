"""What all tests share: property tests that are not timed, and a real server around an application."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from hypothesis import settings

# A loaded machine is slow now and then.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@contextmanager
def listening(app: Any) -> Iterator[str]:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session", name="listening")
def listening_fixture() -> Callable[[Any], AbstractContextManager[str]]:
    """The address of a real server that runs an application, as long as the context lasts."""
    return listening
