"""Functions that the tests of time limits run in other processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from step3vl.data.errors import InfrastructureError

IMPORTED_BY = os.getpid()


class Peculiar(Exception):
    """An error that cannot be pickled."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field!r} is {problem}")


class _StoreDown(InfrastructureError):
    def __init__(self, store: str, state: str) -> None:
        super().__init__(f"{store} is {state}")


def load(name: str) -> Callable[[Any], Any]:
    def behave(argument: tuple[str, Any]) -> Any:
        how, value = argument
        if how == "hang":
            time.sleep(value)
        elif how == "segfault":
            os.kill(os.getpid(), 11)
        elif how == "exit":
            os._exit(3)
        elif how == "raise":
            raise value
        elif how == "unpicklable error":
            raise Peculiar("file", "wrong")
        elif how == "generator":
            return (i for i in range(3))
        elif how == "unpicklable machine error":
            raise _StoreDown("the store", "down")
        elif how == "print":
            print(value, flush=True)
        elif how == "work":
            end = time.process_time() + value
            while time.process_time() < end:
                pass
        elif how == "origin":
            return IMPORTED_BY, os.getppid(), os.environ.get(value)
        elif how == "leave a process":  # which gets all that it can inherit
            return subprocess.Popen(["sleep", str(value)], close_fds=False).pid
        elif how == "modules":
            return sorted(sys.modules)
        return name, os.getpid(), value

    return behave


def fail_to_load(error: Exception) -> Callable[[Any], Any]:
    raise error


def exit_on_load() -> Callable[[Any], Any]:
    os._exit(4)


def load_once(marker: Path) -> Callable[[Any], Any]:
    if marker.exists():
        raise ValueError("loaded already")
    marker.touch()
    return load("once")
