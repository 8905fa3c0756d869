"""Start the ranks of a run on this machine, and let none of them outlive it.

`launch` gives each rank the environment that torchrun would. Under torchrun, srun or any other launcher, which set
WORLD_SIZE, it runs the module in place instead. A mistake of the user's, found by a rank, comes back as one UserError.
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

USER_ERROR = 2  # exit code of a rank that raised UserError
_ERROR_FILE = "STEP3VL_ERROR_FILE"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def launch(module: str, config_path: str | Path, processes: int) -> None:
    """Run `python -m module config_path` in `processes` ranks and wait for all of them.

    Each has the cores of this process divided by the ranks as its threads, unless OMP_NUM_THREADS says otherwise.
    Raises UserError with the message of the first rank that raised one, or the exit code of the first that failed.
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
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                environment = {"OMP_NUM_THREADS": threads, **os.environ, **shared, **own}
                ranks.append(
                    subprocess.Popen(
                        command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_die_with(os.getpid())
                    )
                )
            failed = _wait(ranks)
        finally:
            _stop(ranks)
        if failed is not None:
            raise UserError(_explain(failed, ranks[failed].returncode, error_file, module))


def run_rank(work: Callable[[str], None]) -> None:
    """The `main` of a module that `launch` starts: call `work` with the configuration's path from the command line.

    A UserError goes to the launcher and ends the process with code 2; without our launcher, rank 0 prints it.
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
                pass  # another rank found it first
        elif first:
            print(f"error: {error}", file=sys.stderr)
        _leave(USER_ERROR)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)


def _leave(code: int) -> NoReturn:
    """End at once: another rank may be inside a collective that this one will never join, and exit handlers wait."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _die_with(parent: int) -> Callable[[], None]:
    """For a child, before it becomes Python: have the kernel end it when its parent ends, however that ends."""
    libc = ctypes.CDLL(None, use_errno=True)

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return arrange


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(ranks: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait until every rank ended well (None) or one failed (its number)."""
    while True:
        codes = [rank.poll() for rank in ranks]
        failed = [number for number, code in enumerate(codes) if code]
        if failed:
            # The first to be seen is not always the first to fail: one that a peer's end brought down may be quicker.
            return next((number for number in failed if codes[number] == USER_ERROR), failed[0])
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.05)


def _stop(ranks: list[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.poll() is None:
            rank.terminate()
    deadline = time.monotonic() + _GRACE
    for rank in ranks:
        try:
            rank.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            rank.kill()
            rank.wait()


def _explain(rank: int, code: int, error_file: Path, module: str) -> str:
    if error_file.exists():
        return error_file.read_text(encoding="utf-8")
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    return f"rank {rank} of {module} {how}; what it said is above. The same command goes on from the last checkpoint"
