"""Runs the code of a response where it can do no harm, or not at all.

A program gets namespaces of its own (network without a device, processes, mounts, IPC), a root file system in memory
with nothing but the system's libraries and the interpreter, both read-only, no rights, and limits on time, memory,
processes and files. Linux's `unshare`, `mount`, `chroot`, `setpriv` and `prlimit` (util-linux, coreutils) do this. A
machine that does not permit it, such as most containers, runs nothing: `require_sandbox` says so.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from step3vl.data.errors import UserError

MEMORY = 4 * 2**30
"""Bytes of address space of each process."""
PROCESSES = 64
DISK = 64 * 2**20
"""Bytes of the files of a program, and of what it prints."""
_MAX_OUTPUT = 2**22
_STARTED = "sandbox ready"
_START_SECONDS = 30.0
"""For the namespaces and the interpreter to be set up, on a machine that is busy."""
_NOBODY = "65534"

# The arguments: the new root, the user to become (empty: the one mapped to root), the program, the folders to mount.
_SETUP = f"""set -e
root=$1 user=$2 program=$3; shift 3
mount -t tmpfs -o size={DISK},mode=755 tmpfs "$root"
mkdir -p "$root/tmp" "$root/proc" "$root/dev"
mount -t tmpfs -o size={DISK},mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --rbind "$1" "$root$1"
  mount -o remount,bind,ro "$root$1"
  shift
done
shift
cp "$program" "$root/program.py"
mount -t proc proc "$root/proc"
for device in null zero urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
cd "$root/tmp"
exec chroot ${{user:+--userspec=$user:$user}} "$root" \
  /usr/bin/env -i -C /tmp HOME=/tmp PATH=/usr/bin:/bin LANG=C.UTF-8 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$@"
"""


@dataclass(frozen=True)
class Execution:
    """What became of a program.

    Args:
        status: `exited` where it ended by itself within its time.
        code: Its exit status; negative, a signal.
        output: What it printed, cut off at some megabytes.
        errors: The end of what it wrote to its standard error.
    """

    status: Literal["exited", "timeout"]
    code: int
    output: str
    errors: str


def run_python(program: str, stdin: str = "", seconds: float = 10.0) -> Execution:
    """Run a Python program in the sandbox.

    Args:
        program: Its source.
        stdin: What it reads.
        seconds: Of processor time, and of waiting beyond the start of the sandbox.

    Raises:
        UserError: this machine cannot isolate it.
    """
    require_sandbox()
    return _run(program, stdin, seconds)


@cache
def require_sandbox() -> None:
    """Check once that a program can be isolated on this machine.

    Raises:
        UserError: it cannot; nothing is run.
    """
    try:
        execution = _run(_PROBE, "", 10.0)
        reason = "" if execution.output.strip() == _STARTED else execution.errors.strip().split("\n")[-1]
        isolated = execution.output.strip() == _STARTED
    except OSError as error:
        isolated, reason = False, str(error)
    if not isolated:
        reason = reason or "the network or the file system is within reach"
        raise UserError(
            f"this machine cannot isolate the code of responses ({reason}); run on Linux with util-linux, as root or "
            "with user namespaces permitted, not in a container without CAP_SYS_ADMIN"
        )


# No address can be reached, and nothing of the system can be written.
_PROBE = f"""
import socket
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
    connected = True
except OSError:
    connected = False
try:
    open("/usr/probe", "w")
    writable = True
except OSError:
    writable = False
print("{_STARTED}" if not (connected or writable) else (connected, writable))
"""


def _run(program: str, stdin: str, seconds: float) -> Execution:
    root = os.geteuid() == 0
    namespaces = ["--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child"]
    limits = (f"--as={MEMORY}", f"--nproc={PROCESSES}", f"--fsize={DISK}", "--nofile=64", "--core=0")
    with tempfile.TemporaryDirectory(prefix="step3vl-sandbox-") as folder:
        (Path(folder) / "root").mkdir()
        source = Path(folder) / "program.py"
        source.write_text(program, encoding="utf-8", errors="replace")
        source.chmod(0o644)
        setup = ("/bin/sh", "-c", _SETUP, "sandbox", f"{folder}/root", _NOBODY if root else "", str(source))
        # Who becomes another user loses all rights with it; the root of a user namespace has to give them up.
        rights = () if root else ("--bounding-set=-all", "--inh-caps=-all")
        command = [
            "unshare", *namespaces, *(() if root else ("--user", "--map-root-user")), "--", *setup, *_folders(), "--",
            "/usr/bin/setpriv", "--no-new-privs", *rights, "/usr/bin/prlimit", f"--cpu={int(seconds) + 2}", *limits,
            sys.executable, "-I", "-B", "/program.py",
        ]  # fmt: skip
        with (
            tempfile.TemporaryFile() as input_file,
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
        ):
            input_file.write(stdin.encode("utf-8", "replace"))
            input_file.seek(0)
            process = subprocess.Popen(
                command, stdin=input_file, stdout=output, stderr=errors, cwd="/", start_new_session=True
            )
            status: Literal["exited", "timeout"] = "exited"
            try:
                process.wait(seconds + _START_SECONDS)
            except subprocess.TimeoutExpired:
                status = "timeout"
            finally:
                process.kill()  # the first process of the namespace dies with it, and so do all others
                process.wait()
            output.seek(0)
            errors.seek(max(errors.seek(0, 2) - 2000, 0))
            return Execution(
                status,
                process.returncode,
                output.read(_MAX_OUTPUT).decode("utf-8", "replace"),
                errors.read().decode("utf-8", "replace"),
            )


def _folders() -> list[str]:
    """What a Python program needs of the file system."""
    system = [path for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).exists()]
    interpreter = [sys.base_prefix, sys.prefix]
    return list(
        dict.fromkeys(path for path in (*system, *interpreter) if path == "/usr" or not path.startswith("/usr/"))
    )
