"""Temporary folders that nobody has to clean up after a process that was killed.

    <temporary folder>/step3vl-<user>/<process>.lock    locked while the process lives
                                      <process>/        its folders

The system gives a lock back however a process ends. So the first one that needs a folder removes those of processes
that have ended, and a machine keeps at most what the last ones left.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from step3vl.data.errors import InfrastructureError

_folders: dict[int, Path] = {}  # by process, for a forked one inherits what this module knows
_locks: list[int] = []  # descriptors, open until the process ends


def scratch_folder(purpose: str) -> Path:
    """A new folder, which is gone when this process ends, or soon after it is killed.

    Args:
        purpose: The beginning of its name.

    Raises:
        InfrastructureError: The machine's temporary folder cannot be used.
    """
    process = os.getpid()
    if process not in _folders:
        try:
            _folders[process] = _claim(_shared())
        except OSError as error:
            raise InfrastructureError(f"no temporary folder: {error}") from error
        atexit.register(_leave, process)
    return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=_folders[process]))


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A new folder that is removed at the end of the block, or soon after this process is killed.

    Args:
        purpose: The beginning of its name.
    """
    folder = scratch_folder(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shared() -> Path:
    """The folder of all processes of this user."""
    folder = Path(tempfile.gettempdir()) / f"step3vl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


def _claim(shared: Path) -> Path:
    """Remove what processes have left that are gone, and make a folder for this one."""
    for path in shared.glob("*.lock"):
        lock = _locked(path)
        if lock is not None:
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)
            os.close(lock)
    while True:
        path = shared / f"{uuid.uuid4().hex}.lock"
        lock = _locked(path, os.O_CREAT)
        if lock is not None:  # else another process took it for that of one that is gone
            break
    _locks.append(lock)
    folder = path.with_suffix("")
    folder.mkdir()
    return folder


def _locked(path: Path, flags: int = 0) -> int | None:
    """The descriptor of a file that this process has locked; None where another one has, or has removed it."""
    try:
        descriptor = os.open(path, os.O_RDWR | flags, 0o600)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    os.close(descriptor)
    return None


def _leave(process: int) -> None:
    if os.getpid() == process:
        folder = _folders.pop(process)
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
