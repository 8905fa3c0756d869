"""What a worker process of `step3vl.grading.pool` runs: read a call, answer it, until the input ends."""

import importlib
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_BYTES = 4 * 2**30
"""Address space of a worker: an expression such as `9^{9^9}` ends as a MemoryError here, not as the machine's."""
_PARENT_CHECK_SECONDS = 5.0


def main() -> None:
    """Serve the function that the first argument names, as `module:function`, over standard input and output.

    The second argument, if there is one, holds the arguments of a first call as JSON, which warms the function up.

    A line in is a JSON object `{"args": […], "seconds": …}`, a line out `{"result": …}` or `{"error": "…"}`; the first
    line out says that the worker is ready. A call that outlives its seconds by far ends the process by a signal, which
    holds when nobody is left to kill it.
    """
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that owns the pool
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    module, _, name = sys.argv[1].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    if len(sys.argv) > 2:
        function(*json.loads(sys.argv[2]))
    _write(output, {"result": "ready"})
    with os.fdopen(os.dup(0), "rb", buffering=0) as calls:
        pending = b""
        while os.getppid() == parent:
            if not select.select([calls], [], [], _PARENT_CHECK_SECONDS)[0]:
                continue
            received = calls.read(2**16)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                _write(output, _answer(function, json.loads(line)))


def _answer(function: Callable[..., Any], call: dict[str, Any]) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_REAL, 2 * call["seconds"] + 1)
    try:
        return {"result": function(*call["args"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:1000]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _write(output: BinaryIO, answer: dict[str, Any]) -> None:
    output.write(json.dumps(answer).encode() + b"\n")
    output.flush()
