"""Start the ranks of a run on this machine, and let none of them outlive it.

`launch` gives each rank the environment that torchrun would. Under torchrun, srun or any other launcher, which set
WORLD_SIZE, it runs the module in place instead. A UserError of a rank is raised again by the launcher.
"""

import ctypes
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from step3vl.data.errors import UserError

logger = logging.getLogger(__name__)

USER_ERROR = 2
"""Exit code of a rank that raised UserError."""
_ERROR_FILE = "STEP3VL_ERROR_FILE"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TERMINATION_GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def launch(module: str, config_path: str | Path, processes: int) -> None:
    """Run `python -m module config_path` in `processes` ranks and wait for all of them.

    The cores of this process are divided among the ranks as threads, unless OMP_NUM_THREADS is set.

    Args:
        module: Dotted name of a module with a `main(config_path)`.
        config_path: The resolved configuration.
        processes: Number of ranks.

    Raises:
        UserError: With the message of the first rank that raised one, or the exit code of the first that failed.
    """
    if "WORLD_SIZE" in os.environ:
        importlib.import_module(module).main(str(config_path))
        return
    with tempfile.TemporaryDirectory(prefix="step3vl-") as folder:
        error_file = Path(folder) / "error"
        shared = {
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            _ERROR_FILE: str(error_file),
        }
        threads = str(max(1, len(os.sched_getaffinity(0)) // processes))
        command = [sys.executable, "-m", module, str(config_path)]
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(processes):
                numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                environment = {"OMP_NUM_THREADS": threads, **os.environ, **shared, **numbers}
                ranks.append(
                    subprocess.Popen(
                        command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_killed_with(os.getpid())
                    )
                )
            failed = _wait(ranks)
        finally:
            _stop(ranks)
        if failed is not None:
            raise UserError(_failure_message(failed, ranks[failed].returncode, error_file, module))


def run_rank(work: Callable[[str], None]) -> None:
    """Run a rank: the `__main__` of a module that `launch` starts.

    A UserError is passed to the launcher and ends the process with code 2; under another launcher rank 0 prints it.

    Args:
        work: Called with the path of the configuration from the command line.
    """
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} CONFIG")
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.WARNING, format="%(message)s")
    try:
        work(sys.argv[1])
    except UserError as error:
        path = os.environ.get(_ERROR_FILE)
        if path:
            try:
                with Path(path).open("x", encoding="utf-8") as file:
                    file.write(str(error))
            except FileExistsError:
                pass  # another rank was first
        elif first:
            print(f"error: {error}", file=sys.stderr)
        _exit_now(USER_ERROR)
    except KeyboardInterrupt:
        _exit_now(128 + signal.SIGINT)


def _exit_now(code: int) -> NoReturn:
    """Exit without exit handlers, which may wait for a rank that is inside a collective with this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _killed_with(parent: int) -> Callable[[], None]:
    """A function for a child to call before exec: the kernel then kills it when its parent ends, however that ends."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_parent_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return set_parent_death_signal


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(ranks: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait until all ranks have succeeded (None) or one has failed (its number)."""
    while True:
        codes = [rank.poll() for rank in ranks]
        failed = [number for number, code in enumerate(codes) if code]
        if failed:
            # The first seen is not always the first to fail: a rank that fails with a peer may exit before it.
            return next((number for number in failed if codes[number] == USER_ERROR), failed[0])
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.05)


def _stop(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()
    deadline = time.monotonic() + _TERMINATION_GRACE
    for rank in ranks:
        try:
            rank.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()


def _failure_message(rank: int, code: int, error_file: Path, module: str) -> str:
    if error_file.exists():
        return error_file.read_text(encoding="utf-8")
    failure = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    return f"rank {rank} of {module} {failure}; its output is above. The same command resumes from the last checkpoint"
