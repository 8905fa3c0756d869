"""The process of a step with a time limit, and the messages between the two: their length in 8 bytes, then a pickle.

A message is `(argument, seconds)`. The argument of the first one is a pickle of what makes the function, of all others
what the function takes. The answer to each is `(result, error)`.
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

PARENT_CHECK_SECONDS = 1.0


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
    """Serve over the socket whose number is the first argument, in a process that its parent did not fork."""
    serve(socket.socket(fileno=int(sys.argv[1])), os.getppid())


def serve(connection: socket.socket, parent: int) -> None:
    """Make a function, and answer calls of it.

    Args:
        connection: To the process that asks. This returns when the other side ends.
        parent: The parent of this process. This returns, too, when another process has become it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that asks
    function: Callable[[Any], Any] | None = None

    def call(argument: Any) -> Any:
        nonlocal function
        if function is not None:
            return function(argument)
        function = pickle.loads(argument)()
        return None

    # The other side may be open in yet another process, which was forked from the one that is gone.
    while os.getppid() == parent:
        if not select.select([connection], [], [], PARENT_CHECK_SECONDS)[0]:
            continue
        if (message := receive(connection)) is None:
            return
        argument, seconds = pickle.loads(message)
        # Holds when nobody is left to kill this process.
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 1)
        answer = _answer(call, argument)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            send(connection, answer)
        except OSError:  # the other side hung up: it was too late
            return


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
