"""Time limits: a function runs in a process of its own, which is killed when a call takes too long.

A Python function that hangs cannot be stopped from within its process, and one that crashes takes its process along.
The process is a plain subprocess, for the reasons that `step3vl.grading.pool` gives. It differs from the workers
there, which share nothing between calls, take JSON and may use 4 GiB: this one loads a model or an asset once, and
records and images travel to it as they are.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from step3vl.data.errors import InfrastructureError, UserError, describe_error
from step3vl.pipelines.core.deadline_child import receive, send

_START_SECONDS = 300.0  # to import and load what a step needs, on a machine that is busy


class TimeLimitExceeded(Exception):
    """A record took longer than its step allows. (The builtin `TimeoutError` is the machine's.)"""


class WorkerDied(Exception):
    """The process of a step ended while it worked on a record."""


class Deadline:
    """A function in a process of its own, which is started when it is needed and ends with this process.

    Args:
        load: Makes the function; called once in each process that is started. It is pickled, so it must be made of
            what another process can import.
        name: Of the step, for errors.
    """

    def __init__(self, load: Callable[[], Callable[[Any], Any]], name: str) -> None:
        self._load, self._name = load, name
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and load the function.

        Raises:
            Exception: What loading raised.
            InfrastructureError: The process ended before that.
        """
        try:
            load = pickle.dumps(self._load)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UserError(
                f"{self._name}: a step with a time limit is made by a class or function of a module, which another "
                f"process can import: {describe_error(error)}"
            ) from error
        ours, theirs = socket.socketpair()
        with theirs:
            paths = [path for path in sys.path if path]
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", "from step3vl.pipelines.core.deadline_child import main; main()",
                 str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._socket = ours
        try:
            self._ask(load, _START_SECONDS)
        except (TimeLimitExceeded, WorkerDied) as error:
            raise InfrastructureError(f"{self._name}: its process did not start: {error}") from None
        except BaseException:
            self.close()
            raise

    def call(self, argument: Any, seconds: float) -> Any:
        """Call the function.

        Args:
            argument: What it takes; pickled, as is the result.
            seconds: For the call itself; the start of a process is not counted.

        Raises:
            Exception: What the function raised.
            TimeLimitExceeded: The call took longer, and the process was killed.
            WorkerDied: The process ended.
            InfrastructureError: The process did not start again.
        """
        request = pickle.dumps((argument, seconds))
        if self._child is None:
            try:
                self.start()
            except Exception as error:  # it did before: this is not the record's failure
                raise InfrastructureError(f"{self._name}: {describe_error(error)}") from error
        return self._ask(request, seconds)

    def _ask(self, request: bytes, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        try:
            send(self._socket, request, deadline)
            response = receive(self._socket, deadline)
        except TimeoutError:
            self.close()
            raise TimeLimitExceeded(f"took longer than {seconds:g} s") from None
        except OSError:
            response = None
        except BaseException:  # a KeyboardInterrupt: the answer of an abandoned call would be the next one's
            self.close()
            raise
        if response is None:
            raise WorkerDied(f"the process of the step ended ({_ending(self.close())})")
        result, error = pickle.loads(response)
        if error is not None:
            raise error
        return result

    def close(self) -> int:
        """End the process; a later call starts another. Returns its exit status, 0 without a process."""
        if self._child is None:
            return 0
        child, self._child = self._child, None
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.1)  # one that died tells how
        child.kill()
        return child.wait()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
