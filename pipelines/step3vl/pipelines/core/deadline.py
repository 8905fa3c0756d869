"""Time limits: a function runs in a process of its own, which is killed when a call takes too long.

A Python function that hangs cannot be stopped from within its process, and one that crashes takes its process along.
The process is forked from a server (`fork_server`). It differs from the workers of `step3vl.grading.pool`, which share
nothing between calls, take JSON and may use 4 GiB: this one loads a model or an asset once, and records and images
travel to it as they are.
"""

import pickle
import signal
import time
from collections.abc import Callable
from typing import Any

from step3vl.data.errors import InfrastructureError, UserError, describe_error
from step3vl.pipelines.core.deadline_child import receive, send
from step3vl.pipelines.core.fork_server import START_SECONDS, ForkedProcess, ForkServer, fork_server

_CLOSE_SECONDS = 0.1  # for a process to end by itself
_DEATH_SECONDS = 1.0  # for one that hung up, and is ending


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
        self._server: ForkServer | None = None
        self._process: ForkedProcess | None = None

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
        self._server = fork_server()
        self._process = self._server.fork(load)
        try:
            self._ask(self._process, load, START_SECONDS)
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
        if self._process is None:
            try:
                self.start()
            except Exception as error:  # it did before: this is not the record's failure
                raise InfrastructureError(f"{self._name}: {describe_error(error)}") from error
            assert self._process is not None
        return self._ask(self._process, argument, seconds)

    def close(self) -> None:
        """End the process; a later call starts another."""
        self._end(_CLOSE_SECONDS)
        self._server = None

    def _ask(self, process: ForkedProcess, argument: Any, seconds: float) -> Any:
        request, deadline = pickle.dumps((argument, seconds)), time.monotonic() + seconds
        try:
            send(process.connection, request, deadline)
            response = receive(process.connection, deadline)
        except TimeoutError:
            self._end(0)
            raise TimeLimitExceeded(f"took longer than {seconds:g} s") from None
        except OSError:
            response = None
        except BaseException:  # a KeyboardInterrupt: the answer of an abandoned call would be the next one's
            self._end(0)
            raise
        if response is None:
            raise WorkerDied(f"the process of the step ended ({_ending(self._end(_DEATH_SECONDS))})")
        result, error = pickle.loads(response)
        if error is not None:
            raise error
        return result

    def _end(self, seconds: float) -> int | None:
        process, self._process = self._process, None
        return process.end(seconds) if process is not None else None


def _ending(status: int | None) -> str:
    if status is None:
        return "with its fork server"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
