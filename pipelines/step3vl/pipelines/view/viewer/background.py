"""Work that a page waits for without blocking: it begins when it is first asked for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from step3vl.data.errors import UserError

T = TypeVar("T")


class Background(Generic[T]):
    """The result of a function that runs once, in a thread that does not hold up the end of the process.

    Args:
        function: The work.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._result: T | None = None
        self._error: UserError | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def poll(self, seconds: float = 0.0) -> T | None:
        """The result; None if the function still runs after so long. Raises what it raised, if that is a UserError."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._function()
        except UserError as error:
            self._error = error
        except Exception as error:
            self._error = UserError(f"{type(error).__name__}: {error}")
            raise
