"""The cluster that the tests of this folder run on; see `machines.py`."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[3]
_NAMESPACES = ("--net", "--mount", "--uts", "--pid")
_MACHINES = Path(__file__).with_name("machines.py")


def _environment() -> dict[str, str]:
    """Without what points out of the cluster; one thread each, for the cores are few."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "OMP_NUM_THREADS": "1"}


def _unshare() -> list[str] | None:
    """The command that makes namespaces, or None where this machine refuses to."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, *_NAMESPACES, "--mount-proc", "--fork", "--kill-child"]
    network = "ip link add br0 type bridge && ip link add v0 type veth peer name v1"
    probe = f"{network} && mount -t tmpfs none /mnt && hostname probe"
    try:
        done = subprocess.run([*command, "sh", "-c", probe], capture_output=True, text=True)
    except FileNotFoundError as error:
        done = subprocess.CompletedProcess([], 1, "", str(error))
    if done.returncode == 0:
        return command
    warnings.warn(
        "NOT ISOLATED: this machine makes no network and mount namespaces, so the workers of the cluster tests run in "
        f"folders of their own but see the repository: {done.stderr.strip()}",
        stacklevel=2,
    )
    return None


class Cluster:
    """Machines that share nothing but an S3 server.

    Args:
        folder: For logs.
        site: Where the package is installed for workers.

    Attributes:
        addresses: Of `s3`, `faulty_s3`, `job_service` and `pools`.
        isolated: Whether workers have networks and mounts of their own.
    """

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self._site = folder, site
        unshare = _unshare()
        self.isolated = unshare is not None
        command = [*(unshare or ()), sys.executable, str(_MACHINES), str(folder), "--site", str(site)]
        self._log = (folder / "machines.log").open("wb")
        self._machines = subprocess.Popen(
            command + ["--isolated"] * self.isolated,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            text=True,
        )
        assert self._machines.stdout
        line = self._machines.stdout.readline()
        assert line, (folder / "machines.log").read_text()
        self.addresses: dict[str, str] = json.loads(line)

    def close(self) -> None:
        processes = psutil.Process(self._machines.pid).children(recursive=True)
        assert self._machines.stdin
        self._machines.stdin.close()
        self._machines.wait(10)
        for process in processes:  # those that no namespace ended
            if process.is_running():
                process.kill()
        self._log.close()

    @property
    def beam_options(self) -> tuple[str, ...]:
        """The options of Beam for its job service, which asks one pool or the other for a worker."""
        pools = ("--environment_type=EXTERNAL", f"--environment_config={self.addresses['pools']}")
        return ("--runner=PortableRunner", f"--job_endpoint={self.addresses['job_service']}", *pools)

    @property
    def driver_options(self) -> tuple[str, ...]:
        """The options of Beam for a job service within the driver and a worker of each pool."""
        pools = ("--environment_type=EXTERNAL", f"--environment_config={self.addresses['pools']}")
        return ("--direct_num_workers=2", *pools)

    def store_options(self, faulty: bool = False) -> dict[str, Any]:
        """Options of fsspec for the S3 server, or for the faulty way to it."""
        endpoint = self.addresses["faulty_s3" if faulty else "s3"]
        return {
            "key": "k",
            "secret": "s",
            "client_kwargs": {"endpoint_url": endpoint},
            "config_kwargs": {"retries": {"total_max_attempts": 1}},  # so that it is the package that retries
        }

    def start(self, *command: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start a program where the driver runs; its output goes to `log`."""
        entered: Sequence[str] = ("env", "--default-signal=INT")  # which a shell's background job would ignore
        if self.isolated:
            inside = psutil.Process(self._machines.pid).children()[0].pid
            user = ["--user", "--preserve-credentials"] if os.geteuid() else []
            entered = [*entered, "nsenter", f"--target={inside}", *user, *_NAMESPACES, f"--wd={Path.cwd()}"]
        environment = {**_environment(), "PYTHONPATH": str(self._site)}  # the same code, whoever edits it meanwhile
        with log.open("ab") as output:
            return subprocess.Popen([*entered, *command], stdout=output, stderr=output, env=environment)

    def run(self, *command: str, log: Path, code: int = 0, seconds: float = 600) -> str:
        """What a program prints that runs where the driver runs, and ends with `code` within so many seconds."""
        process = self.start(*command, log=log)
        assert process.wait(seconds) == code, log.read_text()[-6000:]
        return log.read_text()

    def requests(self) -> list[str]:
        """The requests that reached the S3 server until now."""
        return [line for line in (self.folder / "machines.log").read_text().splitlines() if '"' in line]

    def faults(self) -> list[str]:
        """The faults on the way to the S3 server until now, each with its request."""
        return (self.folder / "proxy.log").read_text().splitlines()[1:]

    def workers(self) -> list[psutil.Process]:
        """The worker processes of both pools."""
        processes = psutil.Process(self._machines.pid).children(recursive=True)
        alive = [process for process in processes if process.status() != psutil.STATUS_ZOMBIE]
        return [process for process in alive if any("SdkHarness" in part for part in process.cmdline())]


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as workers have it: installed from a wheel, in a folder that is not the repository."""
    site = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*install, "--no-compile", "--target", site, ROOT], check=True, cwd=site)
    return site


@pytest.fixture(scope="package")
def cluster(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), site)
    yield cluster
    cluster.close()
