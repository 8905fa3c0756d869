"""One machine as a cluster: an S3 server, a faulty way to it, Beam's job service, and pools that share nothing else.

Run as a program, in namespaces of its own where the machine allows it (see `conftest.py`). It prints where everything
listens as a line of JSON, and ends with its standard input; the namespaces, and every process in them, end with it.

    10.77.0.1   driver, job service, balancer of the pools, S3 server and proxy: they see the whole machine
    10.77.0.2   pool 0 and its workers: a network, mounts and a host name of their own; the repository and the
    10.77.0.3   pool 1 and its workers                                              temporary files are not there
"""

import argparse
import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Queue

DRIVER = "10.77.0.1"
ROOT = Path(__file__).parents[3]
BUCKET = "corpus"
POOLS = 2
_POOL_PORT = 50000


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def name_machine(name: str, folder: Path) -> None:
    """A host name that resolves, also for `socket.getfqdn`, as Beam's job service tells workers its own."""
    run("hostname", name)
    hosts = folder / f"hosts-{name}"
    hosts.write_text(f"127.0.0.1 localhost {name if name != 'driver' else ''}\n{DRIVER} driver\n")
    run("mount", "--bind", str(hosts), "/etc/hosts")


# The pools


def hide(hidden: Sequence[Path], visible: Sequence[Path]) -> None:
    """Make folders empty in this mount namespace, except what is listed as visible."""
    stash = Path("/mnt")
    run("mount", "-t", "tmpfs", "none", str(stash))
    for number, path in enumerate(visible):
        (stash / str(number)).mkdir()
        run("mount", "--rbind", str(path), str(stash / str(number)))
    for path in hidden:
        if path.exists():
            run("mount", "-t", "tmpfs", "none", str(path))
    for number, path in enumerate(visible):
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--rbind", str(stash / str(number)), str(path))


def run_pool(number: int, site: Path, isolated: bool, port: int) -> None:
    """Become a worker pool, in a folder of its own and with nothing but the installed package."""
    folder = Path(os.environ["HOME"])
    if isolated:
        while subprocess.run(["ip", "link", "show", "eth0"], capture_output=True).returncode:
            time.sleep(0.02)
        run("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"10.77.0.{number + 2}/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        name_machine(f"worker-{number}", folder)
        hide([ROOT, Path(tempfile.gettempdir())], [Path(sys.prefix), site, folder])
    os.chdir(folder)
    os.execv(
        sys.executable,
        [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
    )


def start_pool(number: int, folder: Path, site: Path, isolated: bool, port: int) -> str:
    """Start a pool; returns its address."""
    home = folder / f"pool-{number}"
    home.mkdir()
    command = [sys.executable, __file__, str(folder), "--pool", str(number), "--site", str(site), "--port", str(port)]
    if isolated:
        command = ["unshare", "--net", "--mount", "--uts", "--", *command, "--isolated"]
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(site)}
    with (folder / f"pool-{number}.log").open("wb") as log:
        pool = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    if not isolated:
        return f"localhost:{port}"
    while Path(f"/proc/{pool.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        time.sleep(0.02)
    run("ip", "link", "add", f"pool{number}", "type", "veth", "peer", "name", "eth0", "netns", str(pool.pid))
    run("ip", "link", "set", f"pool{number}", "master", "bridge", "up")
    return f"10.77.0.{number + 2}:{port}"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


def start_balancer(host: str, pools: Sequence[str]) -> int:
    """One port for all pools, as a load balancer or a service of Kubernetes is one: connections go to them in turn."""
    turns = itertools.cycle(pools)
    ports: Queue[int] = Queue()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pool_host, _, pool_port = next(turns).rpartition(":")
        pool_reader, pool_writer = await asyncio.open_connection(pool_host, int(pool_port))
        await asyncio.gather(copy(reader, pool_writer), copy(pool_reader, writer))

    async def serve() -> None:
        listener = await asyncio.start_server(connect, host, 0)
        ports.put(listener.sockets[0].getsockname()[1])
        await listener.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    return ports.get()


# The rest


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start_printing_port(command: Sequence[str], log: Path) -> int:
    """Start a program that prints its port, and then whatever, into a log."""
    with log.open("wb") as output:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    while not (text := log.read_text()).count("\n"):
        time.sleep(0.02)
    return int(text.split("\n")[0])


def start_job_service(folder: Path) -> int:
    port = folder / "job-service.port"
    module = "apache_beam.runners.portability.local_job_service_main"
    with (folder / "job-service.log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", module, f"--port_file={port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    while not port.exists():
        time.sleep(0.02)
    return int(port.read_text())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--site", type=Path, required=True, help="where the package is installed")
    parser.add_argument("--isolated", action="store_true")
    parser.add_argument("--pool", type=int)
    parser.add_argument("--port", type=int, default=_POOL_PORT)
    arguments = parser.parse_args()
    folder, site, isolated = arguments.folder, arguments.site, arguments.isolated
    if arguments.pool is not None:
        return run_pool(arguments.pool, site, isolated, arguments.port)
    if isolated:
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{DRIVER}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        name_machine("driver", folder)
    host = DRIVER if isolated else "127.0.0.1"
    pools = [
        start_pool(number, folder, site, isolated, _POOL_PORT if isolated else free_port()) for number in range(POOLS)
    ]
    from moto.server import ThreadedMotoServer

    s3 = ThreadedMotoServer(host, 0, verbose=False)
    s3.start()
    s3_port = s3.get_host_and_port()[1]
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{s3_port}/{BUCKET}", method="PUT")).close()
    proxy = [sys.executable, str(Path(__file__).with_name("fault_proxy.py")), host, f"{host}:{s3_port}"]
    addresses = {
        "s3": f"http://{host}:{s3_port}",
        "faulty_s3": f"http://{host}:{start_printing_port(proxy, folder / 'proxy.log')}",
        "job_service": f"localhost:{start_job_service(folder)}",
        "pools": f"{host}:{start_balancer(host, pools)}",
    }
    print(json.dumps(addresses), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
