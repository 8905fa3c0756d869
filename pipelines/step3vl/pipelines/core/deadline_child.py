"""The process of a step with a time limit, and the messages between the two: their length in 8 bytes, then a pickle.

The first message is what makes the function, each further one `(argument, seconds)`. The answer to each is `(result,
error)`.
"""

import os
import pickle
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from step3vl.data.errors import InfrastructureError, describe_error, is_infrastructure_error

_PARENT_CHECK_SECONDS = 5.0


class Failure(Exception):
    """An error that cannot be pickled.

    Args:
        name: Of its type.
        text: Its message.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name, self.text = name, text

    def __str__(self) -> str:
        return self.text


def send(connection: socket.socket, message: bytes, deadline: float | None = None) -> None:
    """Send a message. Raises OSError, TimeoutError after the deadline (of `time.monotonic`)."""
    _limit(connection, deadline)
    connection.sendall(len(message).to_bytes(8, "big") + message)


def receive(connection: socket.socket, deadline: float | None = None) -> bytes | None:
    """Receive a message; None where the other side ended. Raises as `send` does."""
    size = _receive(connection, 8, deadline)
    return None if size is None else _receive(connection, int.from_bytes(size, "big"), deadline)


def _receive(connection: socket.socket, size: int, deadline: float | None) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        _limit(connection, deadline)
        received = connection.recv_into(view)
        if not received:
            return None
        view = view[received:]
    return bytes(data)


def _limit(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        connection.settimeout(None)
    elif (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
    else:
        raise TimeoutError


def main() -> None:
    """Serve a function over the socket whose number is the first argument, until the other side ends."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that started this one
    connection = socket.socket(fileno=int(sys.argv[1]))
    if (message := receive(connection)) is None:
        return
    loaded: list[Callable[[Any], Any]] = []
    send(connection, _answer(lambda load: loaded.append(pickle.loads(load)()), message))
    # A process that was forked from the parent may hold the other end of the socket open.
    while loaded and os.getppid() == parent:
        if not select.select([connection], [], [], _PARENT_CHECK_SECONDS)[0]:
            continue
        if (message := receive(connection)) is None:
            return
        argument, seconds = pickle.loads(message)
        # Holds when nobody is left to kill this process.
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 1)
        answer = _answer(loaded[0], argument)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(connection, answer)


def _answer(function: Callable[[Any], Any], argument: Any) -> bytes:
    result, error = None, None
    try:
        result = function(argument)
    except Exception as raised:
        error = _portable(raised)
    try:
        return pickle.dumps((result, error))
    except Exception as raised:
        return pickle.dumps((None, _portable(raised)))


def _portable(error: Exception) -> Exception:
    """The error itself if it survives pickling; else an `InfrastructureError` for the machine's, or a `Failure`."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        if is_infrastructure_error(error):
            return InfrastructureError(describe_error(error))
        return Failure(type(error).__name__, str(error))
