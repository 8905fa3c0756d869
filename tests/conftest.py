"""What all tests share: property tests that are not timed, and real servers: around an application, and of S3."""

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests, so that no process is left with one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, Any]]:
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
        files = fsspec.filesystem("s3", skip_instance_cache=True, **options)
        files.mkdir(bucket)
        try:
            yield options
        finally:
            files.invalidate_cache()
            files.rm(bucket, recursive=True)  # all servers of a process have the same buckets
    finally:
        server.stop()


@pytest.fixture(scope="session", name="s3_server")
def s3_server_fixture() -> Callable[[str], AbstractContextManager[dict[str, Any]]]:
    """The options by which fsspec reaches an S3 server that has a bucket, as long as the context lasts.

    All servers of a process share their buckets, so that no other test may have one of this name at the same time.
    """
    return s3_server
