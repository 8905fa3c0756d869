"""What all tests share: property tests that are not timed, folders that are made once, and real servers."""

import fcntl
import os
import shutil
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# In this process and those that it starts small tensors gain nothing from more threads, and threads that share a busy
# core wait for each other. It is read when numpy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A loaded machine is slow now and then.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one when the others are done.

    Those are the files with the longest timeouts of their own, and then the others with slow tests.
    """
    seconds: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        for marker in item.iter_markers("timeout"):
            seconds[item.path] = max(seconds[item.path], marker.args[0])
        if item.get_closest_marker("slow"):
            seconds[item.path] = max(seconds[item.path], 1.0)
    items.sort(key=lambda item: -seconds[item.path])


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """made_once(name, make) -> a folder that `make(folder)` has filled, once for all processes of pytest-xdist.

    The folder has the same path in all of them. Tests only read it, or copy it.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait here, and it is released with the process
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failure has left
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


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
