"""A process from which the processes of time limits are forked: they share its modules, and start at once.

To import what a step needs takes a second of processor time and 50 MB, which is much for each of 25 processes. The
server imports it once, the first time that a step asks. It never runs the code of a step, so it has neither models nor
the threads of a model's library when it forks.

`multiprocessing` has such a server too. Its processes import the `__main__` of the process that asks for them, as
`step3vl.grading.pool` tells, and get the environment and `sys.path` of the first that asked.
"""

import gc
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from step3vl.data.errors import InfrastructureError
from step3vl.pipelines.core.deadline_child import PARENT_CHECK_SECONDS, receive, send, serve

START_SECONDS = 300.0  # to import what a step needs, on a machine that is busy


class ForkServer:
    """The server, as the process that started it sees it; any thread may use it.

    It ends, with all that it forked, when nobody refers to this object, and when this process ends in any way.

    Args:
        path: Where the server finds modules.
    """

    def __init__(self, path: Sequence[str]) -> None:
        self._path = os.pathsep.join(path)
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                _python("step3vl.pipelines.core.fork_server", theirs),
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                pass_fds=[theirs.fileno()],
            )
        self._control, self._process = ours, process
        self._lock = threading.Lock()
        self._stop = weakref.finalize(self, _stop, ours, process)

    @property
    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._process.poll() is None

    def fork(self, load: bytes) -> "ForkedProcess":
        """Fork a process that runs `deadline_child.serve`, with the environment that this process has now.

        Args:
            load: What it will be asked to load; the server unpickles it for the modules that this imports.

        Raises:
            InfrastructureError: The machine has no room for it, or the server ended.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                answer = self._ask(("fork", (load, self._environment())), theirs)
            if isinstance(answer, OSError):
                raise answer
        except OSError as error:
            ours.close()
            raise InfrastructureError(f"no process was forked: {error}") from error
        return ForkedProcess(self, answer, ours)

    def end(self, pid: int, seconds: float) -> int | None:
        """End a process, and wait for it.

        Args:
            pid: Of the process.
            seconds: That it has to end by itself before it is killed.

        Returns:
            Its exit status, negative for a signal; None if the server ended and nobody knows.
        """
        try:
            status: int = self._ask(("end", (pid, seconds)))
        except OSError:
            return None
        return status

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": self._path}

    def _ask(self, request: tuple[str, Any], *sent: socket.socket) -> Any:
        deadline = time.monotonic() + START_SECONDS
        with self._lock:
            try:
                socket.send_fds(self._control, [b"."], [each.fileno() for each in sent])
                send(self._control, pickle.dumps(request), deadline)
                answer = receive(self._control, deadline)
            except BaseException:  # a KeyboardInterrupt too: this answer would be the next one's
                self._stop()
                raise
        if answer is None:
            raise ConnectionError("the fork server ended")
        return pickle.loads(answer)


class ForkedProcess:
    """A process that a server forked.

    Attributes:
        connection: To `deadline_child.serve` in it.
    """

    def __init__(self, server: ForkServer, pid: int, connection: socket.socket) -> None:
        self._server, self._pid = server, pid
        self.connection = connection

    def end(self, seconds: float) -> int | None:
        """Hang up, end the process and wait for it. Arguments and result are those of `ForkServer.end`."""
        self.connection.close()
        return self._server.end(self._pid, seconds)


_lock = threading.Lock()
_servers: "weakref.WeakValueDictionary[tuple[str, ...], ForkServer]" = weakref.WeakValueDictionary()


def fork_server() -> ForkServer:
    """The server of this process for its present `sys.path`, shared by all that hold it."""
    path = tuple(filter(None, sys.path))
    with _lock:
        server = _servers.get(path)
        if server is None or not server.is_alive:
            server = _servers[path] = ForkServer(path)
        return server


def _forget() -> None:
    """In a process that was forked from this one: leave the servers to it."""
    global _lock
    _lock = threading.Lock()
    for server in _servers.values():
        server._stop.detach()
    _servers.clear()


os.register_at_fork(after_in_child=_forget)


def _python(module: str, connection: socket.socket) -> list[str]:
    return [sys.executable, "-P", "-c", f"from {module} import main; main()", str(connection.fileno())]


def _stop(control: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    control.close()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Serve over the socket whose number is the first argument; runs to its end in each forked process, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that started this one
    server = _Server(socket.socket(fileno=int(sys.argv[1])))
    task = server.run()
    if task is None:
        server.end_all()
    else:
        task()


class _Server:
    def __init__(self, control: socket.socket) -> None:
        control.set_inheritable(False)
        self._control = control
        self._parent, self._pid = os.getppid(), os.getpid()
        self._running: set[int] = set()

    def run(self) -> Callable[[], None] | None:
        """Answer until the parent ends. Returns None then, and in each process that is forked what this has to do."""
        # A process that was forked from the parent may hold the other end of the socket open.
        while os.getppid() == self._parent:
            if not select.select([self._control], [], [], PARENT_CHECK_SECONDS)[0]:
                continue
            try:
                _, sent, *_ = socket.recv_fds(self._control, 1, 1)
                if (message := receive(self._control)) is None:
                    return None
                kind, argument = pickle.loads(message)
                answer = self._fork(sent[0], *argument) if kind == "fork" else self._end(*argument)
                if callable(answer):
                    return answer
                send(self._control, pickle.dumps(answer))
            except ConnectionError:
                return None
        return None

    def end_all(self) -> None:
        for pid in tuple(self._running):
            self._end(pid, 0)

    def _fork(self, descriptor: int, load: bytes, environment: dict[str, str]) -> int | OSError | Callable[[], None]:
        """The number of the process, or why there is none; in the process what it has to do."""
        connection = socket.socket(fileno=descriptor)
        connection.set_inheritable(False)
        with suppress(BaseException):  # the process meets the same error, and tells of it
            pickle.loads(load)
        gc.freeze()  # else the first collection of each process would copy the memory that they share
        sys.stdout.flush()
        sys.stderr.flush()
        has_threads = threading.active_count() > 1
        try:
            pid = os.fork()
        except OSError as error:
            return error
        if pid == 0:
            self._control.close()
            os.environ.clear()
            os.environ.update(environment)
            # A thread that an import started is missing in a fork, perhaps with a lock that it held.
            return partial(_import_again if has_threads else serve, connection, self._pid)
        connection.close()
        self._running.add(pid)
        return pid

    def _end(self, pid: int, seconds: float) -> int:
        self._running.discard(pid)
        deadline, pause = time.monotonic() + seconds, 0.001
        while time.monotonic() < deadline:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _import_again(connection: socket.socket, parent: int) -> None:
    connection.set_inheritable(True)
    os.execv(sys.executable, _python("step3vl.pipelines.core.deadline_child", connection))
